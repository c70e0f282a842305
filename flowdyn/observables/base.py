"""What an observable is:  a labelled function of the parameters, or a part of a computation that several share.

value(w) = function(w),    or    values(w_1), values(w_2), ...  with each helped by what the one before found
"""

from collections.abc import Callable, Hashable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn._tools.leaves import is_traced
from flowdyn._tools.plain_help import PlainABCMeta
from flowdyn.problems.base import Problem, Variable, Vector

CHUNK = 16  # rows of one compiled call


class Shared:
    """A computation that several observables are read off, done once for each state.

    ``function(problem, options, w, memory)`` returns a dict of arrays, and arrays that help with a state nearby;
    `memory` is None, or such arrays (zeros where nothing is remembered). Problems of one structure share a program.
    """

    def __init__(self, problem: Problem, function: Callable, *options: Hashable):
        self.problem, self.function, self.options = problem, function, options

    def __call__(self, w: Vector) -> dict[str, jax.Array]:
        """Values at flat w, from nothing."""
        w = jnp.asarray(w)
        if is_traced(w):
            return _once(self.problem, self.function, self.options, w)
        return bind(_once, self.problem, self.function, self.options)(w)

    def along(self, path: np.ndarray, *, remembers: bool = True) -> dict[str, np.ndarray]:
        """Values at each w of a path (R, P); unless it `remembers`, none depends on the ones before."""
        program = bind(_chunk, self.problem, self.function, self.options, remembers)
        memory = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), self._remembered(path.shape[1]))
        found = []
        for first in range(0, len(path), CHUNK):
            rows = path[first : first + CHUNK]
            full = np.concatenate([rows, np.repeat(rows[-1:], CHUNK - len(rows), axis=0)])
            values, memory = program(full, np.arange(CHUNK) < len(rows), memory)
            found.append({name: np.asarray(part)[: len(rows)] for name, part in values.items()})
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _remembered(self, size: int) -> Any:
        w = jax.ShapeDtypeStruct((size,), float)
        return jax.eval_shape(lambda w: self.function(self.problem, self.options, w, None)[1], w)


def _once(problem: Problem, function: Callable, options: tuple, w: jax.Array) -> dict[str, jax.Array]:
    return function(problem, options, w, None)[0]


def _chunk(
    problem: Problem, function: Callable, options: tuple, remembers: bool, rows: Any, live: Any, memory: Any
) -> Any:
    """One row after the other; rows that only fill the chunk up are passed over."""

    def compute(w: jax.Array, memory: Any) -> tuple[Any, Any]:
        values, found = function(problem, options, w, memory)
        return values, found if remembers else memory

    empty = jax.eval_shape(compute, rows[0], memory)[0]

    def row(memory: Any, item: tuple) -> tuple[Any, Any]:
        w, is_live = item

        def skip(w: jax.Array, memory: Any) -> tuple[Any, Any]:
            return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), empty), memory

        values, memory = jax.lax.cond(is_live, compute, skip, w, memory)
        return memory, values

    memory, values = jax.lax.scan(row, memory, (rows, live))
    return values, memory


class Observable(metaclass=PlainABCMeta):
    """A labelled function of the flat parameters w (P,), as ``observe=`` and ``stop=`` take it.

    Parameters
    ----------
    function : callable
        ``function(w)`` of flat w, written with jax.numpy.
    long_name : str
        What the file says about it.
    dims : tuple of str
        Dimensions of its value; none for a number.

    Raises
    ------
    ArgumentError
        By :func:`flowdyn.solve`, if the value does not have one axis for each of `dims`.

    Notes
    -----
    Source: of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> import jax.numpy as jnp
    >>> norm = fd.observables.Observable(jnp.linalg.norm, "Euclidean norm of w")
    >>> float(norm(jnp.array([3.0, 4.0])))
    5.0
    """

    def __init__(self, function: Callable[[Vector], Any], long_name: str, dims: tuple[str, ...] = ()):
        self.function, self.long_name, self.dims = function, long_name, tuple(dims)
        self.shared: Shared | None = None
        self.part: Callable[[dict], Any] = dict

    @classmethod
    def of(cls, shared: Shared, part: Callable[[dict], Any], long_name: str, dims: tuple[str, ...] = ()) -> Self:
        """What is read off a shared computation: ``part`` of the arrays that it gives, for one state or for many."""
        made = cls(lambda w: part(shared(w)), long_name, dims)
        made.shared, made.part = shared, part
        return made

    def __call__(self, w: Vector) -> jax.Array:
        """Value at flat w, as a float array over `dims`."""
        return jnp.asarray(self.function(w), dtype=float)

    def variable(self, name: str, value: np.ndarray) -> Variable:
        """Layout of a value in a Dataset, refused where its axes are not `dims`."""
        if len(self.dims) != value.ndim:
            raise _check.fail(
                f"observe[{name!r}]", f"must return an array over {self.dims}", _check.Words(f"shape {value.shape}")
            )
        return Variable(name, self.dims, value.shape, self.long_name)


def required(problem: Any, kind: type) -> Any:
    """`problem` if it is one of a kind, else refuse it."""
    if not isinstance(problem, kind):
        raise _check.fail("problem", f"must be a {kind.__name__}", type(problem).__name__)
    return problem
