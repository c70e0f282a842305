r"""The order that the errors of a ladder follow, with its 95 % interval and a verdict.

    e_i = A x_i^p (1 + b_1 rho x_i + b_2 (rho x_i)^2 + ...) + s_i N(0, 1),      x_i = h_i / h_max

Errors are signed, s_i is what is known of their noise: the standard error of a mean, or the numerical floor of a
difference. The corrections that theory has after the leading term are unknown: b_k ~ N(0, tau^2), tau and rho unknown
too, on a grid. Summed over these, and over A, that is a posterior of p (Bayesian marginalisation, MacKay 2003, chapter
28): its median is the order, its central 95 % the interval. No rung is cut off: one that says little weighs little.

Where the leading constant nearly cancels, the slopes are those of the next term: `order_doubts.py` looks for that where
the order is not the one that theory expects, which takes no other part.
"""

from typing import NamedTuple

import numpy as np

from flowdyn.convergence.order_doubts import doubt_of
from flowdyn.convergence.order_evidence import by_size, log_posterior

ORDERS = np.linspace(-1.0, 10.0, 89)  # p of the coarse grid
FINE, ROUNDS = 61, 6  # points of a grid around a mode, and how often it is drawn in
DROP = 14.0  # of the log posterior, below which a grid point does not count
APART = 0.6  # distance of two modes that tell two orders from each other
WILD = 0.7  # share of the largest corrections at which the errors are not taken for a power of eta
SECOND = 0.05  # share of the posterior at which a second explanation is named
NARROWEST = 0.005  # half-width: rungs are few, and corrections not random
STRANGE = 0.05  # from a multiple of 1/2, beyond which a narrow interval is that of a leading term that nearly cancels
WIDE = 0.5  # half an order either way: an interval that cannot tell one order from the next
STANDS_OUT = 2.0  # noise below which an error is not told from zero


class RungWords(NamedTuple):
    """What a verdict calls the rungs, and what to change about them."""

    power: str = "eta"
    smaller: str = "smaller `etas`"
    larger: str = "larger `etas`"
    nearer: str = "`etas` nearer to each other"


class OrderFit(NamedTuple):
    """Fitted order, its 95 % interval, which rungs stand out of their noise, and what to say of it."""

    order: float
    low: float
    high: float
    used: np.ndarray
    verdict: str


def fit_order(
    h: np.ndarray,
    errors: np.ndarray,
    floor: np.ndarray,
    noise: np.ndarray | None = None,
    words: RungWords = RungWords(),  # noqa: B008
    *,
    expected: float,
) -> OrderFit:
    """Fit the order of signed `errors` in `h`, known up to a numerical `floor` and the standard error `noise`.

    The order that theory expects takes no part in the fit; it says what another order may hide.
    """
    sampled = np.zeros_like(errors) if noise is None else noise
    spread = np.hypot(floor, sampled)
    used = np.isfinite(errors) & (np.abs(errors) > STANDS_OUT * spread) & (errors != 0)
    what = "Monte-Carlo noise and solver error" if sampled.any() else "solver error and rounding"
    way_out = f"use more `realizations`, or {words.larger}" if sampled.any() else f"use {words.larger}"
    way_out += "" if sampled.any() or words != RungWords() else ", or a tighter `solver`"
    if used.sum() < 2 or not np.isfinite(errors).all():
        verdict = f"not resolved: only {int(used.sum())} of {len(h)} errors stand out of {what}; {way_out}"
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    modes = posterior_modes(h, errors, spread)
    cause = _cause(modes, words)
    if cause:
        return OrderFit(np.nan, np.nan, np.nan, used, f"not resolved: {cause}")
    low, order, high = modes[0].quantiles
    low, high = min(low, order - NARROWEST), max(high, order + NARROWEST)
    if (high - low) / 2 > WIDE:
        is_noisy = (spread > 0.05 * np.abs(errors)).any()
        cause = f"{what} hide it; {way_out}" if is_noisy else f"{_apart(words)}; use {words.smaller}"
        verdict = f"not resolved: the order lies between {low:.2f} and {high:.2f}: {cause}"
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    doubt = doubt_of((low, order, high), expected, h, errors, spread, words.smaller)
    if doubt is not None and not doubt.is_measured:
        return OrderFit(np.nan, np.nan, np.nan, used, doubt.verdict)
    if _between_orders(low, high) > STRANGE:
        verdict = (
            f"not resolved: the slope {order:.2f} is that of no order, a multiple of 1/2: a leading term of lower "
            f"order may nearly cancel; use {words.smaller}"
        )
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    return OrderFit(order, low, high, used, "resolved" if doubt is None else doubt.verdict)


