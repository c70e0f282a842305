"""Quadratic loss with a given gradient noise, section 9.5:  L(w) = 1/2 w^T A w,   Cov(gradient noise) = Sigma"""

from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.leaves import is_traced, leaf
from flowdyn._tools.memory import recall, remember
from flowdyn.problems.base import Problem, Spectrum, Variable, Vector
from flowdyn.problems.examples import generic_start
from flowdyn.problems.inputs import Labels, axis_labels, same_labels
from flowdyn.theory.linear_moments import LinearNoise
from flowdyn.theory.moments import root
from flowdyn.theory.moments_work import GradientWork, Size


class Quadratic(Problem):
    r"""Quadratic form, and the covariance of the noise that its stochastic gradients carry.

    .. math:: L(w) = \tfrac12 w^\top A w, \qquad \mathrm{Cov}(\text{gradient noise}) = \Sigma

    Parameters
    ----------
    A : array_like of float, shape (d, d) or scalar
        Symmetric matrix; it may be indefinite or singular.
    noise : array_like of float, shape (d, d) or scalar, optional
        Covariance Sigma of the gradient noise, positive semi-definite. Random methods need it.
    labels : Labels, optional
        Names of the parameters; read off A unless given.

    Raises
    ------
    ArgumentError
        If a matrix is not square and symmetric, the noise is not positive semi-definite, or shapes or labels disagree.

    Notes
    -----
    Flow and recursion are exact. Source: section 9.5, items 1 and 2.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> gd = fd.solve(fd.GradientDescent(p, eta=0.1), [1.0], t=1.0)
    >>> round(float(gd.w.isel(t=-1).item()), 6)  # 0.9^10
    0.348678
    """

    A: jax.Array
    noise: jax.Array | None
    factor: jax.Array | None  # symmetric root of the noise, taken once
    labels: Labels = eqx.field(static=True)

    def __init__(self, A: ArrayLike, noise: ArrayLike | None = None, labels: Labels | None = None):
        self.A = _symmetric("A", A)
        self.noise = None if noise is None else _symmetric("noise", noise)
        self.labels = labels or axis_labels("A", A, "param")
        self.factor = None
        if self.noise is not None:
            same_labels(
                "noise", axis_labels("noise", noise, "param").coords.get("param"), "A", self.coords.get("param")
            )
            if self.noise.shape != self.A.shape:
                raise _check.fail(
                    "noise", f"must have the shape {self.A.shape} of `A`", _check.Words(f"shape {self.noise.shape}")
                )
            if not is_traced(self.noise):
                values = np.linalg.eigvalsh(np.asarray(self.noise))
                if values[0] < -1e-12 * max(values[-1], 1e-300):
                    raise _check.fail(
                        "noise", "must be positive semi-definite", _check.Words(f"smallest eigenvalue {values[0]:.3g}")
                    )
                self.factor = jnp.asarray(root(np.asarray(self.noise)))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Two parameters, with a noise that does not commute with A."""
        return cls([[2.0, 0.5], [0.5, 1.0]], noise=[[1.0, 0.2], [0.2, 0.5]]), generic_start(2)

    @property
    def numbers(self) -> dict[str, Any]:
        """Parameters, and whether there is a noise."""
        return {"d": self.A.shape[0]} | ({} if self.noise is None else {"noise": self.noise})

    def config(self) -> dict[str, Any]:
        """A and the noise covariance."""
        return {"A": self.A, "noise": self.noise}

    def loss(self, w: Vector) -> jax.Array:
        """``1/2 w^T A w``."""
        w = jnp.asarray(w)
        return 0.5 * jnp.sum(w * matvec(self.A, w))

    def noise_cov(self, w: Vector) -> jax.Array:
        """Sigma (d, d), whatever w; refused where the Quadratic was built without noise."""
        if self.noise is None:
            raise _check.ArgumentError("`noise` is not set on this Quadratic; build it as Quadratic(A, noise=Sigma)")
        return self.noise

    def noise_factor(self, w: Vector) -> jax.Array:
        """Symmetric root of Sigma."""
        self.noise_cov(w)
        return self._root()

    def _root(self) -> jax.Array:
        """The root taken at construction; inside a trace, where it was not, another one."""
        return self.factor if self.factor is not None else jnp.linalg.cholesky(self.noise)

    def noise_product(self, w: Vector, z: Vector) -> jax.Array:
        """``Sigma^{1/2} z``."""
        return matvec(self.noise_factor(w), z)

    @property
    def gaussian_factor(self) -> jax.Array | None:
        """Symmetric root of Sigma (d, d), None without noise."""
        return None if self.noise is None else self._root()

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One vector w over the parameters."""
        return (Variable("w", ("param",), (self.A.shape[0],), "parameters w"),)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Parameter labels, where A carried some."""
        return self.labels.coords

    @property
    def arrays(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """A and the noise covariance."""
        return {
            "A": (("param", "param_2"), "matrix of the quadratic loss"),
            "noise": (("param", "param_2"), "covariance of the gradient noise"),
        }

    @property
    def citation(self) -> str:
        """Section of the chapter, for the references of a file."""
        return "quadratic loss, section 9.5"

    def spectrum(self) -> Spectrum:
        """Eigenbasis of A; directions of zero curvature never move and are left out."""
        return remember(_spectrum, self.A)

    def known_spectrum(self) -> Spectrum | None:
        """The eigenbasis if A has been decomposed already."""
        return recall(_spectrum, self.A)

    @property
    def linear_work(self) -> GradientWork | None:
        """A and its noise are there already."""
        return None if self.noise is None else GradientWork(float(self.A.size), Size(0, self.size, rank_one=False))

    def linear_gradients(self) -> LinearNoise | None:
        """The gradient A w with additive noise; None without noise."""
        if self.noise is None:
            return None
        d = self.A.shape[0]
        A, noise = np.asarray(self.A), np.asarray(self.noise)
        return LinearNoise(A, np.zeros(d), np.zeros((0, d, d)), np.zeros((0, d)), noise)


def _spectrum(A: jax.Array) -> Spectrum:
    values, vectors = np.linalg.eigh(np.asarray(A))
    kept = np.abs(values) > len(values) * np.finfo(float).eps * np.abs(values).max(initial=0.0)
    return Spectrum(values[kept], vectors[:, kept], np.zeros(kept.sum()))


def _symmetric(name: str, value: Any) -> jax.Array:
    matrix = leaf(name, value if np.ndim(value) else [[value]], ndim=2)
    if matrix.shape[0] != matrix.shape[1] or 0 in matrix.shape:
        raise _check.fail(name, "must be a square matrix", _check.Words(f"shape {matrix.shape}"))
    if not is_traced(matrix):
        numbers = np.asarray(matrix)
        if np.abs(numbers - numbers.T).max() > 1e-12 * np.abs(numbers).max(initial=0.0):
            raise _check.fail(name, "must be symmetric", numbers, f"use ({name} + {name}.T) / 2")
        matrix = jnp.asarray((numbers + numbers.T) / 2)
    return matrix
