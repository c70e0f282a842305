"""Least squares on a stream of Gaussian samples:  x ~ N(0, H),  y = <w*, x> + sigma xi,  every sample seen once.

L(w) = 1/2 E (<w, x> - y)^2 = 1/2 (w - w*)^T H (w - w*) + sigma^2 / 2
Cov(sample gradient) = H e e^T H + (e^T H e + sigma^2) H,    e = w - w*
"""

from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn._tools.memory import remember
from flowdyn.problems.base import Problem, Spectrum, Variable, Vector
from flowdyn.problems.examples import generic_start
from flowdyn.problems.inputs import Labels, axis_labels
from flowdyn.theory.moments import root
from flowdyn.theory.streaming import FreshNoise


class Streaming(Problem):
    r"""Population risk of a linear model on Gaussian samples, each of which is drawn fresh.

    .. math:: L(w) = \tfrac12 (w - w^*)^\top H (w - w^*) + \tfrac{\sigma^2}2, \qquad
              x \sim N(0, H), \quad y = \langle w^*, x\rangle + \sigma\xi

    Parameters
    ----------
    H : array_like of float, shape (d, d) or (d,)
        Covariance of the inputs, positive semi-definite; a vector is its diagonal, and costs d numbers a step.
    w_star : array_like of float, shape (d,)
        True weights.
    sigma : float
        Standard deviation of the label noise, not negative.
    labels : Labels, optional
        Names of the parameters; read off H or w_star unless given.

    Raises
    ------
    ArgumentError
        If H is not symmetric and positive semi-definite, w_star has another length, or sigma is negative.

    Notes
    -----
    Random methods draw d + 1 normals a sample; the moments of SGD are exact. The flow is that of a quadratic loss.
    Source: Paquette, Lee, Pedregosa and Paquette (2021).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Streaming(H=[1.0, 0.5], w_star=[1.0, 1.0], sigma=0.1)
    >>> run = fd.solve(fd.SGD(p, eta=0.1), p.init(), steps=50, realizations=4, seed=1)
    >>> bool(run.excess_risk[:, -1].mean() < run.excess_risk[0, 0])
    True
    """

    H: jax.Array
    w_star: jax.Array
    sigma: jax.Array
    factor: jax.Array | None  # symmetric root of H, taken once
    labels: Labels = eqx.field(static=True)

    def __init__(self, H: ArrayLike, w_star: ArrayLike, sigma: Scalar = 0.0, labels: Labels | None = None):
        self.labels = labels or axis_labels("H", H, "param")
        if not labels and "param" not in self.labels.coords:
            self.labels = axis_labels("w_star", w_star, "param")
        self.H = leaf("H", H, ndim=min(np.ndim(H), 2) or 1, limit=_check.LARGE)
        d = self.H.shape[0]
        if d == 0 or self.H.shape not in ((d,), (d, d)):
            raise _check.fail("H", "must be a square matrix or its diagonal", _check.Words(f"shape {self.H.shape}"))
        self.w_star = leaf("w_star", w_star, ndim=1, limit=_check.LARGE)
        if self.w_star.shape != (d,):
            raise _check.fail("w_star", f"must have shape ({d},)", _check.Words(f"shape {self.w_star.shape}"))
        self.sigma = leaf("sigma", sigma, ndim=0)
        if not is_traced(self.sigma) and float(self.sigma) < 0:
            raise _check.fail("sigma", "must not be negative", sigma)
        self.factor = None
        if not is_traced(self.H):
            self.factor = jnp.asarray(_root(np.asarray(self.H)))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Two inputs that are correlated."""
        return cls([[1.0, 0.3], [0.3, 0.5]], w_star=[1.0, -0.5], sigma=0.5), generic_start(2)

    @property
    def numbers(self) -> dict[str, Any]:
        """Number of parameters d, and the label noise."""
        return {"d": self.H.shape[0], "sigma": self.sigma}

    def config(self) -> dict[str, Any]:
        """Arguments that build it again."""
        return {"H": self.H, "w_star": self.w_star, "sigma": self.sigma}

    def times(self, matrix: jax.Array, v: Vector) -> jax.Array:
        """Product with H or its root, which may be given by their diagonals."""
        return matrix * v if matrix.ndim == 1 else matvec(matrix, v)

    @property
    def input_root(self) -> jax.Array:
        """The root taken at construction; inside a trace, where it was not, another one."""
        if self.factor is not None:
            return self.factor
        return jnp.sqrt(self.H) if self.H.ndim == 1 else jnp.linalg.cholesky(self.H)

    def excess_risk(self, w: Vector) -> jax.Array:
        """``1/2 (w - w*)^T H (w - w*)``, the loss above its minimum sigma^2 / 2."""
        e = jnp.asarray(w) - self.w_star
        return 0.5 * jnp.sum(e * self.times(self.H, e))

    def loss(self, w: Vector) -> jax.Array:
        """Population risk: the excess risk and sigma^2 / 2."""
        return self.excess_risk(w) + 0.5 * self.sigma**2

    @property
    def fresh_numbers(self) -> int:
        """One normal an input, and one for the label."""
        return self.H.shape[0] + 1

    def fresh_losses(self, w: Vector, numbers: jax.Array) -> jax.Array:
        """``1/2 (<w - w*, x> - sigma xi)^2`` of shape (B,) for x = H^{1/2} z, numbers (z, xi) of shape (B, d + 1)."""
        direction = self.times(self.input_root.T, jnp.asarray(w) - self.w_star)
        return 0.5 * (numbers[:, :-1] @ direction - self.sigma * numbers[:, -1]) ** 2

    def noise_factor(self, w: Vector) -> jax.Array:
        """Columns ``H e`` and ``sqrt(e^T H e + sigma^2) H^{1/2}``, shape (d, d + 1)."""
        root = self.input_root
        matrix = jnp.diag(root) if root.ndim == 1 else root
        pull = self.times(self.H, jnp.asarray(w) - self.w_star)
        return jnp.concatenate([pull[:, None], jnp.sqrt(2 * self.loss(w)) * matrix], axis=1)

    def noise_product(self, w: Vector, z: Vector) -> jax.Array:
        """``G(w) z`` for z of shape (d + 1,) without forming G."""
        pull = self.times(self.H, jnp.asarray(w) - self.w_star)
        return pull * z[0] + jnp.sqrt(2 * self.loss(w)) * self.times(self.input_root, z[1:])

    @property
    def fresh_noise(self) -> FreshNoise:
        """The law of the stream in the eigenbasis of H, for its exact moments."""
        values, basis = remember(_eigen, self.H)
        return FreshNoise(values, basis, np.asarray(self.w_star), float(self.sigma))

    def observables(self, w: Vector) -> dict[str, Vector]:
        """Loss, gradient norm and excess risk."""
        return super().observables(w) | {"excess_risk": self.excess_risk(w)}

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Loss and gradient norm, then the excess risk."""
        return (*super().observable_variables, Variable("excess_risk", (), (), "excess risk, the loss less sigma^2/2"))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One vector w over the parameters."""
        return (Variable("w", ("param",), self.w_star.shape, "weights w"),)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Parameter labels, where H or w_star carried some."""
        return self.labels.coords

    @property
    def arrays(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """Covariance and true weights travel in the file."""
        dims = ("param",) if self.H.ndim == 1 else ("param", "param_2")
        return {"H": (dims, "covariance of the inputs"), "w_star": (("param",), "true weights w*")}

    @property
    def citation(self) -> str:
        """Source of the model, for the references of a file."""
        return "least squares on a Gaussian stream; Paquette, Lee, Pedregosa and Paquette (2021)"

    def init(self) -> np.ndarray:
        """Origin of shape (d,)."""
        return np.zeros(self.w_star.shape)

    def spectrum(self) -> Spectrum:
        """Eigenbasis of H; directions without inputs never move and are left out."""
        values, basis = remember(_eigen, self.H)
        kept = values > len(values) * np.finfo(float).eps * values.max(initial=0.0)
        vectors = (np.eye(len(values)) if basis is None else basis)[:, kept]
        return Spectrum(values[kept], vectors, vectors.T @ np.asarray(self.w_star))


def _eigen(H: jax.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """Eigenvalues (d,), and vectors as columns; None for the unit vectors."""
    if H.ndim == 1:
        return np.asarray(H), None
    values, vectors = np.linalg.eigh(np.asarray(H))
    return np.clip(values, 0.0, None), vectors


def _root(H: np.ndarray) -> np.ndarray:
    """Symmetric root of a covariance, or of its diagonal; anything else is refused."""
    if H.ndim == 2 and np.abs(H - H.T).max() > 1e-12 * np.abs(H).max(initial=0.0):
        raise _check.fail("H", "must be symmetric", H, "use (H + H.T) / 2")
    values = H if H.ndim == 1 else np.linalg.eigvalsh(H)
    if values.min() < -1e-12 * max(values.max(), 1e-300):
        smallest = _check.Words(f"smallest eigenvalue {values.min():.3g}")
        raise _check.fail("H", "must be positive semi-definite", smallest)
    return np.sqrt(np.clip(H, 0.0, None)) if H.ndim == 1 else root((H + H.T) / 2)
