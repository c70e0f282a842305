"""Sample gradients of a user's functions that are linear in w, found by degree and read off by autodiff.

residuals r_i of degree 1:  grad l_i = c x_i (x_i . w + r_i(0))        losses l_i of degree 2:  grad l_i = A_i w - b_i
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn._tools.memory import remember
from flowdyn._tools.polynomial_degree import degree_of, operations_of
from flowdyn.problems.base import Problem
from flowdyn.theory.linear_moments import LinearNoise, LinearResiduals
from flowdyn.theory.moments_work import GradientWork, Size

MAX_ENTRIES = 5_000_000  # of the n Hessians of the samples, 40 MB
AGREE = 1e-9  # relative, of the loss's gradient and the mean of its samples'


def residual_work(problem: Any) -> GradientWork | None:
    """What :func:`linear_residuals` takes, inf operations if too many; None where the residuals are not linear."""
    return remember(_residual_work, problem)


def linear_residuals(problem: Any) -> LinearResiduals | None:
    """Residuals that are linear in w, each with its gradient; None for others, and for too many."""
    return remember(_linear_residuals, problem) if _is_bounded(residual_work(problem)) else None


def loss_work(problem: Any) -> GradientWork | None:
    """What :func:`quadratic_losses` takes, inf operations if too many; None where the losses are not quadratic."""
    return remember(_loss_work, problem)


def quadratic_losses(problem: Any) -> LinearNoise | None:
    """Gradients of losses that are quadratic in w; None for others, for too many, and where they miss the loss."""
    return remember(_quadratic_losses, problem) if _is_bounded(loss_work(problem)) else None


def _is_bounded(work: GradientWork | None) -> bool:
    return work is not None and work.operations < math.inf


def _flat(problem: Problem) -> Any:
    return jax.ShapeDtypeStruct((problem.size,), jnp.float64)


def _residual_work(problem: Any) -> GradientWork | None:
    if degree_of(problem.residuals, _flat(problem)) > 1:
        return None
    size = Size(problem.sample_count, problem.size, rank_one=True)
    work = 3.0 * size.d * operations_of(problem.residuals, _flat(problem))
    return GradientWork(work if size.n * size.d <= MAX_ENTRIES else math.inf, size)


def _linear_residuals(problem: Any) -> LinearResiduals:
    offsets, rows = bind(_value_and_slopes, problem, "residuals")(np.zeros(problem.size))
    return LinearResiduals(np.asarray(rows), np.asarray(offsets), float(2 * problem.sample_scale))


def _loss_work(problem: Any) -> GradientWork | None:
    if max(degree_of(f, _flat(problem)) for f in (problem.sample_losses, problem.loss)) > 2:
        return None
    size = Size(problem.sample_count, problem.size, rank_one=False)
    work = 6.0 * (size.d + 1) ** 2 * operations_of(problem.sample_losses, _flat(problem))
    return GradientWork(work if size.n * size.d**2 <= MAX_ENTRIES else math.inf, size)


def _quadratic_losses(problem: Any) -> LinearNoise | None:
    d, zero = problem.size, np.zeros(problem.size)
    slopes, curvatures = (np.asarray(part) for part in bind(_slopes_and_curvatures, problem)(zero))
    A, b = curvatures.mean(axis=0), -slopes.mean(axis=0)
    gradient = bind(_gradient, problem)
    for w in (zero, np.cos(np.arange(1.0, d + 1))):  # the equation follows the loss, the recursion its samples
        size = np.abs(A) @ np.abs(w) + np.abs(slopes).mean(axis=0)
        if (np.abs(np.asarray(gradient(w)) - (A @ w - b)) > AGREE * np.maximum(size, size.max())).any():
            return None
    return LinearNoise(A, b, curvatures - A, -slopes - b, np.zeros((d, d)))


def _gradient(problem: Problem, w: jax.Array) -> jax.Array:
    return problem.grad(w)


def _along_axes(function: Callable, w: jax.Array) -> tuple[jax.Array, Any]:
    """Value, and derivatives along each axis, one after the other: together they would take d times the memory."""
    axes = jnp.eye(w.shape[0], dtype=w.dtype)
    return function(w), jax.lax.map(lambda axis: jax.jvp(function, (w,), (axis,))[1], axes)


def _value_and_slopes(problem: Any, name: str, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    value, slopes = _along_axes(getattr(problem, name), w)
    return value, slopes.T  # (n,), (n, d)


def _slopes_and_curvatures(problem: Any, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients (n, d) and Hessians (n, d, d) of the samples."""
    slopes = functools.partial(_slopes, problem)
    first, second = _along_axes(slopes, w)
    return first, jnp.moveaxis(second, 0, 2)


def _slopes(problem: Any, w: jax.Array) -> jax.Array:
    return _along_axes(problem.sample_losses, w)[1].T
