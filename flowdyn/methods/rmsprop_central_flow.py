r"""Central flow of RMSProp, and its stable flow: the same motion without the oscillation.

    P = diag(sqrt v + eps)/eta,   kappa = (1 - beta2)/beta2,   in time of steps:
    w' = -P^-1 (grad L + 1/2 grad <Sigma, H>),   v' = kappa (grad^2 + diag(H Sigma H) - v)
    0 <= Sigma  ⟂  2 P - H >= 0                                                          Sigma = 0: the stable flow

Convention of the recursion: v is updated first, v+ = beta2 v + (1 - beta2) grad^2, w+ = w - eta grad/(sqrt(v+) + eps):
eps outside the root, no bias correction. The clock is t = eta k.
"""

from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn.methods.at_edge import AtEdge, checked_modes
from flowdyn.methods.central_flow import SOURCE
from flowdyn.methods.systems import ODESystem, OnProblem, checked_problem
from flowdyn.problems.base import Problem, Time, Variable, Vector
from flowdyn.problems.quadratic import Quadratic

SMALLEST = 1e-30  # of v: what is 0 has no root to differentiate


class _Numbers(NamedTuple):
    eta: jax.Array
    beta2: jax.Array
    eps: jax.Array
    v0: jax.Array


def _numbers(problem: Problem, eta: Scalar, beta2: Scalar, eps: Scalar, v0: ArrayLike) -> _Numbers:
    """The constants of RMSProp, checked."""
    if not is_traced(beta2) and not 0 < _check.real("beta2", beta2) < 1:
        raise _check.fail("beta2", "must lie between 0 and 1", beta2)
    if not is_traced(eps):
        _check.real("eps", eps, nonnegative=True)
    start = jnp.broadcast_to(leaf("v0", v0, ndim=np.ndim(v0), positive=True), (problem.size,))
    return _Numbers(
        leaf("eta", eta, ndim=0, positive=True), leaf("beta2", beta2, ndim=0), leaf("eps", eps, ndim=0), start
    )


class _WithSquares(OnProblem):
    """State [w, v]: the parameters and the running mean of squared gradients."""

    problem: Problem
    eta: jax.Array
    beta2: jax.Array
    eps: jax.Array
    v0: jax.Array

    def layout(self, size: int) -> tuple[Variable, ...]:
        """The problem's variables, then one mean square each."""
        own = self.problem.variables
        name = "square" if len(own) == 1 else "{}_square"
        return (*own, *(v._replace(name=name.format(v.name), long_name=f"mean square v of {v.name}") for v in own))

    def lift(self, w0: Vector) -> Vector:
        """The parameters with v = v0."""
        return jnp.concatenate([w0, self.v0])

    def project(self, state: Vector) -> Vector:
        """The first half of the state, without v."""
        return state[: self.problem.size]

    def _squares(self, state: Vector) -> jax.Array:
        return jnp.maximum(state[self.problem.size :], SMALLEST)

    def divisor(self, state: Vector) -> jax.Array:
        """``(sqrt v + eps) / eta``."""
        return (jnp.sqrt(self._squares(state)) + self.eps) / self.eta

    @property
    def _kappa(self) -> jax.Array:
        return (1 - self.beta2) / self.beta2

    def memory_drift(self, state: Vector, grad: Vector) -> jax.Array:
        """``kappa (grad^2 - v)``."""
        return self._kappa * (jnp.asarray(grad) ** 2 - state[self.problem.size :])


class RMSPropStableFlow(_WithSquares, ODESystem):
    r"""RMSProp's slow motion without the oscillation: what it would be if nothing were unstable.

    .. math:: w' = -P^{-1} \nabla L / \eta, \qquad v' = \kappa (\nabla L^2 - v) / \eta, \qquad
              P = \operatorname{diag}(\sqrt v + \epsilon) / \eta

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float
        Step size, positive; the clock is t = eta k.
    beta2 : float
        Share of v that a step keeps, between 0 and 1; kappa = (1 - beta2)/beta2.
    eps : float
        Added to the root of v, not negative.
    v0 : float or array_like of float, shape (P,)
        Start of v, positive.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, or a constant is out of range.

    Notes
    -----
    Stiff wherever the recursion is at its edge. Source: Cohen, Damian, Talwalkar, Kolter and Lee (2024).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.RMSPropStableFlow(fd.problems.Quadratic(1.0), eta=0.01, beta2=0.99, v0=1.0)
    >>> run = fd.solve(flow, [1.0], t=1.0)
    >>> bool(run.loss[-1] < 0.1)
    True
    """

    problem: Problem = eqx.field(converter=checked_problem)
    summary: ClassVar[str] = "RMSProp's stable flow, its motion without oscillation"
    references: ClassVar[str] = SOURCE

    def __init__(self, problem: Problem, eta: Scalar, beta2: Scalar = 0.99, eps: Scalar = 1e-8, v0: ArrayLike = 1e-2):
        self.problem = checked_problem(problem)
        self.eta, self.beta2, self.eps, self.v0 = _numbers(self.problem, eta, beta2, eps, v0)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, beta2=0.99, eps=0.1, v0=1.0), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """Velocity of w and v on the clock eta k."""
        grad = self.problem.grad(self.project(state))
        both = jnp.concatenate([-grad / self.divisor(state), self.memory_drift(state, grad)])
        return both / self.eta


