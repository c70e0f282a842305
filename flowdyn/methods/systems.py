"""The kinds of dynamics in continuous time, as siblings: none can be mistaken for another.

    ODESystem        state' = drift(t, state)
    SDESystem        dX = drift(t, X) dt + diffusion(t, X) dW,    drift (S,), diffusion (S, m)

Recursions are in `methods.base`, those with random numbers in `methods.stochastic_base`. An Ito equation and its
Stratonovich form differ by the drift  1/2 sum_j (D g_j) g_j,  added in one place: `SDESystem.drift_as`. States are flat
float64 vectors; ``lift`` makes one from the parameters w (momentum carries a velocity), ``project`` takes w out of it.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import shown_call
from flowdyn.methods.described import Described
from flowdyn.problems.base import Problem, Time, Variable, Vector
from flowdyn.theory.moments import LinearGaussianLaw, ou_mean_cov

Calculus = Literal["ito", "stratonovich"]
Noise = Literal["additive", "diagonal", "general"]
NOISES: tuple[Noise, ...] = get_args(Noise)
ClosedForm = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (state, times or step numbers (T,)) -> states (T, S)


class System(Described):
    """Anything that :func:`flowdyn.solve` can run."""

    kind: ClassVar[str]  # what it is called in messages
    summary: ClassVar[str] = ""  # one line for the file's summary
    references: ClassVar[str] = ""
    is_random: ClassVar[bool] = False
    comes_to_rest: ClassVar[bool] = True  # where not, what looks like rounding of a large state is motion
    no_order: ClassVar[str] = ""  # why no ladder over eta has one, where there is a reason to tell
    one_at_a_time: ClassVar[bool] = False  # whether observables are too large, or too uneven, to batch over states
    # what `help` lists of a base's own
    shown: ClassVar[tuple[str, ...]] = ("clock", "diffusion", "drift", "expected_order", "limit", "step", "with_eta")

    @abc.abstractmethod
    def layout(self, size: int) -> tuple[Variable, ...]:
        """Named pieces of a state of `size` entries."""

    @abc.abstractmethod
    def ravel(self, w0: Any) -> np.ndarray:
        """Flat parameters from what a user hands in."""

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """A small system of this class and a start w0: what the contract tests run."""
        raise NotImplementedError(f"{cls.__name__} has no example; define example() -> (system, w0)")

    def config(self) -> dict[str, Any]:
        """Constructor arguments that make this system again."""
        return dict(vars(self))

    @property
    def numbers(self) -> dict[str, Any]:
        """What tells this system from others of its class, for its `repr`."""
        return self.config()

    def __repr__(self) -> str:
        return shown_call(type(self).__name__, self.numbers, unnamed=1)

    @property
    def title(self) -> str:
        """What a run of it is called."""
        return type(self).__name__ + (f" of {type(self.on_problem).__name__}" if self.on_problem else "")

    def started_from(self, w0: Any) -> Self:
        """The system for a start of that form, which may name its pieces."""
        return self

    def are_starts(self, w0: Any) -> bool:
        """Whether `w0` lists several starts that are no rows of a matrix."""
        return False

    @property
    def on_problem(self) -> Problem | None:
        """The problem whose parameters the state is or holds, if there is one."""
        return None

    def parameters(self, size: int) -> tuple[Variable, ...]:
        """The variables of a Dataset that are the parameters, for a state of `size` entries."""
        return self.layout(size) if self.on_problem is None else self.on_problem.variables

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Layout of :meth:`observables`, in the same order."""
        return ()

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels along the dimensions of the layout."""
        return {}

    def observables(self, state: Vector) -> dict[str, Vector]:
        """Quantities kept beside the state."""
        return {}

    def as_user_sees(self, state: Vector) -> Any:
        """What a user's `observe` function is called with."""
        return self.project(state)

    def lift(self, w0: Vector) -> Vector:
        """State that starts at the parameters w0."""
        return w0

    def project(self, state: Vector) -> Vector:
        """Parameters of a state: the state itself unless it holds more."""
        return state

    def is_traceable(self, state: np.ndarray) -> bool:
        """Whether JAX can trace the dynamics; a user's plain-numpy function cannot be."""
        return True

    def closed_form(self) -> ClosedForm | None:
        """Exact states where they are known, else None."""
        return None

    def lacks_closed_form(self, state0: np.ndarray) -> str | None:
        """Why :meth:`closed_form` does not hold from this state, in words that end a sentence; None where it does."""
        return None

    def warn_before(self, w0: np.ndarray) -> str | None:
        """A doubt to voice before the run starts, else None."""
        return None

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a system that is not what it says at this state."""
        return

    def check_path(self, state0: np.ndarray, span: float) -> None:
        """Refuse a system that is not what it says on its way from this state, `span` of time long."""


class ODESystem(System):
    """A deterministic system in continuous time."""

    kind: ClassVar[str] = "an ordinary differential equation"

    @abc.abstractmethod
    def drift(self, t: Time, state: Vector) -> Vector:
        """Right-hand side of shape (S,) at time t."""

    @property
    def explicit_until(self) -> float:
        """Time from which the system is too stiff for explicit methods."""
        return np.inf

    @property
    def error_unit(self) -> float | None:
        """What an absolute error counts beside, times the relative tolerance, where a state of 0 is none like others.

        None: errors count beside what each coordinate is, so that a start of 1e-100 keeps its digits.
        """
        return None

    def in_fewer_unknowns(self, state0: np.ndarray) -> "ODESystem | None":
        """A system of fewer unknowns that has, projected, the solution from this state; None if there is none."""
        return None

    def drift_rounding(self, state: np.ndarray) -> float:
        """Rounding error of the right-hand side at states of this size, where it is more than that of its result."""
        return 0.0


Moments = tuple[np.ndarray, np.ndarray]  # mean (T, S), covariance (T, S, S)


class RandomSystem(System):
    """Anything that needs a seed."""

    is_random: ClassVar[bool] = True
    moments_of_parameters: ClassVar[bool] = False  # exact moments are those of the state unless this says otherwise

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance from a flat state at increasing times (steps of a recursion), None if not known."""
        return None

    def moments_work(self, size: int, when: np.ndarray) -> float:
        """Operations, about, that :meth:`exact_moments` takes for a state of `size` entries."""
        return 30.0 * len(when) * (2 * size + 1) ** 3


