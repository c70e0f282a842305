"""Closed forms on a quadratic loss: every mode i relaxes by its own factor.

w = w0 + V ((1 - factor) ⊙ (m - V^T w0)),   V the eigenvectors, m the minimiser's coordinates

Where less than half of a mode's way is left its coordinate is  m + factor (V^T w0 - m)  instead: the first form would
lose what is left in the rounding of w0.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flowdyn.methods.systems import ClosedForm
from flowdyn.problems.base import Spectrum

NEAR = 0.5  # factor below which a mode is nearer to its goal than to its start


class Way(NamedTuple):
    """Shares (T, r) of the way of each mode."""

    covered: np.ndarray  # 1 - factor, without cancellation
    left: np.ndarray  # factor


Shares = Callable[[np.ndarray, np.ndarray], Way]  # of eigenvalues (r,) and times or steps (T, 1)


def relaxation(spectrum: Spectrum | None, shares: Shares) -> ClosedForm | None:
    """States of a system whose modes have covered such `shares` of their way; None without a spectrum."""
    if spectrum is None:
        return None
    goal, V = spectrum.minimizer, spectrum.vectors

    def states(w0: np.ndarray, when: np.ndarray) -> np.ndarray:
        own = V.T @ w0
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging mode may overflow; solve() reports it
            covered, left = shares(spectrum.eigenvalues, when[:, None])
            near = np.abs(left) < NEAR
            gone = np.where(goal == own, 0.0, covered * (goal - own))  # at its goal a mode stays, where others overflow
            if not near.any():
                return w0 + gone @ V.T
            rest = w0 - np.where(near, own, 0.0) @ V.T  # what the modes near their goals do not hold of the start
            if V.shape[0] == V.shape[1]:
                rest[near.all(axis=1)] = 0.0
            return rest + np.where(near, goal + left * (own - goal), gone) @ V.T

    return states


def flow_shares(rate: np.ndarray, t: np.ndarray) -> Way:
    """``1 - exp(-rate t)`` and the exponential."""
    return Way(-np.expm1(-rate * t), np.exp(-rate * t))


def descent_shares(x: np.ndarray, k: np.ndarray) -> Way:
    """``1 - (1 - x)^k`` for x = eta lam, without cancellation where x is small, and the power."""
    is_small = np.abs(x) < 0.5
    logs = k * np.log1p(-np.where(is_small, x, 0.0))
    power = (1 - x) ** k
    return Way(np.where(is_small, -np.expm1(logs), 1 - power), np.where(is_small, np.exp(logs), power))
