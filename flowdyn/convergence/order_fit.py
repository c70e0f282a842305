r"""The order that the errors of a ladder follow, with its 95 % interval and a verdict.

    e_i = A x_i^p (1 + b_1 x_i + b_2 x_i^2 + ...) + s_i N(0, 1),      x_i = h_i / h_max

Errors are signed, s_i is what is known of their noise: the standard error of a mean, or the numerical floor of a
difference. The corrections that theory has after the leading term are unknown: b_k ~ N(0, tau^2), tau unknown too, on a
grid. Summed over tau, and over A, that is a posterior of p (Bayesian marginalisation, MacKay 2003, chapter 28): its
median is the order, its central 95 % the interval. No rung is cut off: one that says little weighs little.

Where the leading constant nearly cancels, the next term is larger on every rung and the slopes lie near p + 1:

    e_i = A x_i^p + D x_i^{p+1} (1 + b_1 x_i + ...),      |A| < |D| / 6

Where that explains the errors too, the ladder does not tell the two orders from each other, and says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

TAUS = ((0.3, 1.0), (0.7, 1.0), (1.5, 1.0), (3.0, 0.5))  # sizes of the corrections, and their weights
ORDERS = np.linspace(-1.0, 10.0, 89)  # p of the coarse grid
FINE, ROUNDS = 61, 6  # points of a grid around a mode, and how often it is drawn in
DROP = 14.0  # of the log posterior, below which a grid point does not count
CANCELS = 6.0  # times the leading term that the next one is at least, where the leading constant nearly cancels
LEAST = 1e-4  # of the leading term beside the next one, below which it is not looked for
UNLIKELY = 0.003  # prior weight of that
APART = 0.6  # distance of two modes that tell two orders from each other
WILD = 0.7  # share of the largest corrections at which the errors are not taken for a power of eta
SECOND = 0.05  # share of the posterior at which a second explanation is named
NARROWEST = 0.005  # half-width: rungs are few, and corrections not random
WIDE = 0.5  # half an order either way: an interval that cannot tell one order from the next
RARER = 0.5  # fall of the log prior with the order
JITTER = 1 + 1e-12  # keeps the covariance of many rungs positive; a millionth of a correction is not told apart
EXACT = 1e-2  # noise over error, below which A is taken at its best value: sums over it would lose all digits
STANDS_OUT = 2.0  # noise below which an error is not told from zero


class OrderFit(NamedTuple):
    """Fitted order, its 95 % interval, which rungs stand out of their noise, and what to say of it."""

    order: float
    low: float
    high: float
    used: np.ndarray
    verdict: str


def fit_order(h: np.ndarray, errors: np.ndarray, floor: np.ndarray, noise: np.ndarray | None = None) -> OrderFit:
    """Fit the order of signed `errors` in `h`, known up to a numerical `floor` and the standard error `noise`."""
    sampled = np.zeros_like(errors) if noise is None else noise
    spread = np.hypot(floor, sampled)
    used = np.isfinite(errors) & (np.abs(errors) > STANDS_OUT * spread) & (errors != 0)
    what = "Monte-Carlo noise and solver error" if sampled.any() else "solver error and rounding"
    if used.sum() < 2 or not np.isfinite(errors).all():
        verdict = f"not resolved: only {int(used.sum())} of {len(h)} errors stand out of {what}"
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    modes, cancelled = posterior_modes(h, errors, spread)
    if len(modes) > 1 or cancelled is not None:
        centers = [mode.center for mode in modes[:2]] if cancelled is None else [cancelled, cancelled + 1]
        first, second = sorted(centers)
        verdict = f"not resolved: order {first:.1f} with a large correction, or {second:.1f}; use smaller `etas`"
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    if modes[0].wild > WILD:
        verdict = "not resolved: the rungs do not lie on one power of eta: corrections are larger than the leading term"
        return OrderFit(np.nan, np.nan, np.nan, used, f"{verdict}; use smaller `etas`")
    low, order, high = modes[0].quantiles
    low, high = min(low, order - NARROWEST), max(high, order + NARROWEST)
    if (high - low) / 2 > WIDE:
        way_out = "more `realizations`, or larger `etas`" if sampled.any() else "larger `etas`, or a tighter solver"
        is_noisy = (spread > 0.05 * np.abs(errors)).any()
        cause = f"{what} hide it; use {way_out}" if is_noisy else "the rungs do not lie on one power of eta"
        verdict = f"not resolved: the order lies between {low:.2f} and {high:.2f}: {cause}"
        return OrderFit(np.nan, np.nan, np.nan, used, verdict)
    return OrderFit(order, low, high, used, "resolved")


class Mode(NamedTuple):
    """A peak of the posterior: where it is, its share, what large corrections have of it, and its quantiles."""

    center: float
    share: float
    wild: float  # share of the largest TAU
    quantiles: tuple[float, float, float]  # 2.5, 50 and 97.5 %


def posterior_modes(h: np.ndarray, errors: np.ndarray, spread: np.ndarray) -> tuple[list[Mode], float | None]:
    """Peaks of the posterior of the order, the largest first, and the order of a leading term that may cancel.

    Lesser peaks are listed where they tell of another order; the cancelled order is None where it explains little.
    """
    size = float(np.abs(errors).max())
    x, e = h / h.max(), errors / size
    s = np.hypot(spread / size, 1e-12 * np.abs(e)) + 1e-15
    peaks = _peaks(log_posterior, x, e, s)
    masses = np.array([np.logaddexp.reduce(logs + np.log(np.gradient(p))) for p, logs in peaks])
    cancelled = _peaks(_of_cancelled, x, e, s)
    others = np.array([np.logaddexp.reduce(logs + np.log(np.gradient(p))) for p, logs in cancelled])
    total = np.logaddexp.reduce(np.append(masses, others))
    modes = []
    for (p, logs), mass in zip(peaks, masses, strict=True):
        at = int(np.argmax(logs))
        sizes = _by_size(p[at : at + 1], x, e, s)[:, 0]
        modes.append(_mode(p, logs, float(np.exp(mass - total)), float(np.exp(sizes[-1] - np.logaddexp.reduce(sizes)))))
    modes.sort(key=lambda mode: -mode.share)
    kept = [m for m in modes if m.share > SECOND and abs(m.center - modes[0].center) > APART]
    if not others.size or np.exp(np.logaddexp.reduce(others) - total) <= SECOND:
        return modes[:1] + kept, None
    p, logs = cancelled[int(np.argmax(others))]
    return modes[:1] + kept, float(p[np.argmax(logs)])


def _mode(p: np.ndarray, logs: np.ndarray, share: float, wild: float) -> Mode:
    weights = np.exp(logs - logs.max())
    summed = np.cumsum(np.append(0.0, np.diff(p) * (weights[1:] + weights[:-1]) / 2))
    low, middle, high = (float(np.interp(q * summed[-1], summed, p)) for q in (0.025, 0.5, 0.975))
    return Mode(float(p[np.argmax(weights)]), share, wild, (low, middle, high))


def _peaks(log: Callable, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grids over the peaks of a log posterior that are not negligible beside the highest."""
    coarse = log(ORDERS, x, e, s)
    inner = np.flatnonzero(np.isfinite(coarse) & (coarse >= np.roll(coarse, 1)) & (coarse >= np.roll(coarse, -1)))
    if not inner.size:
        return []
    zoomed = [
        _zoomed(log, ORDERS[max(i - 1, 0)], ORDERS[min(i + 1, len(ORDERS) - 1)], x, e, s) for i in map(int, inner)
    ]
    top = max(float(logs.max()) for _, logs in zoomed)
    return [(p, logs) for p, logs in zoomed if logs.max() > top - DROP]


