"""Largest eigenvalue of the Hessian, lambda_max(grad^2 L(w)): gradient descent is stable for eta < 2 / lambda_max."""

from typing import Any

import jax
import numpy as np
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from flowdyn._tools.compiled import bind
from flowdyn.problems.base import Problem, Vector

MATRIX_UP_TO = 32  # below this many parameters the whole Hessian is cheaper than Lanczos


def _hessian(problem: Problem, w: Vector) -> jax.Array:
    return problem.hessian(w)


def _hvp(problem: Problem, w: Vector, v: Vector) -> jax.Array:
    return problem.hvp(w, v)


def largest_curvature(problem: Problem, w: np.ndarray) -> float:
    """Return lambda_max of the Hessian at flat w (P,), never overestimated; 0.0 where it is not finite."""
    spectrum = problem.spectrum()
    if spectrum is not None:
        return float(spectrum.eigenvalues.max(initial=0.0))
    if len(w) <= MATRIX_UP_TO:
        matrix = np.asarray(bind(_hessian, problem)(w))
        return float(eigvalsh(matrix)[-1]) if np.isfinite(matrix).all() else 0.0
    product = bind(_hvp, problem)
    if not np.isfinite(np.asarray(product(w, w))).all():
        return 0.0
    shape = (len(w), len(w))

    def times(v: np.ndarray) -> np.ndarray:
        return np.asarray(product(w, v.ravel()))

    operator = LinearOperator(shape, matvec=times, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(len(w))
    try:  # a Ritz value is a lower bound, so the warning it feeds is never a false alarm
        found: Any = eigsh(operator, k=1, which="LA", v0=start, tol=1e-6, return_eigenvectors=False)  # pyright: ignore
        return float(found[0])
    except ArpackNoConvergence as partial:
        return float(partial.eigenvalues.max(initial=0.0))
