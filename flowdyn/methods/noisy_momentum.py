"""Momentum methods with noisy gradients g, h = sqrt(eta) and t = k h, the momentum 1 - gamma h tending to 1 with h.

    v_{k+1} = (1 - gamma h) v_k - h g(w_k),                      w_{k+1} = w_k + h v_{k+1}       NoisyHeavyBall
    v_{k+1} = (1 - gamma h) v_k - h g(w_k + (1 - gamma h) h v_k),   w_{k+1} = w_k + h v_{k+1}    NoisyNesterov

    w'' + gamma w' + grad L = 0                                                         order 0
    dw = v dt,   dv = -(gamma v + grad L) dt + eta^{1/4} Sigma^{1/2} dW                 order 1
    and the equation of order 2, plain or matched, from the step itself

Orders are counted in h = sqrt(eta).
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced
from flowdyn.methods.heavy_ball import HeavyBallFlow, checked_friction
from flowdyn.methods.noisy_gradients import NoisyGradients, checked_draws, sampled_problem
from flowdyn.methods.recursion_equation import Covariance
from flowdyn.methods.sampling import Sampling
from flowdyn.methods.systems import System
from flowdyn.methods.with_velocity import WithVelocity
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule


class NoisyMomentum(WithVelocity, NoisyGradients):
    """Base: state [w, v], friction, and the clock of sqrt(eta)."""

    problem: Problem
    eta: Schedule
    friction: jax.Array
    batch_size: int = eqx.field(static=True)
    sampling: Sampling = eqx.field(static=True)
    step_power: ClassVar[float] = 0.5
    references: ClassVar[str] = "Li, Tai and E (2017)"

    def __init__(
        self, problem: Problem, eta: StepSize, friction: Scalar, batch_size: int = 1, sampling: Sampling = "with"
    ):
        self.problem = sampled_problem(problem)
        self.eta, self.friction = as_schedule("eta", eta), checked_friction(friction)
        self.batch_size, self.sampling = checked_draws(problem, batch_size, sampling)
        one = self.constant_eta("a momentum method") if not is_traced(self._h()) else 0.0
        if one and not is_traced(self.friction) and float(self.friction) * one**0.5 > 1:
            raise _check.fail("eta", "must keep the momentum 1 - friction*sqrt(eta) >= 0", one, "use a smaller eta")

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, friction=1.0), w0

    def _h(self) -> jax.Array:
        return jnp.sqrt(self.eta(jnp.asarray(0)))

    @property
    def increments(self) -> Schedule:
        """Time steps ``sqrt(eta)``."""
        return Constant(self._h())

    def _where(self, h: Time, w: Vector, v: Vector) -> Vector:
        """Where the gradient is taken."""
        return w

    def next_state(self, h: Time, state: Vector, noise: Any) -> Vector:
        """Kick by friction and gradient, then drift with the new velocity."""
        w, v = jnp.split(state, 2)
        v = (1 - self.friction * h) * v - h * self.gradient(self._where(h, w, v), noise)
        return jnp.concatenate([w + h * v, v])

    def limit(self, order: int = 0, covariance: Covariance = "plain") -> System:
        """:class:`HeavyBallFlow` for order 0, the equation of weak order 1 or 2 in h = sqrt(eta)."""
        if _check.integer("order", order, minimum=0) == 0:
            return HeavyBallFlow(self.problem, self.friction)
        return super().limit(order, covariance)


class NoisyHeavyBall(NoisyMomentum):
    r"""Heavy ball with noisy gradients at training time t = k h, h = sqrt(eta).

    .. math:: v_{k+1} = (1 - \gamma h) v_k - h\,g_k(w_k), \qquad w_{k+1} = w_k + h\,v_{k+1}

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise.
    eta : float
        Step size h^2 in front of the gradient, positive.
    friction : float
        gamma, not negative; the momentum is beta = 1 - gamma sqrt(eta).
    batch_size : int
        B >= 1; at most n without replacement.
    sampling : {"with", "without"}
        Draw each batch with replacement or as a random subset.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, eta is not positive or a changing schedule, the friction
        is negative or gamma sqrt(eta) > 1, or the sampling is "reshuffle".

    Notes
    -----
    Weak orders are in h. ``limit(2)`` has means right to h^2 and stationary covariances 26 % off where order 1 has them
    within 1 %; ``limit(2, "matched")`` has both right. Source: Li, Tai and E (2017); the matched covariance is of our
    own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> ball = fd.NoisyHeavyBall(fd.problems.Quadratic(1.0, noise=1.0), eta=0.01, friction=1.5)
    >>> ladder = fd.eta_limit(ball, [1.0], t=2.0, order=2, observable={"w": lambda w: w[0]})
    >>> round(float(ladder.order.item()), 1)  # in sqrt(eta)
    2.0
    """

    summary: ClassVar[str] = "heavy ball with noisy gradients, momentum 1 - gamma sqrt(eta)"


class NoisyNesterov(NoisyMomentum):
    r"""Nesterov's method of constant friction with noisy gradients at training time t = k h, h = sqrt(eta).

    .. math:: v_{k+1} = \beta v_k - h\,g_k(w_k + \beta h v_k), \qquad w_{k+1} = w_k + h\,v_{k+1},
              \qquad \beta = 1 - \gamma h

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise.
    eta : float
        Step size h^2 in front of the gradient, positive.
    friction : float
        gamma, not negative.
    batch_size : int
        B >= 1; at most n without replacement.
    sampling : {"with", "without"}
        Draw each batch with replacement or as a random subset.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, eta is not positive or a changing schedule, the friction
        is negative or gamma sqrt(eta) > 1, or the sampling is "reshuffle".

    Notes
    -----
    It shares the limits of orders 0 and 1 with :class:`NoisyHeavyBall`; order 2 tells them apart. Source: Li, Tai and E
    (2017).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0, noise=1.0)
    >>> ball, nesterov = (cls(p, 0.01, 1.5) for cls in (fd.NoisyHeavyBall, fd.NoisyNesterov))
    >>> [[round(float(x), 3) for x in m.limit(2).drift(0.0, [1.0, 0.5])] for m in (ball, nesterov)]
    [[0.412, -1.856], [0.412, -1.906]]
    """

    summary: ClassVar[str] = "Nesterov's method of constant friction with noisy gradients"

    def _where(self, h: Time, w: Vector, v: Vector) -> Vector:
        """Where the gradient is taken: ahead, along the velocity."""
        return w + (1 - self.friction * h) * h * v
