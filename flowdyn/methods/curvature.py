"""Largest eigenvalue of the Hessian, lambda_max(grad^2 L(w)): gradient descent is stable for eta < 2 / lambda_max."""

import functools

import jax
import numpy as np

from flowdyn._tools.compiled import ByIdentity, bind, compiles_quickly
from flowdyn._tools.thick_restart import top_eigenvalue
from flowdyn.problems.base import Problem, Vector

RESIDUAL = 1e-6  # over the eigenvalue, whose own error is about its square where the next one lies apart
MOST_PRODUCTS = 220  # with the Hessian, a hard bound
MATRIX_UP_TO = 32  # below this many parameters the whole Hessian is cheaper than Lanczos


def _hessian(problem: Problem, w: Vector) -> jax.Array:
    return problem.hessian(w)


@compiles_quickly
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
        values = np.linalg.eigvalsh(matrix)
        return float(np.abs(values).max() if of_size else values[-1])
    call = bind(_hvp, problem)
    # a Ritz value is a lower bound, so the warning that it feeds is never a false alarm
    found = top_eigenvalue(lambda v: call(w, v), len(w), tol=RESIDUAL, most_products=MOST_PRODUCTS, of_size=of_size)
    return found if np.isfinite(found) else 0.0


def threshold_doubt(problem: Problem, step: float, w0: np.ndarray, name: str, way_out: str) -> str | None:
    """Doubt about a `step` above the stability threshold at flat w0 (P,); `name` is what the user calls it."""
    largest = largest_curvature(problem, w0)
    if largest <= 0 or step <= 2 / largest * (1 + 1e-9):
        return None
    return (
        f"{name} = {step:.6g} is above the stability threshold 2/lambda_max = {2 / largest:.6g} at the start "
        f"(lambda_max = {largest:.6g}): gradient descent may diverge; use {way_out}"
    )