def _apart(words: RungWords) -> str:
    return f"the rungs do not lie on one power of {words.power}"


def _cause(modes: list["Mode"], words: RungWords) -> str:
    """Why no one mode explains the errors, and what helps; "" where one does."""
    if not modes:
        return f"{_apart(words)}; use {words.nearer}"
    if len(modes) > 1:
        first, second = sorted(mode.center for mode in modes[:2])
        return f"order {first:.1f} with a large correction, or {second:.1f}; use {words.smaller}"
    if modes[0].wild > WILD:
        return f"{_apart(words)}: corrections are larger than the leading term; use {words.smaller}"
    return ""


def _between_orders(low: float, high: float) -> float:
    """Distance of an interval from the nearest multiple of 1/2: expansions in h, and noise, have such orders."""
    if np.floor(2 * high) >= 2 * low:
        return 0.0
    return float(min(low - np.floor(2 * low) / 2, np.ceil(2 * high) / 2 - high))


class Mode(NamedTuple):
    """A peak of the posterior: where it is, its share, what large corrections have of it, and its quantiles."""

    center: float
    share: float
    wild: float  # share of the largest TAU
    quantiles: tuple[float, float, float]  # 2.5, 50 and 97.5 %


def posterior_modes(h: np.ndarray, errors: np.ndarray, spread: np.ndarray) -> list[Mode]:
    """Peaks of the posterior of the order, the largest first; lesser ones where they tell of another order."""
    size = float(np.abs(errors).max())
    x, e = h / h.max(), errors / size
    s = np.hypot(spread / size, 1e-12 * np.abs(e)) + 1e-15
    peaks = _peaks(x, e, s)
    masses = np.array([np.logaddexp.reduce(logs + np.log(np.gradient(p))) for p, logs in peaks])
    total = np.logaddexp.reduce(masses)
    modes = []
    for (p, logs), mass in zip(peaks, masses, strict=True):
        at = int(np.argmax(logs))
        sizes = by_size(p[at : at + 1], x, e, s)[:, 0]
        modes.append(_mode(p, logs, float(np.exp(mass - total)), float(np.exp(sizes[-1] - np.logaddexp.reduce(sizes)))))
    modes.sort(key=lambda mode: -mode.share)
    kept = [m for m in modes if m.share > SECOND and abs(m.center - modes[0].center) > APART]
    return modes[:1] + kept


def _mode(p: np.ndarray, logs: np.ndarray, share: float, wild: float) -> Mode:
    weights = np.exp(logs - logs.max())
    summed = np.cumsum(np.append(0.0, np.diff(p) * (weights[1:] + weights[:-1]) / 2))
    low, middle, high = (float(np.interp(q * summed[-1], summed, p)) for q in (0.025, 0.5, 0.975))
    return Mode(float(p[np.argmax(weights)]), share, wild, (low, middle, high))


def _peaks(x: np.ndarray, e: np.ndarray, s: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grids over the peaks of a log posterior that are not negligible beside the highest."""
    coarse = log_posterior(ORDERS, x, e, s)
    inner = np.flatnonzero(np.isfinite(coarse) & (coarse >= np.roll(coarse, 1)) & (coarse >= np.roll(coarse, -1)))
    if not inner.size:
        return []
    zoomed = [_zoomed(ORDERS[max(i - 1, 0)], ORDERS[min(i + 1, len(ORDERS) - 1)], x, e, s) for i in map(int, inner)]
    top = max(float(logs.max()) for _, logs in zoomed)
    return [(p, logs) for p, logs in zoomed if logs.max() > top - DROP]


def _zoomed(low: float, high: float, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grid over one peak, widened until it falls off on both sides and drawn in until it is resolved."""
    p = np.linspace(low, high, FINE)
    logs = log_posterior(p, x, e, s)
    for _ in range(ROUNDS):
        kept = np.flatnonzero(logs > logs.max() - DROP)
        if not kept.size:
            break
        first, last = kept[0], kept[-1]
        if first > 0 and last < FINE - 1 and last - first > FINE // 3:
            break
        step = p[1] - p[0]
        left = p[first - 1] if first > 0 else p[0] - FINE / 2 * step
        right = p[last + 1] if last < FINE - 1 else p[-1] + FINE / 2 * step
        p = np.linspace(max(left, ORDERS[0]), min(right, ORDERS[-1]), FINE)
        logs = log_posterior(p, x, e, s)
        if p[0] == ORDERS[0] and p[-1] == ORDERS[-1]:
            break
    return p, logs
