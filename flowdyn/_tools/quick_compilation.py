"""Kernels whose compilation costs more than their run:  jax.jit with options of XLA that halve the time it takes."""

import functools
from collections.abc import Callable
from typing import Any

import jax

QUICK = {"xla_cpu_use_fusion_emitters": False}  # of large loops of small steps: half the time of compilation
UNKNOWN = "No such compile option"  # said by an XLA that has it no longer
_quick: set[Callable] = set()
_refused: set[tuple] = set()  # options that this XLA does not know


def jitted(kernel: Callable, run: Callable) -> Callable:
    """`run`, which calls the kernel, as a program with the options of the kernel."""
    return _jit_quickly(run) if kernel in _quick else jax.jit(run)


def compiles_quickly(kernel: Callable) -> Callable:
    """Mark a kernel whose compilation costs more than its run: it is compiled with the options `QUICK`."""
    _quick.add(kernel)
    return kernel


def _jit_quickly(run: Callable) -> Callable:
    options = tuple(QUICK.items())
    quick, plain = jax.jit(run, compiler_options=QUICK), jax.jit(run)

    @functools.wraps(run)
    def call(*args: Any) -> Any:
        if options not in _refused:
            try:
                return quick(*args)
            except jax.errors.JaxRuntimeError as error:
                if UNKNOWN not in str(error):
                    raise
                _refused.add(options)  # or each call would be traced anew, to be refused again
        return plain(*args)

    return call
