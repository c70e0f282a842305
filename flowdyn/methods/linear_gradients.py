"""Sample gradients that are linear in w, read off the problem by autodiff:  grad l_i(w) = A_i w - b_i"""

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn.problems.base import Problem
from flowdyn.theory.linear_moments import LinearNoise

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


def _of_each_sample(problem: Problem, n: int, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients (n, d) and Hessians (n, d, d), sample by sample: all at once would take n^2 d^2 numbers."""

    def one(i: jax.Array) -> tuple[jax.Array, jax.Array]:
        def loss(v: jax.Array) -> jax.Array:
            return problem.batch_losses(v, i[None])[0]

        return jax.grad(loss)(w), jax.hessian(loss)(w)

    return jax.lax.map(one, jnp.arange(n), batch_size=BATCH)
