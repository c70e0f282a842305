"""Gradient descent, its flow, and the flows that follow it to any order in eta.

    w_{k+1} = w_k - eta_k grad L(w_k)                                   GradientDescent
    w' = f(w),  f = -grad L                                             GradientFlow, gap O(eta)
    w' = F_p(w) = sum_{j=0..p} (-1)^j / (j+1)  Δ^j f(w)                 ModifiedFlow, gap O(eta^{p+1})

Δ is the forward difference along the iterates from w: F_p is the series of log(1 + Δ)/eta cut after p + 1 terms, since
one step is exp(eta D_F) = 1 + Δ. To second order F = f - (eta/2) f'f = -grad(L + (eta/4) ||grad L||^2).
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, leaf
from flowdyn.methods.base import DiscreteSystem, Edge
from flowdyn.methods.curvature import largest_curvature, threshold_doubt
from flowdyn.methods.following import MAX_ORDER, log_series
from flowdyn.methods.spectral import Way, descent_shares, flow_shares, relaxation
from flowdyn.methods.systems import ClosedForm, ODESystem, OnProblem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule

_SOURCE = "Hairer, Lubich and Wanner, Geometric Numerical Integration (2006), section IX.1; Barrett and Dherin (2021)"


class GradientFlow(OnProblem, ODESystem):
    r"""Gradient flow, the limit of gradient descent as eta -> 0.

    .. math:: w' = -\nabla L(w)

    Parameters
    ----------
    problem : Problem
        What is minimised.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn.

    Notes
    -----
    Exact on quadratic losses and where the problem knows its flow. Where that of a diagonal network is stiff for
    long, the default solver takes its dual form (:class:`DualFlow`), with one unknown a sample. Source: section 9.3.1,
    equation (9.90).

    Examples
    --------
    >>> import flowdyn as fd
    >>> run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    >>> round(float(run.w.isel(t=-1).item()), 6)  # exp(-1)
    0.367879
    """

    problem: Problem = eqx.field(converter=checked_problem)
    summary: ClassVar[str] = "gradient flow w' = -grad L(w)"

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-grad L(w)``, the force that is followed."""
        return -self.problem.grad(state)

    def closed_form(self) -> ClosedForm | None:
        """Exponential relaxation on quadratic losses, or the problem's own."""
        return self.problem.exact_flow() or relaxation(self.problem.spectrum(), flow_shares)

    def lacks_closed_form(self, state0: np.ndarray) -> str | None:
        """The reason of a problem whose exact flow holds from some starts only."""
        return self.problem.lacks_exact_flow(state0)

    def in_fewer_unknowns(self, state0: np.ndarray) -> ODESystem | None:
        """The dual form of a diagonal network: one unknown a sample."""
        if type(self).drift is not GradientFlow.drift:
            return None
        from flowdyn.methods.diagonal import dual_of  # 10 ms of imports that only stiff flows need

        return dual_of(self.problem, state0)


class ModifiedFlow(OnProblem, ODESystem):
    r"""Modified flow of gradient descent: the flow that its iterates follow to order eta^(order + 1).

    .. math:: w' = \sum_{j=0}^{p} \frac{(-1)^j}{j+1} \Delta^j f(w), \qquad f = -\nabla L

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float
        Step size of the recursion that is followed, positive.
    order : int
        p >= 0; p = 0 is the gradient flow. The right-hand side costs p + 1 gradients.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, eta is not positive, or order is negative.

    Notes
    -----
    Backward error analysis: the terms are those of the modified equation, in difference form, so that no nested
    derivatives are compiled. Source: Hairer, Lubich and Wanner (2006), section IX.1.

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.ModifiedFlow(fd.problems.Quadratic(1.0), eta=0.1, order=3)
    >>> run = fd.solve(flow, [1.0], t=1.0)
    >>> bool(abs(run.w.isel(t=-1).item() - 0.9**10) < 1e-5)
    True
    """

    problem: Problem = eqx.field(converter=checked_problem)
    eta: jax.Array
    order: int = eqx.field(static=True)
    summary: ClassVar[str] = "modified flow of gradient descent, in difference form"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Problem, eta: Scalar, order: int = 1):
        self.problem = problem
        self.eta = leaf("eta", eta, ndim=0, positive=True)
        self.order = _check.integer("order", order, minimum=0, maximum=MAX_ORDER)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, order=2), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """Differences of -grad L along p + 1 iterates from the state."""

        def descend(w: Vector, _: None) -> tuple[Vector, jax.Array]:
            force = -self.problem.grad(w)
            return w + self.eta * force, force

        return log_series(jax.lax.scan(descend, state, None, length=self.order + 1)[1])

    def closed_form(self) -> ClosedForm | None:
        """On quadratic losses mode i decays at the rate ``sum_{j=1..p+1} (eta lam)^j / (j eta)``."""
        eta = float(self.eta)

        def shares(lam: np.ndarray, t: np.ndarray) -> Way:
            return flow_shares(np.sum([(eta * lam) ** j / j for j in range(1, self.order + 2)], axis=0) / eta, t)

        return relaxation(self.problem.spectrum(), shares)


