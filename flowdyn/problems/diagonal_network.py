"""Diagonal linear network, section 9.3:  theta = w+ ⊙ w+ - w- ⊙ w-,   L(w) = 1/2 ||X theta - y||^2   (9.91)-(9.92)

w' = -2 (Xt^T r) ⊙ w,  Xt = [X, -X],  r = X theta - y;   invariant along the flow:  w+ ⊙ w- = const   (9.114)
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn.problems.base import Variable, Vector, predictor_variable
from flowdyn.problems.inputs import Labels
from flowdyn.problems.regression import TableRegression


class DiagonalNetwork(TableRegression):
    r"""Least squares on a two-layer diagonal linear network.

    .. math:: L(w) = \tfrac12 \|X (w_+ \odot w_+ - w_- \odot w_-) - y\|^2

    The flat parameters are w = [w_plus, w_minus] of shape (2d,).

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
    From ``w0 = alpha * 1`` the flow ends at the interpolant that minimises Q_alpha: nearly minimum l1 norm for small
    alpha, minimum l2 norm for large alpha (Theorem 9.18). Source: section 9.3, equations (9.91)-(9.92).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.DiagonalNetwork([[1.0, 0.5]], [1.0])
    >>> run = fd.solve(fd.GradientFlow(p), p.init(alpha=1e-3), t=30.0)
    >>> run.theta.isel(t=-1).values.round(3).tolist()
    [1.0, 0.001]
    """

    def __init__(self, X: ArrayLike, y: ArrayLike, labels: Labels | None = None):
        super().__init__(X, y, labels)

    @property
    def scale(self) -> float:
        """1/2, as section 9.3 has it."""
        return 0.5

    @property
    def citation(self) -> str:
        """Section of the chapter, for the references of a file."""
        return "diagonal linear network, section 9.3, equations (9.91)-(9.92)"

    def theta(self, w: Vector) -> jax.Array:
        """Linear predictor ``w+^2 - w-^2`` of shape (d,)."""
        w_plus, w_minus = jnp.split(jnp.asarray(w), 2)
        return w_plus * w_plus - w_minus * w_minus

    def predict(self, w: Vector) -> jax.Array:
        """``X theta`` of shape (n,)."""
        return self.X @ self.theta(w)

    def observables(self, w: Vector) -> dict[str, Vector]:
        """Loss, gradient norm and theta."""
        return super().observables(w) | {"theta": self.theta(w)}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """w_plus and w_minus over the features."""
        d = self.X.shape[1]
        return (
            Variable("w_plus", ("feature",), (d,), "weights w+, theta = w+*w+ - w-*w-"),
            Variable("w_minus", ("feature",), (d,), "weights w-"),
        )

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Loss and gradient norm, then theta over the features."""
        return (*super().observable_variables, predictor_variable(self.X.shape[1]))

    def init(self, alpha: float) -> np.ndarray:
        """``alpha * 1`` of shape (2d,), alpha > 0: theta = 0 at every scale (9.93)."""
        return np.full(2 * self.X.shape[1], _check.real("alpha", alpha, positive=True))
