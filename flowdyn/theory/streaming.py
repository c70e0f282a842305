r"""One-pass SGD on Gaussian least squares: exact second moments, and those of its homogenized equation.

    x ~ N(0, H),  y = <w*, x> + sigma xi,  M = E (w - w*)(w - w*)^T in the eigenbasis of H, eigenvalues l, m = diag M,
    R = sum_j l_j m_j,  s = 1/B.  SGD with step eta; the homogenized equation, t = eta k, by moments and by Volterra:

    M_ij+ = (1 - eta (l_i + l_j) + eta^2 (1 + s) l_i l_j) M_ij + delta_ij eta^2 s l_i (R + sigma^2)
    M_ij' = -(l_i + l_j) M_ij + delta_ij eta s l_i (R + sigma^2)
    R(t)  = sum_j l_j m_j(0) e^{-2 l_j t} + eta s int_0^t sum_j l_j^2 e^{-2 l_j (t - u)} (R(u) + sigma^2) du

With eta = gamma/d the two differ by O(1/d). The diagonals are linear with a symmetric matrix, diagonal plus rank one:
one eigenbasis gives them at any time.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told

NODES = (24, 48, 96, 192)  # of the collocation, doubled until nothing changes
SETTLED = 1e-11  # relative change at which it has converged


class _Clock(NamedTuple):
    """Growth at given rates over steps (m+ - m = g m) or over time (m' = g m)."""

    elapsed: np.ndarray  # (T,), steps or times
    is_discrete: bool

    def _increase(self, g: np.ndarray) -> np.ndarray:
        """Growth less 1, without cancellation, shape (T, *g.shape)."""
        k = np.asarray(self.elapsed, dtype=float).reshape(-1, *[1] * np.ndim(g))
        if not self.is_discrete:
            return np.expm1(k * g)
        small = np.abs(g) < 0.5
        return np.where(small, np.expm1(k * np.log1p(np.where(small, g, 0.0))), (1 + g) ** k - 1)

    def grown(self, g: np.ndarray) -> np.ndarray:
        """Growth of what starts at 1."""
        return 1 + self._increase(g)

    def total(self, g: np.ndarray) -> np.ndarray:
        """What a constant force of 1 adds up to."""
        k = np.asarray(self.elapsed, dtype=float).reshape(-1, *[1] * np.ndim(g))
        return np.where(g == 0, k, self._increase(g) / np.where(g == 0, 1.0, g))


def fresh_moments_work(d: int, when: np.ndarray) -> float:
    """Operations, about, of the moments of :class:`FreshNoise`: one eigenbasis, and two products a time."""
    return (4.0 + len(when)) * d**3


class FreshNoise(NamedTuple):
    """Linear regression on fresh Gaussian samples, in the eigenbasis of their covariance."""

    eigenvalues: np.ndarray  # (d,)
    basis: np.ndarray | None  # (d, d), columns; None for the unit vectors
    center: np.ndarray  # w* (d,)
    sigma: float

    def sgd_mean_cov(self, eta: float, share: float, w0: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (T, d) and covariance (T, d, d) of SGD after k steps."""
        l = self.eigenvalues  # noqa: E741 - the field's letter
        pairs = -eta * (l[:, None] + l) + eta**2 * (1 + share) * np.outer(l, l)
        return self._mean_cov(w0, -eta * l, pairs, eta**2 * share, _Clock(k, is_discrete=True))

    def equation_mean_cov(
        self, eta: float, share: float, order: int, w0: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of SGD's modified equation of order 1 or 2; order 0 stands for the homogenized one."""
        l = self.eigenvalues  # noqa: E741
        f = l + (eta / 2 * l**2 if order == 2 else 0.0)
        pairs = -(f[:, None] + f) + (eta * share * np.outer(l, l) if order else 0.0)
        return self._mean_cov(w0, -f, pairs, eta * share, _Clock(t, is_discrete=False))

    def instability(self, eta: float, share: float) -> float:
        """Sum of ``eta s l / (2 - eta (1 + s) l)``: from 1 on the second moments of SGD grow; eta s tr(H) / 2 in short.

        It is 1 where diag(own) + eta^2 s l l^T, the change of the moments in a step, has the eigenvalue 0.
        """
        l = self.eigenvalues  # noqa: E741
        left = 2 - eta * (1 + share) * l
        return float(np.sum(eta * share * l / left)) if (left > 0).all() else np.inf

    @np.errstate(over="ignore", invalid="ignore")  # an unstable mode ends in inf and NaN, which say so
    def _mean_cov(
        self, w0: np.ndarray, rates: np.ndarray, pairs: np.ndarray, strength: float, clock: _Clock
    ) -> tuple[np.ndarray, np.ndarray]:
        """Moments where the mean grows at `rates`, M_ij at `pairs`, and noise of `strength` l (R + sigma^2) enters."""
        start = w0 - self.center if self.basis is None else self.basis.T @ (w0 - self.center)
        mean = clock.grown(rates) * start
        M = clock.grown(pairs) * np.outer(start, start)
        i = np.arange(len(start))
        M[:, i, i] = _moments(self.eigenvalues, np.diag(pairs), start**2, strength, self.sigma, clock)
        cov = M - mean[:, :, None] * mean[:, None, :]
        if self.basis is not None:
            mean, cov = mean @ self.basis.T, self.basis @ cov @ self.basis.T
        return self.center + mean, cov


def _moments(l: Any, own: Any, m0: Any, strength: float, sigma: float, clock: _Clock) -> np.ndarray:  # noqa: E741
    """Solution (T, d) of ``m' = own m + strength l (<l, m> + sigma^2)``, or of m+ - m."""
    rates, V = np.linalg.eigh(np.diag(own) + strength * np.outer(l, l))
    forced = strength * sigma**2 * (V.T @ l)
    return (clock.grown(rates) * (V.T @ m0) + clock.total(rates) * forced) @ V.T


def _checked(eigenvalues: Any, m0: Any, eta: Any, sigma: Any, batch_size: Any) -> tuple:
    l = _check.real_array("eigenvalues", eigenvalues, ndim=1)  # noqa: E741
    m = _check.real_array("m0", m0, shape=l.shape)
    for name, values in (("eigenvalues", l), ("m0", m)):
        if len(values) == 0 or (values < 0).any():
            raise _check.fail(name, "must hold at least one number, none of them negative", values)
    share = 1.0 / _check.integer("batch_size", batch_size, minimum=1)
    return l, m, _check.real("eta", eta, positive=True), _check.real("sigma", sigma, nonnegative=True), share


def _checked_times(t: Any) -> np.ndarray:
    times = np.atleast_1d(_check.real_array("t", t))
    if times.ndim != 1 or times.size == 0 or (times < 0).any():
        raise _check.fail("t", "must hold at least one time, none of them negative", t)
    return times


def _finite(rows: np.ndarray) -> np.ndarray:
    if not np.isfinite(rows).all():
        raise _check.RunError("the moments grow beyond the range of float64: eta tr(H) is too large; use a smaller eta")
    return rows


@np.errstate(over="ignore", invalid="ignore")
@told
def streaming_moments(
    eigenvalues: ArrayLike, m0: ArrayLike, eta: float, sigma: float, k: ArrayLike, batch_size: int = 1
) -> np.ndarray:
    r"""Exact second moments of one-pass SGD on Gaussian least squares, in the eigenbasis of the covariance.

    .. math:: m_i^+ = m_i - 2\eta l_i m_i + \eta^2\big[(1 + \tfrac1B) l_i^2 m_i + \tfrac1B l_i (R + \sigma^2)\big],
              \qquad R = \sum_j l_j m_j

    Parameters
    ----------
    eigenvalues : array_like of float, shape (d,)
        l, of the covariance H of the inputs, not negative.
    m0 : array_like of float, shape (d,)
        Squared distances from w* along the eigenvectors at the start.
    eta : float
        Step size, positive: gamma/d.
    sigma : float
        Standard deviation of the label noise.
    k : array_like of int, shape (T,)
        Increasing step numbers.
    batch_size : int
        Samples B of a step, each of them fresh.

    Returns
    -------
    ndarray of float, shape (T, d)
        m_i = E <w - w*, u_i>^2 after k steps.

    Raises
    ------
    ArgumentError
        If an eigenvalue, a moment or sigma is negative, eta is not positive, or k does not increase.
    RunError
        If the moments leave the range of float64.

    Notes
    -----
    Fourth moments of Gaussian inputs: E x x^T M x x^T = 2 H M H + H tr(H M). Source: Wang, Mattingly and Lu (2017);
    Paquette, Lee, Pedregosa and Paquette (2021).

    Examples
    --------
    >>> from flowdyn import theory
    >>> float(theory.streaming_moments([1.0], [1.0], 0.5, 0.0, [1])[0, 0])  # 1 - 2/2 + 3/4
    0.75
    """
    l, m, step, noise, share = _checked(eigenvalues, m0, eta, sigma, batch_size)  # noqa: E741
    clock = _Clock(_check.counts("k", k), is_discrete=True)
    own = -2 * step * l + step**2 * (1 + share) * l**2
    return _finite(_moments(l, own, m, step**2 * share, noise, clock))


@np.errstate(over="ignore", invalid="ignore")
@told
def homogenized_moments(
    eigenvalues: ArrayLike, m0: ArrayLike, eta: float, sigma: float, t: ArrayLike, batch_size: int = 1
) -> np.ndarray:
    r"""Second moments of homogenized SGD, the limit of :func:`streaming_moments` in many dimensions.

    .. math:: \dot m_i = -2 l_i m_i + \tfrac{\eta}{B} l_i (R + \sigma^2), \qquad R = \sum_j l_j m_j

    Parameters
    ----------
    eigenvalues : array_like of float, shape (d,)
        l, of the covariance H of the inputs, not negative.
    m0 : array_like of float, shape (d,)
        Squared distances from w* along the eigenvectors at the start.
    eta : float
        Step size of SGD, positive: gamma/d.
    sigma : float
        Standard deviation of the label noise.
    t : array_like of float, shape (T,)
        Times eta k = gamma k/d, not negative.
    batch_size : int
        Samples B of a step.

    Returns
    -------
    ndarray of float, shape (T, d)
        Moments m_i(t).

    Raises
    ------
    ArgumentError
        If an eigenvalue, a moment, sigma or a time is negative, or eta is not positive.
    RunError
        If the moments leave the range of float64.

    Notes
    -----
    Source: Paquette, Lee, Pedregosa and Paquette (2021); in their time k/d the right-hand side is gamma times this one.

    Examples
    --------
    >>> from flowdyn import theory
    >>> round(float(theory.homogenized_moments([1.0], [1.0], 0.5, 0.0, [2.0])[0, 0]), 6)  # exp(-(2 - 1/2) 2)
    0.049787
    """
    l, m, step, noise, share = _checked(eigenvalues, m0, eta, sigma, batch_size)  # noqa: E741
    clock = _Clock(_checked_times(t), is_discrete=False)
    return _finite(_moments(l, -2 * l, m, step * share, noise, clock))


@told
def volterra_risk(
    eigenvalues: ArrayLike, m0: ArrayLike, eta: float, sigma: float, t: ArrayLike, batch_size: int = 1
) -> np.ndarray:
    r"""Twice the excess risk of homogenized SGD, from the Volterra equation that it solves.

    .. math:: R(t) = \sum_j l_j m_j(0) e^{-2 l_j t}
              + \tfrac{\eta}{B} \int_0^t \sum_j l_j^2 e^{-2 l_j (t-u)} (R(u) + \sigma^2)\, du

    Parameters
    ----------
    eigenvalues : array_like of float, shape (d,)
        l, of the covariance H of the inputs, not negative.
    m0 : array_like of float, shape (d,)
        Squared distances from w* along the eigenvectors at the start.
    eta : float
        Step size of SGD, positive: gamma/d.
    sigma : float
        Standard deviation of the label noise.
    t : array_like of float, shape (T,)
        Times eta k = gamma k/d, not negative.
    batch_size : int
        Samples B of a step.

    Returns
    -------
    ndarray of float, shape (T,)
        R at each time; R/2 is the excess risk.

    Raises
    ------
    ArgumentError
        If an eigenvalue, a moment, sigma or a time is negative, or eta is not positive.
    RunError
        If 192 nodes do not resolve it: the span of times is too long for the fastest mode.

    Notes
    -----
    By collocation in Legendre polynomials of sqrt(t), doubled until nothing changes; no moment equation is used.
    Source: Paquette, Lee, Pedregosa and Paquette (2021).

    Examples
    --------
    >>> from flowdyn import theory
    >>> round(float(theory.volterra_risk([1.0], [1.0], 0.5, 0.0, [2.0])[0]), 6)  # exp(-(2 - 1/2) 2)
    0.049787
    """
    l, m, step, noise, share = _checked(eigenvalues, m0, eta, sigma, batch_size)  # noqa: E741
    times = _checked_times(t)
    before = None
    for count in NODES:
        risk, missed = _collocated(l, m, step * share, noise, times, count)
        settled = before is not None and np.abs(risk - before).max() <= SETTLED * np.abs(risk).max()
        if settled and missed <= SETTLED:
            return risk
        before = risk
    raise _check.RunError(
        f"the Volterra equation is not resolved by {NODES[-1]} nodes up to t = {times.max():g}; use earlier times"
    )


def _collocated(l: Any, m0: Any, strength: float, sigma: float, times: np.ndarray, count: int) -> tuple:  # noqa: E741
    """Solve at `count` Gauss nodes of sqrt(t), evaluate at `times`; and how much of the kernel's mass is missed."""
    end = max(float(times.max()), 1e-300)
    x, _ = np.polynomial.legendre.leggauss(count)
    nodes = end * ((1 + x) / 2) ** 2
    y, weights = np.polynomial.legendre.leggauss(2 * count)

    def polynomials(when: np.ndarray) -> np.ndarray:
        return np.polynomial.legendre.legvander(2 * np.sqrt(when / end) - 1, count - 1)

    def right_side(when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Forcing (T,), and integrals (T, count) of the kernel against each polynomial."""
        free = np.exp(-2 * np.outer(when, l)) @ (l * m0)
        free = free + 0.5 * strength * sigma**2 * (-np.expm1(-2 * np.outer(when, l)) @ l)
        integrals = np.empty((len(when), count))
        for i, time in enumerate(when):
            # u = time v^2: dense near 0 like the nodes
            v = (1 + y) / 2
            kernel = np.exp(-2 * np.outer(time * (1 - v**2), l)) @ l**2
            integrals[i] = (strength * kernel * weights * time * v) @ polynomials(time * v**2)
        return free, integrals

    free, integrals = right_side(nodes)
    coefficients = np.linalg.solve(polynomials(nodes) - integrals, free)
    # nodes that miss a short kernel altogether would agree with each other: its integral is known
    mass = 0.5 * strength * (-np.expm1(-2 * np.outer(nodes, l)) @ l)
    missed = float(np.abs(integrals[:, 0] - mass).max())
    free, integrals = right_side(times)
    return free + integrals @ coefficients, missed


@told
def streaming_floor(eigenvalues: ArrayLike, eta: float, sigma: float, batch_size: int = 1) -> float:
    r"""Excess risk R/2 at which homogenized SGD comes to rest.

    .. math:: \frac{R}{2} = \frac{\eta \operatorname{tr} H\, \sigma^2}{2 (2B - \eta \operatorname{tr} H)}

    Parameters
    ----------
    eigenvalues : array_like of float, shape (d,)
        l, of the covariance H of the inputs, not negative.
    eta : float
        Step size of SGD, positive: gamma/d, so that eta tr H is gamma times the mean eigenvalue.
    sigma : float
        Standard deviation of the label noise.
    batch_size : int
        Samples B of a step.

    Returns
    -------
    float
        The floor.

    Raises
    ------
    ArgumentError
        If eta tr H is not below 2 B: then SGD diverges; if an eigenvalue or sigma is negative or eta is not positive.

    Notes
    -----
    Source: Paquette, Lee, Pedregosa and Paquette (2021).

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.streaming_floor([1.0, 1.0], 0.5, 1.0)
    0.5
    """
    l, _, step, noise, share = _checked(eigenvalues, np.zeros(np.shape(eigenvalues)), eta, sigma, batch_size)  # noqa: E741
    x = step * share * float(l.sum())
    if x >= 2:
        raise _check.fail("eta", "must be below 2 B / tr(H), where SGD diverges in many dimensions", eta)
    return x * noise**2 / (2 * (2 - x))