class GradientDescent(OnProblem, DiscreteSystem):
    r"""Gradient descent, at training time t = eta k (or the sum of a schedule's step sizes).

    .. math:: w_{k+1} = w_k - \eta_k \nabla L(w_k)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float or Schedule
        Step size, positive, in the units of training time.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, or eta is not positive.

    Warns
    -----
    FlowdynWarning
        By :func:`flowdyn.solve`, if eta exceeds 2 / lambda_max of the Hessian at the start.

    Notes
    -----
    Limits: order 0 the gradient flow, order p the modified flow. Source: section 9.3.1, equations (9.87) and (9.88).

    Examples
    --------
    >>> import flowdyn as fd
    >>> gd = fd.GradientDescent(fd.problems.Quadratic(1.0), eta=0.1)
    >>> fd.solve(gd, [1.0], steps=2, saves=3).w.values.ravel().round(12).tolist()
    [1.0, 0.9, 0.81]
    """

    problem: Problem = eqx.field(converter=checked_problem)
    eta: Schedule
    summary: ClassVar[str] = "gradient descent w_{k+1} = w_k - eta grad L(w_k)"
    change_text: ClassVar[str] = "`eta` times the largest curvature"

    def __init__(self, problem: Problem, eta: StepSize):
        self.problem = problem
        self.eta = as_schedule("eta", eta)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01), w0

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """``w - eta_k grad L(w)``."""
        return state - self.eta(k) * self.problem.grad(state)

    def limit(self, order: int = 0) -> ODESystem:
        """Gradient flow (9.90) for order 0, else the modified flow of that order, which needs a constant eta."""
        if _check.integer("order", order, minimum=0) == 0:
            return GradientFlow(self.problem)
        return ModifiedFlow(self.problem, self.constant_eta(f"its limit of order {order}"), order)

    def slope(self, k: Time, state: Vector) -> Vector:
        """``-grad L(w)``."""
        return -self.problem.grad(state)

    def step_change(self, k: int, state: np.ndarray) -> float:
        """``eta`` times the largest |lambda| of the Hessian."""
        return self.constant_eta("a prediction") * largest_curvature(self.problem, state, of_size=True)

    def closed_form(self) -> ClosedForm | None:
        """On quadratic losses mode i shrinks by (1 - eta lam) a step."""
        if not isinstance(self.eta, Constant):
            return None
        eta = float(self.eta.eta)
        return relaxation(self.problem.spectrum(), lambda lam, k: descent_shares(eta * lam, k))

    @property
    def edge(self) -> Edge | None:
        """Curvature 2 / eta; the mean moves along the gradient."""
        return Edge(2 / self.eta.eta, self.eta.eta, 1.0, 0.0) if isinstance(self.eta, Constant) else None

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about a step size above the stability threshold."""
        if not isinstance(self.eta, Constant):
            return None
        return threshold_doubt(self.problem, float(self.eta.eta), w0, "`eta`", "a smaller eta")
