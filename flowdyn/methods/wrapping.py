"""A system around another:  what it does not change is that of the one inside."""

import abc
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import shown_call
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.following import RecursionFlow
from flowdyn.methods.systems import ODESystem, System
from flowdyn.problems.base import Problem, Variable, Vector
from flowdyn.schedules import Schedule


class Around(System):
    """Layout, parameters, observables and start of the system inside."""

    method: eqx.AbstractVar[Any]

    def __repr__(self) -> str:
        return shown_call(type(self).__name__, self.config(), unnamed=1)

    @property
    def numbers(self) -> dict[str, Any]:
        """Those of the system inside, and one's own."""
        return self.method.numbers | {name: value for name, value in self.config().items() if name != "method"}

    def started_from(self, w0: Any) -> Self:
        """Around the system inside as that start has it."""
        return eqx.tree_at(lambda around: around.method, self, self.method.started_from(w0))

    @property
    def problem(self) -> Problem | None:
        """The problem of the system inside."""
        return self.method.on_problem

    @property
    def on_problem(self) -> Problem | None:
        """The problem of the system inside."""
        return self.method.on_problem

    @property
    def time_name(self) -> str:
        """What t is of the system inside."""
        return self.method.time_name

    def layout(self, size: int) -> tuple[Variable, ...]:
        """Named pieces of the state inside."""
        return self.method.layout(size)

    def parameters(self, size: int) -> tuple[Variable, ...]:
        """Parameters of the system inside."""
        return self.method.parameters(size)

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat parameters, as the system inside reads them."""
        return self.method.ravel(w0)

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Layout of the observables inside."""
        return self.method.observable_variables

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels along the dimensions inside."""
        return self.method.coords

    def observables(self, state: Vector) -> dict[str, Vector]:
        """Observables of the system inside."""
        return self.method.observables(state)

    def as_user_sees(self, state: Vector) -> Any:
        """What the system inside shows."""
        return self.method.as_user_sees(state)

    def lift(self, w0: Vector) -> Vector:
        """State of the system inside that starts at w0."""
        return self.method.lift(w0)

    def project(self, state: Vector) -> Vector:
        """Parameters in the state inside."""
        return self.method.project(state)

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubts of the system inside."""
        return self.method.warn_before(w0)

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse what the system inside refuses."""
        self.method.check_start(state0)


class AroundSteps(Around):
    """Around a recursion: its step size and clock too."""

    @property
    def eta(self) -> Schedule:
        """Step size of the recursion inside."""
        return self.method.eta

    @property
    def step_power(self) -> float:
        """Power of eta that the clock's step is."""
        return self.method.step_power

    @property
    def increments(self) -> Schedule:
        """Time steps of the recursion inside."""
        return self.method.increments

    def expected_order(self, order: int = 0, error: str = "sup") -> float:
        """Order of the recursion inside."""
        return self.method.expected_order(order, error)

    def with_eta(self, eta: Any) -> Self:
        """The same around the recursion at another step size."""
        cls: Any = type(self)
        return cls(**self.config() | {"method": self.method.with_eta(eta)})


class AroundRecursion(AroundSteps, DiscreteSystem):  # type: ignore[override]
    """A deterministic recursion around another."""

    @property
    def is_users(self) -> bool:  # type: ignore[override]
        """Whether the step inside is a user's own."""
        return self.method.is_users

    @abc.abstractmethod
    def step(self, k: jax.Array, state: Vector) -> Vector:
        """State of shape (S,) after step k from `state`."""

    def slope_rounding(self, state: np.ndarray) -> float:
        """Rounding of the slope inside."""
        return self.method.slope_rounding(state)

    def limit(self, order: int = 0) -> ODESystem:
        """The flow of that order; refused where the recursion inside has none."""
        self.method.limit(order)
        return RecursionFlow(self, order)


def checked_recursion(method: Any) -> DiscreteSystem:
    """Refuse anything but a deterministic recursion."""
    if not isinstance(method, DiscreteSystem):
        raise _check.fail("method", "must be a deterministic recursion", method, "e.g. fd.HeavyBall(...)")
    return method


def on_another_problem(method: Any, problem: Problem) -> Any:
    """The same method on another problem, however deep inside."""
    if isinstance(method, Around):
        return eqx.tree_at(lambda m: m.method, method, on_another_problem(method.method, problem))
    return eqx.tree_at(lambda m: m.problem, method, problem)


def places_of_parameters(method: System, size: int) -> np.ndarray:
    """Indices at which a state of `size` entries holds the parameters; refused where they are computed from it."""
    with jax.ensure_compile_time_eval():
        places = np.asarray(method.project(jnp.arange(float(size))))
        probe = jnp.cos(1.0 + jnp.arange(size))
        picked = np.asarray(method.project(probe))
    whole = np.rint(places)
    inside = (whole == places).all() and whole.min() >= 0 and whole.max() < size
    if not inside or not np.array_equal(picked, np.asarray(probe)[whole.astype(int)]):
        rule = "must hold its parameters in its state"
        raise _check.fail("method", rule, type(method).__name__, "its state is another variable")
    return whole.astype(int)
