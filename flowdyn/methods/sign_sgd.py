r"""Sign descent with Gaussian noise, whose signs average to a smooth drift, at t = eta k.

w_{k+1} = w_k - eta sign(g_k),   g_k = grad L + s xi:    E sign = -b,   b_i = -erf(grad_i / (sqrt(2) s_i))
C = Cov sign:   C_ii = 1 - b_i^2,
C_ij = (2/pi) int_0^{arcsin rho_ij} exp(-(x_i^2 + x_j^2 - 2 x_i x_j sin a)/(2 cos^2 a)) da,   x = grad/s

dX = b dt + sqrt(eta) C^{1/2} dW                        order 1
dX = (b - (eta/2) b'b) dt + sqrt(eta) C^{1/2} dW        order 2

C_ij is 0 where the noise is independent between coordinates, and (2/pi) arcsin rho_ij where the gradient vanishes.
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, erfc

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.leaves import is_traced
from flowdyn.methods.scattered import Scattered
from flowdyn.methods.systems import OnProblem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Schedule, StepSize, as_schedule

SMALLEST = 1e-300  # of a variance, whose root has a slope there
NODES = 48  # of the integral over the angle
TIED = 1e-4  # least eigenvalue of the correlation of the noise


class SignSGD(OnProblem, Scattered):
    r"""Descent by the signs of noisy gradients, at training time t = eta k.

    .. math:: w_{k+1} = w_k - \eta\,\mathrm{sign}(\nabla L(w_k) + s\,\xi_k), \qquad
              b_i = -\mathrm{erf}\Big(\frac{\partial_i L}{\sqrt2\,s_i}\Big)

    Parameters
    ----------
    problem : Quadratic
        With a Gaussian gradient noise in all coordinates, correlated or not, but not tied: of full rank.
    eta : float
        Step size, positive.
    batch_size : int
        B >= 1: the noise's standard deviation is s / sqrt(B).

    Raises
    ------
    ArgumentError
        If `problem` has no Gaussian noise (signs of finitely many samples jump, and have a flow that slides but no
        equation of order 2), or one that is missing in a coordinate or a combination of them; if a number is out of
        range.

    Notes
    -----
    The stationary variance of one coordinate of curvature lam is eta s sqrt(pi/2) / (2 lam) (1 + O(eta)).
    Source: Bernstein, Wang, Azizzadenesheli and Anandkumar (2018); its equations by the rule of
    :class:`RecursionEquation`, of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> sign = fd.SignSGD(fd.problems.Quadratic(1.0, noise=1.0), eta=0.1)
    >>> round(float(sign.limit(1).drift(0.0, [1.0])[0]), 9)  # -erf(1 / sqrt(2))
    -0.682689492
    """

    problem: Problem
    eta: Schedule
    batch_size: int = eqx.field(static=True)
    is_correlated: bool = eqx.field(static=True)
    summary: ClassVar[str] = "descent by the signs of gradients with Gaussian noise"
    references: ClassVar[str] = "Bernstein, Wang, Azizzadenesheli and Anandkumar (2018)"

    def __init__(self, problem: Quadratic, eta: StepSize, batch_size: int = 1):
        self.problem, self.eta = checked_problem(problem), as_schedule("eta", eta)
        self.batch_size = _check.integer("batch_size", batch_size, minimum=1)
        if problem.gaussian_factor is None:
            raise _check.fail(
                "problem",
                "must have a Gaussian gradient noise: signs of finitely many samples jump",
                type(problem).__name__,
                "e.g. Quadratic(A, noise=Sigma)",
            )
        self.is_correlated = is_traced(problem.gaussian_factor) or _checked_correlation(
            np.asarray(problem.noise_cov(np.zeros(problem.size)))
        )

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Two coordinates that are coupled by the loss alone."""
        return cls(Quadratic([[2.0, 0.5], [0.5, 1.0]], noise=np.diag([1.0, 0.5])), eta=0.01), np.array([0.4, 0.35])

    def config(self) -> dict[str, Any]:
        """Problem, step size and batch: what the noise is follows from the problem."""
        return {"problem": self.problem, "eta": self.eta, "batch_size": self.batch_size}

    @property
    def outcomes(self) -> int | None:
        """None: the noise is Gaussian."""
        return None

    @property
    def noise_size(self) -> int:
        """One coin a coordinate."""
        return self.problem.size

    @property
    def is_symmetric(self) -> bool:
        """No: a sign with a mean is skewed."""
        return False

    @property
    def has_brownian_increments(self) -> bool:
        """No: a step has the normals' signs alone."""
        return False

    def _ratio(self, state: Vector) -> Vector:
        """``grad_i / (sqrt(2) s_i)``."""
        spread = jnp.sqrt(jnp.diag(self.problem.noise_cov(state)) / self.batch_size)
        return self.problem.grad(state) / (np.sqrt(2) * spread)

    def next_state(self, h: Time, state: Vector, noise: Any) -> Vector:
        """``w - h sign(grad L + s xi)``."""
        factor = self.problem.gaussian_factor
        return state - h * jnp.sign(self.problem.grad(state) - matvec(factor, noise) / np.sqrt(self.batch_size))

    def mean_at(self, h: Time, state: Vector) -> Vector:
        """``w + h b``."""
        return state - h * erf(self._ratio(state))

    def fluctuations(self, h: Time, state: Vector) -> jax.Array:
        """``h C^{1/2}``; ``1 - b_i^2`` without cancellation where b is near 1."""
        ratio = self._ratio(state)
        x = jnp.abs(ratio)
        spread = jnp.sqrt(jnp.maximum(erfc(x) * (2 - erfc(x)), SMALLEST))
        if not self.is_correlated:
            return jnp.asarray(h) * jnp.diag(spread)
        covariance = self.problem.noise_cov(state)
        size = jnp.sqrt(jnp.diag(covariance))
        mixed = _sign_covariance(np.sqrt(2) * jnp.asarray(ratio), covariance / jnp.outer(size, size))
        mixed = (mixed / jnp.outer(spread, spread)).at[jnp.diag_indices(len(x))].set(1.0)
        return jnp.asarray(h) * jnp.linalg.cholesky(mixed).T * spread


def _sign_covariance(x: jax.Array, correlation: jax.Array) -> jax.Array:
    """Covariance of the signs of normals of mean x, variance 1 and this correlation, off the diagonal."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    top = jnp.arcsin(correlation.at[jnp.diag_indices(len(x))].set(0.0))
    angle = top[..., None] * (1 + nodes) / 2
    first, second = x[:, None, None], x[None, :, None]
    exponent = (first**2 + second**2 - 2 * first * second * jnp.sin(angle)) / (2 * jnp.cos(angle) ** 2)
    return top / np.pi * (jnp.exp(-exponent) @ jnp.asarray(weights))


def _checked_correlation(covariance: np.ndarray) -> bool:
    """Whether a noise is correlated; one that is missing in a coordinate, or tied between them, is refused."""
    spread = np.diag(covariance)
    if (spread <= 0).any():
        i = int(spread.argmin())
        raise _check.fail(
            "problem", "must have noise in every coordinate", _check.Words(f"a variance of {spread[i]:.3g} in w[{i}]")
        )
    if np.abs(covariance - np.diag(spread)).max() <= 1e-14 * spread.max():
        return False
    least = np.linalg.eigvalsh(covariance / np.sqrt(np.outer(spread, spread)))[0]
    if least < TIED:
        rule = "must have a noise that is not tied between coordinates"
        got = _check.Words(f"a correlation whose least eigenvalue is {least:.3g}")
        raise _check.fail("problem", rule, got, "use a `noise` of full rank")
    return True
