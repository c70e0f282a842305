"""Evidence of an order p for the errors of a ladder:

e = A x^p (1 + b_1 rho x + b_2 (rho x)^2 + ...) + s N(0, 1),     b_k ~ N(0, tau^2)

rho > 1 where the coarsest rungs lie beyond the range of the expansion: their corrections then have no bound to speak
of, and they say little.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# tau and rho of the corrections, and their weights
SIZES = (
    (0.3, 1.0, 1.0), (0.7, 1.0, 1.0), (1.5, 1.0, 1.0), (3.0, 1.0, 0.5),
    (1.5, 2.0, 0.1), (1.5, 4.0, 0.05), (1.5, 8.0, 0.03),
)  # fmt: skip
JITTER = 1 + 1e-12  # keeps the covariance of many rungs positive; a millionth of a correction is not told apart
RARER = 0.5  # fall of the log prior with the order
EXACT = 1e-2  # noise over error, below which A is known well and taken at its best value
GRADED = 1e-5  # the same of the best known error, below which sums over A would lose all digits
Numbers = float | np.ndarray  # one for all orders, or one for each, (G,)


def log_posterior(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Log of the posterior (G,) of orders p (G,), up to a constant, for errors of size 1."""
    return np.logaddexp.reduce(by_size(p, x, e, s), axis=0) - RARER * p


def by_size(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Log evidence (len(SIZES), G) of each size of the corrections."""
    noise = s / np.maximum(np.abs(e), 1e-150)
    marginal = _over_amplitudes if noise.max() > EXACT and noise.min() > GRADED else _at_best_amplitude
    taus, rhos, weights = np.transpose(SIZES)
    each = np.repeat(taus, len(p)), np.repeat(rhos, len(p))
    # in one call: a call costs more than its numbers
    logs = _or_nothing(marginal, np.tile(p, len(SIZES)), x, e, s, *each)
    if logs is None:
        alone = [_or_nothing(marginal, p, x, e, s, tau, rho) for tau, rho, _ in SIZES]
        logs = np.concatenate([np.full(len(p), -np.inf) if own is None else own for own in alone])
    return np.log(weights)[:, None] + logs.reshape(len(SIZES), len(p))


def _or_nothing(marginal: Callable, p: np.ndarray, *data: Any) -> np.ndarray | None:
    """Log evidence (G,); -inf, or None for all, where the range of the step sizes is beyond what float64 can weigh."""
    with np.errstate(all="ignore"):
        try:
            logs = marginal(p, *data)
        except np.linalg.LinAlgError:
            return None
    return np.where(np.isfinite(logs), logs, -np.inf)


def corrections(p: np.ndarray, x: np.ndarray, rho: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Leading terms u (G, m), and covariance (G, m, m) of u (b_1 rho x + ...) for b_k ~ N(0, 1)."""
    u = x[None] ** p[:, None]
    powers = (np.reshape(rho, (-1, 1, 1)) * x[:, None]) ** np.arange(1, len(x) + 1)
    return u, u[:, :, None] * (powers @ np.swapaxes(powers, 1, 2)) * u[:, None, :]


class Fit(NamedTuple):
    """Least squares at each order: amplitudes (G, k), their information (G, k, k), log likelihood (G,)."""

    best: np.ndarray
    information: np.ndarray
    logs: np.ndarray


def best_amplitudes(Z: np.ndarray, K: np.ndarray, e: np.ndarray, s: np.ndarray, tau: Numbers) -> Fit:
    """Fit the columns Z (G, m, k); the corrections, of covariance K, are in proportion to the last amplitude."""
    fit = _weighted(Z, np.reshape(tau, (-1, 1, 1)) ** 2 * K, e, s)
    for _ in range(3):
        size = np.clip(np.sqrt(fit.best[:, -1] ** 2 + 1 / fit.information[:, -1, -1]), 1e-3, 1e3)
        fit = _weighted(Z, (tau * size)[:, None, None] ** 2 * K, e, s)
    return fit


def _weighted(Z: np.ndarray, V: np.ndarray, e: np.ndarray, s: np.ndarray) -> Fit:
    """Generalised least squares by Cholesky factors, which keep digits where covariances are graded."""
    diagonal = range(len(e))
    V[:, diagonal, diagonal] = V[:, diagonal, diagonal] * JITTER + s**2
    L = np.linalg.cholesky(V)
    both = np.linalg.solve(L, np.concatenate([Z, np.broadcast_to(e[:, None], (len(V), len(e), 1))], axis=-1))
    a, b = both[..., :-1], both[..., -1:]
    at = np.swapaxes(a, 1, 2)
    information = at @ a + 1e-12 * np.eye(Z.shape[-1])
    best = at @ b / information if Z.shape[-1] == 1 else np.linalg.solve(information, at @ b)
    rest = np.sum((b - a @ best) ** 2, axis=(1, 2))
    return Fit(best[..., 0], information, -np.log(L[:, diagonal, diagonal]).sum(axis=1) - 0.5 * rest)


def _at_best_amplitude(
    p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray, tau: Numbers, rho: Numbers
) -> np.ndarray:
    """Log evidence by Laplace's method in A."""
    u, K = corrections(p, x, rho)
    fit = best_amplitudes(u[..., None], K, e, s, tau)
    return fit.logs + 0.5 * np.log(2 * np.pi / fit.information[:, 0, 0])


def _over_amplitudes(
    p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray, tau: Numbers, rho: Numbers
) -> np.ndarray:
    """Log evidence summed over A, of either sign: V = A^2 tau^2 K + S is diagonal in one basis for all A."""
    u, K = corrections(p, x, rho)
    fit = best_amplitudes(u[..., None], K.copy(), e, s, tau)
    deviation = 1 / np.sqrt(fit.information[:, 0, 0])
    values, Q = np.linalg.eigh(np.reshape(tau, (-1, 1, 1)) ** 2 * K / s[:, None] / s[None, :])
    y, v = np.einsum("gji,j->gi", Q, e / s), np.einsum("gji,gj->gi", Q, u / s)
    half = np.exp(np.linspace(np.log(1e-3), np.log(30.0), 25))
    wide = np.concatenate([-half[::-1], half])
    near = fit.best[:, 0] + deviation * np.linspace(-6.0, 6.0, 25)[:, None]  # where A is known better than that
    A = np.sort(np.concatenate([np.broadcast_to(wide[:, None], (len(wide), len(p))), near]), axis=0)
    D = A[..., None] ** 2 * np.clip(values, 0.0, None)[None] + 1
    logs = -0.5 * np.log(D).sum(axis=-1) - 0.5 * ((y[None] - A[..., None] * v[None]) ** 2 / D).sum(axis=-1)
    steps = np.gradient(A, axis=0)
    return np.logaddexp.reduce(logs + np.log(steps), axis=0) - np.log(s).sum()
