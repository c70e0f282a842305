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


def largest_curvature(problem: Problem, w: np.ndarray, *, of_size: bool = False) -> float:
    """Return lambda_max of the Hessian at flat w (P,), never overestimated; 0.0 where it is not finite.

    With `of_size` the largest absolute value of an eigenvalue.
    """
    spectrum = problem.spectrum()
    if spectrum is not None:
        values = np.abs(spectrum.eigenvalues) if of_size else spectrum.eigenvalues
        return float(values.max(initial=0.0))
    if len(w) <= MATRIX_UP_TO:
        matrix = np.asarray(bind(_hessian, problem)(w))
        if not np.isfinite(matrix).all():
            return 0.0
        values = eigvalsh(matrix)
        return float(np.abs(values).max() if of_size else values[-1])
    product = bind(_hvp, problem)
    if not np.isfinite(np.asarray(product(w, w))).all():
        return 0.0
    shape = (len(w), len(w))

    def times(v: np.ndarray) -> np.ndarray:
        return np.asarray(product(w, v.ravel()))

    operator = LinearOperator(shape, matvec=times, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(len(w))
    try:  # a Ritz value is a lower bound, so the warning it feeds is never a false alarm
        which: Any = "LM" if of_size else "LA"
        found: Any = eigsh(operator, k=1, which=which, v0=start, tol=1e-6, return_eigenvectors=False)  # pyright: ignore
        return float(np.abs(found[0]) if of_size else found[0])
    except ArpackNoConvergence as partial:
        values = np.abs(partial.eigenvalues) if of_size else partial.eigenvalues
        return float(values.max(initial=0.0))


def threshold_doubt(problem: Problem, step: float, w0: np.ndarray, name: str, way_out: str) -> str | None:
    """Doubt about a `step` above the stability threshold at flat w0 (P,); `name` is what the user calls it."""
    largest = largest_curvature(problem, w0)
    if largest <= 0 or step <= 2 / largest * (1 + 1e-9):
        return None
    return (
        f"{name} = {step:.6g} is above the stability threshold 2/lambda_max = {2 / largest:.6g} at the start "
        f"(lambda_max = {largest:.6g}): gradient descent may diverge; use {way_out}"
    )
