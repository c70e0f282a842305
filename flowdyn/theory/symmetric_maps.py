"""Linear maps on symmetric matrices M (p, p), as they are and as one matrix on a triangle of M (q, q), q = p (p + 1)/2.

    M -> F M + M F^T      M -> F M F^T      M -> mean_i F_i M F_i^T

As one matrix such a map is squared instead of stepped: 2^m steps cost m products.
"""

import numpy as np

BLOCK = 4_000_000  # entries of the products of samples that are held at a time


class Triangle:
    """Places (a, b), a <= b, of a symmetric matrix that stand for the whole of it."""

    def __init__(self, p: int):
        self.p, self.places = p, np.triu_indices(p)
        self.twice = (self.places[0] != self.places[1]).astype(float)  # an entry off the diagonal stands for two

    def pack(self, M: np.ndarray) -> np.ndarray:
        """Entries (q,) of a symmetric matrix."""
        return M[self.places]

    def unpack(self, entries: np.ndarray) -> np.ndarray:
        """The matrix (p, p) of entries (q,)."""
        M = np.empty((self.p, self.p))
        M[self.places] = entries
        M.T[self.places] = entries
        return M

    def two_sided(self, F: np.ndarray, G: np.ndarray) -> np.ndarray:
        """Matrix (q, q) of ``M -> F M G^T``, read at the places (a, b)."""
        (a, b), (j, k) = self.places, self.places
        straight = F[np.ix_(a, j)] * G[np.ix_(b, k)]
        return straight + self.twice * (F[np.ix_(a, k)] * G[np.ix_(b, j)])

    def both_sides(self, F: np.ndarray) -> np.ndarray:
        """Matrix (q, q) of ``M -> F M + M F^T``."""
        one = np.eye(self.p)
        return self.two_sided(F, one) + self.two_sided(one, F)


class MatrixNoise:
    """``V(M) = mean_i D_i M D_i^T + additive M_00`` for deviations D_i (d, p) of the samples' maps from their mean."""

    def __init__(self, parts: np.ndarray, additive: np.ndarray):
        self.parts, self.additive = parts, additive

    def spread(self, M: np.ndarray) -> np.ndarray:
        """``V(M)``."""
        out = np.zeros_like(M)
        if len(self.parts):
            out[1:, 1:] = np.einsum("nij,jk,nlk->il", self.parts, M, self.parts, optimize=True) / len(self.parts)
        out[1:, 1:] += self.additive * M[0, 0]
        return out

    def adjoint(self, N: np.ndarray) -> np.ndarray:
        """``V*(N)``, with <V(M), N> = <M, V*(N)>."""
        out = np.zeros_like(N)
        if len(self.parts):
            out = np.einsum("nij,il,nlk->jk", self.parts, N[1:, 1:], self.parts, optimize=True) / len(self.parts)
        out[0, 0] += np.sum(self.additive * N[1:, 1:])
        return out

    def matrix(self, triangle: Triangle) -> np.ndarray:
        """The map on a triangle: the products of two entries of D_i, averaged once."""
        d, p = self.additive.shape[0], triangle.p
        (a, b), (j, k) = triangle.places, triangle.places
        inner = np.flatnonzero(a > 0)
        out = np.zeros((len(a), len(a)))
        out[inner, 0] = self.additive[a[inner] - 1, b[inner] - 1]
        if len(self.parts):
            flat = self.parts.reshape(len(self.parts), d * p)
            both = (flat.T @ flat / len(flat)).reshape(d, p, d, p)
            rows, columns = a[inner, None] - 1, b[inner, None] - 1
            out[inner] += both[rows, j, columns, k] + triangle.twice * both[rows, k, columns, j]
        return out


class RankOneNoise:
    """``V(M) = c^2 mean_i (v_i^T M v_i) u_i u_i^T - F M F^T`` for samples z -> c u_i (v_i . z), u_i = (0, row)."""

    def __init__(self, rows: np.ndarray, offsets: np.ndarray, factor: float, F: np.ndarray):
        self.rows, self.factor, self.F = rows, factor**2 / len(rows), F
        self.whole = np.column_stack([offsets, rows])  # v_i

    def spread(self, M: np.ndarray) -> np.ndarray:
        """``V(M)``."""
        sizes = np.einsum("ij,ij->i", self.whole @ M, self.whole)
        out = -self.F @ M @ self.F.T
        out[1:, 1:] += self.factor * (self.rows * sizes[:, None]).T @ self.rows
        return out

    def adjoint(self, N: np.ndarray) -> np.ndarray:
        """``V*(N)``."""
        sizes = np.einsum("ij,ij->i", self.rows @ N[1:, 1:], self.rows)
        return self.factor * (self.whole * sizes[:, None]).T @ self.whole - self.F.T @ N @ self.F

    def matrix(self, triangle: Triangle) -> np.ndarray:
        """The map on a triangle, a block of samples at a time."""
        (a, b), q = triangle.places, len(triangle.twice)
        inner = np.flatnonzero(a > 0)
        out = -triangle.two_sided(self.F, self.F)
        block = max(1, BLOCK // q)
        for start in range(0, len(self.rows), block):
            u, v = self.rows[start : start + block], self.whole[start : start + block]
            out[inner] += (
                self.factor * (u[:, a[inner] - 1] * u[:, b[inner] - 1]).T @ (v[:, a] * v[:, b] * (1 + triangle.twice))
            )
        return out


def squarings(E: np.ndarray, most: int) -> list[np.ndarray]:
    """``(I + E)^(2^j) - I`` for j = 0, ..., most: I + E itself would lose the digits of E where it is small."""
    found = [E]
    for _ in range(most):
        found.append(2 * found[-1] + found[-1] @ found[-1])
    return found


class Sum:
    """A sum that small terms are added to: what one addition rounds off goes into the next (Kahan 1965)."""

    def __init__(self, value: np.ndarray):
        self.value, self.lost = value, np.zeros_like(value)

    def add(self, term: np.ndarray) -> None:
        """Add a term."""
        term = term - self.lost
        total = self.value + term
        self.lost = (total - self.value) - term
        self.value = total


def step_by(powers: list[np.ndarray], count: int, y: Sum) -> None:
    """``y -> (I + E)^count y``, by the largest powers that there are."""
    for j in range(len(powers) - 1, -1, -1):
        for _ in range(count >> j):
            y.add(powers[j] @ y.value)
        count &= (1 << j) - 1
