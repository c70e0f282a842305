"""Exact mean and covariance of SGD and of its SDEs where every sample's gradient is linear in w.

    grad l_i = A_i w - b_i,   z = (1, w),   M = E z z^T
    M_{k+1} = T M_k T^T + (eta^2 s / B) V(M_k)            T = 1 - eta F
    dM/dt   = -(F M + M F^T) + (eta s / B) V(M)           V(M) = mean_i (F_i - F) M (F_i - F)^T  (+ additive noise)

s is 1 with replacement and (n - B)/(n - 1) without. The second-order equation has F + (eta/2) F^2 in its drift.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.theory.moments_work import Size, equal_gaps, sde_route, sgd_route
from flowdyn.theory.symmetric_maps import MatrixNoise, RankOneNoise, Sum, Triangle, squarings, step_by


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


class LinearResiduals(NamedTuple):
    r"""Sample gradients of a squared loss of linear predictions: each is one direction times its own residual.

    .. math:: \nabla \ell_i(w) = c\, x_i (x_i^\top w + r_i)

    Parameters
    ----------
    rows : ndarray of float, shape (n, d)
        x_i, the gradient of prediction i.
    offsets : ndarray of float, shape (n,)
        r_i, the residuals at w = 0 (minus the targets of a linear model).
    factor : float
        c, twice the constant in front of a sample's squared residual.

    Notes
    -----
    What :class:`LinearNoise` holds in n d^2 numbers takes n d. Source: section 9.1; of our own.

    Examples
    --------
    >>> import numpy as np
    >>> from flowdyn import theory
    >>> noise = theory.LinearResiduals(np.array([[2.0]]), np.array([-1.0]), 1.0)
    >>> noise.A.tolist(), noise.b.tolist()
    ([[4.0]], [2.0])
    """

    rows: np.ndarray  # (n, d)
    offsets: np.ndarray  # (n,)
    factor: float

    @property
    def A(self) -> np.ndarray:
        """Mean matrix (d, d)."""
        return self.factor / len(self.rows) * (self.rows.T @ self.rows)

    @property
    def b(self) -> np.ndarray:
        """Mean vector (d,)."""
        return -self.factor / len(self.rows) * (self.rows.T @ self.offsets)

    def spread(self) -> LinearNoise:
        """The same as n matrices."""
        outer = self.factor * self.rows[:, :, None] * self.rows[:, None, :]
        vectors = -self.factor * self.rows * self.offsets[:, None] - self.b
        return LinearNoise(self.A, self.b, outer - self.A, vectors, np.zeros_like(self.A))


SampleGradients = LinearNoise | LinearResiduals


def matched_noise(noise: SampleGradients, eta: float) -> LinearNoise:
    """Sample gradients whose deviations G have the correction  G + (eta/2)(A G + G'[A w - b])  of order eta."""
    A, b, matrices, vectors, additive = noise.spread() if isinstance(noise, LinearResiduals) else noise
    side = np.eye(len(b)) + eta / 2 * A
    turned = matrices + eta / 2 * (A @ matrices + matrices @ A)
    return LinearNoise(A, b, turned, vectors + eta / 2 * (vectors @ A + matrices @ b), side @ additive @ side)


class _Map:
    """The mean F of the samples' maps z -> A_i w - b_i, and s V."""

    def __init__(self, noise: SampleGradients, share: float):
        A, b, d = noise.A, noise.b, len(noise.b)
        self.F = np.zeros((d + 1, d + 1))
        self.F[1:, 0], self.F[1:, 1:] = -b, A
        self.share = share
        if isinstance(noise, LinearResiduals):
            self.noise: MatrixNoise | RankOneNoise = RankOneNoise(*noise, self.F)
            self.size = Size(len(noise.rows), d, rank_one=True)
        else:
            parts = np.concatenate([-noise.vectors[:, :, None], noise.matrices], axis=2)
            self.noise = MatrixNoise(parts, noise.additive)
            self.size = Size(len(parts), d, rank_one=False)

    def V(self, M: np.ndarray) -> np.ndarray:
        return self.share * self.noise.spread(M)

    def adjoint_V(self, N: np.ndarray) -> np.ndarray:
        return self.share * self.noise.adjoint(N)

    def matrix_of_V(self, triangle: Triangle) -> np.ndarray:
        return self.share * self.noise.matrix(triangle)


def _unpack(M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = M[1:, 0]
    cov = M[1:, 1:] - np.outer(mean, mean)
    return mean, (cov + cov.T) / 2


def _start(noise: SampleGradients, x0: Any) -> np.ndarray:
    z = np.concatenate([[1.0], _check.real_array("x0", np.atleast_1d(x0), shape=noise.b.shape)])
    return np.outer(z, z)


def _checked_step(eta: Any, share: Any) -> tuple[float, float]:
    return _check.real("eta", eta, positive=True), _check.real("share", share, nonnegative=True)


def _columns(rows: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([mean for mean, _ in rows]), np.array([cov for _, cov in rows])


@np.errstate(over="ignore", invalid="ignore")  # an unstable mode ends in inf and NaN, which say so
@told
def linear_sgd_mean_cov(
    noise: SampleGradients, eta: float, share: float, x0: ArrayLike, k: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    r"""Exact mean and covariance of SGD after the increasing step numbers k, where sample gradients are linear in w.

    .. math:: M_{k+1} = T M_k T^\top + \eta^2 s\, V(M_k), \qquad M = E\, z z^\top, \ z = (1, w), \ T = 1 - \eta F

    Parameters
    ----------
    noise : LinearNoise or LinearResiduals
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
    F, M, gaps = maps.F, _start(noise, x0), np.diff(steps, prepend=0)
    doublings = sgd_route(maps.size, gaps).doublings
    rows = []
    if doublings is None:
        now = Sum(M)
        for gap in gaps:
            for _ in range(int(gap)):
                push = F @ now.value
                now.add(eta**2 * (push @ F.T + maps.V(now.value)) - eta * (push + push.T))
            rows.append(_unpack(now.value))
        return _columns(rows)
    triangle = Triangle(len(F))
    E = eta**2 * (triangle.two_sided(F, F) + maps.matrix_of_V(triangle)) - eta * triangle.both_sides(F)
    powers, y = squarings(E, doublings), Sum(triangle.pack(M))
    for gap in gaps:
        step_by(powers, int(gap), y)
        rows.append(_unpack(triangle.unpack(y.value)))
    return _columns(rows)


@told
def linear_sde_mean_cov(
    noise: SampleGradients, eta: float, share: float, order: int, x0: ArrayLike, t: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    r"""Exact mean and covariance of SGD's modified equation of order 1 or 2, where sample gradients are linear in w.

    .. math:: \dot M = -(F M + M F^\top) + \eta s\, V(M), \qquad F \to F + \tfrac{\eta}{2} F^2 \ \text{for order 2}

    Parameters
    ----------
    noise : LinearNoise or LinearResiduals
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
    F = maps.F + (eta / 2 * maps.F @ maps.F if order == 2 else 0.0)
    gaps = np.diff(times, prepend=0.0)
    one_matrix = sde_route(maps.size, gaps, eta).one_matrix
    M = _start(noise, x0)
    return _exponentials(F, eta, maps, gaps, M) if one_matrix else _products(F, eta, maps, gaps, M)


def _exponentials(F: np.ndarray, eta: float, maps: _Map, gaps: np.ndarray, M: np.ndarray) -> tuple:
    """By the exponential of the generator over each gap, equal ones taken once."""
    triangle = Triangle(len(F))
    generator = eta * maps.matrix_of_V(triangle) - triangle.both_sides(F)
    moves: dict[float, np.ndarray] = {}
    y, rows = triangle.pack(M), []
    for gap, key in zip(gaps, equal_gaps(gaps), strict=True):
        if gap > 0:
            if key not in moves:
                moves[key] = scipy.linalg.expm(generator * gap)
            y = moves[key] @ y
        rows.append(_unpack(triangle.unpack(y)))
    return _columns(rows)


def _products(F: np.ndarray, eta: float, maps: _Map, gaps: np.ndarray, M: np.ndarray) -> tuple:
    """By products of the generator with M, where its matrix would be too large."""
    from scipy.sparse.linalg import LinearOperator, expm_multiply  # slow to import

    p = len(F)

    def forward(flat: np.ndarray) -> np.ndarray:
        now = flat.reshape(p, p)
        return (-(F @ now + now @ F.T) + eta * maps.V(now)).ravel()

    def backward(flat: np.ndarray) -> np.ndarray:
        now = flat.reshape(p, p)
        return (-(F.T @ now + now @ F) + eta * maps.adjoint_V(now)).ravel()

    shape = (p * p, p * p)
    generator: Any = LinearOperator(shape, matvec=forward, rmatvec=backward, dtype=float)  # pyright: ignore
    trace = -2 * p * np.trace(F)  # of M -> F M + M F^T; a good shift, not needed to be exact
    y, rows = M.ravel(), []
    for gap in gaps:
        if gap > 0:
            y = expm_multiply(generator * gap, y, traceA=trace * gap)
        rows.append(_unpack(y.reshape(p, p)))
    return _columns(rows)
