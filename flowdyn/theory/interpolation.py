"""Interpolants that training ends at, each with a certificate (sections 9.1-9.3).

minimum norm          min ||theta||_2   s.t.  X theta = y                       theta = X^+ y
basis pursuit         min ||theta||_1   s.t.  X theta = y   (theta >= 0)        a linear programme and its dual
recovery exponent     m = min_v max_{j not in S} (X^T v)_j   s.t.  X_S^T v = 1    squared error ~ alpha^{4 (1 - m)}
"""

from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told


class MinimumNorm(NamedTuple):
    """Solution (d,), its residual ||X theta - y||, its part off the row span, and the rank of X."""

    theta: np.ndarray
    residual: float
    off_span: float
    rank: int


class BasisPursuit(NamedTuple):
    """Solution (d,), its value, dual certificate v (n,), duality gap, and whether the solution is proved unique.

    `margin` is the largest |X_j . v| off the support (X_j . v, where theta is nonnegative) for the best certificate:
    below 1 the solution is unique. It is 0 where nothing is off the support, and that of `dual` where certificates have
    margins as negative as one likes.
    """

    theta: np.ndarray
    value: float
    dual: np.ndarray
    gap: float
    margin: float
    is_unique: bool


def _system(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    matrix, target = _check.matrix("X", X), _check.real_array("y", y, ndim=1)
    if len(matrix) != len(target):
        raise _check.fail(
            "y", f"must have one entry for each of the {len(matrix)} rows of `X`", _check.Words(f"shape {target.shape}")
        )
    if np.abs(target).max() > _check.LARGE:
        raise _check.fail("y", f"must be at most {_check.LARGE:g} in size", float(np.abs(target).max()))
    return matrix, target


def _scaled_to_one(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The same numbers with largest size 1, and that size: the tolerances of a linear programme are absolute."""
    size = float(np.abs(values).max()) or 1.0
    return values / size, size


@told
def minimum_norm(X: ArrayLike, y: ArrayLike) -> MinimumNorm:
    r"""Least-squares solution of minimum Euclidean norm: where least squares ends from the origin.

    .. math:: X^+ y = \arg\min \|\theta\|_2 \ \text{over the minimisers of}\ \|X\theta - y\|_2

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix; any rank.
    y : array_like of float, shape (n,)
        Targets.

    Returns
    -------
    MinimumNorm
        `theta` (d,), its `residual` ||X theta - y||, its part `off_span` of the rows of X, the numerical `rank` of X.

    Raises
    ------
    ArgumentError
        If shapes disagree, or an entry is not finite or beyond 1e75.

    Notes
    -----
    Source: section 9.1, Corollary 9.2 and Theorem 9.3.

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.minimum_norm([[1.0, 2.0]], [5.0]).theta.round(12).tolist()
    [1.0, 2.0]
    """
    X, y = _system(X, y)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    kept = s > max(X.shape) * np.finfo(float).eps * s.max(initial=0.0)
    theta = Vt[kept].T @ ((U[:, kept].T @ y) / s[kept])
    off = np.linalg.norm(theta - Vt[kept].T @ (Vt[kept] @ theta))
    return MinimumNorm(theta, float(np.linalg.norm(X @ theta - y)), float(off), int(kept.sum()))


@told
def basis_pursuit(X: ArrayLike, y: ArrayLike, *, nonnegative: bool = False) -> BasisPursuit:
    r"""Interpolant of minimum l1 norm, by a linear programme, with a certificate.

    .. math:: \min \|\theta\|_1 \ \text{s.t.}\ X\theta = y \ (\theta \ge 0)

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    y : array_like of float, shape (n,)
        Targets, in the range of X.
    nonnegative : bool
        Whether theta must be nonnegative (the squared parametrisation of section 9.2).

    Returns
    -------
    BasisPursuit
        `theta` (d,), its `value`, a `dual` certificate (n,), the duality `gap`, the `margin` of the certificate off the
        support, and whether the solution `is_unique`.

    Raises
    ------
    ArgumentError
        If shapes disagree, an entry is not finite, or no (nonnegative) interpolant exists.
    RunError
        If the linear programme fails or loses digits.

    Notes
    -----
    The limit of Theorem 9.18 as alpha -> 0 (nonnegative: of section 9.2). Source: section 9.2, equation (9.11); Chen,
    Donoho and Saunders (1998).

    Examples
    --------
    >>> from flowdyn import theory
    >>> found = theory.basis_pursuit([[1.0, 2.0]], [4.0])
    >>> found.theta.round(12).tolist(), found.is_unique
    ([0.0, 2.0], True)
    """
    (X, size_X), (y, size_y) = map(_scaled_to_one, _system(X, y))
    d = X.shape[1]
    A = X if nonnegative else np.hstack([X, -X])
    solved = scipy.optimize.linprog(np.ones(A.shape[1]), A_eq=A, b_eq=y, bounds=(0, None), method="highs")
    if solved.status == 2:
        what = "a nonnegative interpolant" if nonnegative else "an interpolant"
        raise _check.fail("y", f"must have {what} X theta = y", size_y * y)
    if solved.status != 0:
        raise _check.RunError(f"the linear programme of basis pursuit failed: {solved.message}")
    theta = solved.x if nonnegative else solved.x[:d] - solved.x[d:]
    support = np.abs(theta) > 1e-9 * max(np.abs(theta).max(), 1e-300)
    theta = np.where(support, theta, 0.0)
    if support.any():  # the vertex to rounding: the columns of the support solve the equations
        theta[support] = np.linalg.lstsq(X[:, support], y, rcond=None)[0]
    if np.linalg.norm(X @ theta - y) > 1e-9 * np.linalg.norm(y):
        raise _check.RunError("the linear programme of basis pursuit lost digits; give the columns of `X` like sizes")
    dual, margin = _certificate(X, np.sign(theta), support, nonnegative)
    if margin == -np.inf:
        margin = 0.0 if support.all() else float((X[:, ~support].T @ dual).max())
    injective = not support.any() or np.linalg.matrix_rank(X[:, support]) == support.sum()
    if not margin <= 1 + 1e-9:  # should not happen for a solution; the programme's own dual is a certificate anyhow
        dual = np.asarray(solved.eqlin.marginals)
    gap = abs(float(np.abs(theta).sum() - y @ dual)) * size_y / size_X
    theta, dual = theta * (size_y / size_X), dual / size_X
    is_unique = bool(injective and margin < 1 - 1e-9)
    return BasisPursuit(theta, float(np.abs(theta).sum()), dual, gap, margin, is_unique)


def _certificate(X: np.ndarray, signs: np.ndarray, support: np.ndarray, one_sided: bool) -> tuple[np.ndarray, float]:
    """Vector v with X_S^T v = signs that is smallest off the support, and how large it is there."""
    n = len(X)
    off = X[:, ~support].T
    rows = off if one_sided else np.vstack([off, -off])
    if not len(rows):
        return np.linalg.lstsq(X.T, signs, rcond=None)[0], -np.inf if one_sided else 0.0
    bound = np.hstack([rows, -np.ones((len(rows), 1))])
    equal = np.hstack([X[:, support].T, np.zeros((support.sum(), 1))])
    solved = scipy.optimize.linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=bound,
        b_ub=np.zeros(len(rows)),
        A_eq=equal if support.any() else None,
        b_eq=signs[support] if support.any() else None,
        bounds=(None, None),
        method="highs",
    )
    if solved.status == 3:  # as negative as one likes off the support: the smallest v that is not positive there
        split = [np.hstack([part, -part]) for part in (rows, X[:, support].T)]
        found = scipy.optimize.linprog(
            np.ones(2 * n), split[0], np.zeros(len(rows)), split[1], signs[support], bounds=(0, None), method="highs"
        )
        return (found.x[:n] - found.x[n:], -np.inf) if found.status == 0 else (np.full(n, np.nan), np.inf)
    if solved.status != 0:
        return np.full(n, np.nan), np.inf
    return solved.x[:n], float(solved.x[n])


@told
def recovery_exponent(X: ArrayLike, support: ArrayLike) -> float:
    r"""Exponent m of the recovery rate of section 9.2: squared error ~ alpha^{4 (1 - m)} for m > 0.

    .. math:: m = \min_v \max_{j \notin S} (X^\top v)_j \ \text{s.t.}\ X_S^\top v = 1

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    support : array_like of int, shape (r,)
        S, the positions of the nonzero entries of the truth.

    Returns
    -------
    float
        m, by a linear programme; below 1 the truth is the limit, -inf where the columns off S bound nothing.

    Raises
    ------
    ArgumentError
        If `support` is not a proper part of the columns of X, or its columns are dependent.
    RunError
        If the linear programme fails.

    Notes
    -----
    Theorem 9.4 gives a bound, O(alpha sqrt(d)), where this is the rate. Source: of our own, from the stationarity of
    :func:`entropy_minimizer`.

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.recovery_exponent([[1.0, 0.5]], [0])
    0.5
    """
    X = _check.matrix("X", X)
    inside = np.zeros(X.shape[1], dtype=bool)
    if np.asarray(support).dtype == bool:
        raise _check.fail("support", "must hold positions, not truth values", support, "use numpy.flatnonzero(mask)")
    places = _check.real_array("support", support, ndim=1)
    if (places != np.rint(places)).any() or (places < 0).any() or (places >= X.shape[1]).any():
        raise _check.fail("support", f"must hold positions 0 .. {X.shape[1] - 1} of columns of `X`", support)
    inside[places.astype(int)] = True
    if inside.all() or not inside.any():
        raise _check.fail("support", "must be a proper part of the columns of `X`", support)
    if np.linalg.matrix_rank(X[:, inside]) < inside.sum():
        raise _check.fail("support", "must have independent columns of `X`", support)
    exponent = _certificate(_scaled_to_one(X)[0], np.ones(X.shape[1]), inside, True)[1]
    if exponent == np.inf:  # independent columns always have a v: what failed is the solver
        raise _check.RunError(
            "the linear programme of the recovery exponent failed; give the columns of `X` like sizes"
        )
    return exponent
