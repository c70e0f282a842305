r"""Equations of RMSProp and Adam where noise dominates the gradient: u = v/sigma^2, g_i = 1 - e^{-c_i t}.

    dw = -P^-1 (grad L dt + s0 Sigma^{1/2} dW),   du = c2 (diag Sigma - u) dt,   P = s0 sqrt(u) + e0
    dw = -(sqrt(g2)/g1) P^-1 m dt,   dm = c1 (grad L - m) dt + s0 c1 Sigma^{1/2} dW,   P = s0 sqrt(u) + e0 sqrt(g2)

Adam is singular at t = 0, where sqrt(g2)/g1 ~ t^{-1/2}: it starts from a stated t0 > 0 with stated m0 and u0.
"""

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn.methods.moment_estimates import WithMoments, checked_moment
from flowdyn.methods.noisy_gradients import sampled_problem
from flowdyn.methods.systems import SDESystem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic

SOURCE = "Malladi, Lyu, Panigrahi and Arora (2022)"


def positive(name: str, value: Any) -> jax.Array:
    """A positive number as an array leaf."""
    return leaf(name, value, ndim=0, positive=True)


def second_moment(name: str, value: Any, size: int) -> jax.Array:
    """A second moment to start from: one positive number, or one a parameter."""
    found = checked_moment(name, value, size)
    if not is_traced(value) and (np.asarray(found) <= 0).any():
        raise _check.fail(name, "must be positive: steps are divided by its root", value)
    return found


class RMSPropEquation(WithMoments, SDESystem):
    r"""RMSProp's equation where noise dominates the gradient.

    .. math:: dw = -P^{-1}(\nabla L\,dt + s_0 \Sigma^{1/2} dW), \quad du = c_2(\mathrm{diag}\,\Sigma - u)\,dt,
              \quad P = s_0\sqrt u + e_0

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise: its noise covariance is Sigma.
    s0, c2, e0 : float
        sigma sqrt(h), (1 - beta_2)/h and eps sqrt(h), positive: the invariants of the square-root scaling rule.
    u0 : float or array_like of float, shape (P,)
        v / sigma^2 at the start, positive.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, or a number is not positive.

    Notes
    -----
    Ito. Where Sigma is constant u is deterministic and on a quadratic the law of w is Gaussian. Source: Malladi, Lyu,
    Panigrahi and Arora (2022).

    Examples
    --------
    >>> import flowdyn as fd
    >>> equation = fd.RMSPropEquation(fd.problems.Quadratic(1.0, noise=1.0), s0=1.0, c2=1.0, e0=0.5, u0=2.25)
    >>> [float(x) for x in equation.drift(0.0, [1.0, 2.25])]
    [-0.5, -1.25]
    """

    problem: Problem
    s0: jax.Array
    c2: jax.Array
    e0: jax.Array
    u0: jax.Array
    calculus: ClassVar[str] = "ito"  # type: ignore[misc]
    noise: ClassVar[str] = "general"  # type: ignore[misc]
    summary: ClassVar[str] = "RMSProp's equation where noise dominates the gradient"
    references: ClassVar[str] = SOURCE

    def __init__(self, problem: Problem, s0: Scalar, c2: Scalar, e0: Scalar, u0: ArrayLike):
        self.problem = sampled_problem(problem)
        self.s0, self.c2, self.e0 = positive("s0", s0), positive("c2", c2), positive("e0", e0)
        self.u0 = second_moment("u0", u0, problem.size)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, s0=1.0, c2=1.0, e0=0.1, u0=2.0), w0

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """U alone."""
        return {"u": self.u0}

    def drift(self, t: Time, state: Vector) -> Vector:
        """``[-grad / P, c2 (diag Sigma - u)]``."""
        w, u = jnp.split(jnp.asarray(state), 2)
        scale = self.s0 * jnp.sqrt(u) + self.e0
        return jnp.concatenate([-self.problem.grad(w) / scale, self.c2 * (jnp.diag(self.problem.noise_cov(w)) - u)])

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``-s0 P^-1 G`` for w, none for u."""
        w, u = jnp.split(jnp.asarray(state), 2)
        G = -self.s0 * self.problem.noise_factor(w) / (self.s0 * jnp.sqrt(u) + self.e0)[:, None]
        return jnp.concatenate([G, jnp.zeros_like(G)])

    def noise_dim(self, state: np.ndarray) -> int:
        """Those of the problem's noise."""
        return self.problem.noise_dim


