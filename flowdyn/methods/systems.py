"""The kinds of dynamics, as siblings: none can be mistaken for another.

    ODESystem        state' = drift(t, state)
    DiscreteSystem   state_{k+1} = step(k, state_k),  at training time t_k = clock(k)
    SDESystem and RandomRecursion, their random siblings, are in :mod:`flowdyn.methods.stochastic_base`.

A state may be larger than the parameters w (momentum carries a velocity): ``lift`` makes it from w, ``project`` takes w
out of it. All states are flat float64 vectors.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn.problems.base import Problem, Variable, Vector
from flowdyn.schedules import Constant, Schedule

ClosedForm = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (state, times or step numbers (T,)) -> states (T, S)


class System(eqx.Module):
    """Anything that :func:`flowdyn.solve` can run."""

    kind: ClassVar[str]  # what it is called in messages
    summary: ClassVar[str]  # one line for the file's summary
    references: ClassVar[str] = ""
    is_random: ClassVar[bool] = False

    @abc.abstractmethod
    def layout(self, size: int) -> tuple[Variable, ...]:
        """Named pieces of a state of `size` entries."""

    @abc.abstractmethod
    def ravel(self, w0: Any) -> np.ndarray:
        """Flat parameters from what a user hands in."""

    def config(self) -> dict[str, Any]:
        """Constructor arguments that make this system again."""
        return dict(vars(self))

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Layout of :meth:`observables`."""
        return ()

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels along the dimensions of the layout."""
        return {}

    def observables(self, state: Vector) -> dict[str, jax.Array]:
        """Quantities kept beside the state."""
        return {}

    def user_view(self, state: Vector) -> Any:
        """What a user's `observe` function is called with."""
        return self.project(state)

    def lift(self, w0: Vector) -> jax.Array:
        """State that starts at the parameters w0."""
        return w0

    def project(self, state: Vector) -> jax.Array:
        """Parameters of a state."""
        return state

    def is_traceable(self, state: np.ndarray) -> bool:
        """Whether JAX can trace the dynamics; a user's plain-numpy function cannot be."""
        return True

    def closed_form(self) -> ClosedForm | None:
        """Exact states where they are known, else None."""
        return None

    def warn_before(self, w0: np.ndarray) -> str | None:
        """A doubt to voice before the run starts, else None."""
        return None

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a system that is not what it says at this state."""
        return


class ODESystem(System):
    """A deterministic system in continuous time."""

    kind: ClassVar[str] = "an ordinary differential equation"

    @abc.abstractmethod
    def drift(self, t: Vector, state: Vector) -> jax.Array:
        """Right-hand side, shape (S,)."""

    @property
    def explicit_until(self) -> float:
        """Time from which the system is too stiff for explicit methods."""
        return np.inf


class Recursion(System):
    """Anything with a step size eta and a clock that turns step numbers into training time.

    `step_power` says how the clock's step h follows from eta: h = eta ** step_power (1 for gradient descent, 1/2 for
    momentum methods). Convergence orders are counted in h.
    """

    kind: ClassVar[str] = "a recursion"
    step_power: ClassVar[float] = 1.0

    eta: eqx.AbstractVar[Schedule]

    @abc.abstractmethod
    def limit(self, order: int = 0) -> System:
        """Continuous system that the recursion follows as eta -> 0."""

    def expected_order(self, order: int = 0, error: str = "sup") -> float:
        """Order in h of the gap between the recursion and ``limit(order)``."""
        return order + 1.0

    @property
    def increments(self) -> Schedule:
        """Time steps of the clock."""
        return self.eta

    def clock(self, k: Any) -> np.ndarray:
        """Training time of the step numbers `k`."""
        return self.increments.clock(np.asarray(k))

    def constant_eta(self, why: str) -> float:
        """The one eta of this method; a changing schedule is refused."""
        if not isinstance(self.eta, Constant):
            raise _check.fail(
                "eta", f"must be one number for {why}", type(self.eta).__name__, "use a constant step size"
            )
        return float(self.eta.eta)

    def with_eta(self, eta: float) -> Self:
        """The same method at another step size; shares its compiled program."""
        self.constant_eta("a change of step size")
        return type(self)(**self.config() | {"eta": eta})


class DiscreteSystem(Recursion):
    """A deterministic recursion."""

    @abc.abstractmethod
    def step(self, k: jax.Array, state: Vector) -> jax.Array:
        """Next state, shape (S,)."""


class OnProblem(System):
    """A system whose state is the parameters of a problem, or holds them."""

    problem: eqx.AbstractVar[Problem]

    def layout(self, size: int) -> tuple[Variable, ...]:
        """Variables of the problem."""
        return self.problem.variables

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat parameters, checked against the problem's layout."""
        return self.problem.ravel(w0)

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Observables of the problem."""
        return self.problem.observable_variables

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels of the problem."""
        return self.problem.coords

    def observables(self, state: Vector) -> dict[str, jax.Array]:
        """Observables of the problem at the state's parameters."""
        return self.problem.observables(self.project(state))

    def user_view(self, state: Vector) -> Any:
        """Parameters as the problem's own functions see them."""
        return self.problem.unravel(self.project(state))


class WithVelocity(OnProblem):
    """State [w, v]: parameters and their velocity."""

    def layout(self, size: int) -> tuple[Variable, ...]:
        """The problem's variables, then one velocity each."""
        own = self.problem.variables
        name = "velocity" if len(own) == 1 else "{}_velocity"
        speed = [v._replace(name=name.format(v.name), long_name=f"velocity of {v.name}") for v in own]
        return (*own, *speed)

    def lift(self, w0: Vector) -> jax.Array:
        """At rest."""
        return jnp.concatenate([w0, jnp.zeros_like(w0)])

    def project(self, state: Vector) -> jax.Array:
        """First half of the state."""
        return state[: self.problem.size]


def checked_problem(problem: Any) -> Problem:
    """Refuse anything that is not a Problem where a method expects one."""
    if not isinstance(problem, Problem):
        raise _check.fail(
            "problem", "must be a flowdyn problem", problem, "see flowdyn.problems, e.g. CustomProblem(loss, w0)"
        )
    return problem
