"""Where the flow of the diagonal network ends, for every initialisation (Theorem 9.18).

    Q(theta) = sum_i c_i q(theta_i / c_i) - theta_i rho_i,    q(z) = 2 - sqrt(4 + z^2) + z arcsinh(z/2)    (9.99)
    c = |a b|, rho = log |a / b|,  w+(0) = a, w-(0) = b;      grad Q = arcsinh(theta / (2c)) - rho
    min Q  s.t.  X theta = y:      theta = a^2 e^s - b^2 e^{-s},  s = X^T v,  v minimises sum a^2 e^s + b^2 e^{-s} - y.v

Found by Newton's method on the dual, without any flow.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.theory.interpolation import _system

MAX_ITERATIONS = 500
SMALLEST = 1e-75
SINGULAR = 1e-20  # pivot of R over the largest; H = R^T R has its square, far below any float's relative spacing
LONGEST = 2.0  # largest change of an exponent in one step


class QMinimizer(NamedTuple):
    """Minimiser (d,), multiplier v (n,) with grad Q = X^T v, feasibility ||X theta - y||, Newton steps."""

    theta: np.ndarray
    dual: np.ndarray
    residual: float
    iterations: int


class KKT(NamedTuple):
    """How far a state is from optimal: ||X theta - y||, and the relative part of grad Q off the row span of X."""

    feasibility: float
    stationarity: float


def _check_scale(sizes: np.ndarray, alpha: Any) -> None:
    if ((sizes < SMALLEST) | (sizes > 1 / SMALLEST)).any():
        rule = f"must be between {SMALLEST:g} and {1 / SMALLEST:g}, where its square is exact"
        raise _check.fail("alpha", rule, alpha)


def _halves(alpha: Any, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors a and b from a scale, or from a pair of vectors."""
    if isinstance(alpha, tuple | list) and len(alpha) == 2:
        a, b = (np.abs(_check.real_array("alpha", part, shape=(d,))) for part in alpha)
        if not ((a != 0) | (b != 0)).any():
            raise _check.fail("alpha", "must have an entry that is not zero", alpha, "nothing moves from the origin")
        for part in (a[a > 0], b[b > 0]):
            _check_scale(part, alpha)
        return a, b
    scale = _check.real("alpha", alpha, positive=True)
    _check_scale(np.array([scale]), alpha)
    return np.full(d, scale), np.full(d, scale)


def q(z: ArrayLike) -> np.ndarray:
    """``2 - sqrt(4 + z^2) + z arcsinh(z/2)`` (9.100), without cancellation for small z."""
    z = np.asarray(z, dtype=float)
    return z * np.arcsinh(z / 2) - z * (z / (2 + np.hypot(2, z)))


@told
def Q_alpha(theta: ArrayLike, alpha: ArrayLike) -> float:
    r"""Implicit regulariser of the diagonal network: between the l2 norm (large alpha) and the l1 norm (small alpha).

    .. math:: Q_\alpha(\theta) = \sum_{i=1}^d c_i\, q(\theta_i / c_i) - \theta_i \log|a_i/b_i|, \qquad c = |a \odot b|

    Parameters
    ----------
    theta : array_like of float, shape (d,)
        Linear predictor.
    alpha : float or pair of array_like of float, shape (d,)
        Scale of the initialisation alpha * 1, or its two halves (a, b); signs do not matter.

    Returns
    -------
    float
        The value; inf for a theta of a sign that the start does not allow.

    Raises
    ------
    ArgumentError
        If alpha is not positive, too far from 1 to be squared exactly, or a pair of zeros or of the wrong shape.

    Notes
    -----
    The sum runs over the d features; the scan writes n. Source: section 9.3, equations (9.99) and (9.100).

    Examples
    --------
    >>> from flowdyn import theory
    >>> round(theory.Q_alpha([1.0], 1.0), 10)
    0.2451438476
    """
    theta = _check.real_array("theta", theta, ndim=1)
    a, b = _halves(alpha, len(theta))
    both, sign = (a > 0) & (b > 0), np.where(a > 0, 1.0, -1.0)
    c, side, size = (a * b)[both], np.maximum(a, b)[~both] ** 2, (sign * theta)[~both]
    if (size < 0).any() or (size[side == 0] != 0).any():
        return float("inf")
    value = np.sum(c * q(theta[both] / c) - theta[both] * np.log(a[both] / b[both]))
    moving = size > 0
    return float(value + np.sum(size[moving] * (np.log(size[moving] / side[moving]) - 1)))


