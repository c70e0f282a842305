"""How many operations the exact moments of linear gradients take, and by which way they take the fewest.

step of M (p, p), p = d + 1:  4 p^3 + 4 n p^2 (rank one) or 4 n d p^2;    matrix on the triangle, q = p (p + 1)/2:
2 n q^2 (rank one) or 2 n d^2 p^2, then 2 q^3 a doubling, 2 q^2 a step, about 60 q^3 an exponential.
"""

from typing import NamedTuple

import numpy as np

ONE_MATRIX_UP_TO = 32  # p up to which the map on matrices is made one matrix: 2 MB, and as much a doubling
CALL = 1e5  # operations in the time of one step in numpy, however small
ENTRY = 300  # of making one entry of that matrix: gathers are slow
EXPONENTIAL = 60  # of q^3, of a matrix exponential without its squarings
PRODUCTS = 500  # of the generator with M, to measure its norm and to exponentiate over a short time


class Size(NamedTuple):
    """Samples, parameters, and whether each sample's gradient has one direction."""

    n: int
    d: int
    rank_one: bool

    @property
    def step(self) -> float:
        """Operations of one step of M."""
        p = self.d + 1
        return CALL + 4.0 * p**3 + 4.0 * self.n * p**2 * (1 if self.rank_one else self.d)

    @property
    def triangle(self) -> float:
        """Entries q of M that differ."""
        return (self.d + 1) * (self.d + 2) / 2

    @property
    def one_matrix(self) -> float:
        """Operations that make the map one matrix; inf where it would be too large."""
        if self.d + 1 > ONE_MATRIX_UP_TO:
            return np.inf
        products = self.triangle**2 if self.rank_one else self.d**2 * (self.d + 1.0) ** 2
        return CALL + ENTRY * self.triangle**2 + 2.0 * self.n * products

    @property
    def apply(self) -> float:
        """Operations of one step by that matrix."""
        return CALL / 10 + 2.0 * self.triangle**2


class GradientWork(NamedTuple):
    """What it takes to have the linear gradients of a problem: operations, and the size of what comes out."""

    operations: float
    size: Size


class SGDRoute(NamedTuple):
    """Operations, and how often the one matrix is squared; None where M itself is stepped."""

    work: float
    doublings: int | None


class SDERoute(NamedTuple):
    """Operations, and whether the generator is made one matrix."""

    work: float
    one_matrix: bool


def sgd_route(size: Size, gaps: np.ndarray) -> SGDRoute:
    """The cheapest way through `gaps` steps from save to save."""
    counts = np.asarray(gaps, dtype=np.int64)
    best = SGDRoute(float(counts.sum()) * size.step + CALL * len(counts), None)
    for m in range(int(counts.max(initial=0)).bit_length()):
        applied = float(np.sum((counts >> m) + m))
        work = size.one_matrix + 2.0 * m * size.triangle**3 + applied * size.apply + CALL * len(counts)
        best = min(best, SGDRoute(work, m), key=lambda route: route.work)
    return best


def sde_route(size: Size, gaps: np.ndarray, eta: float) -> SDERoute:
    """The cheapest way over `gaps` of time.

    A step size that is of use obeys eta lambda < 2, so that the generator's norm is a few times 1/eta.
    """
    moved = np.asarray(gaps, dtype=float)
    stiffness = float(moved.max(initial=0.0)) / eta
    squared = 2.0 * np.log2(1.0 + 4.0 * stiffness)
    each = (EXPONENTIAL + squared) * size.triangle**3 + CALL
    dense = size.one_matrix + len(np.unique(equal_gaps(moved))) * each + len(moved) * (size.apply + CALL)
    products = PRODUCTS * float((moved > 0).sum()) + 20.0 * float(moved.sum()) / eta
    sparse = products * size.step
    return SDERoute(dense, True) if dense <= sparse else SDERoute(sparse, False)


def equal_gaps(gaps: np.ndarray) -> np.ndarray:
    """Gaps rounded to 13 digits of the largest: those of equally spaced times differ in their last bits."""
    unit = float(np.max(gaps, initial=0.0)) or 1.0
    return np.round(gaps / unit, 13)
