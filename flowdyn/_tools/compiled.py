"""Compile a function of an Equinox module once per structure, and call it cheaply.

    kernel(module, *statics, *args)  ->  jitted(arrays, *args)

The numbers of a module (X, y, eta) are passed as arrays, so a ladder over eta or a sweep over alpha shares one
compiled program; everything else (the loss function, shapes of pytrees, names) is the structure and keys the cache.
The cache is bounded: a program whose problem is no longer used is dropped with its executable.
"""

import functools
import os
from collections.abc import Callable, Hashable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from flowdyn._check import RunError
from flowdyn._tools.quick_compilation import compiles_quickly, jitted

CACHE_SIZE = 32  # programs kept; each holds its executables and the user's loss function alive


class ByIdentity:
    """Values that are compared by identity, so that they can key a cache: functions, and constants that do not hash.

    With a `kernel` it is itself a function, ``kernel(*values, *args)``: two of them are equal, and share one compiled
    program, where kernel and values are the same objects. (A bound method of a module compares and hashes the module's
    arrays, which cannot be hashed.)
    """

    def __init__(self, *values: Any, kernel: Callable | None = None):
        self.values, self.kernel = values, kernel

    def __call__(self, *args: Any) -> Any:
        assert self.kernel is not None
        return self.kernel(*self.values, *args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple:
        inner = (value._key if isinstance(value, ByIdentity) else id(value) for value in self.values)
        return (id(self.kernel), *inner)


def _key(leaf: Any) -> Any:
    # 1 == 1.0 == True would share a cache entry: the type is part of the key
    return (type(leaf), leaf) if isinstance(leaf, Hashable) else (ByIdentity, ByIdentity(leaf))


def _value(key: Any) -> Any:
    return key[1].values[0] if key[0] is ByIdentity else key[1]


def split(module: Any) -> tuple[list[jax.Array], tuple]:
    """Split a module into its arrays and a hashable structure that holds the rest."""
    leaves, treedef = jax.tree.flatten(module)
    arrays, rest = [], []
    for leaf in leaves:
        is_ready = isinstance(leaf, jax.Array)  # asked first: `asarray` takes ten times as long to find nothing to do
        is_data = is_ready or (eqx.is_array_like(leaf) and not _constant(leaf))
        if is_data:
            arrays.append(leaf if is_ready else jax.numpy.asarray(leaf))
        rest.append(None if is_data else _key(leaf))
    return arrays, (treedef, tuple(rest))


def _constant(leaf: Any) -> bool:
    # plain Python scalars stay constants (a user's `power: int` may steer the tracing); arrays are data
    return isinstance(leaf, bool | int | float | complex)


def join(arrays: Any, structure: tuple) -> Any:
    """Build a module again from its arrays and its structure, the inverse of :func:`split`."""
    treedef, rest = structure
    source = iter(arrays)
    return jax.tree.unflatten(treedef, [next(source) if key is None else _value(key) for key in rest])


@functools.lru_cache(maxsize=CACHE_SIZE)
def _program(kernel: Callable, structure: tuple, statics: tuple) -> Callable:
    def run(arrays: Any, *args: Any) -> Any:
        return kernel(join(arrays, structure), *statics, *args)

    run.__name__ = getattr(kernel, "__name__", "kernel")
    return jitted(kernel, run)


_has_run = False
_is_forked = False


def _mark_fork() -> None:
    global _is_forked
    _is_forked = _has_run


os.register_at_fork(after_in_child=_mark_fork)


def refuse_fork() -> None:
    """Refuse to touch JAX in a process forked after it has run: its first computation would hang."""
    global _has_run
    if _is_forked:
        raise RunError(
            "this process was forked after JAX had run, and its first computation would hang; start it by spawning: "
            "multiprocessing.get_context('spawn')"
        )
    _has_run = True


def bind(kernel: Callable, module: Any, *statics: Hashable) -> Callable:
    """Return `call(*args)` that runs the compiled `kernel(module, *statics, *args)`; leaves are flattened once."""
    refuse_fork()
    arrays, structure = split(module)
    return functools.partial(_program(kernel, structure, statics), arrays)


_found: dict[tuple, Any] = {}  # what was asked of structures, the oldest first


def by_structure(kernel: Callable, module: Any, *given: Hashable) -> Any:
    """``kernel(module, *given)`` of what the structure alone decides, as it does a program: found once, then kept.

    To trace a user's function again tells nothing new: a ladder asked the same of each rung at every tolerance.
    """
    arrays, structure = split(module)
    key = kernel, structure, tuple((array.shape, array.dtype) for array in arrays), given
    if key not in _found:
        found = kernel(module, *given)
        while len(_found) >= CACHE_SIZE:
            _found.pop(next(iter(_found)), None)  # threads of a sweep may be here too
        _found[key] = found
    return _found[key]


SMALL = 8


def matvec(matrix: Any, vector: Any) -> jax.Array:
    """``matrix @ vector``; small ones as sums of products, which XLA fuses into the loop around them."""
    if matrix.shape[-1] > SMALL:
        return matrix @ vector
    return jax.numpy.sum(matrix * vector, axis=1)


def _rows(module: Any, function: Callable, rows: Any) -> Any:
    return jax.vmap(lambda row: function(module, row))(rows)


BLOCK = 128  # rows of one block where the bits of a row must not depend on how many there are
SHORT_BLOCK, LARGE = 8, 100_000  # rows of one block beside that many numbers of data: rows that pad it are dear


def _blocks(module: Any, function: Callable, blocks: Any) -> Any:
    return jax.lax.map(lambda rows: _rows(module, function, rows), blocks)


def map_blocks(function: Callable, module: Any, rows: np.ndarray) -> Any:
    """As :func:`map_rows`, in blocks of one size: matrix products differ in the last bit with the number of rows."""
    size = rows.shape[-1]
    block = SHORT_BLOCK if sum(array.size for array in split(module)[0]) > LARGE else BLOCK
    program = bind(_blocks, module, function)

    def apply(part: np.ndarray) -> Any:
        blocks = max(1, 1 << (-(-len(part) // block) - 1).bit_length())
        full = np.concatenate([part, np.repeat(part[-1:], blocks * block - len(part), axis=0)])
        out = program(full.reshape(blocks, block, size))
        return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), out)

    return _in_pieces(apply, rows, block)


def padded(rows: np.ndarray) -> np.ndarray:
    """`rows` with the last one repeated up to a power of two, 16 at least."""
    count = len(rows)
    wanted = max(16, 1 << (count - 1).bit_length())
    return np.concatenate([rows, np.repeat(rows[-1:], wanted - count, axis=0)]) if wanted > count else rows


def map_rows(function: Callable, module: Any, rows: np.ndarray) -> Any:
    """Apply `function(module, row)` to each row, compiled; rows are padded so that few shapes are ever compiled."""
    program = bind(_rows, module, function)
    return _in_pieces(lambda part: jax.tree.map(np.asarray, program(padded(part))), rows, 16)


PIECE = 2**21  # numbers of the rows that are worked on at once: what is computed on the way is small beside many rows


def _in_pieces(apply: Callable[[np.ndarray], Any], rows: np.ndarray, least: int) -> Any:
    """`apply` to pieces of the rows, of a power of two of `least` each; each result has its place beforehand."""
    most = least << (max(1, PIECE // (least * rows.shape[-1])).bit_length() - 1)
    if len(rows) <= most:
        return jax.tree.map(lambda leaf: leaf[: len(rows)], apply(rows))
    found: Any = None
    for first in range(0, len(rows), most):
        part = apply(rows[first : first + most])
        if found is None:
            found = jax.tree.map(lambda leaf: np.empty((len(rows), *leaf.shape[1:]), leaf.dtype), part)
        jax.tree.map(lambda whole, leaf, i=first: np.copyto(whole[i : i + most], leaf[: len(rows) - i]), found, part)
    return found


@compiles_quickly
def _in_turn(module: Any, function: Callable, rows: Any) -> Any:
    return jax.lax.map(lambda row: function(module, row), rows)


def map_in_turn(function: Callable, module: Any, rows: np.ndarray) -> Any:
    """As :func:`map_rows`, one row after the other: memory for one at a time, and none waits for another."""
    count, program = len(rows), bind(_in_turn, module, function)
    chunks = [rows[first : first + SMALL] for first in range(0, count, SMALL)]
    done = [program(np.concatenate([c, np.repeat(c[-1:], SMALL - len(c), axis=0)])) for c in chunks]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *done)


def float64_is_on() -> bool:
    """Whether JAX computes in float64 right now, read from the live configuration."""
    return jax.dtypes.canonicalize_dtype(np.float64) == np.float64
