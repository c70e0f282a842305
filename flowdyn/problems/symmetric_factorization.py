"""Symmetric matrix factorisation:  L = 1/4 ||F - U U^T||^2,   grad L = -(F - U U^T) U

The flow U' = (F - U U^T) U is known from any start (``theory/matrix_factors.py``), of any rank and sign of F.
"""

from collections.abc import Callable
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import is_traced, leaf
from flowdyn.problems.base import Problem, Variable, Vector
from flowdyn.problems.examples import generic_start
from flowdyn.problems.inputs import Labels, axis_labels
from flowdyn.theory.matrix_factors import FactorPath


class SymmetricFactorization(Problem):
    r"""Distance of a symmetric matrix from a product of a factor with itself.

    .. math:: L(U) = \tfrac14 \|F - UU^\top\|_F^2

    Parameters
    ----------
    F : array_like of float, shape (d, d)
        Symmetric matrix, of any signs.
    width : int, optional
        Columns r of U; d unless given.
    labels : Labels, optional
        Names of the rows; read off F unless given.

    Raises
    ------
    ArgumentError
        If F is not square and symmetric, or width is no positive whole number.

    Notes
    -----
    The gradient flow is exact from any start. Source: Fukumizu (1998); Gunasekar et al. (2017) for what small starts
    are drawn to.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.SymmetricFactorization([[1.0, 0.0], [0.0, -1.0]])
    >>> run = fd.solve(fd.GradientFlow(p), p.init(alpha=0.1), t=30.0)
    >>> abs(run.theta.isel(t=-1).values).round(6).tolist()  # the positive part of F
    [[1.0, 0.0], [0.0, 0.0]]
    """

    F: jax.Array
    width: int = eqx.field(static=True)
    labels: Labels = eqx.field(static=True)

    def __init__(self, F: ArrayLike, width: int | None = None, labels: Labels | None = None):
        self.labels = labels or axis_labels("F", F, "feature")
        self.F = leaf("F", F, ndim=2, limit=_check.LARGE)
        if self.F.shape[0] != self.F.shape[1] or 0 in self.F.shape:
            raise _check.fail("F", "must be a square matrix", _check.Words(f"shape {self.F.shape}"))
        if not is_traced(self.F):
            numbers = np.asarray(self.F)
            if np.abs(numbers - numbers.T).max() > 1e-12 * np.abs(numbers).max():
                raise _check.fail("F", "must be symmetric", numbers, "use (F + F.T) / 2")
            self.F = jnp.asarray((numbers + numbers.T) / 2)
        self.width = self.F.shape[0] if width is None else _check.integer("width", width, minimum=1)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Three rows, two columns, a matrix of either sign."""
        problem = cls([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, -0.5]], width=2)
        return problem, generic_start(problem.size)

    @property
    def numbers(self) -> dict[str, Any]:
        """Rows d and columns r of the factor."""
        return {"d": self.F.shape[0], "width": self.width}

    def factor(self, w: Vector) -> jax.Array:
        """The factor U of shape (d, r)."""
        return jnp.asarray(w).reshape(self.F.shape[0], self.width)

    def loss(self, w: Vector) -> jax.Array:
        """``1/4 ||F - U U^T||^2``."""
        U = self.factor(w)
        return 0.25 * jnp.sum((self.F - U @ U.T) ** 2)

    def observables(self, w: Vector) -> dict[str, Vector]:
        """Loss, gradient norm and theta = U U^T."""
        U = self.factor(w)
        return super().observables(w) | {"theta": U @ U.T}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One matrix U over features and columns."""
        return (Variable("U", ("feature", "column"), (self.F.shape[0], self.width), "factor U, theta = U U^T"),)

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Loss and gradient norm, then the product over pairs of features."""
        return (
            *super().observable_variables,
            Variable("theta", ("feature", "feature_2"), self.F.shape, "product theta = U U^T"),
        )

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels of the rows, where F carried some."""
        return self.labels.coords

    @property
    def arrays(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """The matrix travels in the file."""
        return {"F": (("feature", "feature_2"), "matrix that is factorised")}

    @property
    def citation(self) -> str:
        """Source of the model, for the references of a file."""
        return "symmetric matrix factorisation; Gunasekar et al. (2017)"

    def unravel(self, w: Any) -> jax.Array:
        """The factor U, as a user's own function sees it."""
        return self.factor(super().unravel(w))

    def init(self, alpha: float, seed: int | None = None) -> np.ndarray:
        """Start (d r,) of size alpha > 0: alpha times the identity, or times a random orthonormal frame of a seed."""
        size, (d, r) = _check.real("alpha", alpha, positive=True), (self.F.shape[0], self.width)
        if seed is None:
            return size * np.eye(d, r).ravel()
        gauss = np.random.default_rng(_check.seed(seed)).standard_normal((max(d, r), min(d, r)))
        frame = np.linalg.qr(gauss)[0]
        return size * (frame if d >= r else frame.T).ravel()

    def exact_flow(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """The Riccati flow, from any start."""
        kept: dict[bytes, FactorPath] = {}  # a stop rule asks for many times of one path

        def states(w0: np.ndarray, t: np.ndarray) -> np.ndarray:
            start = np.ascontiguousarray(w0).tobytes()
            if start not in kept:
                kept.clear()
                kept[start] = FactorPath(np.asarray(self.F), np.asarray(self.factor(w0)), 1.0)
            return kept[start].along(np.asarray(t)).reshape(-1, self.size)

        return states
