"""A user's own recursion:  z_{k+1} = step(z_k, eta)  or  step(z_k, eta, k),  at training time  t = eta^q k"""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import cast_tree, flat_vector, is_traced
from flowdyn.methods.base import DiscreteSystem
from flowdyn.problems.base import Time, Variable, Vector
from flowdyn.problems.tree_layout import numbers_of, ravel_tree, tree_variables, unravel_tree
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule


def _relax(z: Any, eta: Any) -> Any:
    """A nonlinear oscillator, one explicit Euler step."""
    return z + eta * jnp.stack([z[1], -jnp.sin(z[0])])


class Recursion(DiscreteSystem):
    r"""A recursion of one's own; its limits of every order come from its step.

    .. math:: z_{k+1} = \mathrm{step}(z_k, \eta) \quad\text{or}\quad \mathrm{step}(z_k, \eta, k), \qquad t = \eta^q k

    Parameters
    ----------
    step : callable
        ``step(state, eta)`` or ``step(state, eta, k)``, written with jax.numpy; returns the next state. It must tend to
        the identity as eta -> 0, and k may be a real number in the limits.
    eta : float or Schedule
        Step size, positive.
    w0_like : pytree of float arrays, optional
        An example of the parameters w that a run starts from. Without it they are one flat vector, of any length.
    init : callable, optional
        ``init(w)`` returns the state that starts at w, any pytree of float arrays; the state is w itself unless given.
    params : callable, optional
        ``params(state)`` returns the w of a state, needed with `init`: gaps are measured in w.
    increment : bool
        Whether `step` returns (S(z) - z)/h in place of the next state S(z), h = eta^q: then no digit is lost at tiny
        eta.
    clock_power : float
        q > 0: training time is eta^q k, 1/2 for momentum methods. Orders are counted in h = eta^q.

    Raises
    ------
    ArgumentError
        If a function does not take its arguments or returns another structure, a part of the state is no array of
        floats, or only one of `init` and `params` is given; by :func:`flowdyn.solve` and :func:`flowdyn.eta_limit`, if
        the step does not tend to the identity.

    Notes
    -----
    ``limit(order)`` is a :class:`RecursionFlow`. Source: Hairer, Lubich and Wanner (2006), section IX.1.

    Examples
    --------
    >>> import flowdyn as fd
    >>> def implicit(z, eta):  # the implicit Euler step of z' = -z
    ...     return z / (1 + eta)
    >>> ladder = fd.eta_limit(fd.Recursion(implicit, eta=0.1), [1.0], t=1.0, order=2)
    >>> round(float(ladder.order), 1)
    3.0
    """

    function: Callable
    eta: Schedule
    w0_like: Any
    init: Callable | None
    params: Callable | None
    increment: bool = eqx.field(static=True)
    clock_power: float = eqx.field(static=True)
    summary: ClassVar[str] = "a user's recursion z_{k+1} = step(z_k, eta)"

    def __init__(
        self,
        step: Callable,
        eta: StepSize,
        w0_like: Any = None,
        *,
        init: Callable | None = None,
        params: Callable | None = None,
        increment: bool = False,
        clock_power: float = 1.0,
    ):
        self.increment = _check.flag("increment", increment)
        self.function = _checked_step(step)
        self.eta = as_schedule("eta", eta)
        self.clock_power = _check.real("clock_power", clock_power, positive=True)
        if self.clock_power != 1 and not isinstance(self.eta, Constant):
            raise _check.fail("eta", f"must be one number where the clock is eta^{clock_power:g} k", self.eta)
        if (init is None) != (params is None) or (init is not None and w0_like is None):
            raise _check.fail(
                "init",
                "must be given with `params` and `w0_like`",
                init,
                "init(w) makes a state of w, params(state) takes w out of it, w0_like is an example of w",
            )
        self.w0_like = cast_tree("w0_like", w0_like)
        self.init = None if init is None else _check.function("init", init, "init(w)", 1)
        self.params = None if params is None else _check.function("params", params, "params(state)", 1)
        if self.w0_like is not None and not is_traced(self.eta(jnp.asarray(0))):
            self._check_structure()

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """A pendulum by explicit Euler."""
        return cls(_relax, eta=0.01), np.array([0.5, 0.2])

    def config(self) -> dict[str, Any]:
        """Arguments that build it again, the functions among them: these do not travel in a file."""
        found = {"step": self.function, "eta": self.eta, "w0_like": self.w0_like}
        found |= {name: value for name in ("init", "params") if (value := getattr(self, name)) is not None}
        return found | {"increment": self.increment, "clock_power": self.clock_power}

    @property
    def numbers(self) -> dict[str, Any]:
        """The step and the step size."""
        return {"step": self.function, "eta": self.eta.eta if isinstance(self.eta, Constant) else self.eta}

    @property
    def step_power(self) -> float:  # type: ignore[override]
        """Power q of the clock."""
        return self.clock_power

    @property
    def increments(self) -> Schedule:
        """Time steps ``eta^q``."""
        if self.clock_power == 1:
            return self.eta
        return Constant(self.eta(jnp.asarray(0)) ** self.clock_power)

    def _state_like(self) -> Any:
        """Structure of a state: the parameters, or what `init` makes of them."""
        return self.w0_like if self.init is None else eqx.filter_eval_shape(self.init, self.w0_like)

    def _called(self, k: Any, state: Vector) -> Vector:
        """What the user's function returns, as a flat vector."""
        like = self._state_like()
        given = state if like is None else unravel_tree(like, state)
        eta = self.eta(k)
        value = self.function(given, eta, k) if _takes_k(self.function) else self.function(given, eta)
        return _flat("step", value, state if like is None else like)

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """The user's step, or ``z + h u`` from an increment u."""
        value = self._called(k, jnp.asarray(state))
        return state + self.increments(k) * value if self.increment else value

    def slope(self, k: Time, state: Vector) -> Vector:
        """``(S(z) - z) / h``, the user's own where the increment is given."""
        return self._called(k, jnp.asarray(state)) if self.increment else super().slope(k, state)

    def slope_rounding(self, state: np.ndarray) -> float:
        """Nothing where the increment is given."""
        return 0.0 if self.increment else self.difference_rounding(state)

    def layout(self, size: int) -> tuple[Variable, ...]:
        """One vector ``w`` over `param`, or the named pieces of the state."""
        if self.w0_like is None:
            return (Variable("w", ("param",), (size,), "state w"),)
        return tree_variables(self._state_like(), "state" if self.init else "parameter")

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
        return _flat("init", self.init(unravel_tree(self.w0_like, jnp.asarray(w0))), self._state_like())

    def project(self, state: Vector) -> Vector:
        """The w that `params` takes out of a state."""
        return state if self.params is None else _flat("params", self.as_user_sees(state), self.w0_like)

    def as_user_sees(self, state: Vector) -> Any:
        """The parameters, as the user's functions see them."""
        if self.w0_like is None:
            return state
        tree = unravel_tree(self._state_like(), jnp.asarray(state))
        return tree if self.params is None else self.params(tree)

    def _check_structure(self) -> None:
        """Refuse a state that is not floats throughout, and functions whose outputs are no state and no parameters."""
        like = self._state_like()
        other = [leaf for leaf in jax.tree.leaves(like) if hasattr(leaf, "dtype") and not _is_float(leaf)]
        if other or not jax.tree.leaves(numbers_of(like)):
            raise _check.fail(
                "init" if self.init else "w0_like",
                "must hold real arrays only",
                other[0] if other else like,
                "count steps by step(state, eta, k), and write 1.0 for 1",
            )
        flat = jax.ShapeDtypeStruct((sum(v.size for v in self.layout(0)),), jnp.float64)
        jax.eval_shape(lambda z: self.step(jnp.asarray(0), z), flat)
        jax.eval_shape(lambda z: self.project(z), flat)
        self._apart()


def _is_float(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _pieces(variables: tuple[Variable, ...], flat: Vector) -> dict[str, jax.Array]:
    """Named pieces of a flat vector."""
    parts = jnp.split(flat, np.cumsum([v.size for v in variables])[:-1])
    return {v.name: part.reshape(v.shape) for v, part in zip(variables, parts, strict=True)}


def _checked_step(step: Any) -> Callable:
    """Refuse a step that takes neither (state, eta) nor (state, eta, k)."""
    _check.function("step", step, "step(state, eta) or step(state, eta, k)", 3 if _takes_k(step) else 2)
    return step


def _takes_k(step: Any) -> bool:
    """Whether a step asks for the step number: a third argument that has no default."""
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return len(places) >= 3


def _flat(name: str, value: Any, like: Any) -> jax.Array:
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
