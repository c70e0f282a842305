"""Deep linear network:  L = 1/2 ||S - W_N ... W_1||^2,  or with data  L = 1/2 ||Y - X (W_N ... W_1)^T||^2.

The two differ by a constant where X^T X = 1, S = Y^T X. The flow conserves W_{i+1}^T W_{i+1} - W_i W_i^T. Two layers
from a balanced start, where those vanish, follow a Riccati equation (``theory/matrix_factors.py``):

    Q = [W_1^T; W_2],  F = [[0, S^T], [S, 0]]:      Q' = (F - Q Q^T / 2) Q
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import leaf
from flowdyn.problems.base import Vector
from flowdyn.problems.examples import generic_start, small_table
from flowdyn.problems.inputs import Labels, labels_of, same_labels
from flowdyn.problems.layered import LayeredProblem
from flowdyn.theory.matrix_factors import FactorPath

BALANCED = 1e-12  # imbalance beside the squared size of the weights that counts as rounding
WHITE = 1e-12  # distance of X^T X from a multiple of the identity, relative, that does


class DeepLinear(LayeredProblem):
    r"""Least squares on a product of matrices, a linear network of any depth.

    .. math:: L = \tfrac12 \|S - W_N \cdots W_1\|_F^2 \quad\text{or}\quad
              L = \tfrac12 \|Y - X (W_N \cdots W_1)^\top\|_F^2

    The flat parameters are the matrices W1, ..., WN one after the other, row by row.

    Parameters
    ----------
    S : array_like of float, shape (m, p), optional
        Target of the product, for p inputs and m outputs; or give data.
    X : array_like of float, shape (n, p), optional
        Inputs, one row per sample.
    Y : array_like of float, shape (n, m), optional
        Outputs.
    widths : sequence of int, optional
        Width of each of the N - 1 >= 1 hidden layers; one of width min(m, p) unless given.
    labels : Labels, optional
        Names along the dimensions; read off the arrays unless given.

    Raises
    ------
    ArgumentError
        Unless S or both X and Y are given; if shapes or labels disagree, or a width is no positive whole number.

    Notes
    -----
    Data are a target S = Y^T X where X^T X = 1, up to a constant of the loss. The gradient flow of two layers is exact
    from balanced starts, W2^T W2 = W1 W1^T, where X^T X is a multiple of the identity.
    Source: Saxe, McClelland and Ganguli (2014); Arora, Cohen and Hazan (2018); Fukumizu (1998) for the exact flow.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.DeepLinear([[2.0]], widths=[1])
    >>> run = fd.solve(fd.GradientFlow(p), p.aligned(0.01), t=3.0)
    >>> round(float(run.theta.isel(t=-1).item()), 6)  # logistic: 2 / (1 + 199 exp(-12))
    1.997558
    """

    S: jax.Array | None
    X: jax.Array | None
    Y: jax.Array | None
    widths: tuple[int, ...] = eqx.field(static=True)
    labels: Labels = eqx.field(static=True)

    def __init__(
        self,
        S: ArrayLike | None = None,
        X: ArrayLike | None = None,
        Y: ArrayLike | None = None,
        widths: Sequence[int] | None = None,
        labels: Labels | None = None,
    ):
        if (S is None) != (X is not None and Y is not None) or (S is not None and (X is not None or Y is not None)):
            given = [name for name, value in (("S", S), ("X", X), ("Y", Y)) if value is not None]
            raise _check.fail("S", "must be given, or else both `X` and `Y`", given)
        self.S, self.X, self.Y = (
            None if value is None else _matrix(name, value) for name, value in (("S", S), ("X", X), ("Y", Y))
        )
        if self.X is not None and self.Y is not None and self.X.shape[0] != self.Y.shape[0]:
            shapes = f"X of shape {self.X.shape} and Y of shape {self.Y.shape}"
            raise _check.fail("Y", "must have the samples of `X`, one a row", _check.Words(shapes))
        self.labels = labels or _labels(S, X, Y)
        found = [min(self.ends)] if widths is None else widths
        if not isinstance(found, Sequence) or isinstance(found, str) or not len(found):
            rule = "must be a sequence with the width of at least one hidden layer"
            raise _check.fail("widths", rule, widths, "without one it is LinearRegression")
        self.widths = tuple(_check.integer(f"widths[{i}]", width, minimum=1) for i, width in enumerate(found))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Six samples of three inputs and two outputs, two layers, an unbalanced start."""
        X, y = small_table()
        problem = cls(X=X[:, :3], Y=np.stack([y, X[:, 3]], axis=1), widths=[2])
        return problem, generic_start(problem.size)

    @property
    def ends(self) -> tuple[int, int]:
        """Numbers of inputs and outputs."""
        if self.S is not None:
            return self.S.shape[1], self.S.shape[0]
        assert self.X is not None and self.Y is not None
        return self.X.shape[1], self.Y.shape[1]

    @property
    def numbers(self) -> dict[str, Any]:
        """Inputs, outputs, hidden widths, and samples where there are data."""
        p, m = self.ends
        return {"p": p, "m": m, "widths": self.widths} | ({} if self.X is None else {"n": self.X.shape[0]})

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels along feature, output and sample, where the arrays had some."""
        return self.labels.coords

    @property
    def arrays(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """The target, or the data, travel in the file."""
        return {
            "S": (("output", "feature"), "target of the product"),
            "X": (("sample", "feature"), "data matrix, one row per sample"),
            "Y": (("sample", "output"), "targets, one row per sample"),
        }

    @property
    def citation(self) -> str:
        """Source of the model, for the references of a file."""
        return "deep linear network; Saxe, McClelland and Ganguli (2014)"

    def loss(self, w: Vector) -> jax.Array:
        """``1/2 ||S - theta||^2``, or ``1/2 ||Y - X theta^T||^2``."""
        if self.S is not None:
            return 0.5 * jnp.sum((self.S - self.theta(w)) ** 2)
        assert self.X is not None and self.Y is not None
        return 0.5 * jnp.sum((self.Y - self.X @ self.theta(w).T) ** 2)

    def sample_losses(self, w: Vector) -> jax.Array:
        """``n/2 ||y_i - theta x_i||^2`` of shape (n,), one a row of the data."""
        if self.X is None or self.Y is None:
            return super().sample_losses(w)
        return 0.5 * self.X.shape[0] * jnp.sum((self.Y - self.X @ self.theta(w).T) ** 2, axis=1)

    def batch_losses(self, w: Vector, index: jax.Array) -> jax.Array:
        """``n/2 ||y_i - theta x_i||^2`` of the samples in `index`."""
        if self.X is None or self.Y is None:
            return super().batch_losses(w, index)
        rows = self.Y[index] - self.X[index] @ self.theta(w).T
        return 0.5 * self.X.shape[0] * jnp.sum(rows**2, axis=1)

    @property
    def sample_count(self) -> int | None:
        """Number n of rows of the data; None for a target."""
        return None if self.X is None else self.X.shape[0]

    @property
    def target(self) -> np.ndarray:
        """S of shape (m, p); with data Y^T X, in units of X^T X where that is a multiple of the identity."""
        if self.S is not None:
            return np.asarray(self.S)
        X, Y = np.asarray(self.X), np.asarray(self.Y)
        return Y.T @ X / (self._whiteness() or 1.0)

    def _whiteness(self) -> float | None:
        """The c of X^T X = c 1; None where the inputs are not white."""
        if self.X is None:
            return 1.0
        gram = np.asarray(self.X).T @ np.asarray(self.X)
        c = float(np.trace(gram)) / len(gram)
        return c if np.abs(gram - c * np.eye(len(gram))).max() <= WHITE * c else None

    def exact_flow(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """The Riccati flow of two layers with white inputs; it holds from balanced starts."""
        speed = self._whiteness()
        if self.depth != 2 or not speed:
            return None
        kept: dict[bytes, FactorPath] = {}  # a stop rule asks for many times of one path

        def states(w0: np.ndarray, t: np.ndarray) -> np.ndarray:
            if self.lacks_exact_flow(w0):
                found = _check.Words(f"W2^T W2 - W1 W1^T of size {self._imbalance(w0):.3g}")
                raise _check.fail("w0", "must be balanced for the exact flow", found, "name another solver")
            start = np.ascontiguousarray(w0).tobytes()
            if start not in kept:
                kept.clear()
                kept[start] = self._path(w0)
            Q, p = kept[start].along(speed * np.asarray(t)), self.ends[0]
            W1, W2 = np.swapaxes(Q[:, :p], 1, 2), Q[:, p:]
            return np.concatenate([W1.reshape(len(Q), -1), W2.reshape(len(Q), -1)], axis=1)

        return states

    def _path(self, w0: np.ndarray) -> FactorPath:
        (W1, W2), S = map(np.asarray, self.layers(w0)), self.target
        m, p = S.shape
        F = np.block([[np.zeros((p, p)), S.T], [S, np.zeros((m, m))]])
        return FactorPath(F, np.concatenate([W1.T, W2]), 0.5)

    def _imbalance(self, w: np.ndarray) -> float:
        """Largest entry of W2^T W2 - W1 W1^T, 0 where it is rounding."""
        W1, W2 = map(np.asarray, self.layers(w)[:2])
        gap = float(np.abs(W2.T @ W2 - W1 @ W1.T).max())
        return gap if gap > BALANCED * max(float(np.sum(W1 * W1)), float(np.sum(W2 * W2))) else 0.0

    def lacks_exact_flow(self, w0: np.ndarray) -> str | None:
        """The imbalance of the first two layers, in words; None where they are balanced."""
        gap = self._imbalance(w0)
        return f"its closed form holds from balanced starts, and W2^T W2 - W1 W1^T is {gap:.3g} here" if gap else None


def _matrix(name: str, value: Any) -> jax.Array:
    matrix = leaf(name, value, ndim=2, limit=_check.LARGE)
    if 0 in matrix.shape:
        raise _check.fail(name, "must have at least one row and one column", _check.Words(f"shape {matrix.shape}"))
    return matrix


def _labels(S: Any, X: Any, Y: Any) -> Labels:
    """Names of features, outputs and samples, from whichever array carries them."""
    if S is not None:
        return Labels({"feature": labels_of(S, 1), "output": labels_of(S, 0)})
    same_labels("Y", labels_of(Y, 0), "X", labels_of(X, 0))
    samples = labels_of(Y, 0) if labels_of(X, 0) is None else labels_of(X, 0)
    return Labels({"feature": labels_of(X, 1), "output": labels_of(Y, 1), "sample": samples})
