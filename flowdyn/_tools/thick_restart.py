r"""The top eigenvalue of one symmetric matrix that is known by its products, in numpy: Lanczos with thick restarts.

    A V = V T + beta v e^T,     T s = theta s,     ||A x - theta x|| = beta |s_last|   for   x = V s

No import but numpy and no compilation: ``scipy.sparse.linalg`` takes a fifth of a second to load, more than all the
products of an ordinary ladder. V is orthogonal to rounding, for each new vector is orthogonalised twice against all
others. Source: Wu and Simon (2000), "Thick-restart Lanczos method for large symmetric eigenvalue problems".
"""

from collections.abc import Callable

import numpy as np

BASIS, KEPT = 20, 8  # vectors, and Ritz vectors that outlive a restart
DEAD = 1e-14  # a direction that is smaller beside the matrix is rounding


def top_eigenvalue(
    product: Callable[[np.ndarray], np.ndarray], size: int, *, tol: float, most_products: int, of_size: bool = False
) -> float:
    """Largest eigenvalue, or with `of_size` the largest absolute one, to a residual of `tol` times itself.

    After `most_products` the best lower bound found; not a number where a product is not finite. The start is a
    standard normal vector of seed 0, the same for each matrix of a size.
    """
    full = min(BASIS, size)
    V, T = np.zeros((full, size)), np.zeros((full, full))
    start = np.random.default_rng(0).standard_normal(size)
    V[0] = start / np.linalg.norm(start)
    last = products = 0
    while True:
        w = np.asarray(product(V[last]), dtype=float)
        products += 1
        if not np.isfinite(w).all():
            return np.nan
        rows = V[: last + 1]
        first = rows @ w
        w = w - first @ rows
        second = rows @ w
        w = w - second @ rows
        T[: last + 1, last] = T[last, : last + 1] = first + second
        beta = float(np.linalg.norm(w))
        ends = beta <= DEAD * np.abs(T).max() or last + 1 == size or products >= most_products
        if last + 1 < full and not ends:
            last += 1
            V[last] = w / beta
            continue
        theta, s = np.linalg.eigh(T[: last + 1, : last + 1])
        order = np.argsort(np.abs(theta) if of_size else theta)[::-1]
        top = order[0]
        if ends or beta * np.abs(s[-1, top]) <= tol * np.abs(theta[top]):
            return float(np.abs(theta[top]) if of_size else theta[top])
        last, best = KEPT, order[:KEPT]
        V[:KEPT], V[KEPT] = s[:, best].T @ V, w / beta
        T[:] = np.diag(np.r_[theta[best], np.zeros(full - KEPT)])
