r"""Adam and AdamW with noisy gradients, the noise as it is (ballistic): eta = h, 1 - beta_i = c_i h, t = h k.

    m+ = m + c1 h (g - m),   v+ = v + c2 h (g^2 - v),   a+ = a + h
    w+ = w - h (mhat/(sqrt(vhat) + eps) + decay w),     mhat = m+/(1 - (1 - c1 h)^{a+/h}),  vhat alike from v+

    w' = -mhat/(sqrt(vhat) + eps) - decay w,   m' = c1 (grad L - m),   v' = c2 (grad L^2 + diag Sigma - v),   a' = 1
    mhat = m/(1 - e^{-c1 a}),  vhat alike;     order 0; the equations of order 1 and 2, plain or matched, from the step

The age a = t0 + t, the time since Adam began, is a part of the state: the step is then the same at every k.
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, nonnegative_leaf
from flowdyn.methods.moment_estimates import checked_moment, checked_rates, step_direction
from flowdyn.methods.noise_dominated_equations import positive, second_moment
from flowdyn.methods.noisy_gradients import checked_draws, sampled_problem
from flowdyn.methods.noisy_moments import NoisyMoments
from flowdyn.methods.sampling import Sampling
from flowdyn.problems.base import Problem, Time, Variable, Vector
from flowdyn.problems.linear_regression import LinearRegression
from flowdyn.schedules import Schedule, StepSize, as_schedule

NEAR, TERMS = 0.1, 18  # where the logarithm is taken by its series, and as many terms of it


class NoisyAdam(NoisyMoments):
    r"""Adam with noisy gradients, its memories as long in training time at every eta, at t = eta k.

    .. math:: m_{k+1} = m_k + c_1 \eta\,(g_k - m_k), \quad v_{k+1} = v_k + c_2 \eta\,(g_k^2 - v_k), \quad
              w_{k+1} = w_k - \eta \Big(\frac{\hat m_{k+1}}{\sqrt{\hat v_{k+1}} + \epsilon} + \lambda w_k\Big)

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise.
    eta : float
        Step size, positive.
    rates : array_like of float, shape (2,)
        c_i = (1 - beta_i)/eta, positive.
    eps : float
        Outside the root, positive.
    t0 : float
        Time since Adam began when the run starts, positive: bias is corrected as after t0/eta steps.
    m0 : float or array_like of float, shape (P,)
        First moment at t0, before its correction.
    v0 : float or array_like of float, shape (P,)
        Second moment at t0, before its correction, positive.
    decay : float
        Decoupled weight decay lambda, not negative (AdamW).
    batch_size : int
        B >= 1: g is the mean of a batch; Gaussian noise is divided by sqrt(B).
    sampling : {"with", "without"}
        With replacement, or B distinct samples.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, a number has the wrong sign, or c_i eta > 1; by
        ``limit``, if there are more than 20,000 different batches. A fixed beta_2 has no closed limit.

    Notes
    -----
    Both moments are used after their update. The state is [w, m, v] and the age t0 + t. Limits by the rule of
    :class:`RecursionEquation`: a flow that knows the noise's variance, equations of weak order 1 and 2. The v of an
    equation has noise and may fall below 0, where that of the recursion cannot: below l = c_2 eta E g^2, what a step
    adds to it in the mean, coefficients are those of a floor that goes smoothly from l to l/2; no order changes by it.
    Source: Kingma and Ba (2015), Loshchilov and Hutter (2019); Malladi, Lyu, Panigrahi and Arora (2022) for the
    scaling.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearRegression([[1.0], [2.0]], [1.0, 0.0])
    >>> method = fd.NoisyAdam(p, 0.05, [4.0, 1.0], eps=0.1, t0=0.5, m0=0.3, v0=0.4)
    >>> run = fd.solve(method, [1.0], t=1.0, realizations=3)
    >>> {"w", "m", "v", "age"} <= set(run.data_vars)
    True
    """

    problem: Problem
    eta: Schedule
    rates: jax.Array
    eps: jax.Array
    t0: jax.Array
    m0: jax.Array
    v0: jax.Array
    decay: jax.Array
    batch_size: int = eqx.field(static=True)
    sampling: Sampling = eqx.field(static=True)
    summary: ClassVar[str] = "Adam with noisy gradients (moments after their update, eps outside the root)"
    references: ClassVar[str] = (
        "Kingma and Ba (2015); Loshchilov and Hutter (2019); Malladi, Lyu, Panigrahi and Arora (2022)"
    )

    def __init__(
        self,
        problem: Problem,
        eta: StepSize,
        rates: ArrayLike,
        eps: Scalar,
        *,
        t0: Scalar,
        m0: ArrayLike,
        v0: ArrayLike,
        decay: Scalar = 0.0,
        batch_size: int = 1,
        sampling: Sampling = "with",
    ):
        self.problem, self.eta = sampled_problem(problem, "fd.Adam", no_mean=True), as_schedule("eta", eta)
        self.batch_size, self.sampling = checked_draws(problem, batch_size, sampling)
        self.rates = jnp.asarray(checked_rates("rates", rates, "betas", None, 2)[0])
        self.eps, self.t0, self.decay = positive("eps", eps), positive("t0", t0), nonnegative_leaf("decay", decay)
        self.m0, self.v0 = checked_moment("m0", m0, problem.size), second_moment("v0", v0, problem.size)
        first = self.eta(jnp.asarray(0))
        if not is_traced(self.rates) and (np.asarray(self.rates) <= 0).any():
            raise _check.fail("rates", "must be positive", rates)
        if not is_traced(first) and not is_traced(self.rates) and float(first * self.rates.max()) > 1:
            rule = "must keep beta_i = 1 - rates*eta >= 0; a fixed beta has no closed limit as eta -> 0"
            raise _check.fail("eta", rule, float(first), "use a smaller eta")

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On three samples of two features."""
        problem = LinearRegression([[1.0, 2.0], [0.5, -1.0], [0.3, 0.3]], [1.0, 0.2, 0.4])
        return cls(problem, 0.01, [4.0, 1.0], eps=0.1, t0=0.5, m0=0.1, v0=0.5), np.array([0.4, 0.35])

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """M and v."""
        return {"m": self.m0, "v": self.v0}

    def layout(self, size: int) -> tuple[Variable, ...]:
        """Parameters, moments, and the age."""
        return (*super().layout(size), Variable("age", (), (), "time since Adam began"))

    def lift(self, w0: Vector) -> Vector:
        """The parameters with the moments and the age that the run starts from."""
        return jnp.append(jnp.asarray(super().lift(w0)), self.t0)

    @property
    def v_rate(self) -> jax.Array:
        """The c of v."""
        return self.rates[1]

    def moved(self, h: Time, state: Vector, gradient: Vector) -> Vector:
        """The moments and the age, then w by all of them as they are now."""
        w, m, v = jnp.split(state[:-1], 3)
        g, age = jnp.asarray(gradient), state[-1] + h
        m, v = m + self.rates[0] * h * (g - m), v + self.rates[1] * h * (g**2 - v)
        share = -jnp.expm1(-age * self.rates * _log_ratio(self.rates * h))
        direction = step_direction(m / share[0], v / share[1], self.eps, eps_inside=False)
        return jnp.concatenate([w - h * (direction + self.decay * w), m, v, age[None]])


def _log_ratio(x: jax.Array) -> jax.Array:
    """``-log(1 - x)/x``, with derivatives at 0."""
    near = x < NEAR
    far = jnp.where(near, 0.5, x)
    small = jnp.where(near, x, 0.0)
    series = jnp.polyval(1 / jnp.arange(TERMS, 0, -1.0), small)
    return jnp.where(near, series, -jnp.log1p(-far) / far)
