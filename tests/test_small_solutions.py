"""Solutions with one small matrix, beside exact ones in rational arithmetic."""

from fractions import Fraction

import jax
import numpy as np
import pytest

from flowdyn.solvers.small_solutions import solution


def exact(matrix, known):
    """Gauss-Jordan elimination without rounding."""
    rows = [[*map(Fraction, row), Fraction(b)] for row, b in zip(matrix.tolist(), known.tolist(), strict=True)]
    for i in range(len(rows)):
        pivot = next(j for j in range(i, len(rows)) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [x - rows[j][i] * y for x, y in zip(rows[j], rows[i], strict=True)]
    return np.array([float(row[-1]) for row in rows])


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("spread", [0, 6])
def test_solutions_are_exact_in_any_units(size, spread):
    rng = np.random.default_rng(size)
    for _ in range(5):
        left, right = (10.0 ** rng.uniform(-spread, spread, size) for _ in range(2))
        plain = rng.standard_normal((size, size)) + 2 * np.eye(size)
        matrix, known = left[:, None] * plain * right, left * rng.standard_normal(size)
        found = np.asarray(jax.jit(lambda a, b: solution(a)(b))(matrix, known))
        off = np.abs(found - exact(matrix, known)) * right
        assert off.max() < 1e-15 * 10 * np.linalg.cond(plain) * np.abs(np.linalg.inv(plain) @ (known / left)).max()


def test_the_matrix_of_robertsons_equation():
    h = 1e4
    a, b = 0.04, np.array([7.8e-2, 1.6e-6, 0.92])
    rates = np.array([
        [-a, 1e4 * b[2], 1e4 * b[1]],
        [a, -1e4 * b[2] - 6e7 * b[1], -1e4 * b[1]],
        [0.0, 6e7 * b[1], 0.0],
    ])  # fmt: skip
    matrix, known = np.eye(3) / h - rates, np.array([-1e-3, 2e-8, 1e-3])
    want = exact(matrix, known)
    np.testing.assert_allclose(np.asarray(solution(jax.numpy.asarray(matrix))(known)), want, rtol=1e-11)
