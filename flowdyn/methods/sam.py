"""Sharpness-aware minimisation and its flows, n = grad L / ||grad L|| (normalised) or grad L.

    w_{k+1} = w_k - eta grad L(w_k + r n(w_k))                                               SAM
    r = rho fixed:          w' = -grad L(w + rho n)                                         SAMFlow, gap O(eta)
    r = rho eta:            w' = -grad(L + r ||grad L|| + (eta/4) ||grad L||^2)             gap O(eta^2)
      n not normalised:     w' = -grad(L + (r/2 + eta/4) ||grad L||^2)                      gap O(eta^2)
    r = rho sqrt(eta):      w' = -grad(L + r ||grad L||)                                    gap O(eta)

The last three are GradientPenaltyFlow. With r fixed the flow of L + r ||grad L|| is no limit: the gap stays O(r^2).
"""

from typing import Any, ClassVar, Literal, Self, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, nonnegative_leaf
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.curvature import largest_curvature
from flowdyn.methods.following import RecursionFlow
from flowdyn.methods.gradient_descent import GradientFlow
from flowdyn.methods.systems import ODESystem, OnProblem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule

Tied = Literal["no", "eta", "root"]
_SOURCE = "Foret, Kleiner, Mobahi and Neyshabur (2021); Compagnoni et al. (2023)"


class SAMFlow(OnProblem, ODESystem):
    r"""Flow along the gradient at a perturbed point, the limit of sharpness-aware minimisation at a fixed radius.

    .. math:: w' = -\nabla L(w + \rho\, n), \qquad n = \nabla L / \|\nabla L\|

    Parameters
    ----------
    problem : Problem
        What is minimised.
    rho : float
        Radius, not negative.
    normalized : bool
        Whether n is the unit vector, or the gradient itself.

    Raises
    ------
    ArgumentError
        If rho is negative.

    Notes
    -----
    Near a minimum n is undefined: within rho of it the flow goes to and fro. Source: Foret et al. (2021); the limit is
    that of an explicit Euler step.

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.SAMFlow(fd.problems.Quadratic(1.0), rho=0.1)  # w' = -(w + 0.1) from w > 0
    >>> round(float(fd.solve(flow, [1.0], t=1.0).w.isel(t=-1).item()), 6)  # 1.1 exp(-1) - 0.1
    0.304667
    """

    problem: Problem = eqx.field(converter=checked_problem)
    rho: jax.Array
    normalized: bool = eqx.field(static=True)
    summary: ClassVar[str] = "flow of sharpness-aware minimisation w' = -grad L(w + rho n)"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Problem, rho: Scalar, normalized: bool = True):
        self.problem, self.rho = problem, nonnegative_leaf("rho", rho)
        self.normalized = _check.flag("normalized", normalized)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, rho=0.05), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-grad L`` at the perturbed point."""
        return -_perturbed_gradient(self.problem, state, self.rho, self.normalized)


class GradientPenaltyFlow(OnProblem, ODESystem):
    r"""Gradient flow of a loss with penalties on the size of its gradient.

    .. math:: w' = -\nabla\big(L + a \|\nabla L\| + b \|\nabla L\|^2\big)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    norm : float
        a, not negative.
    square : float
        b, not negative.

    Raises
    ------
    ArgumentError
        If a or b is negative.

    Notes
    -----
    b = eta/4, a = 0 is the flow of gradient descent to order eta^2. One Hessian-vector product a right-hand side; where
    the gradient vanishes the unit vector along it is taken as 0. Source: Barrett and Dherin (2021) for b; Compagnoni et
    al. (2023) for a.

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.GradientPenaltyFlow(fd.problems.Quadratic(1.0), norm=0.1)  # the same as SAM's on L = w^2/2
    >>> round(float(fd.solve(flow, [1.0], t=1.0).w.isel(t=-1).item()), 6)
    0.304667
    """

    problem: Problem = eqx.field(converter=checked_problem)
    norm: jax.Array
    square: jax.Array
    summary: ClassVar[str] = "gradient flow of L + a ||grad L|| + b ||grad L||^2"
    references: ClassVar[str] = f"{_SOURCE}; Barrett and Dherin (2021)"

    def __init__(self, problem: Problem, norm: Scalar = 0.0, square: Scalar = 0.0):
        self.problem = problem
        self.norm, self.square = nonnegative_leaf("norm", norm), nonnegative_leaf("square", square)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, norm=0.05, square=0.01), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-(g + H (a n + 2 b g))``."""
        gradient = self.problem.grad(state)
        along = self.norm * _unit(gradient) + 2 * self.square * gradient
        return -(gradient + self.problem.hvp(state, along))


