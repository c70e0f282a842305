r"""RMSProp and Adam where noise dominates the gradient, sigma = s0/sqrt(h): eta = sqrt(h), t = h k.

    eps = e0/sqrt(h),   1 - beta_i = c_i h,   u = v/sigma^2,   g = grad L + (s0/sqrt(h)) zeta,   Cov zeta = Sigma

    w+ = w - h g/(s0 sqrt(u) + e0),   u+ = u + c2 h (h g^2/s0^2 - u)                 NoiseDominatedRMSProp (old u)
    m+ = m + c1 h (g - m),  u+ as above,  w+ = w - h mhat/(s0 sqrt(uhat) + e0)       NoiseDominatedAdam (new m, new u)

It tends to :class:`RMSPropEquation` and :class:`AdamEquation` at weak order 1 in h. This limit moves the problem: sigma
grows as h falls; SVAG keeps it, at order 1 in 1/l^2. A step's covariance is of order h, so that the equations are
written down by hand. A fixed beta_2 has no closed limit: v keeps a law of its own.
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar
from flowdyn.methods.amplified_noise import NoiseDominated
from flowdyn.methods.moment_estimates import checked_moment
from flowdyn.methods.noise_dominated_equations import (
    SOURCE,
    AdamEquation,
    RMSPropEquation,
    positive,
    second_moment,
)
from flowdyn.methods.noisy_gradients import sampled_problem
from flowdyn.methods.systems import System
from flowdyn.problems.base import Problem, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Schedule, StepSize, as_schedule


def _refuse(order: Any) -> None:
    if _check.integer("order", order, minimum=0) != 1:
        raise _check.fail(
            "order", "must be 1: where noise dominates there is no flow, and no equation of order 2 is known", order
        )


class NoiseDominatedRMSProp(NoiseDominated):
    r"""RMSProp in scaled numbers where noise dominates the gradient, at t = h k, h = eta^2; v before its update.

    .. math:: w_{k+1} = w_k - h\,\frac{g_k}{s_0 \sqrt{u_k} + e_0}, \quad
              u_{k+1} = u_k + c_2 h\Big(\frac{h}{s_0^2} g_k^2 - u_k\Big), \quad
              g_k = \nabla L + \frac{s_0}{\sqrt h}\,\zeta_k

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise: zeta has its noise covariance Sigma.
    eta : float
        Step size sqrt(h), positive: eta g / (sqrt(v) + eps) with v = u sigma^2, sigma = s0/eta, eps = e0/eta outside
        the root.
    s0, c2, e0 : float
        sigma eta, (1 - beta_2)/eta^2 and eps eta, positive: the invariants of the square-root scaling rule.
    u0 : float or array_like of float, shape (P,)
        v / sigma^2 at the start, positive.
    batch_size : int
        B, drawn with replacement; zeta is sqrt(B) times the noise of the batch, so that s0 is sigma eta of a batch.
    imitated : float, optional
        Step size eta_0 >= eta of the method that SVAG imitates: sigma stays s0/eta_0, and two batches are weighted by
        (1 +- sqrt(2 l^2 - 1))/2, l = eta_0/eta. Without it sigma is s0/eta.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, a number is not positive, c2 eta^2 > 1, or eta exceeds
        `imitated`; by ``limit`` of any order but 1.

    Notes
    -----
    The noise grows as eta falls: the limit moves the problem, unless `imitated` keeps it: a ladder over eta is then one
    over l, of order 1 in 1/l^2. Orders are in h. Source: Malladi, Lyu, Panigrahi and Arora (2022).

    Examples
    --------
    >>> import flowdyn as fd
    >>> method = fd.NoiseDominatedRMSProp(fd.problems.Quadratic(1.0, noise=1.0), 0.1, s0=1.0, c2=1.0, e0=0.1, u0=2.0)
    >>> run = fd.solve(method, [1.0], t=1.0, realizations=3)
    >>> run.sizes["t"]
    101
    """

    problem: Problem
    eta: Schedule
    s0: jax.Array
    c2: jax.Array
    e0: jax.Array
    u0: jax.Array
    batch_size: int = eqx.field(static=True)
    imitated: jax.Array | None
    summary: ClassVar[str] = "RMSProp (v before its update, eps outside the root) where noise dominates"
    references: ClassVar[str] = SOURCE

    def __init__(
        self,
        problem: Problem,
        eta: StepSize,
        s0: Scalar,
        c2: Scalar,
        e0: Scalar,
        u0: ArrayLike,
        batch_size: int = 1,
        imitated: Scalar | None = None,
    ):
        self.problem, self.eta = sampled_problem(problem), as_schedule("eta", eta)
        self.batch_size, self.imitated = self._checked_draws(batch_size, imitated)
        self.s0, self.c2, self.e0 = positive("s0", s0), positive("c2", c2), positive("e0", e0)
        self.u0 = second_moment("u0", u0, problem.size)
        self._check_rates(c2=self.c2)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, s0=1.0, c2=1.0, e0=0.1, u0=2.0), w0

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """U alone."""
        return {"u": self.u0}

    def next_state(self, k: jax.Array, state: Vector, gradient: Vector) -> Vector:
        """``w - h g / (s0 sqrt(u) + e0)``, then u."""
        w, u = jnp.split(state, 2)
        return jnp.concatenate([w - self.h * gradient / (self.s0 * jnp.sqrt(u) + self.e0), self.next_u(u, gradient)])

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """In closed form: w moves by g and u by g^2, whose mean is grad^2 + sigma^2 diag Sigma."""
        z = jnp.asarray(state)
        w, u = jnp.split(self.next_state(k, z, self.problem.grad(self.project(z))), 2)
        return jnp.concatenate([w, u + self.c2 * self.h * jnp.diag(self.problem.noise_cov(self.project(z)))])

    def limit(self, order: int = 1) -> System:
        """:class:`RMSPropEquation` for order 1."""
        _refuse(order)
        return RMSPropEquation(self.problem, self.s0, self.c2, self.e0, self.u0)


class NoiseDominatedAdam(NoiseDominated):
    r"""Adam in scaled numbers where noise dominates the gradient, at t = h k, h = eta^2, from t0 on.

    .. math:: m_{k+1} = m_k + c_1 h (g_k - m_k), \quad
              w_{k+1} = w_k - h\,\frac{\hat m_{k+1}}{s_0\sqrt{\hat u_{k+1}} + e_0}

    with u as in :class:`NoiseDominatedRMSProp` and bias corrections 1 - beta_i^{k0 + k + 1}, k0 = t0/h.

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise: zeta has its noise covariance Sigma.
    eta : float
        Step size sqrt(h), positive.
    s0, c1, c2, e0 : float
        sigma eta, (1 - beta_i)/eta^2 and eps eta, positive: the invariants of the square-root scaling rule.
    t0 : float
        Time since Adam began when the run starts, positive.
    m0 : float or array_like of float, shape (P,)
        First moment at t0.
    u0 : float or array_like of float, shape (P,)
        v / sigma^2 at t0, positive.
    batch_size : int
        B, drawn with replacement; zeta is sqrt(B) times the noise of the batch, so that s0 is sigma eta of a batch.
    imitated : float, optional
        Step size eta_0 >= eta of the method that SVAG imitates: sigma stays s0/eta_0, and two batches are weighted by
        (1 +- sqrt(2 l^2 - 1))/2, l = eta_0/eta. Without it sigma is s0/eta.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, a number is not positive, c_i eta^2 > 1, or eta exceeds
        `imitated`; by ``limit`` of any order but 1.

    Notes
    -----
    Both moments are used after their update, eps stands outside the root. Source: Malladi, Lyu, Panigrahi and Arora
    (2022).

    Examples
    --------
    >>> import flowdyn as fd
    >>> scaled = dict(s0=1.0, c1=4.0, c2=1.0, e0=0.1, t0=0.5, m0=0.3, u0=0.4)
    >>> method = fd.NoiseDominatedAdam(fd.problems.Quadratic(1.0, noise=1.0), 0.1, **scaled)
    >>> type(method.limit(1)).__name__
    'AdamEquation'
    """

    problem: Problem
    eta: Schedule
    s0: jax.Array
    c1: jax.Array
    c2: jax.Array
    e0: jax.Array
    t0: jax.Array
    m0: jax.Array
    u0: jax.Array
    batch_size: int = eqx.field(static=True)
    imitated: jax.Array | None
    summary: ClassVar[str] = "Adam (moments after their update, eps outside the root) where noise dominates"
    references: ClassVar[str] = SOURCE

    def __init__(
        self,
        problem: Problem,
        eta: StepSize,
        *,
        s0: Scalar,
        c1: Scalar,
        c2: Scalar,
        e0: Scalar,
        t0: Scalar,
        m0: ArrayLike,
        u0: ArrayLike,
        batch_size: int = 1,
        imitated: Scalar | None = None,
    ):
        self.problem, self.eta = sampled_problem(problem, no_mean=True), as_schedule("eta", eta)
        self.batch_size, self.imitated = self._checked_draws(batch_size, imitated)
        self.s0, self.e0, self.t0 = positive("s0", s0), positive("e0", e0), positive("t0", t0)
        self.c1, self.c2 = positive("c1", c1), positive("c2", c2)
        self.m0, self.u0 = checked_moment("m0", m0, problem.size), second_moment("u0", u0, problem.size)
        self._check_rates(c1=self.c1, c2=self.c2)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, s0=1.0, c1=4.0, c2=1.0, e0=0.1, t0=0.5, m0=0.3, u0=0.4), w0

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """M and u."""
        return {"m": self.m0, "u": self.u0}

    def next_state(self, k: jax.Array, state: Vector, gradient: Vector) -> Vector:
        """The moments, then w by both of them as they are now."""
        w, m, u = jnp.split(state, 3)
        m, u = m + self.c1 * self.h * (jnp.asarray(gradient) - m), jnp.asarray(self.next_u(u, gradient))
        count = self.t0 / self.h + k + 1
        g1, g2 = (-jnp.expm1(count * jnp.log1p(-c * self.h)) for c in (self.c1, self.c2))
        step = m / g1 / (self.s0 * jnp.sqrt(u / g2) + self.e0)
        return jnp.concatenate([w - self.h * step, m, u])

    def limit(self, order: int = 1) -> System:
        """:class:`AdamEquation` for order 1."""
        _refuse(order)
        return AdamEquation(self.problem, self.s0, self.c1, self.c2, self.e0, self.t0, self.m0, self.u0)
