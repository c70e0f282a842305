"""Squared parametrisation, section 9.2:  L(w) = 1/(4n) sum_i (y_i - <w ⊙ w, x_i>)^2   (9.7)

grad L = (1/n) sum_i <w ⊙ w - theta*, x_i> x_i ⊙ w   (9.46),  where y_i = <theta*, x_i>
"""

from typing import Self

import jax
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn.problems.base import Variable, Vector, predictor_variable
from flowdyn.problems.examples import generic_start, small_table
from flowdyn.problems.inputs import Labels
from flowdyn.problems.regression import TableRegression


class SquaredRegression(TableRegression):
    r"""Least squares on a linear predictor theta = w ⊙ w, which is nonnegative.

    .. math:: L(w) = \frac{1}{4n} \sum_i (y_i - \langle w \odot w, x_i \rangle)^2

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
    From ``w0 = alpha * 1`` with small alpha the flow finds sparse nonnegative predictors (Theorem 9.4). Its population
    loss (9.15) is :class:`SquaredPopulation`. Source: section 9.2, equation (9.7).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.SquaredRegression([[1.0, 0.0]], [4.0])
    >>> float(p.loss([1.0, 1.0]))
    2.25
    """

    def __init__(self, X: ArrayLike, y: ArrayLike, labels: Labels | None = None):
        super().__init__(X, y, labels)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Targets of one sign: the predictor is nonnegative."""
        X, y = small_table()
        return cls(X, np.abs(y)), generic_start(X.shape[1])

    @property
    def scale(self) -> float:
        """1/(4n), as (9.7) has it."""
        return 0.25 / self.X.shape[0]

    @property
    def citation(self) -> str:
        """Section of the chapter, for the references of a file."""
        return "squared parametrisation, section 9.2, equation (9.7)"

    def predict(self, w: Vector) -> jax.Array:
        """``X (w ⊙ w)`` of shape (n,)."""
        return self.X @ (w * w)

    def observables(self, w: Vector) -> dict[str, Vector]:
        """Loss, gradient norm and theta = w ⊙ w."""
        return super().observables(w) | {"theta": w * w}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One vector w over the features."""
        return (Variable("w", ("feature",), (self.X.shape[1],), "weights w, theta = w*w"),)

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Loss and gradient norm, then theta over the features."""
        return (*super().observable_variables, predictor_variable(self.X.shape[1]))

    def init(self, alpha: float) -> np.ndarray:
        """``alpha * 1`` of shape (d,), alpha > 0: the origin is a critical point."""
        return np.full(self.X.shape[1], _check.real("alpha", alpha, positive=True))