class RMSPropCentralFlow(_WithSquares, AtEdge):
    r"""Mean motion of RMSProp at its edge of stability, with the covariance of the oscillation about it.

    .. math:: w' = -P^{-1} \bigl[\nabla L + \tfrac12 \nabla \langle\Sigma, H\rangle\bigr] / \eta, \qquad
              v' = \kappa (\nabla L^2 + \operatorname{diag}(H \Sigma H) - v) / \eta, \qquad
              0 \preceq \Sigma \perp 2P - H \succeq 0

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float
        Step size, positive; the clock is t = eta k.
    beta2 : float
        Share of v that a step keeps, between 0 and 1; kappa = (1 - beta2)/beta2.
    eps : float
        Added to the root of v, not negative.
    v0 : float or array_like of float, shape (P,)
        Start of v, positive.
    modes : int
        Critical directions that are followed at once, 1 to 16; a run that meets more ends in words.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, a constant or `modes` is out of range; by :func:`flowdyn.solve`, if
        the start is beyond the edge and no force leads back.
    RunError
        By :func:`flowdyn.solve`, if more than `modes` directions become critical.

    Notes
    -----
    Adds ``effective_sharpness``, the largest eigenvalue of P^-1 H, ``sigma_trace`` and ``predicted_loss``, the mean
    loss L + tr X. A model without an order in eta. Source: Cohen, Damian, Talwalkar, Kolter and Lee (2024).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.RMSPropCentralFlow(fd.problems.Quadratic(1.0), eta=0.1, beta2=0.9, v0=1.0)
    >>> run = fd.solve(flow, [1.0], t=10.0)  # ends in a two-cycle of amplitude eta/2
    >>> round(float(run.effective_sharpness[-1]), 4), round(float(run.sigma_trace[-1]), 6)
    (2.0, 0.0025)
    """

    problem: Problem = eqx.field(converter=checked_problem)
    modes: int = eqx.field(static=True)
    summary: ClassVar[str] = "central flow of RMSProp at the edge of stability"
    references: ClassVar[str] = SOURCE

    def __init__(
        self,
        problem: Problem,
        eta: Scalar,
        beta2: Scalar = 0.99,
        eps: Scalar = 1e-8,
        v0: ArrayLike = 1e-2,
        modes: int = 3,
    ):
        self.problem = checked_problem(problem)
        self.eta, self.beta2, self.eps, self.v0 = _numbers(self.problem, eta, beta2, eps, v0)
        self.modes = checked_modes(modes)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss, below the edge and slow: the default steps have five digits of a motion."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, beta2=0.9999, eps=50.0, v0=1.0), w0

    @property
    def step_time(self) -> jax.Array:
        """The clock's step, eta."""
        return self.eta

    @property
    def speed(self) -> jax.Array:
        """That of a method without momentum."""
        return jnp.ones(())

    def memory_force(self, state: Vector, square: Vector) -> jax.Array:
        """``kappa`` times the squares that the oscillation adds to the gradient's."""
        return self._kappa * jnp.asarray(square)

    def divisor_rate(self, state: Vector, velocity: Vector) -> jax.Array:
        """``v' / (2 sqrt v) / eta``."""
        return jnp.asarray(velocity)[self.problem.size :] / (2 * jnp.sqrt(self._squares(state)) * self.eta)

    def sizes(self, state: Vector) -> Vector:
        """Root mean square of w, at least the length of a step, and each v itself."""
        w, v = self.project(state), self._squares(state)
        return jnp.concatenate([jnp.full(w.shape, jnp.maximum(jnp.sqrt(jnp.mean(w**2)), self.eta)), v])

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """The problem's, and what is known of the edge."""
        text = "largest eigenvalue of the preconditioned Hessian P^-1 H; the edge of stability is 2"
        own = Variable("effective_sharpness", (), (), text)
        return (*self.problem.observable_variables, own, *self.edge_variables)

    def observables(self, state: Vector) -> dict[str, Vector]:
        """The problem's, the effective sharpness, the oscillation and the mean loss."""
        largest, trace, loss = self.edge_observables(state)
        own: dict[str, Any] = {"effective_sharpness": largest, "sigma_trace": trace, "predicted_loss": loss}
        return dict(self.problem.observables(self.project(state))) | own
