"""Restricted isometry, section 9.2:  delta_r = max over |T| <= r of ||(1/n) X_T^T X_T - I||_2   (9.16)"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told

EXACT_LIMIT = 200_000  # supports that are enumerated


class Isometry(NamedTuple):
    """delta_r, whether it is exact (else a lower bound), and the worst support found."""

    delta: float
    is_exact: bool
    support: tuple[int, ...]


@told
def rip_constant(X: ArrayLike, r: int, *, samples: int = 20_000, seed: int = 0) -> Isometry:
    r"""Restricted-isometry constant: exact by enumeration where that is possible, else a lower bound that says so.

    .. math:: \delta_r = \max_{|T| \le r} \big\|\tfrac1n X_T^\top X_T - I\big\|_2

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix.
    r : int
        Sparsity, 1 <= r <= d.
    samples, seed : int
        Random supports tried where there are more than 200,000.

    Returns
    -------
    Isometry
        `delta`, whether it `is_exact` (else a lower bound), and the worst `support` found.

    Raises
    ------
    ArgumentError
        If r exceeds d, a count is not positive, or X is not a finite matrix.

    Notes
    -----
    Lemma 9.11 holds in the form ``|<Mv, w> - <v, w>| <= delta_{2r} ||v|| ||w||``; as printed it fails for r = 1.
    Source: section 9.2, equation (9.16); Candes and Tao (2005).

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.rip_constant([[1.0, 1.0], [1.0, 1.0]], 2).delta  # duplicated columns
    1.0
    """
    X = _check.matrix("X", X)
    n, d = X.shape
    if _check.integer("r", r, minimum=1) > d:
        raise _check.fail("r", f"must be at most d = {d}", r)
    M = X.T @ X / n - np.eye(d)
    # a larger support never has a smaller norm: only |T| = r counts
    exact = math.comb(d, r) <= EXACT_LIMIT
    rng = np.random.default_rng(_check.seed(seed))
    supports: Any = (
        itertools.combinations(range(d), r)
        if exact
        else (np.sort(rng.choice(d, r, replace=False)) for _ in range(_check.integer("samples", samples, minimum=1)))
    )
    worst, where = -1.0, np.arange(r)
    while chunk := list(itertools.islice(supports, 4096)):
        T = np.array(chunk)
        values = np.abs(np.linalg.eigvalsh(M[T[:, :, None], T[:, None, :]])).max(axis=1)
        if values.max() > worst:
            worst, where = float(values.max()), T[int(values.argmax())]
    return Isometry(worst, exact, tuple(int(i) for i in where))
