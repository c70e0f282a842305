r"""RMSProp and Adam where noise dominates the gradient, sigma = s0/sqrt(h): eta = sqrt(h), t = h k.

    eps = e0/sqrt(h),   1 - beta_i = c_i h,   u = v/sigma^2,   g = grad L + (s0/sqrt(h)) zeta,   Cov zeta = Sigma

    w+ = w - h g/(s0 sqrt(u) + e0),   u+ = u + c2 h (h g^2/s0^2 - u)                 NoiseDominatedRMSProp (old u)
    m+ = m + c1 h (g - m),  u+ as above,  w+ = w - h mhat/(s0 sqrt(uhat) + e0)       NoiseDominatedAdam (new m, new u)

It tends to :class:`RMSPropEquation` and :class:`AdamEquation` at weak order 1 in h. This limit moves the problem: sigma
grows as h falls. A step's covariance is of order h, so that the equations are written down by hand. A fixed beta_2 has
no closed limit: v keeps a law of its own.
"""

import abc
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.leaves import Scalar, is_traced
from flowdyn._tools.randomness import Draw, RandomInputs, below
from flowdyn.methods.moment_estimates import WithMoments, checked_moment
from flowdyn.methods.noise_dominated_equations import (
    SOURCE,
    AdamEquation,
    RMSPropEquation,
    positive,
    second_moment,
)
from flowdyn.methods.noisy_gradients import sampled_problem
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import System
from flowdyn.problems.base import Problem, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule

NODES = 64  # of the quadrature over a Gaussian noise: exact for polynomials of degree 127


class NoiseDominated(WithMoments, RandomRecursionSystem):
    """Base: the clock h = eta^2, the amplified noise, the step of u."""

    problem: eqx.AbstractVar[Problem]
    eta: eqx.AbstractVar[Schedule]
    s0: eqx.AbstractVar[jax.Array]
    c2: eqx.AbstractVar[jax.Array]
    step_power: ClassVar[float] = 2.0
    lowest_order: ClassVar[int] = 1

    @property
    def increments(self) -> Schedule:
        """Time steps ``h = eta^2``."""
        return Constant(self.eta(jnp.asarray(0)) ** 2)

    @property
    def random_inputs(self) -> RandomInputs:
        """A word for the sample, or the normals."""
        is_gaussian = self.problem.gaussian_factor is not None
        return RandomInputs(numbers=self.problem.noise_dim) if is_gaussian else RandomInputs(words=1)

    @property
    def h(self) -> jax.Array:
        """``eta^2``."""
        return self.increments(jnp.asarray(0))

    @abc.abstractmethod
    def next_state(self, k: jax.Array, state: Vector, gradient: Vector) -> Vector:
        """State after step k with this noisy gradient; entry i of its parts depends on entry i of the gradient."""

    def next_u(self, u: Vector, gradient: Vector) -> Vector:
        """``u + c2 h (h g^2 / s0^2 - u)``."""
        return u + self.c2 * self.h * (self.h / self.s0**2 * gradient**2 - u)

    def _with(self, k: jax.Array, state: Vector, away: Vector) -> Vector:
        """The step with the mean gradient and its amplified noise."""
        gradient = self.problem.grad(self.project(state))
        return self.next_state(k, state, gradient + self.s0 / jnp.sqrt(self.h) * away)

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """The step with the sample, or the normals, that are drawn."""
        z, p = jnp.asarray(state), self.problem
        if p.gaussian_factor is not None:
            return self._with(k, z, matvec(p.gaussian_factor, draw.numbers))
        w, index = self.project(z), below(draw.words, p.sample_count)
        return self._with(k, z, jax.grad(lambda v: jnp.mean(p.batch_losses(v, index)))(w) - p.grad(w))

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """The mean over the samples, or over the normals: entry by entry, by Gauss-Hermite quadrature."""
        z, p = jnp.asarray(state), self.problem
        if p.gaussian_factor is None:
            rows = p.sample_grads(self.project(z))
            away, weights = rows - jnp.mean(rows, axis=0), jnp.full(len(rows), 1 / len(rows))
        else:
            nodes, found = np.polynomial.hermite_e.hermegauss(NODES)
            spread = jnp.sqrt(jnp.diag(p.noise_cov(self.project(z))))
            away, weights = jnp.asarray(nodes)[:, None] * spread, jnp.asarray(found / found.sum())
        return weights @ jax.vmap(lambda x: self._with(k, z, x))(away)

    def expected_order(self, order: int = 1, error: str = "weak") -> float:
        """Weak order 1 in h; strong order 1/2."""
        return 1.0 if error == "weak" else 0.5

    def _check_rates(self, **rates: Any) -> None:
        """Refuse a schedule, and rates that make a beta negative."""
        h = float(self._constant("an adaptive method").eta) ** 2 if not is_traced(self.h) else 0.0
        for name, rate in rates.items():
            if not is_traced(rate) and float(rate) * h > 1:
                rule = f"must keep beta = 1 - {name} eta^2 >= 0; a fixed beta has no closed limit as eta -> 0"
                raise _check.fail("eta", rule, h**0.5, "use a smaller eta")


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

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, a number is not positive, or c2 eta^2 > 1; by ``limit``
        of any order but 1.

    Notes
    -----
    The noise grows as eta falls: the limit moves the problem. Orders are in h. Source: Malladi, Lyu, Panigrahi and
    Arora (2022).

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
    summary: ClassVar[str] = "RMSProp (v before its update, eps outside the root) where noise dominates"
    references: ClassVar[str] = SOURCE

    def __init__(self, problem: Problem, eta: StepSize, s0: Scalar, c2: Scalar, e0: Scalar, u0: ArrayLike):
        self.problem, self.eta = sampled_problem(problem), as_schedule("eta", eta)
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

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, a number is not positive, or c_i eta^2 > 1; by ``limit``
        of any order but 1.

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
    ):
        self.problem, self.eta = sampled_problem(problem), as_schedule("eta", eta)
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