class SDESystem(RandomSystem):
    """A stochastic differential equation.

    `noise` says what the diffusion may depend on: "additive" not on the state, "diagonal" (m = S, no off-diagonal
    entries) in row i on entry i of the state alone, "general" on anything.
    """

    kind: ClassVar[str] = "a stochastic differential equation"
    calculus: eqx.AbstractVar[str]
    noise: eqx.AbstractVar[str]

    @abc.abstractmethod
    def drift(self, t: Time, state: Vector) -> Vector:
        """Drift in the system's own calculus, shape (S,)."""

    @abc.abstractmethod
    def diffusion(self, t: Time, state: Vector) -> Vector:
        """Diffusion g(t, X) of shape (S, m), for m Brownian motions."""

    @abc.abstractmethod
    def noise_dim(self, state: np.ndarray) -> int:
        """Number m of Brownian motions."""

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """``diffusion @ increment``; a subclass may know a cheaper way."""
        return self.diffusion(t, state) @ increment

    def drift_as(self, calculus: str, t: Time, state: Vector) -> Vector:
        """Drift in the asked calculus: Ito = Stratonovich + 1/2 sum_j (D g_j) g_j."""
        own = self.drift(t, state)
        if calculus == self.calculus or self.noise == "additive":
            return own
        g = self.diffusion(t, state)
        slopes = jax.jacfwd(lambda x: self.diffusion(t, x))(state)  # (S, m, S)
        correction = 0.5 * jnp.einsum("ijk,kj->i", slopes, g)
        return own + correction if calculus == "ito" else own - correction

    def default_dt(self, span: float) -> float:
        """Step of the fixed-step solvers where the user names none."""
        return span / 1000

    def linear_law(self) -> LinearGaussianLaw | None:
        """Exact law where the system is linear with additive noise, else None."""
        return None

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Transient mean and covariance of a linear system."""
        law = self.linear_law()
        return None if law is None else ou_mean_cov(law.A, law.D, w0, when, force=law.force)


class OnProblem(System):
    """A system whose state is the parameters of a problem, or holds them."""

    problem: eqx.AbstractVar[Problem]

    @property
    def on_problem(self) -> Problem:
        """What the parameters belong to."""
        return self.problem

    def layout(self, size: int) -> tuple[Variable, ...]:
        """Named pieces of w, as the problem has them."""
        return self.problem.variables

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat parameters, checked against the problem's layout."""
        return self.problem.ravel(w0)

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Layout of the problem's observables."""
        return self.problem.observable_variables

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels along the problem's dimensions."""
        return self.problem.coords

    def observables(self, state: Vector) -> dict[str, Vector]:
        """Observables of the problem at the state's parameters."""
        return self.problem.observables(self.project(state))

    def as_user_sees(self, state: Vector) -> Any:
        """Parameters as the problem's own functions see them."""
        return self.problem.unravel(self.project(state))


def checked_problem(problem: Problem) -> Problem:
    """Refuse anything that is not a Problem where a method expects one."""
    if not isinstance(problem, Problem):
        way_out = "see flowdyn.problems, e.g. CustomProblem(loss, w0)"
        raise _check.fail("problem", "must be a flowdyn problem", problem, way_out)
    return problem
