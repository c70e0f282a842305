"""Kernels whose compilation costs more than their run:  jax.jit with options of XLA that halve the time it takes.

A program is compiled in the first of these ways that it can be: as one kernel (``one_kernel.py``), quickly, plainly.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from flowdyn._tools.one_kernel import NotPlainError, already_traced, as_one_kernel

QUICK = {"xla_cpu_use_fusion_emitters": False}  # of large loops of small steps: half the time of compilation
ONE_KERNEL = {**QUICK, "xla_cpu_experimental_ynn_fusion_type": ""}  # no calls of a library for sums and products
UNKNOWN = "No such compile option"  # said by an XLA that has it no longer
_quick: set[Callable] = set()
_unknown: set[str] = set()  # options that this XLA does not know


def jitted(kernel: Callable, run: Callable) -> Callable:
    """`run`, which calls the kernel, as a program with the options of the kernel."""
    return _Quickly(run) if kernel in _quick else jax.jit(run)


def compiles_quickly(kernel: Callable) -> Callable:
    """Mark a kernel whose compilation costs more than its run: it is compiled with the options `QUICK`."""
    _quick.add(kernel)
    return kernel


class _Quickly:
    """A program that is compiled in the first way that XLA, and the shapes of the arguments, have room for."""

    def __init__(self, run: Callable):
        @functools.wraps(run)
        def whole(*args: Any) -> Any:
            with as_one_kernel():
                return run(*args)

        functools.update_wrapper(self, run)
        self.ways = _Way(whole, ONE_KERNEL), _Way(run, QUICK)

    def __call__(self, *args: Any) -> Any:
        one, quick = self.ways
        if one.takes(args):
            try:
                return one(args)
            except jax.errors.JaxRuntimeError:
                one.refused.add(_shapes(args))
            except NotPlainError as found:
                one.refused.add(_shapes(args))
                with already_traced(found):
                    return quick(args)
        return quick(args)


class _Way:
    """A program with options, without those that this XLA does not know."""

    def __init__(self, run: Callable, options: dict[str, Any]):
        self.run, self.options = run, options
        self.programs: dict[tuple, Callable] = {}
        self.refused: set[tuple] = set()  # shapes of arguments

    def takes(self, args: tuple) -> bool:
        return not self.refused or _shapes(args) not in self.refused

    def __call__(self, args: tuple) -> Any:
        while True:
            known = tuple(name for name in self.options if name not in _unknown)
            if known not in self.programs:
                options = {name: self.options[name] for name in known}
                self.programs[known] = jax.jit(self.run, compiler_options=options)
            try:
                return self.programs[known](*args)
            except jax.errors.JaxRuntimeError as error:
                missing = {name for name in known if UNKNOWN in str(error) and name in str(error)}
                if not missing:
                    raise
                _unknown.update(missing)  # or each call would be traced anew, to be refused again


def _shapes(args: tuple) -> tuple:
    return tuple((getattr(leaf, "shape", ()), getattr(leaf, "dtype", type(leaf))) for leaf in jax.tree.leaves(args))
