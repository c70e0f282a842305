"""The maximum margin of separable data, section 9.4, by convex programming.

gbar = max_{||w|| = 1} min_i z_i . w = min { ||Z^T mu|| : mu >= 0, sum mu = 1 },    z_i = y_i x_i,   w* = Z^T mu / gbar
"""

from typing import Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told


class MaxMargin(NamedTuple):
    """Margin, unit direction (d,), dual weights mu (n,), support vectors, gap between dual and primal margin."""

    margin: float
    direction: np.ndarray
    dual: np.ndarray
    support: np.ndarray
    gap: float


@told
def max_margin(X: ArrayLike, y: ArrayLike) -> MaxMargin:
    r"""Maximum-margin direction through the origin, with its dual certificate (Theorem 9.25).

    .. math:: \bar\gamma = \max_{\|w\|=1} \min_i y_i \langle w, x_i \rangle

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    y : array_like of int, shape (n,)
        Classes, -1 or +1.

    Returns
    -------
    MaxMargin
        `margin`, unit `direction` (d,), `dual` weights mu (n,), the positions of the `support` vectors, and the `gap`
        between dual and primal margin.

    Raises
    ------
    ArgumentError
        If the data are not linearly separable through the origin (decided by a linear programme), or a class is neither
        -1 nor +1.
    RunError
        If the linear programme of separability fails.

    Notes
    -----
    Source: section 9.4, equation (9.141) and Theorem 9.25; Lawson and Hanson (1974), chapter 23, for the algorithm.

    Examples
    --------
    >>> from flowdyn import theory
    >>> best = theory.max_margin([[2.0, 0.0], [0.0, 2.0]], [1, 1])
    >>> round(best.margin, 12), best.direction.round(6).tolist()  # sqrt(2)
    (1.414213562373, [0.707107, 0.707107])
    """
    X, y = _check.matrix("X", X), _check.real_array("y", y, ndim=1)
    if len(X) != len(y) or not np.isin(y, (-1, 1)).all():
        raise _check.fail("y", "must hold one class -1 or +1 for each row of `X`", y)
    Z = y[:, None] * X
    if not _is_separable(Z):
        raise _check.ArgumentError(
            "`X` and `y` must be linearly separable through the origin, got data for which the linear programme "
            "y_i <w, x_i> > 0 is infeasible; the flow has no maximum-margin limit there"
        )
    # min ||w|| s.t. g_i w >= h_i, rows of length 1: one nonnegative least-squares problem (Lawson and Hanson, ch. 23)
    norms = np.linalg.norm(Z, axis=1)
    G, h = Z / norms[:, None], norms.min() / norms
    u, _ = scipy.optimize.nnls(np.vstack([G.T, h]), np.append(np.zeros(X.shape[1]), 1.0), maxiter=50 * len(Z))
    mu = u / norms / (u / norms).sum()
    # minimum norm with margin 1 on the support, to rounding; how small a weight is none, the largest margin tells
    supports = [np.flatnonzero(u > cut * u.max()) for cut in (1e-10, 0.0)]
    found = [np.linalg.lstsq(G[support], h[support], rcond=None)[0] for support in supports] + [G.T @ u]
    directions = [w / np.linalg.norm(w) for w in found]
    margins = [float((Z @ direction).min()) for direction in directions]
    best = int(np.argmax(margins))
    gap = float(np.linalg.norm(Z.T @ mu)) - margins[best]
    return MaxMargin(margins[best], directions[best], mu, supports[min(best, 1)], gap)


def _is_separable(Z: np.ndarray) -> bool:
    """Whether some w has Z w > 0: the linear programme max s, Z w >= s, |w| <= 1 finds one, and Z w is looked at.

    Neither lengths of rows nor units of columns matter, so both are scaled away.
    """
    columns = np.abs(Z).max(axis=0)
    scaled = Z / np.where(columns > 0, columns, 1.0)
    rows = np.abs(scaled).max(axis=1)
    if (rows == 0).any():
        return False
    scaled = scaled / rows[:, None]
    d = Z.shape[1]
    solved = scipy.optimize.linprog(
        np.append(np.zeros(d), -1.0),
        A_ub=np.hstack([-scaled, np.ones((len(Z), 1))]),
        b_ub=np.zeros(len(Z)),
        bounds=[(-1, 1)] * d + [(None, 1)],
        method="highs",
    )
    if solved.status != 0:
        raise _check.RunError(f"the linear programme of separability failed: {solved.message}")
    return bool((scaled @ solved.x[:d] > 1e-12).all())


@told
def margin_bound(norm: ArrayLike, n: int, loss: Literal["exponential", "logistic"] = "exponential") -> np.ndarray:
    r"""Bound on the gap between the maximum margin and the smooth margin along the flow from the origin.

    .. math:: 0 \le \bar\gamma - \tilde\gamma(w) \le \log(n) / \|w\| \quad\text{(logistic: } \log(2^n - 1) / \|w\|)

    Parameters
    ----------
    norm : array_like of float, shape (...)
        ||w||, positive.
    n : int
        Samples.
    loss : {"exponential", "logistic"}
        Loss of the classifier; the logistic smooth margin is -log(e^L - 1) / ||w||.

    Returns
    -------
    ndarray of float
        The bound, of the shape of `norm`.

    Raises
    ------
    ArgumentError
        If a norm is not positive, n is below 1, or the loss is another.

    Notes
    -----
    From (9.174) at w(0) = 0, where L = n (logistic: n log 2). Source: section 9.4, Theorem 9.25; Lyu and Li (2020) for
    the logistic form.

    Examples
    --------
    >>> from flowdyn import theory
    >>> round(float(theory.margin_bound(10.0, 2)), 6)
    0.069315
    """
    _check.choice("loss", loss, ("exponential", "logistic"))
    n = _check.integer("n", n, minimum=1)
    top = np.log(n) if loss == "exponential" else n * np.log(2) + np.log1p(-(2.0**-n))
    size = _check.real_array("norm", norm)
    if (size <= 0).any():
        raise _check.fail("norm", "must be positive", norm, "the bound says nothing at the origin")
    return top / size