def _zoomed(
    log: Callable, low: float, high: float, x: np.ndarray, e: np.ndarray, s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Grid over one peak, widened until it falls off on both sides and drawn in until it is resolved."""
    p = np.linspace(low, high, FINE)
    logs = log(p, x, e, s)
    for _ in range(ROUNDS):
        kept = np.flatnonzero(logs > logs.max() - DROP)
        first, last = kept[0], kept[-1]
        if first > 0 and last < FINE - 1 and last - first > FINE // 3:
            break
        step = p[1] - p[0]
        left = p[first - 1] if first > 0 else p[0] - FINE / 2 * step
        right = p[last + 1] if last < FINE - 1 else p[-1] + FINE / 2 * step
        p = np.linspace(max(left, ORDERS[0]), min(right, ORDERS[-1]), FINE)
        logs = log(p, x, e, s)
        if p[0] == ORDERS[0] and p[-1] == ORDERS[-1]:
            break
    return p, logs


def log_posterior(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Log of the posterior (G,) of orders p (G,), up to a constant, for errors of size 1."""
    return np.logaddexp.reduce(_by_size(p, x, e, s), axis=0) - RARER * p


def _by_size(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Log evidence (len(TAUS), G) of each size of the corrections."""
    marginal = _over_amplitudes if (s / np.maximum(np.abs(e), 1e-150)).max() > EXACT else _at_best_amplitude
    return np.stack([np.log(weight) + marginal(p, x, e, s, tau) for tau, weight in TAUS])


def _of_cancelled(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Log of the posterior (G,) that orders p are those of a leading term that nearly cancels."""
    logs = np.stack([np.log(weight) + _two_amplitudes(p, x, e, s, tau) for tau, weight in TAUS])
    return np.log(UNLIKELY) + np.logaddexp.reduce(logs, axis=0) - RARER * p


def _corrections(p: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leading terms u (G, m), and covariance (G, m, m) of u (b_1 x + b_2 x^2 + ...) for b_k ~ N(0, 1)."""
    u = x[None] ** p[:, None]
    powers = np.power.outer(x, np.arange(1, len(x) + 1))
    return u, u[:, :, None] * (powers @ powers.T) * u[:, None, :]


class _Fit(NamedTuple):
    """Least squares at each order: amplitudes (G, k), their information (G, k, k), log likelihood (G,)."""

    best: np.ndarray
    information: np.ndarray
    logs: np.ndarray


def _best_amplitudes(Z: np.ndarray, K: np.ndarray, e: np.ndarray, s: np.ndarray, tau: float) -> _Fit:
    """Fit the columns Z (G, m, k); the corrections, of covariance K, are in proportion to the last amplitude."""
    fit = _weighted(Z, tau**2 * K, e, s)
    for _ in range(3):
        size = np.clip(np.sqrt(fit.best[:, -1] ** 2 + 1 / fit.information[:, -1, -1]), 1e-3, 1e3)
        fit = _weighted(Z, (tau * size)[:, None, None] ** 2 * K, e, s)
    return fit


def _weighted(Z: np.ndarray, V: np.ndarray, e: np.ndarray, s: np.ndarray) -> _Fit:
    """Generalised least squares by Cholesky factors, which keep digits where covariances are graded."""
    diagonal = range(len(e))
    V[:, diagonal, diagonal] = V[:, diagonal, diagonal] * JITTER + s**2
    L = np.linalg.cholesky(V)
    a = np.linalg.solve(L, Z)
    b = np.linalg.solve(L, np.broadcast_to(e[:, None], (len(V), len(e), 1)))
    at = np.swapaxes(a, 1, 2)
    information = at @ a + 1e-12 * np.eye(Z.shape[-1])
    best = np.linalg.solve(information, at @ b)
    rest = np.sum((b - a @ best) ** 2, axis=(1, 2))
    return _Fit(best[..., 0], information, -np.log(L[:, diagonal, diagonal]).sum(axis=1) - 0.5 * rest)


def _at_best_amplitude(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray, tau: float) -> np.ndarray:
    """Log evidence by Laplace's method in A."""
    u, K = _corrections(p, x)
    fit = _best_amplitudes(u[..., None], K, e, s, tau)
    return fit.logs + 0.5 * np.log(2 * np.pi / fit.information[:, 0, 0])


def _over_amplitudes(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray, tau: float) -> np.ndarray:
    """Log evidence summed over A, of either sign: V = A^2 tau^2 K + S is diagonal in one basis for all A."""
    u, K = _corrections(p, x)
    values, Q = np.linalg.eigh(tau**2 * K / s[:, None] / s[None, :])
    y, v = np.einsum("gji,j->gi", Q, e / s), np.einsum("gji,gj->gi", Q, u / s)
    half = np.exp(np.linspace(np.log(1e-3), np.log(30.0), 61))
    A = np.concatenate([-half[::-1], half])
    D = A[:, None, None] ** 2 * np.clip(values, 0.0, None)[None] + 1
    logs = -0.5 * np.log(D).sum(axis=-1) - 0.5 * ((y[None] - A[:, None, None] * v[None]) ** 2 / D).sum(axis=-1)
    return np.logaddexp.reduce(logs + np.log(np.abs(np.gradient(A)))[:, None], axis=0) - np.log(s).sum()


def _two_amplitudes(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray, tau: float) -> np.ndarray:
    """Log evidence of A x^p + D x^{p+1} (1 + ...), by Laplace's method, with |A| log-uniform below |D| / CANCELS."""
    u, K = _corrections(p + 1, x)
    fit = _best_amplitudes(np.stack([x[None] ** p[:, None], u], axis=-1), K, e, s, tau)
    A, D = np.abs(fit.best).T
    over_D = 0.5 * np.log(2 * np.pi / fit.information[:, 1, 1])  # at A
    deviation = np.sqrt(np.linalg.inv(fit.information)[:, 0, 0])
    beyond = np.maximum(A - D / CANCELS, 0.0) / deviation  # outside, A is drawn back to the edge
    span = 2 * np.log(1 / (CANCELS * LEAST))
    density = 1 / (span * np.clip(A, LEAST * D + 1e-150, D / CANCELS + 1e-150))
    over_A = np.minimum(np.log(density * np.sqrt(2 * np.pi) * deviation), 0.0)
    return fit.logs + over_D - 0.5 * beyond**2 + over_A
