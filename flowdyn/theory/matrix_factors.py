"""Factors of matrices that follow a gradient flow: a Riccati equation whose solution is known.

    Q' = (F - c Q Q^T) Q,   F symmetric (n, n), Q (n, h):      N(t) = Q0^T e^{2Ft} Q0,   M(t) = 1 + 2c ∫_0^t N(s) ds
    Q Q^T(t) = e^{Ft} Q0 M(t)^{-1} Q0^T e^{Ft},                Q(t) = e^{Ft} Q0 M(t)^{-1/2} O(t)
    O' = K O,   K = V [ (V^T M' V)_ij (√μ_i - √μ_j) / (2 √(μ_i μ_j) (√μ_i + √μ_j)) ] V^T,   M = V diag(μ) V^T

c = 1/2 is the balanced two-layer net, F = [[0, S^T], [S, 0]] and Q = [W1^T; W2]; c = 1 is ||F - Q Q^T||^2 / 4.
Q Q^T fixes Q up to a rotation from the right, which follows a linear equation of its own. Its generator K is known at
any time and vanishes where the M(t) commute (starts along eigenvectors of F, a single column).

One mode of a balanced net of N layers:   u' = N u^{2 - 2/N} (s - u)
"""

import numpy as np
import scipy
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.blas_threads import one_blas_thread
from flowdyn._tools.calls import told

NODES = 20  # Gauss-Legendre points of a span: the integrand's nearest pole is three spans away
LONGEST = 20_000  # spans, above which a time is refused
REST = 1e-14  # relative change of a row in one span, and size of a row beside the largest, that count as none
PICARD = 60  # at most; a span is so short that each round gains an order of magnitude


