"""Sample gradients that are linear in w, read off the problem by autodiff:  grad l_i(w) = A_i w - b_i"""

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn.methods.systems import Moments
from flowdyn.problems.base import Problem
from flowdyn.theory.linear_moments import LinearNoise, linear_sde_mean_cov, linear_sgd_mean_cov

BATCH = 64  # samples at a time
MAX_ENTRIES = 20_000_000  # of the n Hessians of the samples


def linear_noise(problem: Problem) -> LinearNoise | None:
    """The linear sample gradients of a problem with a quadratic loss; None for another, or one too large."""
    if not problem.is_quadratic:
        return None
    d = problem.size
    zero = np.zeros(d)
    A, b = np.asarray(problem.hessian(zero)), -np.asarray(problem.grad(zero))
    if problem.gaussian_factor is not None:
        return LinearNoise(A, b, np.zeros((0, d, d)), np.zeros((0, d)), np.asarray(problem.noise_cov(zero)))
    n = problem.sample_count
    if n is None or n * d * d > MAX_ENTRIES:
        return None
    grads, hessians = bind(_of_each_sample, problem, n)(zero)
    return LinearNoise(A, b, np.asarray(hessians) - A, -np.asarray(grads) - b, np.zeros((d, d)))


def sgd_moments(problem: Problem, eta: float, share: float, w0: np.ndarray, k: np.ndarray) -> Moments | None:
    """Mean and covariance of SGD after k steps; None where the gradients are not linear in w, or too many."""
    fresh = problem.fresh_noise
    if fresh is not None:
        return fresh.sgd_mean_cov(eta, share, w0, k)
    noise = linear_noise(problem)
    return None if noise is None else linear_sgd_mean_cov(noise, eta, share, w0, k)


def equation_moments(
    problem: Problem, eta: float, share: float, order: int, w0: np.ndarray, t: np.ndarray
) -> Moments | None:
    """Mean and covariance of SGD's equation of order 1 or 2 at times t, as :func:`sgd_moments`."""
    fresh = problem.fresh_noise
    if fresh is not None:
        return fresh.equation_mean_cov(eta, share, order, w0, t)
    noise = linear_noise(problem)
    return None if noise is None else linear_sde_mean_cov(noise, eta, share, order, w0, t)


def _of_each_sample(problem: Problem, n: int, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients (n, d) and Hessians (n, d, d), sample by sample: all at once would take n^2 d^2 numbers."""

    def one(i: jax.Array) -> tuple[jax.Array, jax.Array]:
        def loss(v: jax.Array) -> jax.Array:
            return problem.batch_losses(v, i[None])[0]

        return jax.grad(loss)(w), jax.hessian(loss)(w)

    return jax.lax.map(one, jnp.arange(n), batch_size=BATCH)