@told
def Q_alpha_gradient(theta: ArrayLike, alpha: ArrayLike) -> np.ndarray:
    r"""Gradient of Q_alpha, whose part off the row span of X vanishes where the flow ends.

    .. math:: \nabla Q_i = \operatorname{arcsinh}(\theta_i / (2 c_i)) - \log|a_i/b_i|

    Parameters
    ----------
    theta : array_like of float, shape (d,)
        Linear predictor.
    alpha : float or pair of array_like of float, shape (d,)
        Scale of the initialisation alpha * 1, or its two halves (a, b).

    Returns
    -------
    ndarray of float, shape (d,)
        The gradient; ``log(theta / a^2)`` where b = 0, its mirror image where a = 0, NaN where theta cannot be.

    Raises
    ------
    ArgumentError
        As :func:`Q_alpha`.

    Notes
    -----
    Source: section 9.3, equation (9.138); the general start is of our own.

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.Q_alpha_gradient([1.0, 0.0], 1.0).round(6).tolist()  # arcsinh(1/2)
    [0.481212, 0.0]
    """
    theta = _check.real_array("theta", theta, ndim=1)
    a, b = _halves(alpha, len(theta))
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(a > 0, np.log(theta / a**2), -np.log(-theta / b**2))
        return np.where((a > 0) & (b > 0), np.arcsinh(theta / (2 * a * b)) - np.log(a / b), one)


@told
def kkt_residual(X: ArrayLike, y: ArrayLike, theta: ArrayLike, alpha: ArrayLike) -> KKT:
    r"""How far any theta is from the two optimality conditions of the implicit regulariser.

    .. math:: X\theta = y, \qquad \nabla Q_\alpha(\theta) = X^\top v \ \text{for some}\ v

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    y : array_like of float, shape (n,)
        Targets.
    theta : array_like of float, shape (d,)
        The predictor that is judged.
    alpha : float or pair of array_like of float, shape (d,)
        Scale of the initialisation alpha * 1, or its two halves (a, b).

    Returns
    -------
    KKT
        `feasibility` ||X theta - y||, and `stationarity`, the relative part of grad Q off the row span (inf where theta
        has a sign that the start does not allow).

    Raises
    ------
    ArgumentError
        If shapes disagree, an entry is not finite, or as :func:`Q_alpha` for alpha.

    Notes
    -----
    Source: section 9.3, equation (9.129).

    Examples
    --------
    >>> from flowdyn import theory
    >>> best = theory.q_alpha_minimizer([[1.0, 0.5]], [1.0], alpha=0.1)
    >>> bool(max(theory.kkt_residual([[1.0, 0.5]], [1.0], best.theta, 0.1)) < 1e-12)
    True
    """
    X, y = _system(X, y)
    theta = _check.real_array("theta", theta, shape=(X.shape[1],))
    a, b = _halves(alpha, len(theta))
    moving = (a > 0) | (b > 0)  # a coordinate whose weights are both 0 stays at 0, whatever the gradient there
    gradient, A = Q_alpha_gradient(theta, alpha)[moving], X[:, moving]
    if not np.isfinite(gradient).all() or theta[~moving].any():
        return KKT(float(np.linalg.norm(X @ theta - y)), float("inf"))
    v = np.linalg.lstsq(A.T, gradient, rcond=None)[0]
    off = float(np.linalg.norm(gradient - A.T @ v)) / max(float(np.linalg.norm(gradient)), 1e-300)
    return KKT(float(np.linalg.norm(X @ theta - y)), off)


