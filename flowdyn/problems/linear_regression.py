"""Linear regression, section 9.1:  L(w) = 1/2 ||y - X w||^2.

The Hessian X^T X is constant, so the gradient flow and gradient descent are known exactly, for any rank of X:

    w(t) = w0 + X^+ (I - exp(-X X^T t)) (y - X w0),   and exp(-lam t) -> (1 - eta lam)^k for the recursion.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn._tools.memory import recall, remember
from flowdyn.problems.base import Spectrum, Variable, Vector
from flowdyn.problems.inputs import Labels
from flowdyn.problems.regression import TableRegression
from flowdyn.theory.linear_moments import LinearResiduals
from flowdyn.theory.moments_work import GradientWork, Size


class LinearRegression(TableRegression):
    r"""Least squares on a linear model, whose flow and recursion are known exactly.

    .. math:: L(w) = \tfrac12 \|y - X w\|^2

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix, one row per sample, dimensionless. Labels of pandas and xarray objects are kept.
    y : array_like of float, shape (n,)
        Targets.
    labels : Labels, optional
        Names along the dimensions; read off X and y unless given.

    Raises
    ------
    ArgumentError
        If shapes or labels disagree, or an entry is masked, not finite or beyond 1e75.

    Notes
    -----
    Started in the row span of X, flow and recursion end at the minimum-norm least-squares solution X^+ y (Theorem 9.3).
    Source: section 9.1.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearRegression([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], [1.0, 2.0])
    >>> run = fd.solve(fd.GradientFlow(p), p.init(), t=40.0)
    >>> run.w.isel(t=-1).values.round(6).tolist()
    [1.0, 1.0, 0.0]
    """

    def __init__(self, X: ArrayLike, y: ArrayLike, labels: Labels | None = None):
        super().__init__(X, y, labels)

    @property
    def scale(self) -> float:
        """1/2, as section 9.1 has it."""
        return 0.5

    @property
    def citation(self) -> str:
        """Section of the chapter, for the references of a file."""
        return "linear regression, section 9.1"

    def predict(self, w: Vector) -> jax.Array:
        """``X w`` of shape (n,)."""
        return self.X @ w

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One vector w over the features."""
        return (Variable("w", ("feature",), (self.X.shape[1],), "weights w"),)

    def init(self) -> np.ndarray:
        """Origin of shape (d,), the start of Theorem 9.3."""
        return np.zeros(self.X.shape[1])

    def spectrum(self) -> Spectrum:
        """Eigenbasis of X^T X by a singular value decomposition of X, cut at its numerical rank."""
        return remember(_spectrum, self.X, self.y)

    def known_spectrum(self) -> Spectrum | None:
        """The eigenbasis if X has been decomposed already."""
        return recall(_spectrum, self.X, self.y)

    @property
    def linear_work(self) -> GradientWork:
        """Of X^T X."""
        n, d = self.X.shape
        return GradientWork(2.0 * n * d**2, Size(n, d, rank_one=True))

    def linear_gradients(self) -> LinearResiduals:
        """Row i times its residual, at the scale of a sample's loss."""
        return LinearResiduals(np.asarray(self.X), -np.asarray(self.y), float(2 * self.sample_scale))

    def minimum_norm(self) -> jax.Array:
        """``X^+ y`` of shape (d,), the least-squares solution of minimum norm (Corollary 9.2)."""
        return jnp.linalg.pinv(self.X) @ self.y


def _spectrum(X: jax.Array, y: jax.Array) -> Spectrum:
    U, s, Vt = np.linalg.svd(np.asarray(X), full_matrices=False)
    kept = s > max(X.shape) * np.finfo(float).eps * s[0]
    return Spectrum(s[kept] ** 2, Vt[kept].T, (U[:, kept].T @ np.asarray(y)) / s[kept])
