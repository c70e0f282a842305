"""The arithmetic of a ladder over eta: common times, and the order fitted to the errors.

e(h) = C h^p (1 + b h + ...)   =>   log e = log C + p log h + b h
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy import stats

from flowdyn import _check

RESOLVED = 10.0  # an error counts if it stands this many times above its numerical floor


class OrderFit(NamedTuple):
    """Fitted order, its 95 % interval, which rungs were used, and what to say of it."""

    order: float
    low: float
    high: float
    used: np.ndarray
    verdict: str


def common_steps(h: np.ndarray, t: float, saves: int) -> list[np.ndarray]:
    """Step numbers of each rung at the common multiples of all time steps `h` up to `t`, thinned to `saves`."""
    smallest = h.min()
    ratios = [Fraction(float(x / smallest)).limit_denominator(10_000) for x in h]
    exact = all(abs(float(r) - x / smallest) <= 1e-9 * x / smallest for r, x in zip(ratios, h, strict=True))
    # lcm of fractions: lcm of the numerators over gcd of the denominators
    period = Fraction(
        int(np.lcm.reduce([r.numerator for r in ratios])), int(np.gcd.reduce([r.denominator for r in ratios]))
    )
    count = int(np.floor(t / (float(period) * smallest) * (1 + 1e-9))) if exact else 0
    if count < 1:
        shown = ", ".join(f"{x:g}" for x in h[:6])
        raise _check.ArgumentError(
            f"`etas` must have a common multiple of their time steps up to t = {t:g}, got steps {shown}; "
            "halve from rung to rung, or use a longer t"
        )
    kept = np.unique(np.rint(np.linspace(0, count, min(saves, count + 1))).astype(np.int64))
    return [kept * int(period / ratio) for ratio in ratios]


def fit_order(h: np.ndarray, errors: np.ndarray, floor: np.ndarray) -> OrderFit:
    """Fit the order of `errors` in `h` from the rungs whose error stands out of its `floor`.

    The 95 % interval joins Student's t of the residuals with the change on leaving out the coarsest rung, which shows
    what is left of the higher-order terms.
    """
    used = np.isfinite(errors) & (errors > RESOLVED * floor)
    if used.sum() < 3:
        verdict = f"not resolved: only {int(used.sum())} of {len(h)} errors stand out of solver error and rounding"
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    x, y = h[used], np.log(errors[used])
    slope, deviation = _slope(x, y)
    if used.sum() > 3:
        finer = x < x.max()
        deviation = float(np.hypot(deviation, slope - _slope(x[finer], y[finer])[0]))
    return OrderFit(slope, slope - deviation, slope + deviation, used, "resolved")


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope in log x, with the half-width of its 95 % interval; the first correction is fitted from 4 points on."""
    columns = [np.ones_like(x), np.log(x)] + ([x / x.max()] if len(x) > 3 else [])
    A = np.column_stack(columns)
    coefficients, *_ = np.linalg.lstsq(A, y, rcond=None)
    freedom = len(x) - A.shape[1]
    if freedom < 1:
        return float(coefficients[1]), 0.0
    variance = float(np.sum((y - A @ coefficients) ** 2)) / freedom
    spread = np.sqrt(variance * np.linalg.inv(A.T @ A)[1, 1])
    return float(coefficients[1]), float(stats.t.ppf(0.975, freedom) * spread)
