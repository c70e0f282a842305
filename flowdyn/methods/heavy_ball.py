"""Heavy ball (Polyak's momentum) and its equation of motion, with h = sqrt(eta) and t = k h.

    v_{k+1} = (1 - gamma h) v_k - h grad L(w_k),   w_{k+1} = w_k + h v_{k+1}        HeavyBall
    w'' + gamma w' + grad L(w) = 0                                                HeavyBallFlow, gap O(h)

In the usual form w_{k+1} = w_k + beta (w_k - w_{k-1}) - eta grad L(w_k) the momentum is beta = 1 - gamma sqrt(eta).
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn.methods.base import DiscreteSystem, Edge
from flowdyn.methods.systems import ODESystem, checked_problem
from flowdyn.methods.with_velocity import WithVelocity
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule

_SOURCE = "Polyak, Some methods of speeding up the convergence of iteration methods (1964)"


class HeavyBallFlow(WithVelocity, ODESystem):
    r"""Motion with friction, the limit of the heavy ball as eta -> 0.

    .. math:: w'' + \gamma w' + \nabla L(w) = 0

    Parameters
    ----------
    problem : Problem
        What is minimised.
    friction : float
        gamma, not negative.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, or the friction is negative.

    Notes
    -----
    The state holds w and its velocity, at rest at the start. Source: Polyak (1964).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.HeavyBallFlow(fd.problems.Quadratic(1.0), friction=2.0)  # critically damped: (1 + t) exp(-t)
    >>> round(float(fd.solve(flow, [1.0], t=1.0).w.isel(t=-1).item()), 6)
    0.735759
    """

    problem: Problem = eqx.field(converter=checked_problem)
    friction: jax.Array
    summary: ClassVar[str] = "motion with friction w'' + gamma w' + grad L(w) = 0"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Problem, friction: Scalar):
        self.problem = problem
        self.friction = checked_friction(friction)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, friction=1.0), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``[v, -gamma v - grad L(w)]``."""
        w, v = jnp.split(state, 2)
        return jnp.concatenate([v, -self.friction * v - self.problem.grad(w)])


class HeavyBall(WithVelocity, DiscreteSystem):
    r"""Heavy-ball momentum at training time t = k sqrt(eta).

    .. math:: w_{k+1} = w_k + (1 - \gamma\sqrt\eta)(w_k - w_{k-1}) - \eta \nabla L(w_k)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float
        Step size in front of the gradient, positive.
    friction : float
        gamma, not negative; the momentum is beta = 1 - gamma sqrt(eta).

    Raises
    ------
    ArgumentError
        If eta is not positive or a changing schedule, friction is negative, or gamma sqrt(eta) > 1 (negative momentum).

    Notes
    -----
    The state's velocity is (w_k - w_{k-1}) / sqrt(eta). Source: Polyak (1964).

    Examples
    --------
    >>> import flowdyn as fd
    >>> hb = fd.HeavyBall(fd.problems.Quadratic(1.0), eta=1e-4, friction=2.0)
    >>> gap = float(fd.solve(hb, [1.0], t=1.0).w.isel(t=-1).item()) - 0.735759
    >>> abs(gap) < 0.01
    True
    """

    problem: Problem = eqx.field(converter=checked_problem)
    eta: Schedule
    friction: jax.Array
    step_power: ClassVar[float] = 0.5
    summary: ClassVar[str] = "heavy ball, momentum 1 - gamma sqrt(eta)"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Problem, eta: StepSize, friction: Scalar):
        self.problem = problem
        self.eta = as_schedule("eta", eta)
        self.friction = checked_friction(friction)
        one = self.constant_eta("a momentum method") if not is_traced(self._h()) else 0.0
        if one and float(self.friction) * one**0.5 > 1:
            raise _check.fail("eta", "must keep the momentum 1 - friction*sqrt(eta) >= 0", one, "use a smaller eta")

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=1e-4, friction=1.0), w0

    def _h(self) -> jax.Array:
        return jnp.sqrt(self.eta(jnp.asarray(0)))

    @property
    def increments(self) -> Schedule:
        """Time steps ``sqrt(eta)``, the h of the equation of motion."""
        return Constant(self._h())

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """Kick by friction and gradient, then drift."""
        w, v = jnp.split(state, 2)
        h = self._h()
        v = (1 - self.friction * h) * v - h * self.problem.grad(w)
        return jnp.concatenate([w + h * v, v])

    def slope(self, k: Time, state: Vector) -> Vector:
        """``[v_{k+1}, -gamma v - grad L(w)]``, without a difference of states."""
        w, v = jnp.split(state, 2)
        force = -self.friction * v - self.problem.grad(w)
        return jnp.concatenate([v + self._h() * force, force])

    @property
    def edge(self) -> Edge:
        """Curvature 2 (1 + beta) / eta; the mean moves 1 / (1 - beta) times as far as without momentum."""
        h = self._h()
        beta = 1 - self.friction * h
        return Edge(2 * (1 + beta) / h**2, h, (1 + beta) / (1 - beta), beta)

    def limit(self, order: int = 0) -> ODESystem:
        """:class:`HeavyBallFlow` of the same friction for order 0, else the flow of that order in h = sqrt(eta)."""
        return HeavyBallFlow(self.problem, self.friction) if order == 0 else super().limit(order)


def checked_friction(value: Any) -> jax.Array:
    """Friction as an array leaf, not negative."""
    if not is_traced(value):
        _check.real("friction", value, nonnegative=True)
    return leaf("friction", value, ndim=0)