class SAM(OnProblem, DiscreteSystem):
    r"""Sharpness-aware minimisation, at training time t = eta k.

    .. math:: w_{k+1} = w_k - \eta \nabla L(w_k + r\, n_k), \qquad n = \nabla L / \|\nabla L\|

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float or Schedule
        Step size, positive.
    rho : float
        Radius, not negative, in units that `tied` says.
    tied : {"no", "eta", "root"}
        r = rho whatever eta; r = rho eta; or r = rho sqrt(eta).
    normalized : bool
        Whether n is the unit vector, or the gradient itself.

    Raises
    ------
    ArgumentError
        If eta is not positive or rho is negative; by `penalty_flow`, if the radius does not shrink with eta.

    Warns
    -----
    FlowdynWarning
        By :func:`flowdyn.solve`, if the start is so near to a stationary point that n turns round within r.

    Notes
    -----
    Limits of order 0: :class:`SAMFlow` where r is fixed, else the gradient flow (gap O(sqrt(eta)) for "root"). Order 1:
    the flow of the penalised loss where r is tied to eta. Else the flow of that order, for "root" the one with gap
    O(eta^p). n is undefined at minima: orders mean nothing once the path is in a valley; on a quadratic it ends in a
    two-cycle of amplitude eta lam rho/(2 - eta lam). Source: Foret et al. (2021); Compagnoni et al. (2023).

    Examples
    --------
    >>> import flowdyn as fd
    >>> sam = fd.SAM(fd.problems.Quadratic(1.0), eta=0.1, rho=0.05)
    >>> run = fd.solve(sam, [1.0], steps=1000, saves=2)
    >>> round(abs(float(run.w.isel(t=-1).item())), 11)  # eta lam rho / (2 - eta lam)
    0.00263157895
    """

    problem: Problem = eqx.field(converter=checked_problem)
    eta: Schedule
    rho: jax.Array
    tied: Tied = eqx.field(static=True)
    normalized: bool = eqx.field(static=True)
    summary: ClassVar[str] = "sharpness-aware minimisation w_{k+1} = w_k - eta grad L(w_k + r n_k)"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Problem, eta: StepSize, rho: Scalar, tied: Tied = "no", normalized: bool = True):
        self.problem, self.eta = problem, as_schedule("eta", eta)
        self.rho, self.normalized = nonnegative_leaf("rho", rho), _check.flag("normalized", normalized)
        self.tied = _check.choice("tied", tied, get_args(Tied))  # type: ignore[assignment]

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, rho=0.05), w0

    def radius(self, k: Time = 0) -> jax.Array:
        """The radius r of step k, in units of w (of w over the gradient where n is not normalised)."""
        eta = self.eta(jnp.asarray(k))
        return self.rho * (jnp.ones(()) if self.tied == "no" else eta if self.tied == "eta" else jnp.sqrt(eta))

    def slope(self, k: Time, state: Vector) -> Vector:
        """``-grad L(w + r n)``."""
        return -_perturbed_gradient(self.problem, state, self.radius(k), self.normalized)

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """``w - eta_k grad L(w + r n)``."""
        return state + self.eta(k) * self.slope(k, state)

    def penalty_flow(self) -> GradientPenaltyFlow:
        """The gradient flow of the penalised loss; refused where the radius is fixed."""
        if self.tied == "no":
            raise _check.fail(
                "tied",
                "must be 'eta' or 'root' for the flow of L + rho ||grad L||: with rho fixed the gap to it does not "
                "vanish with eta",
                self.tied,
                "limit(0), the flow of -grad L(w + rho n), is the limit",
            )
        eta, r = self.constant_eta("the flow of the penalised loss"), self.radius()
        descent = eta / 4 if self.tied == "eta" else 0.0  # beyond the order of the other
        if self.normalized:
            return GradientPenaltyFlow(self.problem, norm=r, square=descent)
        return GradientPenaltyFlow(self.problem, square=r / 2 + descent)

    def limit(self, order: int = 0) -> ODESystem:
        """Order 0: SAMFlow or GradientFlow; 1: the flow of the penalised loss where r is tied; else of that order."""
        if _check.integer("order", order, minimum=0) == 0:
            fixed = self.tied == "no"
            return SAMFlow(self.problem, self.rho, self.normalized) if fixed else GradientFlow(self.problem)
        if order == 1 and self.tied != "no":
            return self.penalty_flow()
        self.constant_eta(f"its limit of order {order}")
        return RecursionFlow(self, order - 1 if self.tied == "root" else order)

    def expected_order(self, order: int = 0, error: str = "sup") -> float:
        """One more than the order of the limit; where r is a root of eta 1/2 for order 0, else the order itself."""
        return max(float(order), 0.5) if self.tied == "root" else order + 1.0

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about a start in a valley, where the perturbed point lies beyond the minimum."""
        if not (self.normalized and isinstance(self.eta, Constant)):
            return None
        size, reach = float(jnp.linalg.norm(self.problem.grad(w0))), float(self.radius())
        largest = largest_curvature(self.problem, w0)
        if not reach or size > largest * reach:
            return None
        return (
            f"the gradient at the start, {size:.3g}, is below r lambda_max = {largest * reach:.3g}: n = grad L/||grad "
            "L|| is undefined at a minimum, and within r of it SAM goes to and fro; orders mean nothing there"
        )


def _unit(gradient: jax.Array) -> jax.Array:
    """Unit vector along the gradient, 0 where it vanishes."""
    size = jnp.linalg.norm(gradient)
    return jnp.where(size > 0, gradient / jnp.where(size > 0, size, 1.0), 0.0)


def _perturbed_gradient(problem: Problem, w: Vector, r: Any, normalized: bool) -> jax.Array:
    gradient = problem.grad(w)
    return problem.grad(w + r * (_unit(gradient) if normalized else gradient))
