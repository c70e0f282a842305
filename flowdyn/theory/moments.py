"""Mean and covariance of linear stochastic systems with additive noise, section 9.5.

    dX = (b - A (X - c)) dt + D^{1/2} dW         mean and covariance by Van Loan (1978), any A
    x+ = x - eta (A x + xi),  Cov(xi) = Sigma     S+ = (I - eta A) S (I - eta A)^T + eta^2 Sigma

Directions in which A vanishes diffuse: variance D t. Stationary laws exist where every mode decays.
"""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told


class LinearGaussianLaw(NamedTuple):
    """``dX = (force - A X) dt + D^{1/2} dW``, whose law is known at any time."""

    A: np.ndarray  # (S, S)
    D: np.ndarray  # (S, S)
    force: np.ndarray  # (S,)


def _square(name: str, value: Any) -> np.ndarray:
    matrix = _check.matrix(name, value if np.ndim(value) else [[value]])
    if matrix.shape[0] != matrix.shape[1]:
        raise _check.fail(name, "must be a square matrix", _check.Words(f"shape {matrix.shape}"))
    return matrix


def covariance(name: str, value: ArrayLike, size: int) -> np.ndarray:
    """Return `value` as a symmetric positive semi-definite matrix of the given size, else refuse."""
    matrix = _square(name, value)
    if matrix.shape != (size, size):
        raise _check.fail(name, f"must have shape {(size, size)}", _check.Words(f"shape {matrix.shape}"))
    if np.abs(matrix - matrix.T).max() > 1e-12 * np.abs(matrix).max():
        raise _check.fail(name, "must be symmetric", matrix, f"use ({name} + {name}.T) / 2")
    values = np.linalg.eigvalsh(matrix)
    if values[0] < -1e-12 * max(values[-1], 1e-300):
        raise _check.fail(name, "must be positive semi-definite", _check.Words(f"smallest eigenvalue {values[0]:.3g}"))
    return (matrix + matrix.T) / 2


def root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive semi-definite matrix; a singular one is no trouble."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _exponential(X: np.ndarray) -> np.ndarray:
    """``sum_k X^k / k!`` to k = 16, in seven products: exact to rounding where X's diagonal blocks are below 1/2.

    That of scipy solves a linear system, by threads that wait for others: milliseconds beside a program of JAX.
    """
    powers = [np.eye(len(X)), X, X @ X]
    powers += [powers[2] @ X, powers[2] @ powers[2]]
    total = powers[0] / math.factorial(16)
    for first in (12, 8, 4, 0):
        total = total @ powers[4] + sum(powers[j] / math.factorial(first + j) for j in range(4))
    return total


def transition(A: np.ndarray, D: np.ndarray, force: np.ndarray, tau: float) -> tuple[np.ndarray, ...]:
    """Phi, shift and Q with ``X(t + tau) ~ N(Phi X(t) + shift, Q)`` for ``dX = (force - A X) dt + D^{1/2} dW``.

    Van Loan's block exponential on tau / 2^s, where nothing overflows, then s doublings.
    """
    d = len(A)
    size = np.abs(A)
    scale = max(size.sum(axis=0).max(), size.sum(axis=1).max()) * tau  # of A and of its transpose
    doublings = max(0, int(np.ceil(np.log2(max(scale, 1e-300) / 0.5))))
    step = tau / 2.0**doublings
    block = np.zeros((2 * d + 1, 2 * d + 1))
    block[:d, :d], block[:d, d : 2 * d], block[d : 2 * d, d : 2 * d] = -A, D, A.T
    block[:d, -1] = force
    exponential = _exponential(block * step)
    phi, shift = exponential[:d, :d], exponential[:d, -1]
    Q = exponential[:d, d : 2 * d] @ phi.T
    for _ in range(doublings):
        Q, shift, phi = Q + phi @ Q @ phi.T, shift + phi @ shift, phi @ phi
    return phi, shift, (Q + Q.T) / 2


