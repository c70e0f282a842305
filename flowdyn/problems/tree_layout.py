"""A pytree (a dict, an Equinox or Flax model) as one flat vector with named pieces:  tree <-> (P,)

The real arrays of an example `like` are what is flattened; its other leaves are carried along unchanged.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import cast_tree
from flowdyn.problems.base import Variable, Vector
from flowdyn.problems.named_pieces import is_dataset, ravel_dataset, ravel_variables

# names that a Dataset uses itself; a parameter of that name is written as w_<name>
RESERVED = frozenset(
    {"t", "k", "eta", "realization", "loss", "grad_norm", "status", "error", "order", "theta", "start"}
)


def is_number(leaf: Any) -> bool:
    """Whether a leaf is a real array, or the shape of one."""
    return eqx.is_inexact_array(leaf) or (
        isinstance(leaf, jax.ShapeDtypeStruct) and jnp.issubdtype(leaf.dtype, jnp.inexact)
    )


def numbers_of(like: Any) -> Any:
    """The tree with nothing but its real arrays."""
    return eqx.filter(like, is_number)


def unravel_tree(like: Any, flat: Vector) -> Any:
    """Pytree like `like` with the numbers of `flat` (P,)."""
    leaves, treedef = jax.tree.flatten(numbers_of(like))
    pieces = jnp.split(flat, np.cumsum([leaf.size for leaf in leaves])[:-1])
    params = jax.tree.unflatten(treedef, [p.reshape(leaf.shape) for p, leaf in zip(pieces, leaves, strict=True)])
    return eqx.combine(params, eqx.filter(like, is_number, inverse=True))


def tree_of_dataset(like: Any, ds: Mapping) -> Any:
    """Pytree like `like` with the numbers that a Dataset at one time holds under the names of its pieces."""
    tree = cast_tree("like", like)
    if not jax.tree.leaves(numbers_of(tree)):
        raise _check.fail("like", "must be a problem or a pytree like the parameters", like, "e.g. the network")
    return unravel_tree(tree, ravel_dataset("ds", ds, tree_variables(tree), {}))


def ravel_tree(argument: str, value: Any, like: Any, variables: tuple[Variable, ...]) -> np.ndarray:
    """Flat vector from a pytree like `like`, a flat array, a mapping of the names of `variables`, or a Dataset."""
    if not is_dataset(value) and len(jax.tree.leaves(value)) == len(jax.tree.leaves(like)):
        given, params = eqx.filter(cast_tree(argument, value), eqx.is_inexact_array), numbers_of(like)
        leaves, wanted = jax.tree.leaves(given), jax.tree.leaves(params)
        structures: list[Any] = [jax.tree.structure(given), jax.tree.structure(params)]
        if structures[0] == structures[1] and all(a.shape == b.shape for a, b in zip(leaves, wanted, strict=True)):
            return np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])
    return ravel_variables(argument, value, variables, {})


def tree_variables(like: Any, what: str = "parameter") -> tuple[Variable, ...]:
    """One variable a leaf, named by its path in the pytree."""
    paths, _ = jax.tree_util.tree_flatten_with_path(numbers_of(like))
    if len(paths) == 1 and not paths[0][0]:
        shape = paths[0][1].shape
        return (Variable("w", dims_of("w", shape), shape, f"{what}s w"),)
    found: list[Variable] = []
    for path, leaf in paths:
        place = jax.tree_util.keystr(path, simple=True, separator=".")
        name = re.sub(r"\W+", "_", _spelled(place), flags=re.ASCII).strip("_")
        if not name[:1].isalpha() or name in RESERVED:
            name = f"w_{name}"
        while name in {v.name for v in found}:
            name += "_"
        found.append(Variable(name, dims_of(name, leaf.shape), leaf.shape, f"{what} {place}"))
    return tuple(found)


def dims_of(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Dimensions of a variable: `param` for a vector w, else its own."""
    if name == "w" and len(shape) == 1:
        return ("param",)
    return tuple(f"{name}_dim_{axis}" for axis in range(len(shape)))


def _spelled(place: str) -> str:
    """Greek letters by their names: a variable of a NetCDF file has a name in ASCII."""

    def word(letter: str) -> str:
        found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(letter, ""))
        if not found:
            return letter
        return found[2].lower() if found[1] == "SMALL" else found[2].capitalize()

    return "".join(map(word, place))
