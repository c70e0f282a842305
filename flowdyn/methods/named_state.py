"""States with names in a user's equations:  y = (x, v)  flat,  or  {"x": x, "v": v}  as the user's functions see it.

    names = ("x", "v")                y is flat; its entries have names in the Dataset
    names = {"x": (), "v": (3,)}      f sees and returns a mapping; so too where a run starts from a mapping

The pieces of a mapping lie in the order of their names, as those of any pytree do.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import flat_vector, is_traced, own_copy
from flowdyn.methods.described import PLAIN_TIME
from flowdyn.methods.systems import System
from flowdyn.problems.base import Variable, Vector
from flowdyn.problems.named_pieces import is_dataset, ravel_variables, shown_layout
from flowdyn.problems.tree_layout import RESERVED, dims_of

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
NameLike = tuple[str, ...] | list[str] | Mapping[str, tuple[int, ...]]
# names of problems and ladders, which a user's equation is not: a pendulum has an angle theta
TAKEN = RESERVED - {"theta", "loss", "order", "error", "grad_norm"}
SHOWN = 4  # names of a title
ENDS = ("_initial", "_exact", "_first", "_last", "_mean", "_ema")  # what is made of a parameter ends so


class NamedState(System):
    """The state of a user's equation: a flat vector, one whose entries have names, or a mapping."""

    f: eqx.AbstractVar[Callable]
    args: eqx.AbstractVar[tuple]
    symbol: eqx.AbstractClassVar[str]  # of the state, in words
    pieces: eqx.AbstractVar[Shapes]
    is_mapping: eqx.AbstractVar[bool]

    @property
    def title(self) -> str:
        """The kind of equation with the name of the user's function, or of what it is an equation for."""
        kind, name = type(self).__name__, getattr(self.f, "__name__", type(self.f).__name__)
        if name != "<lambda>":
            return f"{kind} {name}"
        more = ", ..." if len(self.pieces) > SHOWN else ""
        return kind + (f" of {', '.join(name for name, _ in self.pieces[:SHOWN])}{more}" if self.pieces else "")

    @property
    def time_name(self) -> str:
        """What t is of an equation that need not be one of training."""
        return PLAIN_TIME

    def named(self) -> dict[str, Any]:
        """The argument `names`, where there are any."""
        if not self.pieces:
            return {}
        return {"names": dict(self.pieces) if self.is_mapping else tuple(name for name, _ in self.pieces)}

    def are_starts(self, w0: Any) -> bool:
        """Several mappings of the names."""
        kinds = {isinstance(row, Mapping) for row in w0} if isinstance(w0, list | tuple) else set()
        if len(kinds) == 2:
            raise _check.fail("w0", "must hold a mapping for each start, or none", w0)
        return kinds == {True}

    def started_from(self, w0: Any) -> Self:
        """The equation with the names of a mapping that a run starts from, the first of several."""
        if self.are_starts(w0):
            w0 = w0[0]
        if self.pieces or not isinstance(w0, Mapping) or is_dataset(w0):
            return self
        shapes = {name: np.shape(_check.real_array(f"w0[{name!r}]", value)) for name, value in w0.items()}
        made: Any = type(self)
        return made(**self.config() | {"names": shapes})

    def layout(self, size: int) -> tuple[Variable, ...]:
        """The named pieces; else one vector ``w`` over `param`, as long as the start."""
        if not self.pieces:
            return (Variable("w", ("param",), (size,), f"state {self.symbol}"),)
        return tuple(Variable(name, dims_of(name, shape), shape, f"state {name}") for name, shape in self.pieces)

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat state from a flat array, a mapping of the names, or a Dataset at one time."""
        if not self.pieces:
            return flat_vector("w0", w0)
        layout = self.layout(0)
        if not isinstance(w0, Mapping):
            array, size = flat_vector("w0", w0), sum(v.size for v in layout)
            if array.shape != (size,):
                rule = f"must have shape ({size},), the state {shown_layout(layout)}"
                raise _check.fail("w0", rule, _check.Words(f"shape {array.shape}"))
            return array
        return ravel_variables("w0", w0 if is_dataset(w0) else dict(w0), layout, {})

    def as_user_sees(self, state: Vector) -> Any:
        """The flat state, or its pieces by their names; a function may write into what it is given."""
        if not self.is_mapping:
            return own_copy(state)
        edges = np.cumsum([0, *(v.size for v in self.layout(0))])
        return {
            name: own_copy(state[first:last].reshape(shape))[()]
            for (name, shape), first, last in zip(self.pieces, edges, edges[1:], strict=False)
        }

    def called(self, argument: str, function: Callable, t: Any, state: Vector) -> Any:
        """What a user's function returns; one that takes the state for something else is told what it is handed."""
        seen = self.as_user_sees(state)
        try:
            return function(t, seen, *self.args)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            if is_traced(state) or is_traced(t):  # called with numbers, it tells its own story
                raise
            raise self._mistaken(argument, seen, error) from error

    def _mistaken(self, argument: str, seen: Any, error: Exception) -> _check.ArgumentError:
        letter, found = self.symbol.lower(), f"{type(error).__name__}: {' '.join(str(error).split())}"
        first = next((name for name, _ in self.pieces), "")
        if self.is_mapping:
            handed = f"the dict {shown_layout(self.layout(0))} of its start"
            way_out = f"write {letter}[{first!r}], or give names=(...) in the order in which {argument} takes an array"
        else:
            names = f" with the entries {', '.join(name for name, _ in self.pieces)}" if first else ""
            handed = f"an array of shape {np.shape(seen)}{names}"
            way_out = f"write {letter}[0], or start from a mapping without `names` for a function of a mapping"
        rule = f"is handed the time, {handed} and its `args`, and must take them"
        return _check.fail(argument, rule, _check.Words(_check.short(_check.Words(found), 120)), way_out)

    def flat(self, value: Any, state: Vector) -> Any:
        """What the right-hand side returns, as a vector of the shape of the state."""
        found = self.stacked("f", value) if self.is_mapping else self._of_one_shape(value, state)
        # a step of JAX has numbers of one kind: not those of a constant in single precision
        if isinstance(found, jax.Array) or isinstance(state, jax.Array):
            return jnp.asarray(found, jax.dtypes.canonicalize_dtype(state.dtype))
        return found

    def _of_one_shape(self, value: Any, state: Vector) -> Any:
        letter = self.symbol.lower()
        if np.iscomplexobj(value):
            way_out = f"split {letter} into real and imaginary part"
            raise _check.fail("f", "must return real numbers", _check.Words("complex ones"), way_out)
        if np.shape(value) != np.shape(state):  # a scalar for a vector would be broadcast without a word
            rule = f"must return the shape {np.shape(state)} of {letter}"
            raise _check.fail("f", rule, value if value is None else _check.Words(f"shape {np.shape(value)}"))
        return value

    def stacked(self, argument: str, value: Any, columns: bool = False) -> Any:
        """Pieces by their names as one vector (S,), or where they have one more axis, `columns`, as a matrix."""
        names = [name for name, _ in self.pieces]
        if not isinstance(value, Mapping) or sorted(map(str, value)) != names:
            found = sorted(map(str, value)) if isinstance(value, Mapping) else value
            raise _check.fail(argument, f"must return a mapping with the names {names}", found)
        rows = []
        for name, shape in self.pieces:
            found = np.shape(value[name])
            if found[: len(shape)] != shape or len(found) != len(shape) + columns or np.iscomplexobj(value[name]):
                rule = f"must return real numbers of shape {shape}{' + (m,)' if columns else ''} for {name!r}"
                raise _check.fail(argument, rule, _check.Words(f"shape {found}"))
            use = jnp if isinstance(value[name], jax.Array) else np
            rows.append(use.reshape(value[name], (-1, *found[len(shape) :])))
        if len({row.shape[1:] for row in rows}) > 1:
            counts = {name: row.shape[-1] for name, row in zip(names, rows, strict=True)}
            raise _check.fail(argument, "must return as many columns for each name, one a Brownian motion", counts)
        return (jnp if any(isinstance(row, jax.Array) for row in rows) else np).concatenate(rows)


def checked_names(names: NameLike | None) -> tuple[Shapes, bool]:
    """Names with their shapes, and whether the state is a mapping."""
    if names is None:
        return (), False
    if not isinstance(names, tuple | list | Mapping) or not names:
        raise _check.fail("names", "must be a tuple of names or a mapping from name to shape", names, 'e.g. ("x", "v")')
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name.endswith(ENDS):
            rule = f"must be names of letters, digits and underscores that do not end in {', '.join(ENDS)}"
            raise _check.fail("names", rule, name, "e.g. 'theta' for an angle")
        if name in TAKEN:
            raise _check.fail("names", f"must not be those of a Dataset's own, {sorted(TAKEN)}", name)
    if not isinstance(names, Mapping):
        if len(set(names)) < len(names):
            raise _check.fail("names", "must differ", names)
        return tuple((name, ()) for name in names), False
    return tuple((name, _shape(name, names[name])) for name in sorted(names)), True


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple | list):
        raise _check.fail(f"names[{name!r}]", "must be a shape", shape, "() for a number, (3,) for three")
    return tuple(_check.integer(f"names[{name!r}]", n, minimum=1) for n in shape)
