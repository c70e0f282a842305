"""Kernels whose compilation costs more than their run:  jax.jit with options of XLA that halve the time it takes.

A program is compiled in the first of these ways that it can be: as one kernel (``one_kernel.py``), quickly, plainly.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from flowdyn._tools.one_kernel import NotPlainError, already_traced, as_one_kernel, has_kernels

QUICK = {"xla_cpu_use_fusion_emitters": False}  # of large loops of small steps: half the time of compilation
# No calls of a library for sums and products; LLVM's third level takes a third longer than its second for one large
# function, and steps are none the faster.
ONE_KERNEL = {**QUICK, "xla_cpu_experimental_ynn_fusion_type": "", "xla_backend_optimization_level": 2}
UNKNOWN = "No such compile option"  # said by an XLA that has it no longer
_quick: set[Callable] = set()
_whole: set[Callable] = set()
_unknown: set[str] = set()  # options that this XLA does not know


def jitted(kernel: Callable, run: Callable) -> Callable:
    """`run`, which calls the kernel, as a program with the options of the kernel."""
    if kernel in _whole:
        return _Whole(run)
    return _Way(run, QUICK) if kernel in _quick else jax.jit(run)


def compiles_quickly(kernel: Callable) -> Callable:
    """Mark a kernel whose compilation costs more than its run: it is compiled with the options `QUICK`."""
    _quick.add(kernel)
    return kernel


def compiles_as_a_whole(kernel: Callable) -> Callable:
    """Mark a kernel that asks to be one kernel of XLA; where it may not be, it is compiled with the options `QUICK`."""
    _whole.add(kernel)
    return kernel


class _Way:
    """A program with options, without those that this XLA does not know."""

    def __init__(self, run: Callable, options: dict[str, Any]):
        functools.update_wrapper(self, run)
        self.run, self.options = run, options
        self.programs: dict[tuple, Callable] = {}

    def __call__(self, *args: Any) -> Any:
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


class _Whole:
    """A program that is one kernel where XLA, the machine and the shapes of the arguments have room for that."""

    def __init__(self, run: Callable):
        @functools.wraps(run)
        def whole(*args: Any) -> Any:
            with as_one_kernel():
                return run(*args)

        functools.update_wrapper(self, run)
        self.one, self.quick = _Way(whole, ONE_KERNEL), _Way(run, QUICK)
        self.refused: set[tuple] = set()  # shapes of arguments

    def __call__(self, *args: Any) -> Any:
        if not has_kernels() or (self.refused and _shapes(args) in self.refused):
            return self.quick(*args)
        try:
            return self.one(*args)
        except jax.errors.JaxRuntimeError:
            self.refused.add(_shapes(args))
        except NotPlainError as found:
            self.refused.add(_shapes(args))
            with already_traced(found):
                return self.quick(*args)
        return self.quick(*args)


def _shapes(args: tuple) -> tuple:
    return tuple((getattr(leaf, "shape", ()), getattr(leaf, "dtype", type(leaf))) for leaf in jax.tree.leaves(args))
