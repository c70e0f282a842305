"""Solutions of many systems with one matrix:  A x = b,  by factors, or for up to three unknowns by the inverse

    A^{-1} = adj(A) / det(A),   a^1 = a_2 x a_3 / (a_1 . a_2 x a_3) and so on   for the rows a_i of a 3 x 3 matrix

A call of LAPACK costs as much as fifty products: for so few unknowns the inverse is a part of the loop around it.
Cofactors do not depend on the units of rows and columns, so that neither do errors.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from flowdyn.problems.base import Vector

MOST = 3  # unknowns


def solution(matrix: jax.Array) -> Callable[[Vector], jax.Array]:
    """A function b -> A^{-1} b, for A of shape (S, S) and b of shape (S,)."""
    if len(matrix) > MOST:
        factors = jax.scipy.linalg.lu_factor(matrix)
        return lambda known: jax.scipy.linalg.lu_solve(factors, known)
    inverse = _inverse(matrix)
    return lambda known: jnp.sum(inverse * known, axis=1)


def _inverse(matrix: jax.Array) -> jax.Array:
    size = len(matrix)
    if size == 1:
        return 1 / matrix
    a = [[matrix[i, j] for j in range(size)] for i in range(size)]
    if size == 2:
        det = a[0][0] * a[1][1] - a[0][1] * a[1][0]
        return jnp.stack([a[1][1], -a[0][1], -a[1][0], a[0][0]]).reshape(2, 2) / det

    def cofactor(i: int, j: int) -> jax.Array:
        r, s, u, v = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
        return a[r][u] * a[s][v] - a[r][v] * a[s][u]

    det = sum((a[0][j] * cofactor(0, j) for j in (1, 2)), a[0][0] * cofactor(0, 0))
    return jnp.stack([cofactor(i, j) for j in range(3) for i in range(3)]).reshape(3, 3) / det
