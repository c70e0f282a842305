r"""Whether a system turns for so long that explicit steps are the cheaper ones.

    rho T  <=  COST max_i |Im mu_i| min(T, ROOM / |Re mu_i|)

mu are eigenvalues of the derivative of the right-hand side, and rho is the largest modulus: explicit steps are bounded
by rho, and implicit ones of low order must follow each turn that lasts, of which they need many. Both at half of the
time (friction may fade) and at the start; without turns, or with a rate that is far beyond them, steps are implicit.
Source: Arnoldi (1951) for the eigenvalues; Hairer and Wanner (1996), section IV.2, for the bound of explicit steps.
"""

from collections.abc import Callable

import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn.methods.systems import System
from flowdyn.solvers import kernels

PRODUCTS = 24  # with the derivative; all eigenvalues of a system that is no larger
COST = 200.0  # of implicit evaluations on a turn, over those of explicit steps at the edge of stability
ROOM = 35.0  # a turn is gone, to rounding, when it has decayed by so many e-folds
ALONG = 1e-12  # of its derivative, below which a direction leads nowhere new


def turns(system: System, state0: np.ndarray, end: float) -> bool:
    """Whether explicit steps to the time `end` cost less, as far as the eigenvalues at the start tell."""
    slope = bind(kernels.slope, system)
    found = ritz_values(lambda v: np.asarray(slope(np.float64(end / 2), state0, v)), state0.size)
    radians = np.abs(np.imag(found)) * np.minimum(end, ROOM / np.maximum(np.abs(np.real(found)), 1e-300))
    most = float(radians.max(initial=0.0))
    return most >= 1 and float(np.abs(found).max()) * end <= COST * most


def ritz_values(product: Callable[[np.ndarray], np.ndarray], size: int) -> np.ndarray:
    """Approximate eigenvalues of a matrix (size, size), extreme ones first to be exact; none where it is not finite."""
    most = min(size, PRODUCTS)
    basis, small = np.zeros((most + 1, size)), np.zeros((most + 1, most))
    start = np.random.default_rng(0).standard_normal(size)
    basis[0] = start / np.linalg.norm(start)
    for j in range(most):
        new = product(basis[j])
        if not np.isfinite(new).all():
            return np.zeros(0, complex)
        for _ in range(2):  # once leaves rounding
            share = basis[: j + 1] @ new
            new = new - share @ basis[: j + 1]
            small[: j + 1, j] += share
        small[j + 1, j] = np.linalg.norm(new)
        if small[j + 1, j] <= ALONG * np.abs(small).max():
            most = j + 1
            break
        basis[j + 1] = new / small[j + 1, j]
    return np.linalg.eigvals(small[:most, :most])
