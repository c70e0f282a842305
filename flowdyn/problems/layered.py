"""Parameters that are a chain of matrices:  theta = W_N ... W_1,  and its balanced starts.

W_{i+1}^T W_{i+1} = W_i W_i^T  for all i   <=>   W_i = R_i diag(d) R_{i-1}^T,  R_i with orthonormal columns
"""

import abc
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn.problems.base import Problem, Variable, Vector


class LayeredProblem(Problem):
    """A loss of the product of N matrices, for p inputs and m outputs, with hidden layers of given widths."""

    widths: eqx.AbstractVar[tuple[int, ...]]

    @property
    @abc.abstractmethod
    def ends(self) -> tuple[int, int]:
        """Numbers of inputs and outputs."""

    @property
    @abc.abstractmethod
    def target(self) -> np.ndarray:
        """Matrix (m, p) along whose singular vectors :meth:`aligned` starts."""

    @property
    def depth(self) -> int:
        """Number N of layers."""
        return len(self.widths) + 1

    @property
    def variables(self) -> tuple[Variable, ...]:
        """W1, ..., WN over the units of the layer above and those of the layer below."""
        p, m = self.ends
        sizes = (p, *self.widths, m)
        dims = ("feature", *(f"hidden_{i}" for i in range(1, self.depth)), "output")
        return tuple(
            Variable(f"W{i}", (dims[i], dims[i - 1]), (sizes[i], sizes[i - 1]), f"weights of layer {i}")
            for i in range(1, self.depth + 1)
        )

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Loss and gradient norm, then the product over outputs and features."""
        text = "linear predictor theta = W_N ... W_1"
        return (*super().observable_variables, Variable("theta", ("output", "feature"), self.ends[::-1], text))

    def layers(self, w: Vector) -> list[jax.Array]:
        """Matrices W1, ..., WN of flat w."""
        shapes = [v.shape for v in self.variables]
        edges = np.cumsum([v.size for v in self.variables])[:-1]
        return [part.reshape(shape) for part, shape in zip(jnp.split(jnp.asarray(w), edges), shapes, strict=True)]

    def theta(self, w: Vector) -> jax.Array:
        """Product ``W_N ... W_1`` of shape (m, p)."""
        first, *others = self.layers(w)
        for W in others:
            first = W @ first
        return first

    def observables(self, w: Vector) -> dict[str, Vector]:
        """Loss, gradient norm and the product theta."""
        return super().observables(w) | {"theta": self.theta(w)}

    def unravel(self, w: Any) -> dict[str, jax.Array]:
        """The matrices by their names, as a user's own function sees them."""
        return {v.name: W for v, W in zip(self.variables, self.layers(super().unravel(w)), strict=True)}

    def ravel(self, w: Any) -> np.ndarray:
        """Flat vector from a flat array, a mapping of names, or a list of the matrices."""
        if isinstance(w, list | tuple) and len(w) == self.depth and all(np.ndim(part) == 2 for part in w):
            w = {v.name: part for v, part in zip(self.variables, w, strict=True)}
        return super().ravel(w)

    def init(self, alpha: float, seed: int = 0) -> np.ndarray:
        """Balanced start in general position: layers of norm alpha > 0, singular vectors and rotations by the seed."""
        rng, (p, m) = np.random.default_rng(_check.seed(seed)), self.ends
        U, s, Vt = np.linalg.svd(rng.standard_normal((m, p)), full_matrices=False)
        r = min(len(s), *self.widths)
        frames = [np.linalg.qr(rng.standard_normal((width, r)))[0] for width in self.widths]
        size = _check.real("alpha", alpha, positive=True)
        return self._chain(U[:, :r], size * (s[:r] / s[0]) ** (1 / self.depth), Vt[:r], frames)

    def balanced(self, product: ArrayLike) -> np.ndarray:
        """Balanced start (P,) whose product is the given matrix (m, p), of a rank that the hidden layers can carry."""
        p, m = self.ends
        U, s, Vt = np.linalg.svd(_check.real_array("product", product, shape=(m, p)), full_matrices=False)
        r = min(len(s), *self.widths)
        if (s[r:] > max(m, p) * np.finfo(float).eps * s[0]).any():
            raise _check.fail("product", f"must have rank at most {r}, the narrowest width", product)
        return self._chain(U[:, :r], s[:r] ** (1 / self.depth), Vt[:r], [np.eye(width, r) for width in self.widths])

    def aligned(self, strengths: ArrayLike) -> np.ndarray:
        """Balanced start (P,) along the singular vectors of the target, with the given strengths (r,) or one for all.

        Mode i then follows ``u' = N u^{2-2/N} (s_i - u)`` by itself, where X^T X = 1.
        """
        U, s, Vt = np.linalg.svd(self.target, full_matrices=False)
        r = min(len(s), *self.widths)
        u = _check.real_array("strengths", strengths)
        u = np.full(r, u) if u.ndim == 0 else u
        if u.ndim != 1 or not 1 <= len(u) <= r or (u < 0).any():
            raise _check.fail("strengths", f"must be a number or up to {r} of them, not negative", strengths)
        k = len(u)
        return self._chain(U[:, :k], u ** (1 / self.depth), Vt[:k], [np.eye(width, k) for width in self.widths])

    def _chain(self, U: np.ndarray, d: np.ndarray, Vt: np.ndarray, frames: list[np.ndarray]) -> np.ndarray:
        """Flat weights ``W_i = R_i diag(d) R_{i-1}^T`` of orthonormal frames R_0 = V, R_1, ..., R_N = U."""
        chain = [Vt.T, *frames, U]
        layers = [(after * d) @ before.T for before, after in itertools.pairwise(chain)]
        return np.concatenate([W.ravel() for W in layers])
