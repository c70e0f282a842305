"""Least squares on any predictor: the base of the built-in regressions.

L(w) = scale * sum_i (f_i(w) - y_i)^2,     r = f(w) - y,     J = df/dw
grad L = 2 scale J^T r,   Gauss-Newton part of the Hessian = 2 scale J^T J,   tangent kernel K = J J^T
"""

import abc
import os
from typing import TYPE_CHECKING, Any, Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn.problems.base import Problem, Vector
from flowdyn.problems.examples import generic_start, small_table
from flowdyn.problems.inputs import Labels, table
from flowdyn.problems.tables import from_dataset, read_table

if TYPE_CHECKING:
    import xarray as xr


class Regression(Problem):
    """Squared loss of predictions f(w) of shape (n,) against targets (n,).

    `scale` is the constant in front of the sum of squares: 1/2, 1/(2n) or 1/(4n), as the section has it.
    """

    @property
    @abc.abstractmethod
    def targets(self) -> jax.Array:
        """Targets y of shape (n,), one a sample."""

    @property
    @abc.abstractmethod
    def scale(self) -> Any:
        """Constant in front of the sum of squares; it differs between the sections of the chapter."""

    @abc.abstractmethod
    def predict(self, w: Vector) -> jax.Array:
        """Predictions f(w) of shape (n,), one a target."""

    @property
    def sample_count(self) -> int:
        """Number n of targets."""
        return self.targets.shape[0]

    def residuals(self, w: Vector) -> jax.Array:
        """r(w) = f(w) - y, shape (n,)."""
        return self.predict(jnp.asarray(w)) - self.targets

    def loss(self, w: Vector) -> jax.Array:
        """``scale * sum r_i(w)^2``."""
        return self.scale * jnp.sum(self.residuals(w) ** 2)

    def sample_losses(self, w: Vector) -> jax.Array:
        """``n * scale * r_i(w)^2`` of shape (n,): their mean is the loss."""
        return self.sample_scale * self.residuals(w) ** 2

    def batch_residuals(self, w: Vector, index: jax.Array) -> jax.Array:
        """``residuals(w)[index]`` of shape (B,)."""
        return self.residuals(w)[index]

    @property
    def sample_scale(self) -> Any:
        """Constant n * scale of one sample's loss ``n * scale * r_i^2``."""
        return self.targets.shape[0] * self.scale

    def batch_losses(self, w: Vector, index: jax.Array) -> jax.Array:
        """``n * scale * r_i^2`` of the samples in `index`."""
        return self.sample_scale * self.batch_residuals(w, index) ** 2

    def jacobian(self, w: Vector) -> jax.Array:
        """J = df/dw of shape (n, P)."""
        return jax.jacrev(self.predict)(jnp.asarray(w))

    def gauss_newton(self, w: Vector) -> jax.Array:
        """``2 scale J^T J`` of shape (P, P), the Hessian at interpolation."""
        J = self.jacobian(w)
        return 2 * self.scale * J.T @ J

    def kernel_distance(self, w: Vector, w0: Vector) -> jax.Array:
        """``||K(w) - K(w0)|| / ||K(w0)||`` in the Frobenius norm: 0 in the kernel regime."""
        K0 = self.tangent_kernel(w0)
        return jnp.linalg.norm(self.tangent_kernel(w) - K0) / jnp.linalg.norm(K0)

    def tangent_kernel(self, w: Vector) -> jax.Array:
        """``J J^T`` of shape (n, n), the neural tangent kernel on the data."""
        J = self.jacobian(w)
        return J @ J.T


class TableProblem(Problem):
    """Data of a table: X (n, d), y (n,), with labels; how such a problem is built from arrays, Datasets and files."""

    X: jax.Array
    y: jax.Array
    labels: Labels = eqx.field(static=True)

    def __init__(self, X: ArrayLike, y: ArrayLike, labels: Labels | None = None):
        self.X, self.y, self.labels = table(X, y, labels)

    @classmethod
    def from_dataset(cls, ds: "xr.Dataset", X: str = "X", y: str = "y", **options: Any) -> Self:
        """Build the problem from the variables `X` (sample, feature) and `y` (sample) of an xarray Dataset."""
        return cls(*from_dataset(ds, X, y), **options)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        target: str | None = None,
        standardize: bool = False,
        *,
        center: bool = False,
        intercept: bool = False,
        index: str | Literal[False] | None = None,
        **options: Any,
    ) -> Self:
        """Build the problem from a .csv table or a .nc file; `target` names the column y, the others are features.

        `center` gives each column, the target too, mean 0, and `standardize` standard deviation 1 as well; `intercept`
        puts a column of ones in front; `index` names the column that labels the samples, and is False where none does.
        """
        data = read_table(path, target, standardize, center=center, intercept=intercept, index=index)
        labels = Labels({"feature": data.features, "sample": data.samples}, {"target": data.target})
        return cls(data.X, data.y, labels=labels, **options)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Six Gaussian samples of four features."""
        problem = cls(*small_table())
        return problem, generic_start(problem.size)

    @property
    def numbers(self) -> dict[str, Any]:
        """Samples and features."""
        n, d = self.X.shape
        return {"n": n, "d": d}

    def rows(self, index: jax.Array) -> Self:
        """The same problem on the samples in `index`; traced, so that a batch costs what its samples cost."""
        return eqx.tree_at(lambda p: (p.X, p.y), self, (self.X[index], self.y[index]))

    @property
    def sample_count(self) -> int:
        """Number n of samples, the rows of X."""
        return self.X.shape[0]

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels along feature and sample, where the table had some."""
        return self.labels.coords

    @property
    def target_name(self) -> str:
        """Name of the target column, where it is known."""
        return self.labels.names.get("target", "")

    @property
    def arrays(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """X and y travel in the file."""
        name = self.target_name
        return {
            "X": (("sample", "feature"), "data matrix, one row per sample"),
            "y": (("sample",), f"targets ({name})" if name else "targets"),
        }


class TableRegression(Regression, TableProblem):
    """Squared loss on a table: predictions from X, targets y."""

    def __init__(self, X: ArrayLike, y: ArrayLike, labels: Labels | None = None):
        TableProblem.__init__(self, X, y, labels)

    @property
    def targets(self) -> jax.Array:
        """Targets y of shape (n,), the column of the table."""
        return self.y

    def batch_residuals(self, w: Vector, index: jax.Array) -> jax.Array:
        """Residuals of the samples in `index` alone."""
        return self.rows(index).residuals(w)
