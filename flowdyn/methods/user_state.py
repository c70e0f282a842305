"""A state of a user's own making:  w -> init(w) = z,   params(z) = w,   both any pytree of float arrays."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import cast_tree, flat_vector
from flowdyn._tools.user_calls import callable_as, traced_call, traced_once
from flowdyn.methods.systems import System
from flowdyn.problems.base import Variable, Vector
from flowdyn.problems.named_pieces import shown_layout
from flowdyn.problems.tree_layout import numbers_of, ravel_tree, tree_variables, unravel_tree


class UserState(System):
    """What a recursion written by a user has for a state.

    Without `w0_like` it is one flat vector w of any length; with it a pytree w; with `init` what that makes of w.
    """

    w0_like: eqx.AbstractVar[Any]
    init: eqx.AbstractVar[Callable | None]
    params: eqx.AbstractVar[Callable | None]

    def state_config(self) -> dict[str, Any]:
        """The arguments that say what the state is."""
        given = {name: value for name in ("init", "params") if (value := getattr(self, name)) is not None}
        return {"w0_like": self.w0_like} | given

    def state_like(self) -> Any:
        """Structure of a state: the parameters, or what `init` makes of them."""
        return self.w0_like if self.init is None else eqx.filter_eval_shape(self._made, self.w0_like)

    def _made(self, w: Any) -> Any:
        """The state that the user's `init` makes of w."""
        assert self.init is not None
        return traced_call("init", self.init, (w,), lambda: callable_as("init(w), w like `w0_like`"))

    def _taken(self, state: Any) -> Any:
        """The parameters that the user's `params` takes out of a state."""
        assert self.params is not None
        return traced_call("params", self.params, (state,), lambda: callable_as("params(state), state of `init`"))

    def seen(self, state: Vector) -> Any:
        """The state as the user's functions see it."""
        like = self.state_like()
        return state if like is None else unravel_tree(like, jnp.asarray(state))

    def called_step(self, function: Callable, state: Vector, *more: Any, form: str) -> jax.Array:
        """Flat vector of what a user's step, called as `form`, makes of a state and the numbers beside it."""
        like = self.state_like()
        value = traced_call(
            "step",
            traced_once(function),
            (self.seen(state), *more),
            lambda: callable_as(f"{form}, state {shown_layout(self.layout(len(state)))}"),
        )
        return flat_of("step", value, state if like is None else like)

    def layout(self, size: int) -> tuple[Variable, ...]:
        """One vector ``w`` over `param`, or the named pieces of the state."""
        if self.w0_like is None:
            return (Variable("w", ("param",), (size,), "state w"),)
        return tree_variables(self.state_like(), "state" if self.init else "parameter")

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """The parameters, where they are not pieces of the state under their own names."""
        return self._apart()

    def parameters(self, size: int) -> tuple[Variable, ...]:
        """The variables of w."""
        return self.layout(size) if self.params is None else tree_variables(self.w0_like)

    def observables(self, state: Vector) -> dict[str, Vector]:
        """The parameters that are not pieces of the state."""
        apart = {v.name for v in self._apart()}
        if not apart:
            return {}
        pieces = _pieces(tree_variables(self.w0_like), self.project(state))
        return {name: value for name, value in pieces.items() if name in apart}

    def _apart(self) -> tuple[Variable, ...]:
        """Variables of w that the state does not hold under the same name; `params` may pick pieces or compute."""
        if self.params is None:
            return ()
        state = self.layout(0)
        with jax.ensure_compile_time_eval():
            flat = jnp.cos(1.0 + jnp.arange(sum(v.size for v in state)))
            held, found = _pieces(state, flat), _pieces(tree_variables(self.w0_like), self.project(flat))
            picked = {n for n, x in found.items() if n in held and np.array_equal(np.asarray(x), np.asarray(held[n]))}
        clash = sorted(set(held) & set(found) - picked)
        if clash:
            raise _check.fail(
                "init", f"must give the pieces of the state other names than those of w, {sorted(found)}", clash
            )
        return tuple(v for v in tree_variables(self.w0_like) if v.name not in picked)

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat parameters; a number is a vector of one entry where there is no example of w."""
        if self.w0_like is None:
            return flat_vector("w0", w0)
        return ravel_tree("w0", w0, self.w0_like, tree_variables(self.w0_like))

    def lift(self, w0: Vector) -> Vector:
        """The state that `init` makes of w."""
        if self.init is None:
            return w0
        return flat_of("init", self._made(unravel_tree(self.w0_like, jnp.asarray(w0))), self.state_like())

    def project(self, state: Vector) -> Vector:
        """The w that `params` takes out of a state."""
        return state if self.params is None else flat_of("params", self.as_user_sees(state), self.w0_like)

    def unravel(self, w: Vector) -> Any:
        """Flat parameters in their own structure."""
        return w if self.w0_like is None else unravel_tree(self.w0_like, jnp.asarray(w))

    def as_user_sees(self, state: Vector) -> Any:
        """The parameters, as the user's functions see them."""
        if self.w0_like is None:
            return state
        tree = unravel_tree(self.state_like(), jnp.asarray(state))
        return tree if self.params is None else self._taken(tree)

    def check_structure(self, step: Callable) -> None:
        """Refuse a state that is not floats throughout, and functions whose outputs are no state and no parameters."""
        like = self.state_like()
        other = [leaf for leaf in jax.tree.leaves(like) if hasattr(leaf, "dtype") and not _is_float(leaf)]
        if other or not jax.tree.leaves(numbers_of(like)):
            raise _check.fail(
                "init" if self.init else "w0_like",
                "must hold real arrays only",
                other[0] if other else like,
                "count steps by the step number k, and write 1.0 for 1",
            )
        flat = jax.ShapeDtypeStruct((sum(v.size for v in self.layout(0)),), jnp.float64)
        jax.eval_shape(step, flat)
        jax.eval_shape(lambda z: self.project(z), flat)
        self._apart()


