"""Sample gradients that are linear in w, read off the problem by autodiff:  grad l_i(w) = A_i w - b_i"""

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn.problems.base import Problem
from flowdyn.theory.linear_moments import LinearNoise

MAX_ENTRIES = 20_000_000  # of the n Hessians of the samples


def linear_noise(problem: Problem) -> LinearNoise | None:
    """The linear sample gradients of a problem with a quadratic loss; None for another, or one too large."""
    if problem.spectrum() is None:
        return None
    d = problem.size
    zero = np.zeros(d)
    A, b = np.asarray(problem.hessian(zero)), -np.asarray(problem.grad(zero))
    if problem.gaussian_factor is not None:
        return LinearNoise(A, b, np.zeros((0, d, d)), np.zeros((0, d)), np.asarray(problem.noise_cov(zero)))
    n = problem.sample_count
    if n is None or n * d * d > MAX_ENTRIES:
        return None
    vectors = -np.asarray(problem.sample_grads(zero)) - b
    matrices = np.asarray(jax.jacfwd(problem.sample_grads)(jnp.asarray(zero))) - A
    return LinearNoise(A, b, matrices, vectors, np.zeros((d, d)))
