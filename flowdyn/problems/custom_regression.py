"""Least squares on any predictor that JAX can differentiate:  L(w) = scale * sum_i (predict(w)_i - y_i)^2"""

from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, leaf
from flowdyn.problems.base import Vector
from flowdyn.problems.examples import generic_start, small_table
from flowdyn.problems.linear_gradients import linear_residuals, residual_work
from flowdyn.problems.pytree import PytreeProblem
from flowdyn.problems.regression import Regression
from flowdyn.theory.linear_moments import LinearResiduals
from flowdyn.theory.moments_work import GradientWork


def _unit(w: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """A single hidden unit."""
    return jnp.tanh(x @ w["inner"]) * w["outer"]


class CustomRegression(Regression, PytreeProblem):
    r"""Least squares on any predictor that JAX can differentiate (a network, say).

    .. math:: L(w) = \mathrm{scale} \sum_i (f_i(w) - y_i)^2

    Parameters
    ----------
    predict : callable
        ``predict(w)`` or, where `data` are given, ``predict(w, data)``; returns predictions of shape (n,).
    targets : array_like of float, shape (n,)
        Targets y.
    w0_like : pytree of float arrays
        An example of the parameters; its inexact arrays are the parameters, cast to float64.
    data : pytree of arrays, optional
        Handed to every call; new data of the same shape do not compile anew.
    scale : float, optional
        Constant in front of the sum, positive; 1/(2n) unless given.

    Raises
    ------
    ArgumentError
        If `predict` cannot be traced or does not return one value per target, or `w0_like` holds no real number.

    Notes
    -----
    Label noise, tangent kernel and Gauss-Newton matrix come from `predict`. Where it is linear in w, SGD and its
    equations have exact moments. Source: section 9.5, item 3, for the scale
    1/(2n); Jacot, Gabriel and Hongler (2018) for the kernel.

    Examples
    --------
    >>> import flowdyn as fd
    >>> import jax.numpy as jnp
    >>> p = fd.problems.CustomRegression(lambda w, x: jnp.tanh(x @ w), [0.5], jnp.ones(2), data=jnp.ones((1, 2)))
    >>> p.tangent_kernel(p.init()).shape
    (1, 1)
    """

    function: Callable
    values: jax.Array
    factor: jax.Array

    def __init__(
        self, predict: Callable, targets: ArrayLike, w0_like: Any, data: Any = None, scale: Scalar | None = None
    ):
        self._set(w0_like, data)
        self.function = predict
        self.values = leaf("targets", targets, ndim=1)
        n = self.values.shape[0]
        self.factor = leaf("scale", 0.5 / max(n, 1) if scale is None else scale, ndim=0, positive=True)
        self._check_output("predict", predict, 1)
        found = jax.eval_shape(self.predict, jax.ShapeDtypeStruct((self.size,), self.targets.dtype)).shape
        if found != self.targets.shape:
            raise _check.ArgumentError(
                f"`predict` must return one value per target, got shape {found} for targets of shape {(n,)}"
            )

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """One hidden unit."""
        X, y = small_table()
        problem = cls(_unit, 0.3 * y, {"inner": 0.2 * np.ones(4), "outer": 0.5}, data=X)
        return problem, generic_start(problem.size)

    @property
    def numbers(self) -> dict[str, Any]:
        """The predictor, samples and parameters."""
        return {"predict": self.function, "n": self.sample_count, **super().numbers}

    @property
    def targets(self) -> jax.Array:
        """Targets y of shape (n,), as given."""
        return self.values

    @property
    def scale(self) -> jax.Array:
        """Constant in front of the sum of squares, 1/(2n) unless given."""
        return self.factor

    def predict(self, w: Vector) -> jax.Array:
        """The user's predictions at flat w."""
        return self._call(self.function, w)

    @property
    def linear_work(self) -> GradientWork | None:
        """Of the Jacobian, where the predictions are linear in w."""
        return residual_work(self)

    def linear_gradients(self) -> LinearResiduals | None:
        """Sample gradients where the predictions are polynomials of degree 1."""
        return linear_residuals(self)

    def config(self) -> dict[str, Any]:
        """Arguments that build it again, `predict` among them: it does not travel in a file."""
        return {
            "predict": self.function,
            "targets": self.targets,
            "w0_like": self.w0_like,
            "data": self.data,
            "scale": self.scale,
        }

    @property
    def arrays(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """The targets travel in the file; `data` are handed in again."""
        return {"targets": (("sample",), "targets")}
