"""Many short calls of compiled programs, one after the other:  each runs in the thread that makes it.

JAX's CPU client hands a call to a thread of its own, which has gone to sleep by the time that the next one comes: 70 to
100 microseconds to wake it, ten times the work of a small right-hand side. `jax_cpu_enable_async_dispatch` turns that
off for the whole process, and before JAX has run anything: not a library's to decide. But a call that is made inside a
callback from a compiled program runs where it is made, for it must not wait for a thread that may never be free. So a
loop over such calls is run as the callback of an empty program, in the thread that asks for it.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import io_callback

from flowdyn._tools.threads import is_accelerated

T = TypeVar("T")
_numbers = itertools.count(1)


class _Call:
    """What is asked for, and what it gave."""

    def __init__(self, function: Callable[[], Any]):
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None


_calls: dict[int, _Call] = {}  # one entry a call, gone by one operation: an interruption leaves none behind


def with_inline_calls(function: Callable[[], T]) -> T:
    """``function()``, in which compiled programs of the processor run without a change of threads."""
    many = len(jax.local_devices()) > 1  # a callback has no place on a mesh of them
    if is_accelerated() or many or not jax.config.read("jax_cpu_enable_async_dispatch"):
        return function()
    number, call = next(_numbers), _Call(function)
    _calls[number] = call
    try:
        jax.block_until_ready(_program()(jax.device_put(np.int32(number))))  # guards of transfers let this one pass
    except jax.errors.JaxRuntimeError as failed:
        if "KeyboardInterrupt" in str(failed):  # it came between the callback and the function
            raise KeyboardInterrupt from None
        raise
    finally:
        _calls.pop(number, None)
    if call.error is not None:
        raise call.error
    return call.result


def _run(number: Any) -> np.ndarray:
    call = _calls[int(number)]
    try:
        call.result = call.function()
    except BaseException as error:  # the program around it has no words for it; raised again where it was asked for
        call.error = error
    return np.asarray(True)


@functools.cache
def _program() -> Callable:
    return jax.jit(lambda number: io_callback(_run, jax.ShapeDtypeStruct((), bool), number))
