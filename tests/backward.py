"""Means of a scalar equation without sampling, by its backward equation on a grid and a matrix exponential."""

import jax
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import expm_multiply


def means(equation, x0, t, functions, low, high, count=1601):
    """``E f(X_t)`` from x0 for each f of `functions`, for noise that is small at the ends low and high.

    The generator  b d + (s^2/2) d^2  is taken by differences of fourth order, and one-sided at the ends.
    """
    x = np.linspace(low, high, count)
    b = np.asarray(jax.vmap(lambda z: equation.drift(0.0, z))(x[:, None]))[:, 0]
    spread = np.asarray(jax.vmap(lambda z: equation.diffusion(0.0, z))(x[:, None]))[:, 0]
    variance = np.sum(spread**2, axis=1)
    rows = [(j, *_weights(x, j)) for j in range(count)]
    i = np.repeat(np.arange(count), [len(r[1]) for r in rows])
    j = np.concatenate([r[1] for r in rows])
    first, second = (csr_matrix((np.concatenate([r[k] for r in rows]), (i, j)), shape=(count, count)) for k in (2, 3))
    generator = diags(b) @ first + diags(variance / 2) @ second
    values = expm_multiply(t * generator, np.stack([f(x) for f in functions], axis=1))
    return CubicSpline(x, values)(x0)


def _weights(x, j):
    """Columns of a stencil of five points about x_j, and its weights for first and second derivatives."""
    start = min(max(j - 2, 0), len(x) - 5)
    step, at = x[1] - x[0], np.arange(start, start + 5)
    powers = np.vander((x[at] - x[j]) / step, 5, increasing=True).T
    return at, np.linalg.solve(powers, [0, 1, 0, 0, 0]) / step, np.linalg.solve(powers, [0, 0, 2, 0, 0]) / step**2