def _finite(means: list[np.ndarray], covs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if not (np.isfinite(means).all() and np.isfinite(covs).all()):
        raise _check.RunError("the moments grow beyond the range of float64: a mode is unstable; use earlier times")
    return np.array(means), np.array(covs)


@told
def ou_mean_cov(
    A: ArrayLike,
    D: ArrayLike,
    x0: ArrayLike,
    t: ArrayLike,
    *,
    cov0: ArrayLike | None = None,
    center: ArrayLike | None = None,
    force: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and covariance at times t of the Ornstein-Uhlenbeck process.

    .. math:: dX = (b - A (X - c))\,dt + D^{1/2}\,dW

    Parameters
    ----------
    A : array_like of float, shape (d, d) or scalar
        Drift matrix; it may be singular or not symmetric.
    D : array_like of float, shape (d, d) or scalar
        Covariance of the noise per unit time, positive semi-definite.
    x0 : array_like of float, shape (d,) or scalar
        Mean at t = 0.
    t : array_like of float, shape (T,)
        Increasing times, not negative.
    cov0 : array_like of float, shape (d, d), optional
        Covariance at t = 0, else 0.
    center, force : array_like of float, shape (d,), optional
        c and b, else 0.

    Returns
    -------
    mean, cov : ndarray of float
        Shapes (T, d) and (T, d, d).

    Raises
    ------
    ArgumentError
        If shapes disagree, a covariance is not symmetric positive semi-definite, or a time is negative.
    RunError
        If an unstable mode grows beyond the range of float64.

    Notes
    -----
    Source: section 9.5, items 1 and 2; Van Loan (1978) for the integral.

    Examples
    --------
    >>> from flowdyn import theory
    >>> mean, cov = theory.ou_mean_cov(1.0, 2.0, 1.0, [1.0])  # exp(-1), 1 - exp(-2)
    >>> round(float(mean[0, 0]), 6), round(float(cov[0, 0, 0]), 6)
    (0.367879, 0.864665)
    """
    A = _square("A", A)
    d = len(A)
    D = covariance("D", D, d)
    vector = {
        name: np.zeros(d) if value is None else _check.real_array(name, np.atleast_1d(value), shape=(d,))
        for name, value in (("x0", x0), ("center", center), ("force", force))
    }
    times = _check.times("t", np.atleast_1d(_check.real_array("t", t)))
    if times[0] < 0:
        raise _check.fail("t", "must not be negative", times[0])
    m = vector["x0"]
    C = np.zeros((d, d)) if cov0 is None else covariance("cov0", cov0, d)
    push = vector["force"] + A @ vector["center"]
    means, covs, now = [], [], 0.0
    moves: dict[float, tuple[np.ndarray, ...]] = {}  # equal steps move alike
    for when in times:
        if when > now:
            with np.errstate(over="ignore", invalid="ignore"):
                span = float(when - now)
                phi, shift, Q = moves[span] = moves.get(span) or transition(A, D, push, span)
                m, C, now = phi @ m + shift, phi @ C @ phi.T + Q, when
        means.append(m)
        covs.append((C + C.T) / 2)
    return _finite(means, covs)


@told
def sgd_mean_cov(
    A: ArrayLike, Sigma: ArrayLike, eta: float, x0: ArrayLike, k: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and covariance of SGD with additive noise after k steps.

    .. math:: x_{k+1} = x_k - \eta (A x_k + \xi_k), \qquad \mathrm{Cov}(\xi_k) = \Sigma

    Parameters
    ----------
    A, Sigma : array_like of float, shape (d, d) or scalar
        Hessian, and covariance of the gradient noise (batch included).
    eta : float
        Step size, positive.
    x0 : array_like of float, shape (d,) or scalar
        Start.
    k : array_like of int, shape (T,)
        Increasing step numbers; the cost grows with log k.

    Returns
    -------
    mean, cov : ndarray of float
        Shapes (T, d) and (T, d, d).

    Raises
    ------
    ArgumentError
        If shapes disagree, Sigma is not symmetric positive semi-definite, or k does not hold increasing whole numbers.
    RunError
        If an unstable mode grows beyond the range of float64.

    Notes
    -----
    Source: section 9.5, items 1 and 2: the contraction part and the stochastic part of the iterate.

    Examples
    --------
    >>> from flowdyn import theory
    >>> mean, cov = theory.sgd_mean_cov(1.0, 1.0, 0.1, 1.0, [2])
    >>> round(float(mean[0, 0]), 12), round(float(cov[0, 0, 0]), 12)  # 0.9^2, 0.01 (1 + 0.9^2)
    (0.81, 0.0181)
    """
    A = _square("A", A)
    d = len(A)
    Sigma = covariance("Sigma", Sigma, d)
    eta = _check.real("eta", eta, positive=True)
    m = _check.real_array("x0", np.atleast_1d(x0), shape=(d,))
    steps = _check.counts("k", k)
    C, now, means, covs = np.zeros((d, d)), 0, [], []
    for when in steps:
        with np.errstate(over="ignore", invalid="ignore"):
            moved, Q = _power(-eta * A, eta**2 * Sigma, int(when - now))
            m, C, now = m + moved @ m, _pushed(moved, C) + Q, when
        means.append(m)
        covs.append((C + C.T) / 2)
    return _finite(means, covs)


def _power(E: np.ndarray, Q: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """``M^count - I`` and ``sum_{j < count} M^j Q M^jT`` for M = I + E, by repeated doubling.

    Deviations from the identity are kept: I - eta A itself would lose the digits of A as eta -> 0.
    """
    total, added = np.zeros_like(E), np.zeros_like(Q)
    while count:
        if count & 1:
            total, added = E + total + E @ total, _pushed(E, added) + Q
        Q, E, count = _pushed(E, Q) + Q, 2 * E + E @ E, count >> 1
    return total, added


def _pushed(E: np.ndarray, C: np.ndarray) -> np.ndarray:
    """``(I + E) C (I + E)^T``."""
    half = C + E @ C
    return half + half @ E.T


@told
def stationary_cov(A: ArrayLike, Sigma: ArrayLike, eta: float, kind: Literal["sgd", "ou"] = "sgd") -> np.ndarray:
    r"""Stationary covariance of SGD with additive noise, or of its Ornstein-Uhlenbeck limit.

    .. math:: A S + S A^\top - \eta A S A^\top = \eta \Sigma \quad \text{(sgd)}, \qquad
              A S + S A^\top = \eta \Sigma \quad \text{(ou)}

    Parameters
    ----------
    A, Sigma : array_like of float, shape (d, d) or scalar
        Hessian, all of whose modes decay, and covariance of the gradient noise.
    eta : float
        Step size, positive.
    kind : {"sgd", "ou"}
        The recursion or its limit.

    Returns
    -------
    ndarray of float, shape (d, d)
        S. In one dimension eta sigma^2 / (lam (2 - eta lam)) for "sgd", eta sigma^2 / (2 lam) for "ou".

    Raises
    ------
    ArgumentError
        If a mode does not decay (lam = 0 diffuses, variance eta s^2 t), or for "sgd" if eta is not below
        ``2 Re(lam)/|lam|^2`` of every mode (2/lambda_max for a symmetric A).

    Notes
    -----
    Source: section 9.5, items 1 and 2; the equations are those of Lyapunov (1892).

    Examples
    --------
    >>> from flowdyn import theory
    >>> round(float(theory.stationary_cov(1.0, 1.0, 0.1)[0, 0]), 12)  # eta / (2 - eta)
    0.052631578947
    """
    A = _square("A", A)
    Sigma = covariance("Sigma", Sigma, len(A))
    eta = _check.real("eta", eta, positive=True)
    _check.choice("kind", kind, ("sgd", "ou"))
    rates = np.linalg.eigvals(A)
    small = len(A) * np.finfo(float).eps * np.abs(rates).max(initial=0.0)
    if (rates.real <= small).any():
        raise _check.fail("A", "must have positive eigenvalues for a stationary law", np.sort(rates.real)[:3])
    if kind == "ou":
        return scipy.linalg.solve_continuous_lyapunov(A, eta * Sigma)
    # |1 - eta lam| < 1, without the digits that 1 - eta lam loses
    steepest = float((np.abs(rates) * (np.abs(rates) / (2 * rates.real))).max())
    if eta * steepest >= 1:
        raise _check.fail("eta", f"must be below min 2 Re(lam)/|lam|^2 = {1 / steepest:g} for a stationary law", eta)
    # with N = I - eta A / 2 the equation is A S N^T + N S A^T = eta Sigma, a continuous one for B = N^{-1} A
    N = np.eye(len(A)) - eta * A / 2
    half = np.linalg.solve(N, Sigma)
    return scipy.linalg.solve_continuous_lyapunov(np.linalg.solve(N, A), eta * np.linalg.solve(N, half.T))


@told
def ou_autocovariance(A: ArrayLike, S: ArrayLike, tau: ArrayLike) -> np.ndarray:
    r"""Autocovariance of a stationary Ornstein-Uhlenbeck process.

    .. math:: \mathrm{Cov}(X_{t+\tau}, X_t) = e^{-A\tau} S

    Parameters
    ----------
    A : array_like of float, shape (d, d) or scalar
        Drift matrix.
    S : array_like of float, shape (d, d) or scalar
        Stationary covariance.
    tau : array_like of float, shape (T,) or scalar
        Lags, in the units of time; a negative lag gives the transpose.

    Returns
    -------
    ndarray of float, shape (T, d, d)
        One matrix a lag.

    Raises
    ------
    ArgumentError
        If A is not square, or S not a covariance of its size.

    Notes
    -----
    Source: section 9.5, item 1; Uhlenbeck and Ornstein (1930).

    Examples
    --------
    >>> from flowdyn import theory
    >>> round(float(theory.ou_autocovariance(1.0, 0.5, [1.0])[0, 0, 0]), 6)
    0.18394
    """
    A = _square("A", A)
    S = covariance("S", S, len(A))
    lags = np.atleast_1d(_check.real_array("tau", tau))
    forward = [scipy.linalg.expm(-A * abs(lag)) @ S for lag in lags]
    return np.array([C if lag >= 0 else C.T for C, lag in zip(forward, lags, strict=True)])
