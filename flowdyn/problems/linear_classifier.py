"""Linear classification, section 9.4:  L(w) = sum_i l(y_i <w, x_i>),   l(m) = exp(-m)  or  log(1 + exp(-m))"""

from typing import Any, Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import is_traced
from flowdyn.problems.base import Variable, Vector
from flowdyn.problems.examples import generic_start, small_table
from flowdyn.problems.inputs import Labels
from flowdyn.problems.regression import TableProblem

FLAT = 30.0  # beyond it exp(-m) and log(1 + exp(-m)) are equal to rounding
LOSSES = {"exponential": lambda m: jnp.exp(-m), "logistic": lambda m: jax.nn.softplus(-m)}


def _inverse_norm(w: Vector) -> jax.Array:
    square = jnp.sum(jnp.asarray(w) ** 2)
    return jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)


class LinearClassifier(TableProblem):
    r"""Sum of exponential or logistic losses of the margins of a linear classifier without intercept.

    .. math:: L(w) = \sum_i \ell(y_i \langle w, x_i \rangle)

    Parameters
    ----------
    X : array_like of float, shape (n, d)
        Data matrix, one row per sample, dimensionless. Labels of pandas and xarray objects are kept.
    y : array_like of int, shape (n,)
        Classes, -1 or +1.
    loss : {"exponential", "logistic"}
        ``exp(-m)``, for which the inequalities of section 9.4 hold, or ``log(1 + exp(-m))``.
    labels : Labels, optional
        Names along the dimensions; read off X and y unless given.

    Raises
    ------
    ArgumentError
        If shapes or labels disagree, an entry is not finite, a class is neither -1 nor +1, or the loss is another.

    Notes
    -----
    On separable data the direction of w tends to the maximum-margin one (Theorem 9.25). Source: section 9.4.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearClassifier([[1.0, 2.0], [-1.0, 0.5]], [1, -1], loss="logistic")
    >>> round(float(p.loss([0.0, 0.0])), 6)  # 2 log 2
    1.386294
    """

    kind: str = eqx.field(static=True)

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        loss: Literal["exponential", "logistic"] = "exponential",
        labels: Labels | None = None,
    ):
        super().__init__(X, y, labels)
        self.kind = _check.choice("loss", loss, LOSSES)
        if not is_traced(self.y) and not np.isin(np.asarray(self.y), (-1.0, 1.0)).all():
            raise _check.fail("y", "must hold -1 and +1 only", np.unique(np.asarray(self.y)), "map {0, 1} by 2*y - 1")

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Logistic loss; the signs of Gaussian targets are the classes."""
        X, y = small_table()
        return cls(X, np.sign(y), loss="logistic"), generic_start(X.shape[1])

    @property
    def numbers(self) -> dict[str, Any]:
        """Samples, features and the loss."""
        return super().numbers | {"loss": self.kind}

    def margins(self, w: Vector) -> jax.Array:
        """``y_i <w, x_i>`` of shape (n,)."""
        return self.y * (self.X @ jnp.asarray(w))

    def margin(self, w: Vector) -> jax.Array:
        """Normalised margin ``min_i m_i / ||w||`` (9.140); 0 at the origin."""
        return jnp.min(self.margins(w)) * _inverse_norm(w)

    def log_loss(self, w: Vector) -> jax.Array:
        """``log L(w)``, which neither overflows nor vanishes."""
        margins = self.margins(w)
        each = -margins
        if self.kind == "logistic":
            small = jnp.minimum(margins, FLAT)
            each = jnp.where(margins > FLAT, -margins, jnp.log(jax.nn.softplus(-small)))
        return jax.nn.logsumexp(each)

    def smooth_margin(self, w: Vector) -> jax.Array:
        """``-log L / ||w||`` (logistic: ``-log(e^L - 1) / ||w||``), a lower bound of the margin; 0 at the origin."""
        log_loss = self.log_loss(w)
        smooth = -log_loss
        if self.kind == "logistic":
            bounded = jnp.clip(log_loss, -FLAT, 5.0)
            smooth = jnp.where(log_loss < -FLAT, -log_loss, -jnp.log(jnp.expm1(jnp.exp(bounded))))
        return smooth * _inverse_norm(w)

    def sample_losses(self, w: Vector) -> jax.Array:
        """``n * l(m_i)`` of shape (n,): their mean is the loss."""
        margins = self.margins(w)
        return margins.shape[0] * LOSSES[self.kind](margins)

    def batch_losses(self, w: Vector, index: jax.Array) -> jax.Array:
        """``n * l(m_i)`` of the samples in `index` alone."""
        return self.X.shape[0] * LOSSES[self.kind](self.rows(index).margins(w))

    def loss(self, w: Vector) -> jax.Array:
        """Sum of the losses of the margins."""
        return jnp.sum(LOSSES[self.kind](self.margins(w)))

    def config(self) -> dict[str, Any]:
        """X, y and the name of the loss."""
        return {"X": self.X, "y": self.y, "loss": self.kind}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One vector w over the features."""
        return (Variable("w", ("feature",), (self.X.shape[1],), "weights w"),)

    @property
    def citation(self) -> str:
        """Section of the chapter, for the references of a file."""
        return f"linear classification with the {self.kind} loss, section 9.4"

    def init(self) -> np.ndarray:
        """Origin of shape (d,), from which the margin bounds have no constant of the start."""
        return np.zeros(self.X.shape[1])
