"""Modules of one structure as one: a compiled program runs over all of them side by side.

    kernel(module_b, *statics, *args_b),    b = 0 .. B - 1

Numbers that all modules share (the data of a sweep over eta) are handed over once; the others are stacked.
"""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from flowdyn._tools.compiled import CACHE_SIZE, join, refuse_fork, split


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
    parts = [split(module) for module in modules]
    shared, own, varies = [], [], []
    for column in zip(*(arrays for arrays, _ in parts), strict=True):
        first = np.asarray(column[0])
        is_one = all(array is column[0] for array in column)
        rows = None if is_one else np.stack([np.asarray(array) for array in column])
        if rows is None or (rows == first).all():
            shared.append(first)
        else:
            own.append(rows)
        varies.append(not (rows is None or (rows == first).all()))
    return Stack(shared, own, tuple(varies), parts[0][1])


@functools.lru_cache(maxsize=CACHE_SIZE)
def _program(kernel: Callable, structure: tuple, statics: tuple, varies: tuple, axes: tuple) -> Callable:
    def run(shared: list, own: list, *args: Any) -> Any:
        def one(own: list, *args: Any) -> Any:
            sources = {False: iter(shared), True: iter(own)}
            module = join([next(sources[is_own]) for is_own in varies], structure)
            return kernel(module, *statics, *args)

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


def padded_batch(items: Sequence[Any]) -> list[Any]:
    """The items with the last one repeated up to a round number, so that few sizes are ever compiled."""
    unit = 1 << max((len(items) - 1).bit_length() - 3, 0)  # at most an eighth is waste
    return [*items, *([items[-1]] * (-len(items) % unit))]
