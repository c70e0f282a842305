"""The order that the errors of a ladder follow, with its interval and a verdict.

e(h) = C h^p (1 + b h + ...)   =>   log e = log C + p log h + b h
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

CURVED = 4.0  # drop of chi^2 (two standard deviations) from which a correction is believed
WIDE = 0.5  # half an order either way: an interval that cannot tell one order from the next
RESOLVED = 10.0  # an error counts if it stands this many times above its numerical floor


class OrderFit(NamedTuple):
    """Fitted order, its 95 % interval, which rungs were used, and what to say of it."""

    order: float
    low: float
    high: float
    used: np.ndarray
    verdict: str


def fit_order(
    h: np.ndarray, errors: np.ndarray, floor: np.ndarray, noise: np.ndarray | None = None, relative_error: float = 0.1
) -> OrderFit:
    """Fit the order of `errors` in `h` from the rungs whose error stands out of its `floor` and its `noise`.

    `noise` is a standard error; a rung counts if it is at most `relative_error` times the error. The 95 % interval
    joins Student's t of the residuals, the noise, and the change on leaving out the coarsest rung, which shows what is
    left of the higher-order terms.
    """
    size = np.abs(errors)
    noise = np.zeros_like(size) if noise is None else noise
    used = np.isfinite(size) & (size > RESOLVED * floor) & (size > 0) & (noise <= relative_error * size * (1 + 1e-9))
    if used.sum() < 3:
        what = "solver error and rounding" if not noise.any() else "Monte-Carlo noise and solver error"
        verdict = f"not resolved: only {int(used.sum())} of {len(h)} errors stand out of {what}"
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    x, y, sigma = h[used], np.log(size[used]), noise[used] / size[used]
    slope, deviation = _slope(x, y, sigma)
    if used.sum() > 3:
        finer = x < x.max()
        deviation = float(np.hypot(deviation, slope - _slope(x[finer], y[finer], sigma[finer])[0]))
    low, high = slope - deviation, slope + deviation
    if deviation > WIDE:
        verdict = f"not resolved: the rungs do not lie on one power of eta (95 % interval [{low:.2f}, {high:.2f}])"
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    return OrderFit(slope, low, high, used, "resolved")


def _slope(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> tuple[float, float]:
    """Slope in log x, with the half-width of its 95 % interval; the first correction is fitted from 4 points on.

    Noisy points are weighted by their noise, and fitted by a straight line unless a correction fits them better by more
    than the noise can.
    """
    line = [np.ones_like(x), np.log(x)]
    if not (sigma > 0).any():
        slope, inverse, variance, freedom = _fit([*line, x / x.max()] if len(x) > 3 else line, y, np.ones_like(x))
        return slope, float(stats.t.ppf(0.975, freedom) * np.sqrt(variance * inverse)) if freedom else 0.0
    weight = 1 / np.maximum(sigma, max(1e-3 * sigma.max(), 1e-300))
    slope, inverse, variance, freedom = _fit(line, y, weight)
    if len(x) > 3:
        curved = _fit([*line, x / x.max()], y, weight)
        if variance * freedom - curved[2] * curved[3] > CURVED:
            slope, inverse, variance, freedom = curved
    return slope, float(1.96 * np.sqrt(inverse * max(variance, 1.0)))


def _fit(columns: list[np.ndarray], y: np.ndarray, weight: np.ndarray) -> tuple[float, float, float, int]:
    """Weighted least squares: slope, its variance for residuals of variance 1, their variance, degrees of freedom."""
    A = np.column_stack(columns) * weight[:, None]
    coefficients, *_ = np.linalg.lstsq(A, y * weight, rcond=None)
    freedom = len(y) - A.shape[1]
    variance = float(np.sum((y * weight - A @ coefficients) ** 2)) / freedom if freedom else 0.0
    return float(coefficients[1]), float(np.linalg.inv(A.T @ A)[1, 1]), variance, freedom
