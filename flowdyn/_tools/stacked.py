"""Modules of one structure as one: a compiled program runs over all of them, side by side or one after the other.

    kernel(module_b, *statics, *args_b),    b = 0 .. B - 1

Numbers that all modules share (the data of a sweep over eta) are handed over once; the others are stacked.
"""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from flowdyn._tools.compiled import CACHE_SIZE, join, refuse_fork, split
from flowdyn._tools.quick_compilation import jitted
from flowdyn._tools.threads import is_accelerated


class Stack(NamedTuple):
    """Modules that differ in the numbers of their arrays alone."""

    shared: list  # arrays that are the same in all
    own: list  # arrays (B, ...) that are not
    varies: tuple[bool, ...]  # which is which, in the order of the leaves
    structure: tuple


def form(module: Any) -> Hashable:
    """What modules must agree in to be stacked: everything but the numbers in their arrays."""
    arrays, structure = split(module)
    return structure, tuple((array.shape, array.dtype) for array in arrays)


def stack(modules: Sequence[Any]) -> Stack:
    """Stack modules of one form."""
    is_one = all(module is modules[0] for module in modules)
    parts = [split(module) for module in (modules[:1] if is_one else modules)]
    shared: list[Any] = []
    own: list[Any] = []
    varies: list[bool] = []
    for column in zip(*(arrays for arrays, _ in parts), strict=True):
        is_shared = all(array is column[0] for array in column)
        rows = np.zeros(0) if is_shared else np.stack([np.asarray(array) for array in column])
        is_shared = is_shared or bool((rows == rows[0]).all())
        (shared if is_shared else own).append(column[0] if is_shared else rows)
        varies.append(not is_shared)
    return Stack(shared, own, tuple(varies), parts[0][1])


@functools.lru_cache(maxsize=CACHE_SIZE)
def _program(kernel: Callable, structure: tuple, statics: tuple, varies: tuple, axes: tuple) -> Callable:
    def run(shared: list, own: list, *args: Any) -> Any:
        def one(own: list, *args: Any) -> Any:
            return kernel(_module(shared, own, varies, structure), *statics, *args)

        return jax.vmap(one, in_axes=(0, *axes))(own, *args)

    run.__name__ = getattr(kernel, "__name__", "kernel")
    return jax.jit(run)


def bind_stack(kernel: Callable, stacked: Stack, axes: tuple[int | None, ...], *statics: Hashable) -> Callable:
    """Return `call(*args)` that runs `kernel(module, *statics, *args)` for every module of the stack.

    `axes` says of each argument whether it has an entry a module (0) or is one for all (None).
    """
    refuse_fork()
    program = _program(kernel, stacked.structure, statics, stacked.varies, axes)
    return functools.partial(program, stacked.shared, stacked.own)


def _module(shared: list, own: list, varies: tuple, structure: tuple) -> Any:
    sources = {False: iter(shared), True: iter(own)}
    return join([next(sources[is_own]) for is_own in varies], structure)


@functools.lru_cache(maxsize=CACHE_SIZE)
def _turns(kernel: Callable, structure: tuple, statics: tuple, varies: tuple, at_once: bool) -> Callable:
    def run(shared: list, own: list, args: tuple) -> Any:
        def one(each: tuple) -> Any:
            return kernel(_module(shared, each[0], varies, structure), *statics, *each[1])

        return jax.vmap(one)((own, args)) if at_once else jax.lax.map(one, (own, args))

    run.__name__ = getattr(kernel, "__name__", "kernel")
    return jitted(kernel, run)


def bind_turns(kernel: Callable, stacked: Stack, *statics: Hashable) -> Callable:
    """Return `call(rows, *args)` that runs `kernel(module, *statics, *args)` for the modules numbered `rows` in turn.

    Every argument has an entry a row. Loops of different length do not wait for one another, but on an accelerator:
    there all rows go at once, and the longest decides.
    """
    refuse_fork()
    program = _turns(kernel, stacked.structure, statics, stacked.varies, is_accelerated())

    def call(rows: Sequence[int], *args: Any) -> Any:
        return program(stacked.shared, [own[np.asarray(rows)] for own in stacked.own], args)

    return call


def padded_batch(items: Sequence[Any]) -> list[Any]:
    """The items with the last one repeated up to a round number, so that few sizes are ever compiled."""
    unit = 1 << max((len(items) - 1).bit_length() - 3, 0)  # at most an eighth is waste
    return [*items, *([items[-1]] * (-len(items) % unit))]
