"""Exact mean and covariance of SGD and of its SDEs where every sample's gradient is linear in w.

    grad l_i = A_i w - b_i,   z = (1, w),   M = E z z^T
    M_{k+1} = T M_k T^T + (eta^2 s / B) V(M_k)            T = 1 - eta F
    dM/dt   = -(F M + M F^T) + (eta s / B) V(M)           V(M) = mean_i (F_i - F) M (F_i - F)^T  (+ additive noise)

s is 1 with replacement and (n - B)/(n - 1) without. The second-order equation has F + (eta/2) F^2 in its drift.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike
from scipy.sparse.linalg import LinearOperator, expm_multiply

from flowdyn import _check

KRONECKER_UP_TO = 26  # up to this d + 1 the map on matrices is exponentiated as one matrix of size (d + 1)^2


class LinearNoise(NamedTuple):
    r"""Sample gradients A_i w - b_i, as deviations from their mean A w - b, and additive noise of the gradient.

    .. math:: \nabla \ell_i(w) = A_i w - b_i, \qquad A = \tfrac1n \sum_i A_i, \quad b = \tfrac1n \sum_i b_i

    Parameters
    ----------
    A : ndarray of float, shape (d, d)
        Mean matrix, the Hessian of the loss.
    b : ndarray of float, shape (d,)
        Mean vector.
    matrices : ndarray of float, shape (n, d, d)
        A_i - A; n = 0 where there are no samples.
    vectors : ndarray of float, shape (n, d)
        b_i - b.
    additive : ndarray of float, shape (d, d)
        Covariance of a noise that does not depend on w.

    Notes
    -----
    Source: the definition of a quadratic loss with samples; of our own.

    Examples
    --------
    >>> import numpy as np
    >>> from flowdyn import theory
    >>> noise = theory.LinearNoise(np.eye(1), np.zeros(1), np.zeros((0, 1, 1)), np.zeros((0, 1)), np.eye(1))
    >>> noise.additive.tolist()
    [[1.0]]
    """

    A: np.ndarray  # (d, d)
    b: np.ndarray  # (d,)
    matrices: np.ndarray  # (n, d, d), A_i - A
    vectors: np.ndarray  # (n, d), b_i - b
    additive: np.ndarray  # (d, d)


class _Map:
    """The pieces of the map on M, in augmented coordinates."""

    def __init__(self, noise: LinearNoise, share: float):
        d = len(noise.b)
        self.F = np.zeros((d + 1, d + 1))
        self.F[1:, 0], self.F[1:, 1:] = -noise.b, noise.A
        self.parts = np.zeros((len(noise.vectors), d, d + 1))
        self.parts[:, :, 0], self.parts[:, :, 1:] = -noise.vectors, noise.matrices
        self.additive, self.noise_scale = noise.additive, share

    def V(self, M: np.ndarray) -> np.ndarray:
        out = np.zeros_like(M)
        if len(self.parts):
            out[1:, 1:] = np.einsum("nij,jk,nlk->il", self.parts, M, self.parts, optimize=True) / len(self.parts)
        out[1:, 1:] += self.additive * M[0, 0]
        return self.noise_scale * out

    def adjoint_V(self, N: np.ndarray) -> np.ndarray:
        out = np.zeros_like(N)
        if len(self.parts):
            out = np.einsum("nij,il,nlk->jk", self.parts, N[1:, 1:], self.parts, optimize=True) / len(self.parts)
        out[0, 0] += np.sum(self.additive * N[1:, 1:])
        return self.noise_scale * out


def sgd_moments_work(n: int, d: int, steps: np.ndarray) -> float:
    """Operations, about, of :func:`linear_sgd_mean_cov` for n samples of d parameters at increasing step numbers."""
    p, last = d + 1, float(steps[-1]) if len(steps) else 0.0
    step = 4.0 * p**3 + 4.0 * n * d * p**2
    if p <= KRONECKER_UP_TO and last > p * p:
        return p**2 * step + 4.0 * len(steps) * p**6 * np.log2(2 + last / len(steps))
    return last * step


def sde_moments_work(n: int, d: int, count: int) -> float:
    """Operations, about, of :func:`linear_sde_mean_cov` for n samples of d parameters at `count` times."""
    p = d + 1
    step = 4.0 * p**3 + 4.0 * n * d * p**2
    return p**2 * step + 60.0 * count * p**6 if p <= KRONECKER_UP_TO else 200.0 * count * step


def _unpack(M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = M[1:, 0]
    cov = M[1:, 1:] - np.outer(mean, mean)
    return mean, (cov + cov.T) / 2


def _augmented_start(noise: LinearNoise, x0: Any) -> np.ndarray:
    z = np.concatenate([[1.0], _check.real_array("x0", np.atleast_1d(x0), shape=noise.b.shape)])
    return np.outer(z, z)


def _checked_step(eta: Any, share: Any) -> tuple[float, float]:
    return _check.real("eta", eta, positive=True), _check.real("share", share, nonnegative=True)


@np.errstate(over="ignore", invalid="ignore")  # an unstable mode ends in inf and NaN, which say so
def linear_sgd_mean_cov(
    noise: LinearNoise, eta: float, share: float, x0: ArrayLike, k: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    r"""Exact mean and covariance of SGD after the increasing step numbers k, where sample gradients are linear in w.

    .. math:: M_{k+1} = T M_k T^\top + \eta^2 s\, V(M_k), \qquad M = E\, z z^\top, \ z = (1, w), \ T = 1 - \eta F

    Parameters
    ----------
    noise : LinearNoise
        Sample gradients.
    eta : float
        Step size, positive.
    share : float
        s, the share of one sample's covariance that a batch has: 1/B, or (n - B)/(B (n - 1)) without replacement.
    x0 : array_like of float, shape (d,)
        Start.
    k : array_like of int, shape (T,)
        Step numbers.

    Returns
    -------
    mean, cov : ndarray of float
        Shapes (T, d) and (T, d, d); inf or NaN where an unstable mode has overflowed.

    Raises
    ------
    ArgumentError
        If eta is not positive, share is negative, x0 has another shape than b, or k does not hold increasing whole
        numbers.

    Notes
    -----
    F is the mean of z -> A_i w - b_i and V(M) the mean of (F_i - F) M (F_i - F)^T. Source: section 9.5, items 1 and 2,
    taken to multiplicative noise; of our own.

    Examples
    --------
    >>> import numpy as np
    >>> from flowdyn import theory
    >>> noise = theory.LinearNoise(np.eye(1), np.zeros(1), np.zeros((0, 1, 1)), np.zeros((0, 1)), np.eye(1))
    >>> mean, cov = theory.linear_sgd_mean_cov(noise, 0.1, 1.0, [1.0], [2])
    >>> round(float(mean[0, 0]), 12), round(float(cov[0, 0, 0]), 12)  # 0.9^2, 0.01 (1 + 0.9^2)
    (0.81, 0.0181)
    """
    eta, share = _checked_step(eta, share)
    steps = _check.counts("k", k)
    maps = _Map(noise, share)
    T = np.eye(len(maps.F)) - eta * maps.F
    M, now, rows = _augmented_start(noise, x0), 0, []
    p = len(maps.F)
    step = None
    if p <= KRONECKER_UP_TO and len(steps) and steps[-1] > p * p:
        basis = np.eye(p * p).reshape(p * p, p, p)
        step = np.stack([(T @ E @ T.T + eta**2 * maps.V(E)).ravel() for E in basis], axis=1)
    for when in steps:
        if step is not None:
            M = (np.linalg.matrix_power(step, int(when - now)) @ M.ravel()).reshape(p, p)
        else:
            for _ in range(int(when - now)):
                M = T @ M @ T.T + eta**2 * maps.V(M)
        now = when
        rows.append(_unpack(M))
    return np.array([m for m, _ in rows]), np.array([C for _, C in rows])


def linear_sde_mean_cov(
    noise: LinearNoise, eta: float, share: float, order: int, x0: ArrayLike, t: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    r"""Exact mean and covariance of SGD's modified equation of order 1 or 2, where sample gradients are linear in w.

    .. math:: \dot M = -(F M + M F^\top) + \eta s\, V(M), \qquad F \to F + \tfrac{\eta}{2} F^2 \ \text{for order 2}

    Parameters
    ----------
    noise : LinearNoise
        Sample gradients.
    eta : float
        Step size of SGD, positive.
    share : float
        s, the share of one sample's covariance that a batch has: 1/B, or (n - B)/(B (n - 1)) without replacement.
    order : {1, 2}
        Order of the equation.
    x0 : array_like of float, shape (d,)
        Start.
    t : array_like of float, shape (T,)
        Increasing times eta * k, not negative.

    Returns
    -------
    mean, cov : ndarray of float
        Shapes (T, d) and (T, d, d).

    Raises
    ------
    ArgumentError
        If eta is not positive, share is negative, the order is neither 1 nor 2, x0 has another shape than b, or the
        times do not increase from 0 on.

    Notes
    -----
    Source: Li, Tai and E (2017), equations of orders 1 and 2, on a quadratic loss; the matrix form is of our own.

    Examples
    --------
    >>> import numpy as np
    >>> from flowdyn import theory
    >>> noise = theory.LinearNoise(np.eye(1), np.zeros(1), np.zeros((0, 1, 1)), np.zeros((0, 1)), np.eye(1))
    >>> mean, cov = theory.linear_sde_mean_cov(noise, 0.1, 1.0, 1, [1.0], [1.0])
    >>> round(float(mean[0, 0]), 6), round(float(cov[0, 0, 0]), 6)  # exp(-1), 0.05 (1 - exp(-2))
    (0.367879, 0.043233)
    """
    eta, share = _checked_step(eta, share)
    order = _check.integer("order", order, minimum=1, maximum=2)
    times = _check.times("t", np.atleast_1d(_check.real_array("t", t)))
    if times[0] < 0:
        raise _check.fail("t", "must not be negative", times[0])
    maps = _Map(noise, share)
    p = len(maps.F)
    F = maps.F + (eta / 2 * maps.F @ maps.F if order == 2 else 0.0)

    def forward(flat: np.ndarray) -> np.ndarray:
        M = flat.reshape(p, p)
        return (-(F @ M + M @ F.T) + eta * maps.V(M)).ravel()

    def backward(flat: np.ndarray) -> np.ndarray:
        N = flat.reshape(p, p)
        return (-(F.T @ N + N @ F) + eta * maps.adjoint_V(N)).ravel()

    trace = -2 * p * np.trace(F)  # of M -> F M + M F^T; a good shift, not needed to be exact
    if p <= KRONECKER_UP_TO:
        generator = np.stack([forward(e) for e in np.eye(p * p)], axis=1)
    else:
        shape = (p * p, p * p)
        generator = LinearOperator(shape, matvec=forward, rmatvec=backward, dtype=float)  # pyright: ignore[reportCallIssue]
    M, now, rows = _augmented_start(noise, x0).ravel(), 0.0, []
    for when in times:
        if when > now:
            tau = when - now
            if p <= KRONECKER_UP_TO:
                M = scipy.linalg.expm(generator * tau) @ M
            else:
                M = expm_multiply(generator * tau, M, traceA=trace * tau)
            now = when
        rows.append(_unpack(M.reshape(p, p)))
    return np.array([m for m, _ in rows]), np.array([C for _, C in rows])
