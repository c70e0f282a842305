"""The state of an optimiser of optax as the recursion holds it:  (arrays, count)  <->  a pytree of optax"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn.problems.base import Variable, Vector
from flowdyn.problems.tree_layout import RESERVED, is_number


def not_counts(path: Any, found: str) -> _check.ArgumentError:
    """The error for a leaf of the state that is neither an array of reals nor a count of steps."""
    place = jax.tree_util.keystr(path, simple=True, separator=".")
    return _check.fail(
        "factory",
        "must return an optimiser whose state is made of real arrays and counts of steps",
        _check.Words(f"{place!r}, {found}"),
        "keys, flags and other counters have no limit as eta -> 0",
    )


def with_arrays(like: Any, flat: Vector, count: Any) -> Any:
    """The optimiser's state from its flat arrays and the number of steps."""
    leaves, treedef = jax.tree.flatten(like)
    sizes = [x.size for x in leaves if is_number(x)]
    pieces = iter(jnp.split(flat, np.cumsum(sizes)[:-1]) if sizes else ())
    filled = [next(pieces).reshape(x.shape) if is_number(x) else count for x in leaves]
    return jax.tree.unflatten(treedef, filled)


def named_arrays(state: Any, params: Any, variables: tuple[Variable, ...]) -> list[tuple[Variable, Any]]:
    """A variable for each array of the optimiser's state, named as optax names it, and as its parameter is called."""
    own = {
        jax.tree_util.keystr(path, simple=True, separator="."): v
        for (path, _), v in zip(jax.tree_util.tree_flatten_with_path(params)[0], variables, strict=True)
    }
    found: list[tuple[Variable, Any]] = []
    taken = {v.name for v in variables} | RESERVED
    for path, x in jax.tree_util.tree_flatten_with_path(state)[0]:
        if not is_number(x):
            continue
        parts = jax.tree_util.keystr(path, simple=True, separator=".").split(".")
        tails = [".".join(parts[i:]) for i in range(len(parts) + 1)]
        of = next((own[tail] for tail in tails if tail in own and own[tail].shape == x.shape), None)
        place = next((tail for tail in tails if tail in own), "") if of else ""
        head = ".".join(parts).removesuffix(place).strip(".")
        words = [word for word in head.split(".") if word and not word.isdigit()]
        name = "_".join(words or ["state"]) + (f"_{of.name}" if of and len(variables) > 1 else "")
        number = 1
        while (name if number == 1 else f"{name}_{number}") in taken:
            number += 1
        name = name if number == 1 else f"{name}_{number}"
        taken.add(name)
        dims = of.dims if of else tuple(f"{name}_dim_{axis}" for axis in range(len(x.shape)))
        found.append((Variable(name, dims, x.shape, f"{'_'.join(words) or 'state'} of the optimiser"), x))
    return found
