"""Closed forms on a quadratic loss: every mode i relaxes by its own factor.

w = w0 + V ((1 - factor) ⊙ (m - V^T w0)),   V the eigenvectors, m the minimiser's coordinates
"""

from collections.abc import Callable

import numpy as np

from flowdyn.methods.systems import ClosedForm
from flowdyn.problems.base import Spectrum

Gain = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (eigenvalues (r,), times or steps (T, 1)) -> 1 - factor (T, r)


def relaxation(spectrum: Spectrum | None, gain: Gain) -> ClosedForm | None:
    """States of a system whose modes have covered the share `gain` of their way; None without a spectrum."""
    if spectrum is None:
        return None

    def states(w0: np.ndarray, when: np.ndarray) -> np.ndarray:
        way = spectrum.minimizer - spectrum.vectors.T @ w0
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging mode may overflow; solve() reports it
            return w0 + (gain(spectrum.eigenvalues, when[:, None]) * way) @ spectrum.vectors.T

    return states


def flow_gain(rate: np.ndarray, t: np.ndarray) -> np.ndarray:
    """``1 - exp(-rate t)`` without cancellation."""
    return -np.expm1(-rate * t)


def descent_gain(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """``1 - (1 - x)^k`` for x = eta lam, without cancellation where x is small."""
    small = np.where(np.abs(x) < 0.5, x, 0.0)
    return np.where(np.abs(x) < 0.5, -np.expm1(k * np.log1p(-small)), 1 - (1 - x) ** k)