def _collocation() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes x in (0, 1), the integrals from 0 to each of them and to 1, and Legendre coefficients from values."""
    x, _ = np.polynomial.legendre.leggauss(NODES)
    ends = np.append(x, 1.0)
    higher = np.polynomial.legendre.legvander(ends, NODES)
    integrals = np.empty((NODES + 1, NODES))
    integrals[:, 0] = ends + 1
    integrals[:, 1:] = (higher[:, 2:] - higher[:, :-2]) / (2 * np.arange(1, NODES) + 1)
    coefficients = np.linalg.inv(np.polynomial.legendre.legvander(x, NODES - 1))
    return (x + 1) / 2, 0.5 * integrals @ coefficients, coefficients


X, INTEGRAL, COEFFICIENTS = _collocation()


class FactorPath:
    """One solution of Q' = (F - c Q Q^T) Q, span by span in the eigenbasis of F; spans already gone are kept."""

    def __init__(self, F: np.ndarray, Q0: np.ndarray, rate: float):
        self.values, self.basis = np.linalg.eigh(F)
        self.rate = rate
        self.times, self.states, self.rests = [0.0], [self.basis.T @ Q0], False
        self.open: tuple[int, np.ndarray] = (-1, np.empty(0))  # one span, and the rotations at its nodes

    def along(self, t: np.ndarray) -> np.ndarray:
        """States (T, n, h) at the times t (T,)."""
        # many decompositions of small matrices, each of which several threads only slow down
        with one_blas_thread():
            return np.array([self.at(float(when)) for when in t]).reshape(-1, *self.states[0].shape)

    def at(self, t: float) -> np.ndarray:
        """State Q(t) of shape (n, h)."""
        while not self.rests and self.times[-1] < t:
            self._extend(t)
        i = int(np.searchsorted(self.times, t, side="right")) - 1
        C = self.states[i]
        if t == self.times[i] or i == len(self.times) - 1:
            return self.basis @ C
        span = self.times[i + 1] - self.times[i]
        if self.open[0] != i:
            self.open = (i, self._rotations(C, span)[:-1])
        place = np.polynomial.legendre.legvander(np.array([2 * (t - self.times[i]) / span - 1]), NODES - 1)
        rotation = np.tensordot((place @ COEFFICIENTS)[0], self.open[1], axes=1)
        return self.basis @ self._moved(C, t - self.times[i], rotation)

    def _extend(self, t: float) -> None:
        """Go on by one span, in which neither e^{2Ft} nor M grows by more than a small factor."""
        if len(self.times) > LONGEST:
            raise _check.fail(
                "t", f"must be at most {LONGEST:,} times 1/||F|| for the exact flow", t, "use another solver"
            )
        C = self.states[-1]
        span = 1.0 / max(np.abs(self.values).max(initial=0.0), 0.5 * self.rate * float(np.sum(C * C)), 1e-300)
        rotations = self._rotations(C, span)
        new = self._moved(C, span, rotations[-1])
        self.open = (len(self.times) - 1, rotations[:-1])
        self.rests = self._is_at_rest(C, new)
        self.times.append(self.times[-1] + span)
        self.states.append(new)

    def _is_at_rest(self, C: np.ndarray, new: np.ndarray) -> bool:
        """Whether no row changes any more, but for rows of the size of rounding that do not grow."""
        rows, change = np.linalg.norm(C, axis=1), np.linalg.norm(new - C, axis=1)
        still = change <= REST * rows
        tiny = rows <= REST * rows.max(initial=0.0)
        pull = np.einsum("nh,hk,nk->n", C, C.T @ C, C) / np.where(rows > 0, rows, 1.0) ** 2
        growth = self.values - self.rate * pull
        return bool((still | (tiny & (growth <= 1e-12 * np.abs(self.values).max(initial=0.0)))).all())

    def _inner(self, C: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """``2c C^T diag(weights) C`` of shape (T, h, h) for weights (T, n)."""
        return 2 * self.rate * (C.T @ (weights[:, :, None] * C))

    def _M(self, C: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Square roots of the eigenvalues (T, h) of M a time t (T,) after C, and its eigenvectors (T, h, h)."""
        rates = t[:, None] * self.values
        steep = np.abs(rates) > 1e-8
        growth = t[:, None] * np.where(steep, np.expm1(2 * rates) / np.where(steep, 2 * rates, 1.0), 1 + rates)
        mu, V = np.linalg.eigh(np.eye(C.shape[1]) + self._inner(C, growth))
        return np.sqrt(mu), V

    def _moved(self, C: np.ndarray, tau: float, rotation: np.ndarray) -> np.ndarray:
        """State a time `tau` after C, at most one span, given the rotation."""
        root, V = self._M(C, np.array([tau]))
        inverse_root = (V[0] / root[0]) @ V[0].T
        return np.exp(tau * self.values)[:, None] * (C @ (inverse_root @ rotation))

    def _rotations(self, C: np.ndarray, span: float) -> np.ndarray:
        """O (NODES + 1, h, h) of O' = K O, O(0) = 1, at the nodes of a span and at its end, by Picard's iteration."""
        t = span * X
        root, V = self._M(C, t)
        slope = self._inner(C, np.exp(2 * t[:, None] * self.values))
        left, right = root[:, :, None], root[:, None, :]
        inner = np.swapaxes(V, 1, 2) @ slope @ V * (left - right) / (2 * left * right * (left + right))
        K = V @ inner @ np.swapaxes(V, 1, 2)
        one = np.eye(C.shape[1])
        O, change = np.broadcast_to(one, (NODES + 1, *one.shape)), np.inf  # noqa: E741 - the rotation's letter
        if span * np.abs(K).max(initial=0.0) < 1e-16:
            return O
        for _ in range(PICARD):
            new = one + span * np.tensordot(INTEGRAL, K @ O[:-1], axes=1)
            before, change = change, float(np.abs(new - O).max())
            O = new  # noqa: E741
            if change < 1e-16 or (change < 1e-13 and change >= before):  # rounding is reached
                break
        return O


@told
def factor_flow(F: ArrayLike, Q0: ArrayLike, t: ArrayLike, rate: float = 1.0) -> np.ndarray:
    r"""Exact flow of a factor Q that approaches a symmetric matrix F by Q Q^T.

    .. math:: Q' = (F - c\,QQ^\top) Q, \qquad
              QQ^\top(t) = e^{Ft} Q_0 \Big[1 + 2c\, Q_0^\top \int_0^t e^{2Fs} ds\, Q_0\Big]^{-1} Q_0^\top e^{Ft}

    Parameters
    ----------
    F : array_like of float, shape (n, n)
        Symmetric matrix.
    Q0 : array_like of float, shape (n, h)
        Start, of any rank.
    t : array_like of float, shape (T,)
        Times, not negative.
    rate : float
        c, positive: 1 for the loss ||F - Q Q^T||^2 / 4, 1/2 for a balanced two-layer net.

    Returns
    -------
    ndarray of float, shape (T, n, h)
        States Q(t); the rotation from the right that Q Q^T leaves open is that of the flow.

    Raises
    ------
    ArgumentError
        If F is not square and symmetric, Q0 has another number of rows, rate is not positive, or a time is negative or
        beyond 20,000 times 1 / ||F|| while something still moves.

    Notes
    -----
    Source: Fukumizu (1998) for the Riccati equation and its solution; Braun, Dominé, Fitzgerald and Saxe (2022); the
    rotation is of our own.

    Examples
    --------
    >>> from flowdyn import theory
    >>> Q = theory.factor_flow([[1.0]], [[0.1]], [3.0])
    >>> round(float(Q[0, 0, 0] ** 2), 6)  # logistic: 1 / (1 + 99 exp(-6))
    0.802957
    """
    F, Q0 = _check.matrix("F", F), _check.matrix("Q0", Q0)
    if F.shape[0] != F.shape[1] or np.abs(F - F.T).max() > 1e-12 * np.abs(F).max():
        raise _check.fail("F", "must be square and symmetric", F, "use (F + F.T) / 2")
    if len(Q0) != len(F):
        raise _check.fail("Q0", f"must have the {len(F)} rows of `F`", _check.Words(f"shape {Q0.shape}"))
    times = np.atleast_1d(_check.real_array("t", t))
    if (times < 0).any():
        raise _check.fail("t", "must not be negative", t)
    return FactorPath((F + F.T) / 2, Q0, _check.real("rate", rate, positive=True)).along(times)


@told
def deep_linear_time(depth: int, s: float, u0: float, u: float) -> float:
    r"""Time in which one mode of a balanced deep linear network grows from u0 to u.

    .. math:: u' = N u^{2 - 2/N} (s - u), \qquad t = \int_{u_0}^{u} \frac{dv}{N v^{2-2/N}(s - v)}

    Parameters
    ----------
    depth : int
        Number N of layers, at least 1.
    s : float
        Singular value of the target, positive.
    u0, u : float
        Strengths of the mode at the start and at the end, 0 < u0 <= u < s.

    Returns
    -------
    float
        The time; for N = 2 it is log(u (s - u0) / (u0 (s - u))) / (2 s).

    Raises
    ------
    ArgumentError
        If depth is no whole number from 1 on, or not 0 < u0 <= u < s.

    Notes
    -----
    Source: Saxe, McClelland and Ganguli (2014); Arora, Cohen and Hazan (2018) for any depth.

    Examples
    --------
    >>> from flowdyn import theory
    >>> round(theory.deep_linear_time(2, 2.0, 0.01, 1.0), 10)
    1.3233262062
    """
    N = _check.integer("depth", depth, minimum=1)
    end = _check.real("s", s, positive=True)
    low, high = _check.real("u0", u0, positive=True), _check.real("u", u, positive=True)
    if not low <= high < end:
        raise _check.fail("u", f"must lie from u0 = {low:g} up to, and below, s = {end:g}", u)
    if N == 2:
        return float(np.log(high / low * ((end - low) / (end - high))) / (2 * end))

    a = 2 / N - 1

    def antiderivative(v: float) -> float:
        return v**a * float(scipy.special.hyp2f1(1.0, a, 1 + a, v / end)) / (a * end)

    return (antiderivative(high) - antiderivative(low)) / N
