"""Evidence of an order p for the errors of a ladder:  e = A x^p (1 + b_1 x + ...) + s N(0, 1),  b_k ~ N(0, tau^2)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

TAUS = ((0.3, 1.0), (0.7, 1.0), (1.5, 1.0), (3.0, 0.5))  # sizes of the corrections, and their weights
CANCELS = 6.0  # times the leading term that the next one is at least, where the leading constant nearly cancels
UNLIKELY = 0.003  # prior weight of that
LEAST = 1e-4  # of the leading term beside the next one, below which it is not looked for
JITTER = 1 + 1e-12  # keeps the covariance of many rungs positive; a millionth of a correction is not told apart
RARER = 0.5  # fall of the log prior with the order
EXACT = 1e-2  # noise over error, below which A is taken at its best value: sums over it would lose all digits


def log_posterior(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Log of the posterior (G,) of orders p (G,), up to a constant, for errors of size 1."""
    return np.logaddexp.reduce(by_size(p, x, e, s), axis=0) - RARER * p


def by_size(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Log evidence (len(TAUS), G) of each size of the corrections."""
    marginal = _over_amplitudes if (s / np.maximum(np.abs(e), 1e-150)).max() > EXACT else _at_best_amplitude
    return np.stack([np.log(weight) + _or_nothing(marginal, p, x, e, s, tau) for tau, weight in TAUS])


def _or_nothing(marginal: Callable, p: np.ndarray, *data: Any) -> np.ndarray:
    """Log evidence (G,), -inf where the range of the step sizes is beyond what float64 can weigh."""
    with np.errstate(all="ignore"):
        try:
            logs = marginal(p, *data)
        except np.linalg.LinAlgError:
            return np.full(len(p), -np.inf)
    return np.where(np.isfinite(logs), logs, -np.inf)


def of_cancelled(p: np.ndarray, x: np.ndarray, e: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Log of the posterior (G,) that orders p are those of a leading term that nearly cancels."""
    logs = np.stack([np.log(weight) + _or_nothing(_two_amplitudes, p, x, e, s, tau) for tau, weight in TAUS])
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
