r"""Langevin dynamics, and the equation of order 2 of its noisy discretisation SGLD.

    dX = -grad L dt + sqrt(2 T) dW                                                Langevin, law e^{-L/T}
    dX = -(grad L + (eta/2)(H grad L - T grad tr H)) dt
         + sqrt(2 T) (1 + (eta/2) H) dW + sqrt(eta s) G dW'                       SGLDEquation, order 2 in eta

SGLD itself is in :mod:`flowdyn.methods.sgld`.
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, leaf
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn.methods.noisy_gradients import checked_draws
from flowdyn.methods.recursion_equation import MAX_ENTRIES, affine_moments
from flowdyn.methods.sampling import Sampling, batch_noise_scale
from flowdyn.methods.systems import Moments, OnProblem, SDESystem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.theory.linear_moments import LinearNoise
from flowdyn.theory.moments import LinearGaussianLaw

SOURCE = "Welling and Teh (2011); Roberts and Tweedie (1996)"


def checked_temperature(value: Any) -> jax.Array:
    """Temperature as an array leaf, positive."""
    return leaf("temperature", value, ndim=0, positive=True)


class Langevin(OnProblem, SDESystem):
    r"""Overdamped Langevin dynamics: gradient flow with noise of temperature T.

    .. math:: dX = -\nabla L\,dt + \sqrt{2T}\,dW, \qquad \text{law} \to e^{-L/T}/Z

    Parameters
    ----------
    problem : Problem
        L, the energy.
    temperature : float
        T, positive.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn or the temperature is not positive.

    Notes
    -----
    Ito and Stratonovich agree. On a Quadratic it is an Ornstein-Uhlenbeck process and exact. Source: Roberts and
    Tweedie (1996).

    Examples
    --------
    >>> import flowdyn as fd
    >>> langevin = fd.Langevin(fd.problems.Quadratic(2.0), temperature=0.5)
    >>> mean, cov = langevin.exact_moments([0.0], [50.0])
    >>> round(float(cov[0, 0, 0]), 12)  # T / lam
    0.25
    """

    problem: Problem
    temperature: jax.Array
    calculus: ClassVar[str] = "ito"  # type: ignore[misc]
    noise: ClassVar[str] = "additive"  # type: ignore[misc]
    summary: ClassVar[str] = "Langevin dynamics dX = -grad L dt + sqrt(2T) dW"
    references: ClassVar[str] = SOURCE

    def __init__(self, problem: Problem, temperature: Scalar):
        self.problem, self.temperature = checked_problem(problem), checked_temperature(temperature)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, temperature=0.1), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-grad L``."""
        return -self.problem.grad(state)

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``sqrt(2 T)`` times the identity."""
        return jnp.sqrt(2 * self.temperature) * jnp.eye(self.problem.size)

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """``sqrt(2 T) dW``, without a matrix."""
        return jnp.sqrt(2 * self.temperature) * increment

    def noise_dim(self, state: np.ndarray) -> int:
        """One Brownian motion a parameter."""
        return self.problem.size

    def linear_law(self) -> LinearGaussianLaw | None:
        """Ornstein-Uhlenbeck where the gradient is linear."""
        noise = linear_gradients(self.problem, with_noise=False)
        if noise is None:
            return None
        return LinearGaussianLaw(noise.A, 2 * float(self.temperature) * np.eye(len(noise.b)), noise.b)


class SGLDEquation(OnProblem, SDESystem):
    r"""Equation of weak order 2 of SGLD.

    .. math:: dX = -\big(\nabla L + \tfrac\eta2 (H \nabla L - T\,\nabla \mathrm{tr} H)\big)dt
              + \sqrt{2T}\,(1 + \tfrac\eta2 H)\,dW + \sqrt{\eta s}\,G\,dW'

    Parameters
    ----------
    problem : Problem
        L; the noise of its gradients, if there is any, is G G^T.
    eta : float
        Step size of SGLD, positive.
    temperature : float
        T, positive.
    batch_size : int
        Batch B of SGLD.
    sampling : {"with", "without"}
        How SGLD draws: s = 1/B, or (n - B)/(B (n - 1)).

    Raises
    ------
    ArgumentError
        If a number is not positive or the sampling is "reshuffle".

    Notes
    -----
    Ito. Both its drift and its diffusion follow SGLD to eta^2, so that stationary laws do too. Source: Shardlow (2006)
    for Euler's method with additive noise; the gradients' own noise only adds its covariance at this order.

    Examples
    --------
    >>> import flowdyn as fd
    >>> equation = fd.SGLDEquation(fd.problems.Quadratic(2.0), eta=0.1, temperature=0.5)
    >>> round(float(equation.drift(0.0, [1.0])[0]), 10), round(float(equation.diffusion(0.0, [1.0])[0, 0]), 10)
    (-2.2, 1.1)
    """

    problem: Problem
    eta: jax.Array
    temperature: jax.Array
    batch_size: int = eqx.field(static=True)
    sampling: Sampling = eqx.field(static=True)
    calculus: ClassVar[str] = "ito"  # type: ignore[misc]
    noise: ClassVar[str] = "general"  # type: ignore[misc]
    summary: ClassVar[str] = "equation of order 2 of stochastic gradient Langevin dynamics"
    references: ClassVar[str] = "Shardlow (2006)"

    def __init__(
        self, problem: Problem, eta: Scalar, temperature: Scalar, batch_size: int = 1, sampling: Sampling = "with"
    ):
        self.problem, self.temperature = checked_problem(problem), checked_temperature(temperature)
        self.eta = leaf("eta", eta, ndim=0, positive=True)
        self.batch_size, self.sampling = drawn_if_any(problem, batch_size, sampling)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss with noise."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, temperature=0.1), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-grad L - (eta/2) (H grad L - T grad tr H)``."""
        w = jnp.asarray(state)
        grad = self.problem.grad(w)
        trace = jax.grad(lambda v: jnp.trace(self.problem.hessian(v)))(w)
        return -grad - self.eta / 2 * (self.problem.hvp(w, grad) - self.temperature * trace)

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``sqrt(2 T) (1 + (eta/2) H)`` beside ``sqrt(eta s) G``."""
        w = jnp.asarray(state)
        own = jnp.sqrt(2 * self.temperature) * (jnp.eye(len(w)) + self.eta / 2 * self.problem.hessian(w))
        if not self.problem.noise_dim:
            return own
        scale = batch_noise_scale(self.batch_size, given_samples(self.problem), self.sampling)
        return jnp.hstack([own, jnp.sqrt(self.eta * scale) * self.problem.noise_factor(w)])

    def noise_dim(self, state: np.ndarray) -> int:
        """One Brownian motion a parameter, and those of the gradients' noise."""
        return self.problem.size + self.problem.noise_dim

    def default_dt(self, span: float) -> float:
        """At most eta / 2."""
        return min(span / 1000, float(self.eta) / 2)

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance where the sample gradients are linear in w."""
        if linear_gradients(self.problem) is None:
            return None
        return affine_moments(self, w0, when)


def linear_gradients(problem: Problem, with_noise: bool = True) -> LinearNoise | None:
    """Gradients A_i w - b_i of the samples, or A w - b where there are none; None where they are not linear."""
    if degree_of(problem.grad, jax.ShapeDtypeStruct((problem.size,), jnp.float64)) > 1:
        return None
    if with_noise and problem.noise_dim:
        noise = problem.linear_gradients()
        if noise is None or isinstance(noise, LinearNoise):
            return noise
        return noise.spread() if noise.rows.size * problem.size <= MAX_ENTRIES else None
    zero, d = np.zeros(problem.size), problem.size
    A, b = np.asarray(problem.hessian(zero)), -np.asarray(problem.grad(zero))
    return LinearNoise(A, b, np.zeros((0, d, d)), np.zeros((0, d)), np.zeros((d, d)))


def given_samples(problem: Problem) -> int | None:
    """Number of samples to draw from; None where the noise is Gaussian or there is none."""
    return problem.sample_count if problem.gaussian_factor is None and problem.noise_dim else None


def drawn_if_any(problem: Problem, batch_size: int, sampling: Sampling) -> tuple[int, Sampling]:
    """Check batch size and sampling of a problem that may have no noise."""
    if problem.fresh_numbers:
        raise _check.fail("problem", "must have given samples, a Gaussian noise or none", type(problem).__name__)
    return checked_draws(problem, batch_size, sampling)
