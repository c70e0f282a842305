r"""RMSProp with noisy gradients, the noise as it is (ballistic): eta = h, 1 - beta = c h, t = h k.

    w+ = w - h g/(sqrt(v) + eps),   v+ = v + c h (g^2 - v)          v before its update, eps outside the root

    w' = -grad L/(sqrt(v) + eps),   v' = c (grad L^2 + diag Sigma - v)                   order 0
    and the equations of order 1 and 2, plain or matched, from the step itself

g^2 is not affine in g: outcomes are batches, and one Brownian motion a batch drives w and v together.
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced
from flowdyn.methods.noise_dominated_equations import positive, second_moment
from flowdyn.methods.noisy_gradients import checked_draws, sampled_problem
from flowdyn.methods.noisy_moments import NoisyMoments
from flowdyn.methods.sampling import Sampling
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.linear_regression import LinearRegression
from flowdyn.schedules import Schedule, StepSize, as_schedule


class NoisyRMSProp(NoisyMoments):
    r"""RMSProp with noisy gradients, its memory as long in training time at every eta, at t = eta k.

    .. math:: w_{k+1} = w_k - \eta\,\frac{g_k}{\sqrt{v_k} + \epsilon}, \qquad
              v_{k+1} = v_k + c\,\eta\,(g_k^2 - v_k)

    Parameters
    ----------
    problem : Problem
        With samples, given or fresh, or a Quadratic with noise.
    eta : float
        Step size, positive.
    decay_rate : float
        c = (1 - beta_2)/eta, positive.
    eps : float
        Outside the root, positive.
    v0 : float or array_like of float, shape (P,)
        Second moment at the start, positive.
    batch_size : int
        B >= 1: g is the mean of a batch; Gaussian noise is divided by sqrt(B).
    sampling : {"with", "without"}
        With replacement, or B distinct samples.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, a number is not positive, or c eta > 1; by ``limit``, if
        there are more than 20,000 different batches, or more than six normals in the fresh samples of a step. A fixed
        beta_2 has no closed limit: v would keep a law of its own.

    Notes
    -----
    v is used before its update. Limits by the rule of :class:`RecursionEquation`: a flow that knows the noise's
    variance, equations of weak order 1 and 2. The v of an equation has noise and may fall below 0, where that of the
    recursion cannot: below l = c eta E g^2, what a step adds to it in the mean, coefficients are those of a floor that
    goes smoothly from l to l/2; no order changes by it. Source: Malladi, Lyu, Panigrahi and Arora (2022) for the
    scaling.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearRegression([[1.0], [2.0]], [1.0, 0.0])
    >>> method = fd.NoisyRMSProp(p, 0.1, decay_rate=1.0, eps=0.1, v0=1.5)
    >>> type(method.limit(0)).__name__, type(method.limit(2)).__name__
    ('RecursionFlow', 'RecursionEquation')
    """

    problem: Problem
    eta: Schedule
    decay_rate: jax.Array
    eps: jax.Array
    v0: jax.Array
    batch_size: int = eqx.field(static=True)
    sampling: Sampling = eqx.field(static=True)
    summary: ClassVar[str] = "RMSProp with noisy gradients (v before its update, eps outside the root)"
    references: ClassVar[str] = "Malladi, Lyu, Panigrahi and Arora (2022)"

    def __init__(
        self,
        problem: Problem,
        eta: StepSize,
        decay_rate: Scalar,
        eps: Scalar,
        v0: ArrayLike,
        batch_size: int = 1,
        sampling: Sampling = "with",
    ):
        self.problem, self.eta = sampled_problem(problem, takes_fresh=True), as_schedule("eta", eta)
        self.batch_size, self.sampling = checked_draws(problem, batch_size, sampling)
        self.decay_rate, self.eps = positive("decay_rate", decay_rate), positive("eps", eps)
        self.v0 = second_moment("v0", v0, problem.size)
        first = self.eta(jnp.asarray(0))
        if not is_traced(first) and not is_traced(self.decay_rate) and float(first * self.decay_rate) > 1:
            rule = "must keep beta = 1 - decay_rate*eta >= 0; a fixed beta has no closed limit as eta -> 0"
            raise _check.fail("eta", rule, float(first), "use a smaller eta")

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On three samples of two features."""
        problem = LinearRegression([[1.0, 2.0], [0.5, -1.0], [0.3, 0.3]], [1.0, 0.2, 0.4])
        return cls(problem, eta=0.01, decay_rate=1.0, eps=0.1, v0=1.0), np.array([0.4, 0.35])

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """V alone."""
        return {"v": self.v0}

    @property
    def v_rate(self) -> jax.Array:
        """The c of v."""
        return self.decay_rate

    def moved(self, h: Time, state: Vector, gradient: Vector) -> Vector:
        """``[w - h g / (sqrt(v) + eps), v + c h (g^2 - v)]``."""
        w, v = jnp.split(state, 2)
        g = jnp.asarray(gradient)
        return jnp.concatenate([w - h * g / (jnp.sqrt(v) + self.eps), v + self.decay_rate * h * (g**2 - v)])