def _is_float(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _pieces(variables: tuple[Variable, ...], flat: Vector) -> dict[str, jax.Array]:
    """Named pieces of a flat vector."""
    parts = jnp.split(flat, np.cumsum([v.size for v in variables])[:-1])
    return {v.name: part.reshape(v.shape) for v, part in zip(variables, parts, strict=True)}


def checked_state(w0_like: Any, init: Any, params: Any) -> tuple[Any, Callable | None, Callable | None]:
    """Check the arguments that say what a state is."""
    if (init is None) != (params is None) or (init is not None and w0_like is None):
        raise _check.fail(
            "init",
            "must be given with `params` and `w0_like`",
            init,
            "init(w) makes a state of w, params(state) takes w out of it, w0_like is an example of w",
        )
    return (
        cast_tree("w0_like", w0_like),
        None if init is None else _check.function("init", init, "init(w)", 1),
        None if params is None else _check.function("params", params, "params(state)", 1),
    )


def flat_of(name: str, value: Any, like: Any) -> jax.Array:
    """Flat vector of what a user's function returns, which must have the structure of `like`."""
    numbers = jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, float | np.generic) else leaf, value)
    given, wanted = numbers_of(numbers), numbers_of(like)
    structures: list[Any] = [jax.tree.structure(given), jax.tree.structure(wanted)]
    leaves, shapes = jax.tree.leaves(given), [leaf.shape for leaf in jax.tree.leaves(wanted)]
    if any(jnp.iscomplexobj(leaf) for leaf in leaves):
        raise _check.fail(name, "must return real numbers", _check.Words("complex ones"))
    if structures[0] != structures[1] or [leaf.shape for leaf in leaves] != shapes:
        found = [leaf.shape for leaf in leaves] if structures[0] == structures[1] else structures[0]
        rule = f"must return the structure {structures[1]} with arrays of shapes {shapes}"
        raise _check.fail(name, rule, _check.Words(str(found)))
    return jnp.concatenate([leaf.astype(jnp.float64).ravel() for leaf in leaves])
