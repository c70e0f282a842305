"""A user's own recursion:  z_{k+1} = step(z_k, eta)  or  step(z_k, eta, k),  at training time  t = eta^q k"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import is_traced
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.systems import ODESystem
from flowdyn.methods.user_state import UserState, checked_state
from flowdyn.problems.base import Time, Vector
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule

WITHOUT, WITH_NUMBER = "step(state, eta)", "step(state, eta, k)"  # how a step is called


def _relax(z: Any, eta: Any) -> Any:
    """A nonlinear oscillator, one explicit Euler step."""
    return z + eta * jnp.stack([z[1], -jnp.sin(z[0])])


class Recursion(UserState, DiscreteSystem):
    r"""A recursion of one's own; its limits of every order come from its step.

    .. math:: z_{k+1} = \mathrm{step}(z_k, \eta) \quad\text{or}\quad \mathrm{step}(z_k, \eta, k), \qquad t = \eta^q k

    Parameters
    ----------
    step : callable
        ``step(state, eta)`` or ``step(state, eta, k)``, written with jax.numpy; returns the next state. It must tend to
        the identity as eta -> 0, on the manifold that it is on where it ends by a projection. k may be a real number
        in the limits.
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
    is_users: ClassVar[bool] = True
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
        self.w0_like, self.init, self.params = checked_state(w0_like, init, params)
        if self.w0_like is not None and not is_traced(self.eta(jnp.asarray(0))):
            self.check_structure(lambda z: self.step(jnp.asarray(0), z))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """A pendulum by explicit Euler."""
        return cls(_relax, eta=0.01), np.array([0.5, 0.2])

    def config(self) -> dict[str, Any]:
        """Arguments that build it again, the functions among them: these do not travel in a file."""
        found = {"step": self.function, "eta": self.eta, **self.state_config()}
        return found | {"increment": self.increment, "clock_power": self.clock_power}

    @property
    def numbers(self) -> dict[str, Any]:
        """The step and the step size."""
        return {"step": self.function, "eta": self.eta.eta if isinstance(self.eta, Constant) else self.eta}

    @property
    def form(self) -> str:
        """Whether the step asks for its number."""
        return WITH_NUMBER if _takes_k(self.function) else WITHOUT

    @classmethod
    def formula(cls, args: Mapping[str, Any], form: str) -> str:
        """The step as it is called, on its clock; empty for an older recipe, which does not say how."""
        q = args.get("clock_power", 1.0)
        if form not in (WITHOUT, WITH_NUMBER) or not isinstance(q, int | float):
            return ""
        eta = r"\eta_k" if isinstance(args.get("eta"), Mapping) else r"\eta"
        h = {1.0: eta, 0.5: r"\sqrt{\eta}"}.get(q, rf"\eta^{{{q:.6g}}}")
        step = rf"\mathrm{{step}}(z_k, {eta}{', k' if form == WITH_NUMBER else ''})"
        clock = r"t_{k+1} = t_k + \eta_k" if h == r"\eta_k" else rf"t = {h}\, k"
        before = rf"z_k + {h}\, " if args.get("increment") is True else ""
        return rf"z_{{k+1}} = {before}{step}, \qquad {clock}"

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

    def _called(self, eta: Any, k: Any, state: Vector) -> Vector:
        """What the user's function returns, as a flat vector."""
        if _takes_k(self.function):
            return self.called_step(self.function, state, eta, k, form=WITH_NUMBER)
        return self.called_step(self.function, state, eta, form=WITHOUT)

    def step_at(self, h: Time, k: Time, state: Vector) -> Vector:
        """The step at another time step, which a schedule knows too where the number k is not asked for."""
        if isinstance(self.eta, Constant):
            return super().step_at(h, k, state)
        value = self._called(h, k, jnp.asarray(state))
        return state + h * value if self.increment else value

    def limit(self, order: int = 0) -> ODESystem:
        """The flow that the recursion follows; a schedule has one of order 0, on its clock, the sum of eta_k."""
        if _check.integer("order", order, minimum=0) == 0 and _takes_k(self.function):
            self.constant_eta("the limit of a step that depends on k")
        return super().limit(order)

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """The user's step, or ``z + h u`` from an increment u."""
        value = self._called(self.eta(k), k, jnp.asarray(state))
        return state + self.increments(k) * value if self.increment else value

    def slope(self, k: Time, state: Vector) -> Vector:
        """``(S(z) - z) / h``, the user's own where the increment is given."""
        return (
            self._called(self.eta(jnp.asarray(k)), k, jnp.asarray(state)) if self.increment else super().slope(k, state)
        )

    def slope_rounding(self, state: np.ndarray) -> float:
        """Nothing where the increment is given."""
        return 0.0 if self.increment else self.difference_rounding(state)


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
