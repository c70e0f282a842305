r"""Central flow of gradient descent: its mean motion at the edge of stability, where no limit eta -> 0 describes it.

    w' = -[grad L + 1/2 grad <Sigma, H>],    0 <= Sigma  ⟂  (2/eta) I - H >= 0

Sigma is the covariance of the oscillation about the flow, supported on the critical eigenspace of the Hessian H. With
momentum beta the edge is 2 (1 + beta)/eta, and the motion 1/(1 - beta) times as fast a step.
It is a model, not a limit: as eta -> 0 on a fixed loss the edge is never reached, so there is no order in eta to fit.
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import is_traced
from flowdyn.methods.at_edge import AtEdge, checked_modes
from flowdyn.methods.base import Edge, RecursionSystem
from flowdyn.methods.gradient_descent import GradientDescent
from flowdyn.methods.spectral import flow_shares, relaxation
from flowdyn.methods.systems import ClosedForm, OnProblem
from flowdyn.problems.base import Problem, Variable, Vector
from flowdyn.problems.quadratic import Quadratic

SOURCE = (
    "Cohen, Damian, Talwalkar, Kolter and Lee, Understanding optimization in deep learning with central flows (2024)"
)
FIRM, HEAVIEST = 0.5, 0.85  # momentum up to which the edge is exact on a toy, and from which nothing is promised


class CentralFlow(AtEdge):
    r"""Mean motion of gradient descent at its edge of stability, with the covariance of the oscillation about it.

    .. math:: w' = -\bigl[\nabla L + \tfrac12 \nabla \langle\Sigma, H\rangle\bigr], \qquad
              0 \preceq \Sigma \perp \tfrac{2}{\eta} I - H \succeq 0

    Parameters
    ----------
    method : GradientDescent or HeavyBall
        The recursion whose mean is followed, at a constant eta.
    modes : int
        Critical directions that are followed at once, 1 to 16; a run that meets more ends in words.

    Raises
    ------
    ArgumentError
        If the edge of `method` is not known, its eta changes, its momentum is 0.85 or more, or `modes` is out of range;
        by :func:`flowdyn.solve`, if the start is beyond the edge.
    RunError
        By :func:`flowdyn.solve`, if more than `modes` directions become critical.

    Warns
    -----
    FlowdynWarning
        By :func:`flowdyn.solve`, if the momentum exceeds 0.5: the oscillation may be a limit cycle of another size.

    Notes
    -----
    Adds the variables ``sharpness``, ``sigma_trace`` and ``predicted_loss`` (the mean loss L + tr X, in error by its
    own size where the oscillation sets in). Compare with the recursion's :func:`flowdyn.comparison.midpoints`. A model
    without an order in eta: :func:`flowdyn.eta_limit` refuses it. Below the edge it is the gradient flow.
    Source: Cohen, Damian, Talwalkar, Kolter and Lee (2024).

    Examples
    --------
    >>> import flowdyn as fd
    >>> toy = fd.problems.CustomProblem(lambda w: w[1] * w[0] ** 2 / 2 + (w[1] - 22) ** 2 / 4, [0.0, 19.0])
    >>> flow = fd.CentralFlow(fd.GradientDescent(toy, eta=0.1), modes=1)
    >>> run = fd.solve(flow, toy.init(), t=5.0)  # the sharpness w[1] rises to 2/eta and stays; <w[0]^2> = 2 k D = 2
    >>> run.sharpness[-1].item().__round__(6), run.sigma_trace[-1].item().__round__(6)
    (20.0, 2.0)
    """

    method: RecursionSystem
    problem: Problem
    modes: int = eqx.field(static=True)
    summary: ClassVar[str] = "central flow of gradient descent at the edge of stability"
    references: ClassVar[str] = SOURCE

    def __init__(self, method: RecursionSystem, modes: int = 3):
        edge = method.edge if isinstance(method, RecursionSystem) else None
        if edge is None:
            way_out = "it is for GradientDescent and HeavyBall at a constant eta; "
            way_out += "for RMSProp use RMSPropCentralFlow(problem, eta, beta2)"
            raise _check.fail("method", "must be a recursion whose edge of stability is known", method, way_out)
        if not is_traced(edge.momentum) and float(edge.momentum) >= HEAVIEST:
            raise _check.fail(
                "method",
                f"must have a momentum below {HEAVIEST:g}",
                _check.Words(f"{float(edge.momentum):.3g}"),
                "on a toy heavier ones end in limit cycles of .96 to 2.7 times the predicted size, or diverge",
            )
        assert isinstance(method, OnProblem)
        self.method, self.problem, self.modes = method, method.problem, checked_modes(modes)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss, below the edge."""
        problem, w0 = Quadratic.example()
        return cls(GradientDescent(problem, eta=0.01)), w0

    def config(self) -> dict[str, Any]:
        """The method, which holds the problem, and the number of modes."""
        return {"method": self.method, "modes": self.modes}

    @property
    def _edge(self) -> Edge:
        edge = self.method.edge
        assert edge is not None
        return edge

    @property
    def step_time(self) -> jax.Array:
        """The clock's step of the method."""
        return jnp.asarray(self._edge.step_time)

    @property
    def speed(self) -> jax.Array:
        """1, or (1 + beta)/(1 - beta) with momentum."""
        return jnp.asarray(self._edge.speed)

    def divisor(self, state: Vector) -> jax.Array:
        """Half of the curvature at the edge."""
        return jnp.asarray(self._edge.threshold) / 2

    def closed_form(self) -> ClosedForm | None:
        """On quadratic losses below the edge: the curvature stays, so nothing oscillates."""
        spectrum = self.problem.spectrum()
        rate = float(self.speed / self.step_time / self.divisor(np.zeros(0)))
        return relaxation(spectrum, lambda lam, t: flow_shares(rate * lam, t))

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about momentum, or about a start beyond the edge."""
        beta = float(self._edge.momentum)
        if beta <= FIRM:
            return super().warn_before(w0)
        return (
            f"`method` has the momentum {beta:.3g}: its edge 2 (1 + beta)/eta is exact on a toy up to {FIRM:g}, and "
            "beyond, the oscillation may become a limit cycle of another size than the central flow predicts"
        )

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """The problem's, and what is known of the edge."""
        text = "largest eigenvalue of the Hessian of the loss"
        return (*self.problem.observable_variables, Variable("sharpness", (), (), text), *self.edge_variables)

    def observables(self, state: Vector) -> dict[str, Vector]:
        """The problem's, the sharpness, the oscillation and the mean loss."""
        largest, trace, loss = self.edge_observables(state)
        sharpness = largest * self.divisor(state)
        own = {"sharpness": sharpness, "sigma_trace": trace, "predicted_loss": loss}
        return dict(self.problem.observables(state)) | own
