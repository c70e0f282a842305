"""Parameters that are any pytree (a dict, an Equinox or Flax model), laid out as one flat vector with named pieces."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import cast_tree
from flowdyn.problems.base import Problem, Variable, Vector, ravel_variables

# names that a Dataset uses itself; a parameter of that name is written as w_<name>
RESERVED = frozenset(
    {"t", "k", "eta", "realization", "loss", "grad_norm", "status", "error", "order", "theta", "start"}
)


class PytreeProblem(Problem):
    """Base of problems whose parameters are a user's pytree.

    The inexact arrays of `w0_like` are the parameters, cast to float64; its other leaves are carried along unchanged.
    `data` are array leaves: they are neither baked into the compiled code nor compiled anew.
    """

    w0_like: Any
    data: Any

    def _set(self, w0_like: Any, data: Any) -> None:
        self.w0_like = cast_tree("w0_like", w0_like)
        self.data = cast_tree("data", data)
        if not sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.w0_like, eqx.is_inexact_array))):
            raise _check.fail("w0_like", "must hold at least one real number (1.0, not 1)", w0_like)

    @property
    def _params(self) -> Any:
        return eqx.filter(self.w0_like, eqx.is_inexact_array)

    def _call(self, function: Callable, w: Vector) -> Any:
        """``function(tree)``, or ``function(tree, data)`` where data were given."""
        tree = self.unravel(jnp.asarray(w))
        return function(tree) if self.data is None else function(tree, self.data)

    def _check_output(self, name: str, function: Callable, ndim: int) -> None:
        """Refuse a function that JAX cannot trace, or whose output has the wrong shape, before anything runs."""
        form = f"{name}(w)" if self.data is None else f"{name}(w, data)"
        _check.function(name, function, form, 1 if self.data is None else 2)
        try:
            out = jax.eval_shape(lambda w: self._call(function, w), jax.ShapeDtypeStruct((self.size,), jnp.float64))
        except jax.errors.JAXTypeError as error:
            reason = str(error).splitlines()[0]
            raise _check.ArgumentError(
                f"`{name}` must be written with jax.numpy so that JAX can differentiate it, got {reason}"
            ) from None
        if getattr(out, "ndim", None) != ndim or not jnp.issubdtype(out.dtype, jnp.floating):
            kind = "a real scalar" if ndim == 0 else "a real vector (n,), one value a sample"
            raise _check.fail(name, f"must return {kind}", out)

    def init(self) -> np.ndarray:
        """The example `w0_like` as one flat vector (P,)."""
        return self.ravel(self.w0_like)

    def unravel(self, w: Vector) -> Any:
        """Pytree like `w0_like` with the parameters of flat w (P,)."""
        leaves, treedef = jax.tree.flatten(self._params)
        pieces = jnp.split(w, np.cumsum([leaf.size for leaf in leaves])[:-1])
        params = jax.tree.unflatten(treedef, [p.reshape(leaf.shape) for p, leaf in zip(pieces, leaves, strict=True)])
        return eqx.combine(params, eqx.filter(self.w0_like, eqx.is_inexact_array, inverse=True))

    def ravel(self, w: Any) -> np.ndarray:
        """Flat vector from a pytree like `w0_like`, a flat array, or a mapping of variable names to arrays."""
        params = self._params
        if len(jax.tree.leaves(w)) == len(jax.tree.leaves(self.w0_like)):
            given = eqx.filter(cast_tree("w0", w), eqx.is_inexact_array)
            leaves, wanted = jax.tree.leaves(given), jax.tree.leaves(params)
            structures: list[Any] = [jax.tree.structure(given), jax.tree.structure(params)]
            if structures[0] == structures[1] and all(a.shape == b.shape for a, b in zip(leaves, wanted, strict=True)):
                return np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])
        return ravel_variables("w0", w, self.variables)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One variable a leaf, named by its path in the pytree."""
        paths, _ = jax.tree_util.tree_flatten_with_path(self._params)
        if len(paths) == 1 and not paths[0][0]:
            shape = paths[0][1].shape
            return (Variable("w", _dims("w", shape), shape, "parameters w"),)
        found: list[Variable] = []
        for path, leaf in paths:
            place = jax.tree_util.keystr(path, simple=True, separator=".")
            name = re.sub(r"\W+", "_", _spelled(place), flags=re.ASCII).strip("_")
            if not name[:1].isalpha() or name in RESERVED:
                name = f"w_{name}"
            while name in {v.name for v in found}:
                name += "_"
            found.append(Variable(name, _dims(name, leaf.shape), leaf.shape, f"parameter {place}"))
        return tuple(found)


def _spelled(place: str) -> str:
    """Greek letters by their names: a variable of a NetCDF file has a name in ASCII."""

    def word(letter: str) -> str:
        found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(letter, ""))
        if not found:
            return letter
        return found[2].lower() if found[1] == "SMALL" else found[2].capitalize()

    return "".join(map(word, place))


def _dims(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    if name == "w" and len(shape) == 1:
        return ("param",)
    return tuple(f"{name}_dim_{axis}" for axis in range(len(shape)))
