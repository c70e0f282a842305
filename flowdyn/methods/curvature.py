"""Largest eigenvalue of the Hessian, lambda_max(grad^2 L(w)): gradient descent is stable for eta < 2 / lambda_max."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy

from flowdyn._tools.compiled import ByIdentity, bind
from flowdyn.problems.base import Problem, Vector

BASIS, MOST_PRODUCTS = 20, 400  # of Lanczos: vectors, and products with the Hessian, a hard bound
MATRIX_UP_TO = 32  # below this many parameters the whole Hessian is cheaper than Lanczos


def _hessian(problem: Problem, w: Vector) -> jax.Array:
    return problem.hessian(w)


def _hvp(problem: Problem, w: Vector, v: Vector) -> jax.Array:
    return problem.hvp(w, v)


def largest_curvature(problem: Problem, w: np.ndarray, *, of_size: bool = False) -> float:
    """Return lambda_max of the Hessian at flat w (P,), never overestimated; 0.0 where it is not finite.

    With `of_size` the largest absolute value of an eigenvalue. The rungs of a ladder ask once.
    """
    return _found(ByIdentity(problem), np.asarray(w, dtype=float).tobytes(), of_size)


@functools.lru_cache(maxsize=4)
def _found(given: ByIdentity, raw: bytes, of_size: bool) -> float:
    (problem,), w = given.values, np.frombuffer(raw)
    spectrum = problem.known_spectrum()  # a decomposition for the largest eigenvalue alone would be dear
    if spectrum is not None:
        values = np.abs(spectrum.eigenvalues) if of_size else spectrum.eigenvalues
        return float(values.max(initial=0.0))
    if len(w) <= MATRIX_UP_TO:
        matrix = np.asarray(bind(_hessian, problem)(w))
        if not np.isfinite(matrix).all():
            return 0.0
        values = scipy.linalg.eigvalsh(matrix)
        return float(np.abs(values).max() if of_size else values[-1])
    return _by_lanczos(bind(_hvp, problem), w, of_size)


def _by_lanczos(product: Callable, w: np.ndarray, of_size: bool) -> float:
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh  # slow to import

    if not np.isfinite(np.asarray(product(w, w))).all():
        return 0.0
    shape = (len(w), len(w))
    best = 0.0  # of the Rayleigh quotients on the way, for a spectrum too crowded to be told apart

    def times(v: np.ndarray) -> np.ndarray:
        nonlocal best
        moved = np.asarray(product(w, v.ravel()))
        size = float(np.linalg.norm(v)) or 1.0
        best = max(best, float(np.linalg.norm(moved)) / size if of_size else float(v.ravel() @ moved) / size**2)
        return moved

    operator = LinearOperator(shape, matvec=times, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(len(w))
    basis = min(BASIS, len(w) - 1)
    options: Any = {"k": 1, "which": "LM" if of_size else "LA", "v0": start, "tol": 1e-6, "return_eigenvectors": False}
    try:  # a Ritz value is a lower bound, so the warning it feeds is never a false alarm
        found: Any = eigsh(operator, ncv=basis, maxiter=MOST_PRODUCTS // basis, **options)
        return float(np.abs(found[0]) if of_size else found[0])
    except ArpackNoConvergence as partial:
        values = np.abs(partial.eigenvalues) if of_size else partial.eigenvalues
        return max(best, float(values.max(initial=0.0)))


def threshold_doubt(problem: Problem, step: float, w0: np.ndarray, name: str, way_out: str) -> str | None:
    """Doubt about a `step` above the stability threshold at flat w0 (P,); `name` is what the user calls it."""
    largest = largest_curvature(problem, w0)
    if largest <= 0 or step <= 2 / largest * (1 + 1e-9):
        return None
    return (
        f"{name} = {step:.6g} is above the stability threshold 2/lambda_max = {2 / largest:.6g} at the start "
        f"(lambda_max = {largest:.6g}): gradient descent may diverge; use {way_out}"
    )
