r"""Signal and noise on the way to a one-sparse truth, section 9.2.4:  w = r e_1 + zeta,  M = X^T X / n.

||u||_max <= delta |r^2 - 1|,     ||v||_max <= ||zeta||_max^2 + delta ||zeta||_2^2            any state    (9.54)-(9.57)
||zeta||_max <= 2 alpha,   ||zeta||_2^2 <= 1/2,   |u_1 - v_1| <= 8 delta            in the window    (Lemmas 9.16, 9.17)
window:  alpha^2 <= delta/2,   8 alpha^2 (d - 1) <= 1,   t <= log 2 / (8 delta);       delta = delta_2
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.theory.isometry import rip_constant


class RecoveryBounds(NamedTuple):
    """Bounds along a path, each of the shape of the times.

    `u` and `v` hold at any state; the others are NaN outside the window, where the lemmas say nothing.
    """

    u: np.ndarray  # on ||u||_max
    v: np.ndarray  # on ||v||_max
    noise_max: np.ndarray  # on ||zeta||_max
    noise_norm: np.ndarray  # on ||zeta||_2
    drift: np.ndarray  # on |d log r / dt - (1 - r^2)| = |u_1 - v_1|
    applies: np.ndarray  # whether the time lies in the window
    window: float  # its end, 0 where the hypotheses fail


class Distortion(NamedTuple):
    """What a lemma bounds, its bound, and whether the bound is proved (the isometry constant is exact)."""

    value: float
    bound: float
    is_exact: bool


@told
def lemma_window(delta: float, alpha: float, d: int) -> float:
    r"""End of the window of Lemmas 9.16 and 9.17 in training time; 0 where their hypotheses fail.

    .. math:: t \le \frac{\log 2}{8\delta}, \qquad \alpha^2 \le \delta/2, \qquad 8\alpha^2(d-1) \le 1

    Parameters
    ----------
    delta : float
        Restricted-isometry constant delta_2 of the data (or an upper bound of it).
    alpha : float
        Scale of the start alpha * 1, positive.
    d : int
        Number of features.

    Returns
    -------
    float
        Training time at which the window ends; 0 where a hypothesis fails.

    Raises
    ------
    ArgumentError
        If delta is negative, alpha is not positive, or d is below 1.

    Notes
    -----
    With these constants the proof of Lemma 9.16 closes: the growth rate of the noise is at most 3.5 delta, below the
    8 delta of (9.69). delta is delta_2 here: for r = 1 the chapter's delta_1 bounds no cross term.
    Source: section 9.2.4, Lemmas 9.16 and 9.17; the constants are of our own.

    Examples
    --------
    >>> from flowdyn import theory
    >>> round(theory.lemma_window(0.01, 0.01, 100), 4), theory.lemma_window(0.01, 0.5, 100)
    (8.6643, 0.0)
    """
    delta = _check.real("delta", delta, nonnegative=True)
    alpha = _check.real("alpha", alpha, positive=True)
    d = _check.integer("d", d, minimum=1)
    holds = 0 < alpha**2 <= delta / 2 and 8 * alpha**2 * (d - 1) <= 1
    return float(np.log(2) / (8 * delta)) if holds else 0.0


@told
def recovery_bounds(
    delta: float, alpha: float, d: int, t: ArrayLike, signal: ArrayLike, zeta_max: ArrayLike, zeta_norm: ArrayLike
) -> RecoveryBounds:
    r"""Bounds on the decomposition of section 9.2.4 along a path of the flow, or of descent at a small step.

    .. math:: \|u\|_\infty \le \delta |r^2 - 1|, \qquad \|v\|_\infty \le \|\zeta\|_\infty^2 + \delta \|\zeta\|_2^2

    Parameters
    ----------
    delta : float
        Restricted-isometry constant delta_2.
    alpha : float
        Scale of the start alpha * 1.
    d : int
        Number of features.
    t : array_like of float, shape (T,)
        Training times.
    signal, zeta_max, zeta_norm : array_like of float, shape (T,)
        r, the largest entry and the Euclidean norm of the noise at these times.

    Returns
    -------
    RecoveryBounds
        Arrays (T,): `u` and `v` at any state; `noise_max`, `noise_norm` and `drift` in the window only, else NaN;
        `applies`; and the `window`'s end.

    Raises
    ------
    ArgumentError
        If shapes disagree, a time is negative, or as :func:`lemma_window`.

    Notes
    -----
    Source: section 9.2.4, equations (9.54)-(9.57), Lemmas 9.16 and 9.17, with delta_2 for the chapter's 4 delta.

    Examples
    --------
    >>> from flowdyn import theory
    >>> found = theory.recovery_bounds(0.01, 0.01, 50, [1.0, 9.0], [0.1, 1.0], [0.01, 0.01], [0.07, 0.07])
    >>> found.applies.tolist(), found.noise_max.tolist()
    ([True, False], [0.02, nan])
    """
    window = lemma_window(delta, alpha, d)
    t = _check.real_array("t", t, ndim=1)
    if (t < 0).any():
        raise _check.fail("t", "must not be negative", t)
    r, largest, norm = (
        _check.real_array(name, value, shape=t.shape)
        for name, value in (("signal", signal), ("zeta_max", zeta_max), ("zeta_norm", zeta_norm))
    )
    applies = (t <= window) & (window > 0)
    inside = np.where(applies, 1.0, np.nan)
    return RecoveryBounds(
        u=delta * np.abs(r**2 - 1),
        v=largest**2 + delta * norm**2,
        noise_max=2 * alpha * inside,
        noise_norm=np.sqrt(0.5) * inside,
        drift=8 * delta * inside,
        applies=applies,
        window=window,
    )


def _sparsity(vector: np.ndarray) -> int:
    return max(int(np.count_nonzero(vector)), 1)


@told
def inner_product_distortion(X: ArrayLike, v: ArrayLike, w: ArrayLike) -> Distortion:
    r"""Lemma 9.11 in its true form: sparse vectors keep their inner products under M = X^T X / n.

    .. math:: |\langle Mv, w\rangle - \langle v, w\rangle| \le \delta_{|T|}\, \|v\|\,\|w\|, \qquad T = S_v \cup S_w

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    v, w : array_like of float, shape (d,)
        Vectors; their supports S_v and S_w together have at most 2r entries.

    Returns
    -------
    Distortion
        The left side `value`, its `bound`, and whether the bound `is_exact` (proved by enumeration).

    Raises
    ------
    ArgumentError
        If shapes disagree or an entry is not finite.

    Notes
    -----
    As printed, with delta_r, the lemma is false for r = 1: two equal columns have delta_1 = 0 and a cross term of 1.
    Source: section 9.2.2, Lemma 9.11, equations (9.18) and (9.19).

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.inner_product_distortion([[1.0, 1.0], [1.0, 1.0]], [1.0, 0.0], [0.0, 1.0])
    Distortion(value=1.0, bound=1.0, is_exact=True)
    """
    X = _check.matrix("X", X)
    v, w = (_check.real_array(name, value, shape=X.shape[1:]) for name, value in (("v", v), ("w", w)))
    value = abs(float((X @ v) @ (X @ w)) / len(X) - float(v @ w))
    found = rip_constant(X, _sparsity((v != 0) | (w != 0)))
    return Distortion(value, found.delta * float(np.linalg.norm(v) * np.linalg.norm(w)), found.is_exact)


@told
def sup_distortion(X: ArrayLike, v: ArrayLike) -> Distortion:
    r"""Corollary 9.12 in its true form: M = X^T X / n moves no entry of an r-sparse vector by much.

    .. math:: \|Mv - v\|_\infty \le \delta_{r+1} \|v\|_2

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    v : array_like of float, shape (d,)
        Vector with r nonzero entries.

    Returns
    -------
    Distortion
        The left side `value`, its `bound`, and whether the bound `is_exact` (proved by enumeration).

    Raises
    ------
    ArgumentError
        If shapes disagree or an entry is not finite.

    Notes
    -----
    Source: section 9.2.2, Corollary 9.12, equations (9.20) and (9.21).

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.sup_distortion([[1.0, 1.0], [1.0, 1.0]], [1.0, 0.0])
    Distortion(value=1.0, bound=1.0, is_exact=True)
    """
    X = _check.matrix("X", X)
    v = _check.real_array("v", v, shape=X.shape[1:])
    value = float(np.abs(X.T @ (X @ v) / len(X) - v).max())
    found = rip_constant(X, min(_sparsity(v) + 1, X.shape[1]))
    return Distortion(value, found.delta * float(np.linalg.norm(v)), found.is_exact)
