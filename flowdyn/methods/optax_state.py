"""The state of an optimiser of optax as the recursion holds it:  (arrays, count)  <->  a pytree of optax

Arrays that no step changes, or that no step reads (the rates that `inject_hyperparams` keeps, a trace of decay 0), are
functions of eta and of the parameters: they are no part of the recursion's state.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from flowdyn import _check
from flowdyn._tools.compiled import ByIdentity
from flowdyn._tools.dependence import reach
from flowdyn._tools.user_calls import callable_as, traced_call
from flowdyn.problems.base import Variable, Vector
from flowdyn.problems.named_pieces import shown_layout
from flowdyn.problems.tree_layout import RESERVED, is_number, tree_variables

TRACED = "the factory is traced in h and the count of steps: jnp.where in place of `if`, h * count in place of int(1/h)"


def made(factory: Callable, h: Any) -> Any:
    """The optimiser of a step size, which is traced: a ladder compiles once."""
    return traced_call("factory", factory, (h,), lambda: callable_as("factory(h), h a number"), TRACED)


def begun(optimiser: Any, params: Any) -> Any:
    """The state that an optimiser starts with."""
    return traced_call("factory", optimiser.init, (params,), lambda: _of_gradients(params), TRACED)


def updated(optimiser: Any, gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
    """Updates and next state of an optimiser."""
    return traced_call("factory", optimiser.update, (gradients, state, params), lambda: _of_gradients(params), TRACED)


def _of_gradients(params: Any) -> str:
    return (
        "must return an optimiser that is updated by a gradient alone, of the problem's own parameters "
        f"({shown_layout(tree_variables(params))}), its step counts taken as real numbers"
    )


def moving_leaves(factory: Callable, params: Any) -> tuple[bool, ...]:
    """Which leaves of the optimiser's state are arrays of the recursion's state; `params` may be shapes."""
    leaves, treedef = jax.tree.flatten(params)
    return _moving(ByIdentity(factory), treedef, tuple((x.shape, x.dtype) for x in leaves))


@functools.lru_cache(maxsize=64)
def _moving(key: ByIdentity, treedef: Any, shapes: tuple) -> tuple[bool, ...]:
    factory: Any = key.values[0]
    params = jax.tree.unflatten(treedef, [jax.ShapeDtypeStruct(*shape) for shape in shapes])
    number = jax.ShapeDtypeStruct((), jnp.float64)
    start = jax.eval_shape(lambda h, w: begun(made(factory, h), w), number, params)
    for path, x in jax.tree_util.tree_flatten_with_path(start)[0]:
        if not is_number(x) and not (jnp.issubdtype(x.dtype, jnp.integer) and x.ndim == 0):
            raise not_counts(path, f"which holds {x.dtype}")
    leaves, structure = jax.tree.flatten(start)
    numbers = [i for i, x in enumerate(leaves) if is_number(x)]

    def init(h: Any, w: Any) -> list:
        return jax.tree.leaves(begun(made(factory, h), w))

    def step(h: Any, count: Any, w: Any, gradients: Any, arrays: list) -> list:
        given = iter(arrays)
        state = jax.tree.unflatten(structure, [next(given) if is_number(x) else count for x in leaves])
        change, after = updated(made(factory, h), gradients, state, w)
        return [jax.tree.leaves(after), jax.tree.leaves(change)]

    of_start = jax.make_jaxpr(init)(number, params).jaxpr
    starts = reach(of_start, [False, *[True] * len(shapes)])[1]
    closed = jax.make_jaxpr(step)(number, number, params, params, [leaves[i] for i in numbers]).jaxpr
    first = 2 + 2 * len(shapes)  # the place of the first array among the arguments
    moving = [is_number(x) for x in leaves]
    for place, i in enumerate(numbers):
        own = first + place
        read = reach(closed, [j == own for j in range(len(closed.invars))])[1]
        is_held = _source(closed, closed.outvars[i]) is closed.invars[own]
        moving[i] = starts[i] or (any(read) and not is_held)
    return tuple(moving)


def _source(jaxpr: Any, variable: Any) -> Any:
    """What a variable is a copy of, at most of another type."""
    copies = {e.outvars[0]: e.invars[0] for e in jaxpr.eqns if e.primitive.name == "convert_element_type"}
    while not isinstance(variable, Literal) and variable in copies:
        variable = copies[variable]
    return variable


def not_counts(path: Any, found: str) -> _check.ArgumentError:
    """The error for a leaf of the state that is neither an array of reals nor a count of steps."""
    place = jax.tree_util.keystr(path, simple=True, separator=".")
    return _check.fail(
        "factory",
        "must return an optimiser whose state is made of real arrays and counts of steps",
        _check.Words(f"{place!r}, {found}"),
        "keys, flags and other counters have no limit as eta -> 0",
    )


def with_arrays(start: Any, moving: tuple[bool, ...], flat: Vector, count: Any) -> Any:
    """The optimiser's state from its flat arrays and the number of steps; what does not move is as at the start."""
    leaves, treedef = jax.tree.flatten(start)
    sizes = [x.size for x, moves in zip(leaves, moving, strict=True) if moves]
    pieces = iter(jnp.split(flat, np.cumsum(sizes)[:-1]) if sizes else ())
    filled = [
        next(pieces).reshape(x.shape) if moves else x if is_number(x) else count
        for x, moves in zip(leaves, moving, strict=True)
    ]
    return jax.tree.unflatten(treedef, filled)


def named_arrays(
    state: Any, moving: tuple[bool, ...], params: Any, variables: tuple[Variable, ...]
) -> list[tuple[Variable, Any]]:
    """A variable for each array that moves, named as optax names it, and as its parameter is called."""
    own = {
        jax.tree_util.keystr(path, simple=True, separator="."): v
        for (path, _), v in zip(jax.tree_util.tree_flatten_with_path(params)[0], variables, strict=True)
    }
    found: list[tuple[Variable, Any]] = []
    taken = {v.name for v in variables} | RESERVED
    for (path, x), moves in zip(jax.tree_util.tree_flatten_with_path(state)[0], moving, strict=True):
        if not moves:
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
