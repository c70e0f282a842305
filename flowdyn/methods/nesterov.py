"""Nesterov's accelerated gradient and its equation of motion, with h = sqrt(eta) and t = k h.

    w_{k+1} = y_k - eta grad L(y_k),   y_k = w_k + (k-1)/(k+2) (w_k - w_{k-1})        Nesterov
    w'' + (3/t) w' + grad L(w) = 0,  w'(0) = 0                                      NesterovFlow, gap O(h)

On L = w^2/2 the flow is w(t) = 2 J_1(t)/t w_0, J_1 the Bessel function.
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.leaves import is_traced
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.systems import ODESystem, checked_problem
from flowdyn.methods.with_velocity import WithVelocity
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule

_SOURCE = "Su, Boyd and Candes, A differential equation for modeling Nesterov's accelerated gradient method (2016)"


class NesterovFlow(WithVelocity, ODESystem):
    r"""Motion with vanishing friction, the limit of Nesterov's method as eta -> 0.

    .. math:: w'' + \frac{3}{t} w' + \nabla L(w) = 0, \qquad w'(0) = 0

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
    At t = 0 the friction term tends to 3 w''(0), so that w''(0) = -grad L / 4. Source: Su, Boyd and Candes (2016),
    equation (3).

    Examples
    --------
    >>> import flowdyn as fd
    >>> run = fd.solve(fd.NesterovFlow(fd.problems.Quadratic(1.0)), [1.0], t=5.0)
    >>> round(float(run.w.isel(t=-1).item()), 7)  # 2 J_1(5) / 5
    -0.1310317
    """

    problem: Problem = eqx.field(converter=checked_problem)
    summary: ClassVar[str] = "Nesterov's ODE w'' + 3 w'/t + grad L(w) = 0"
    references: ClassVar[str] = _SOURCE

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``[v, -3 v / t - grad L(w)]``, with its limit at t = 0."""
        w, v = jnp.split(state, 2)
        force = -self.problem.grad(w)
        started = t > 0
        friction = -3 * v / jnp.where(started, t, 1.0)
        return jnp.concatenate([v, jnp.where(started, friction + force, force / 4)])


class Nesterov(WithVelocity, DiscreteSystem):
    r"""Nesterov's accelerated gradient at training time t = k sqrt(eta).

    .. math:: w_{k+1} = y_k - \eta \nabla L(y_k), \qquad y_k = w_k + \frac{k-1}{k+2}(w_k - w_{k-1})

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float
        Step size in front of the gradient, positive.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, or eta is not positive or a changing schedule.

    Notes
    -----
    The state's velocity is (w_k - w_{k-1}) / sqrt(eta). Source: Su, Boyd and Candes (2016), equation (1).

    Examples
    --------
    >>> import flowdyn as fd
    >>> run = fd.solve(fd.Nesterov(fd.problems.Quadratic(1.0), eta=1e-6), [1.0], t=5.0)
    >>> abs(float(run.w.isel(t=-1).item()) + 0.1310317) < 1e-3
    True
    """

    problem: Problem = eqx.field(converter=checked_problem)
    eta: Schedule
    step_power: ClassVar[float] = 0.5
    summary: ClassVar[str] = "Nesterov's accelerated gradient"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Problem, eta: StepSize):
        self.problem = problem
        self.eta = as_schedule("eta", eta)
        self.constant_eta("a momentum method") if not is_traced(self._h()) else None

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=1e-4), w0

    def _h(self) -> jax.Array:
        return jnp.sqrt(self.eta(jnp.asarray(0)))

    @property
    def increments(self) -> Schedule:
        """Time steps ``sqrt(eta)``, the h of the equation of motion."""
        return Constant(self._h())

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """Extrapolate, then descend from there."""
        w, v = jnp.split(state, 2)
        h = self._h()
        # at k = 0 the velocity is 0, so the negative factor -1/2 there has no effect
        y = w + (k - 1) / (k + 2) * h * v
        new = y - h * h * self.problem.grad(y)
        return jnp.concatenate([new, (new - w) / h])

    def slope(self, k: Time, state: Vector) -> Vector:
        """``[v_{k+1}, (v_{k+1} - v)/h]``, without a difference of states."""
        w, v = jnp.split(state, 2)
        h = self._h()
        shrunk = (k - 1) / (k + 2) * v
        gradient = self.problem.grad(w + h * shrunk)
        return jnp.concatenate([shrunk - h * gradient, -3 / ((k + 2) * h) * v - gradient])

    def limit(self, order: int = 0) -> ODESystem:
        """:class:`NesterovFlow` for order 0, else the flow of that order in h = sqrt(eta).

        The gap stays O(h^2) from order 1 on: the friction 3/t is not smooth in t at 0.
        """
        return NesterovFlow(self.problem) if order == 0 else super().limit(order)

    def expected_order(self, order: int = 0, error: str = "sup") -> float:
        """Order in h: 1 for the equation of motion, 2 from order 1 on."""
        return min(order + 1.0, 2.0)