@told
def q_alpha_minimizer(X: ArrayLike, y: ArrayLike, alpha: ArrayLike) -> QMinimizer:
    r"""Interpolant that minimises Q: where the flow of the diagonal network ends (Theorem 9.18).

    .. math:: \arg\min Q_\alpha(\theta) \ \text{s.t.}\ X\theta = y

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    y : array_like of float, shape (n,)
        Targets.
    alpha : float or pair of array_like of float, shape (d,)
        Scale of the initialisation alpha * 1, or its two halves (a, b); signs do not matter. Where b_i = 0, theta_i
        is positive, where a_i = 0 negative, and where both are it stays 0.

    Returns
    -------
    QMinimizer
        `theta` (d,), multiplier `dual` (n,) with grad Q = X^T v, `residual` ||X theta - y||, Newton `iterations`.

    Raises
    ------
    ArgumentError
        If shapes disagree, alpha is refused by :func:`Q_alpha`, or rows of X that depend have no common interpolant.
    RunError
        If Newton's method does not converge (no interpolant of the signs that the start allows).

    Notes
    -----
    Newton's method on the convex dual, without any flow. Source: section 9.3, Theorem 9.18; Woodworth et al. (2020),
    Theorem 1.

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.q_alpha_minimizer([[1.0, 0.5]], [1.0], alpha=1e-3).theta.round(3).tolist()
    [1.0, 0.001]
    """
    X, y = _system(X, y)
    a, b = _halves(alpha, X.shape[1])
    c = a * b
    rho = np.log(np.where(c > 0, a, 1.0) / np.where(c > 0, b, 1.0))

    def weights(exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = exponent + rho
        up = np.where(a > 0, a**2 * np.exp(exponent), 0.0)
        down = np.where(b > 0, b**2 * np.exp(-exponent), 0.0)
        # up - down cancels where alpha is large
        return np.where(c > 0, 2 * c * np.sinh(s), up - down), np.where(c > 0, 2 * c * np.cosh(s), up + down)

    rows, values, back = _independent(X, y)
    found = _newton(rows, values, weights)
    return found._replace(dual=back @ found.dual, residual=float(np.linalg.norm(X @ found.theta - y)))


@told
def entropy_minimizer(X: ArrayLike, y: ArrayLike, alpha: ArrayLike) -> QMinimizer:
    r"""Nonnegative interpolant of least entropy: where the flow of the squared regression ends (section 9.2).

    .. math:: \arg\min \sum_i \theta_i \log(\theta_i / \alpha_i^2) - \theta_i \ \text{s.t.}\ X\theta = y

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    y : array_like of float, shape (n,)
        Targets that a positive theta meets.
    alpha : float or array_like of float, shape (d,)
        Start of the weights, not zero; signs do not matter.

    Returns
    -------
    QMinimizer
        As :func:`q_alpha_minimizer`, at the start (alpha, 0).

    Raises
    ------
    ArgumentError
        If shapes disagree, an entry of alpha is zero, or rows of X that depend have no common interpolant.
    RunError
        If Newton's method does not converge (no positive interpolant).

    Notes
    -----
    The flow keeps theta = alpha^2 exp(-(2/n) X^T int r), which is the stationarity of this entropy. Source: of our own,
    for the model of section 9.2, by the argument of Theorem 9.18.

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.entropy_minimizer([[1.0, 1.0]], [3.0], alpha=0.1).theta.round(9).tolist()
    [1.5, 1.5]
    """
    X, y = _system(X, y)
    given = _check.real_array("alpha", alpha)
    start = np.abs(given if given.ndim else np.full(X.shape[1], given))
    if start.shape != X.shape[1:]:
        raise _check.fail(
            "alpha", f"must be one number or have shape {X.shape[1:]}", _check.Words(f"shape {start.shape}")
        )
    if not (start > 0).all():
        raise _check.fail("alpha", "must not be zero", alpha, "a weight that starts at 0 stays there")
    return q_alpha_minimizer(X, y, (start, np.zeros_like(start)))


def _independent(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Independent rows with the same interpolants, their targets, and the matrix that brings their dual back."""
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    rank = int((s > max(X.shape) * np.finfo(float).eps * s.max(initial=0.0)).sum())
    if rank == len(y):
        return X, y, np.eye(rank)
    basis = U[:, :rank]
    if np.linalg.norm(y - basis @ (basis.T @ y)) > 1e-9 * np.linalg.norm(y):
        raise _check.fail("y", "must have an interpolant X theta = y", y)
    return basis.T @ X, basis.T @ y, basis


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # where there is no minimiser v runs away
def _newton(X: np.ndarray, y: np.ndarray, weights: Callable) -> QMinimizer:
    """Root v of ``X theta(X^T v) = y`` by Newton's method on the convex dual; `weights` gives theta and theta'."""
    v, best, stuck = np.zeros(len(y)), np.inf, 0
    answer = (np.zeros(X.shape[1]), v)
    scale = max(float(np.linalg.norm(y)), float(np.linalg.norm(X @ weights(np.zeros(X.shape[1]))[0])))
    for iteration in range(MAX_ITERATIONS):
        theta, weight = weights(X.T @ v)
        gap = X @ theta - y
        norm = float(np.linalg.norm(gap))
        if norm < best:
            best, answer, stuck = norm, (theta, v), 0
        else:
            stuck += 1
        small = best <= 1e-9 * scale
        if norm <= 1e-15 * scale or (small and stuck >= 3):
            return QMinimizer(*answer, best, iteration)
        if not np.isfinite(weight).all():
            break
        # H = X W X^T = R^T R by QR of W^{1/2} X^T, which squares no condition number
        R = scipy.linalg.qr(np.sqrt(weight)[:, None] * X.T, mode="r")[0][: len(y)]
        if not np.abs(np.diag(R)).min() > SINGULAR * np.abs(np.diag(R)).max():
            break
        step = -scipy.linalg.solve_triangular(R, scipy.linalg.solve_triangular(R, gap, trans="T"))  # pyright: ignore[reportArgumentType]
        if not np.isfinite(step).all():
            break
        # the dual grows like an exponential: its Newton step is trusted over a change of LONGEST in the exponents
        v = v + step * min(1.0, LONGEST / max(np.abs(X.T @ step).max(), 1e-300))
    raise _check.RunError(
        f"Newton's method on the dual stopped at ||X theta - y|| = {best:.3g}; `y` must have an interpolant "
        "X theta = y of the signs that the start allows"
    )