class AdamEquation(WithMoments, SDESystem):
    r"""Adam's equation where noise dominates the gradient, from a time t0 > 0.

    .. math:: dw = -\frac{\sqrt{\gamma_2}}{\gamma_1} P^{-1} m\,dt, \quad
              dm = c_1(\nabla L - m)\,dt + s_0 c_1 \Sigma^{1/2} dW, \quad du = c_2(\mathrm{diag}\,\Sigma - u)\,dt

    with :math:`\gamma_i = 1 - e^{-c_i (t_0 + t)}` and :math:`P = s_0 \sqrt u + e_0 \sqrt{\gamma_2}`.

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise: its noise covariance is Sigma.
    s0, c1, c2, e0 : float
        sigma sqrt(h), (1 - beta_i)/h and eps sqrt(h), positive: the invariants of the square-root scaling rule.
    t0 : float
        Time since Adam began when the run starts, positive: the bias correction is singular at 0.
    m0 : float or array_like of float, shape (P,)
        First moment at t0.
    u0 : float or array_like of float, shape (P,)
        v / sigma^2 at t0, positive.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, or a number is not positive.

    Notes
    -----
    Ito. Source: Malladi, Lyu, Panigrahi and Arora (2022).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0, noise=1.0)
    >>> equation = fd.AdamEquation(p, s0=1.0, c1=4.0, c2=1.0, e0=0.1, t0=0.5, m0=0.3, u0=0.4)
    >>> run = fd.solve(equation, [1.0], t=0.25, realizations=2)
    >>> [name for name in ("w", "m", "u") if name in run]
    ['w', 'm', 'u']
    """

    problem: Problem
    s0: jax.Array
    c1: jax.Array
    c2: jax.Array
    e0: jax.Array
    t0: jax.Array
    m0: jax.Array
    u0: jax.Array
    calculus: ClassVar[str] = "ito"  # type: ignore[misc]
    noise: ClassVar[str] = "general"  # type: ignore[misc]
    summary: ClassVar[str] = "Adam's equation where noise dominates the gradient"
    references: ClassVar[str] = SOURCE

    def __init__(
        self, problem: Problem, s0: Scalar, c1: Scalar, c2: Scalar, e0: Scalar, t0: Scalar, m0: ArrayLike, u0: ArrayLike
    ):
        self.problem = sampled_problem(problem)
        self.s0, self.e0, self.t0 = positive("s0", s0), positive("e0", e0), positive("t0", t0)
        self.c1, self.c2 = positive("c1", c1), positive("c2", c2)
        self.m0, self.u0 = checked_moment("m0", m0, problem.size), second_moment("u0", u0, problem.size)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, s0=1.0, c1=4.0, c2=1.0, e0=0.1, t0=0.5, m0=0.3, u0=0.4), w0

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """M and u."""
        return {"m": self.m0, "u": self.u0}

    def drift(self, t: Time, state: Vector) -> Vector:
        """``[-(sqrt(g2)/g1) m / P, c1 (grad - m), c2 (diag Sigma - u)]``."""
        w, m, u = jnp.split(jnp.asarray(state), 3)
        g1, g2 = (-jnp.expm1(-c * (self.t0 + t)) for c in (self.c1, self.c2))
        speed = jnp.sqrt(g2) / g1 * m / (self.s0 * jnp.sqrt(u) + self.e0 * jnp.sqrt(g2))
        spread = jnp.diag(self.problem.noise_cov(w))
        return jnp.concatenate([-speed, self.c1 * (self.problem.grad(w) - m), self.c2 * (spread - u)])

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``s0 c1 G`` for m, none for w and u."""
        G = self.s0 * self.c1 * self.problem.noise_factor(self.project(jnp.asarray(state)))
        return jnp.concatenate([jnp.zeros_like(G), G, jnp.zeros_like(G)])

    def noise_dim(self, state: np.ndarray) -> int:
        """Those of the problem's noise."""
        return self.problem.noise_dim
