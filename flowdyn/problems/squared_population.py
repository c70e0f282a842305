"""Population loss of the squared parametrisation:  L(w) = 1/4 ||w ⊙ w - theta*||^2   (9.15)

    grad L = (w ⊙ w - theta*) ⊙ w   (9.22)

The flow decouples: u = w^2 obeys the logistic equation u' = 2 u (theta* - u).
"""

from collections.abc import Callable
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import is_traced, leaf
from flowdyn.problems.base import Problem, Variable, Vector, predictor_variable
from flowdyn.problems.examples import generic_start
from flowdyn.problems.inputs import Labels, axis_labels


class SquaredPopulation(Problem):
    r"""Expected loss of :class:`SquaredRegression` over Gaussian data x ~ N(0, I).

    .. math:: L(w) = \tfrac14 \|w \odot w - \theta^*\|^2

    Parameters
    ----------
    theta_star : array_like of float, shape (d,)
        True predictor, nonnegative (it is b* ⊙ b* in the source).
    labels : Labels, optional
        Names of the features; read off theta_star unless given.

    Raises
    ------
    ArgumentError
        If an entry of theta_star is negative, masked or not finite.

    Notes
    -----
    The gradient flow is exact. Source: section 9.2, equations (9.15) and (9.22), Theorem 9.13.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.SquaredPopulation([1.0, 0.0])
    >>> run = fd.solve(fd.GradientFlow(p), p.init(alpha=1e-3), t=[6.358449])
    >>> run.w.values.round(6).tolist()
    [[0.5, 0.001]]
    """

    theta_star: jax.Array
    labels: Labels = eqx.field(static=True)

    def __init__(self, theta_star: ArrayLike, labels: Labels | None = None):
        self.theta_star = leaf("theta_star", theta_star, ndim=1)
        self.labels = labels or axis_labels("theta_star", theta_star, "feature")
        if not is_traced(self.theta_star) and (np.asarray(self.theta_star) < 0).any():
            raise _check.fail("theta_star", "must not be negative (it is a square)", np.asarray(theta_star))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Three features, one of them off the support."""
        return cls([1.0, 0.5, 0.0]), generic_start(3)

    @property
    def numbers(self) -> dict[str, Any]:
        """Number of features d."""
        return {"d": self.theta_star.shape[0]}

    def loss(self, w: Vector) -> jax.Array:
        """``1/4 ||w ⊙ w - theta*||^2``."""
        w = jnp.asarray(w)
        return 0.25 * jnp.sum((w * w - self.theta_star) ** 2)

    def observables(self, w: Vector) -> dict[str, Vector]:
        """Loss, gradient norm and theta = w ⊙ w."""
        return super().observables(w) | {"theta": w * w}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One vector w over the features."""
        return (Variable("w", ("feature",), self.theta_star.shape, "weights w, theta = w*w"),)

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Loss and gradient norm, then theta over the features."""
        return (*super().observable_variables, predictor_variable(self.theta_star.shape[0]))

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Feature labels, where theta_star carried some."""
        return self.labels.coords

    @property
    def arrays(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """The true predictor travels in the file."""
        return {"theta_star": (("feature",), "true predictor theta*")}

    @property
    def citation(self) -> str:
        """Section of the chapter, for the references of a file."""
        return "population loss of the squared parametrisation, section 9.2, equation (9.15)"

    def init(self, alpha: float) -> np.ndarray:
        """``alpha * 1`` of shape (d,), alpha > 0: the origin is a critical point."""
        return np.full(self.theta_star.shape, _check.real("alpha", alpha, positive=True))

    def exact_flow(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """The logistic flow, which decouples over the features."""
        return self._logistic

    def _logistic(self, w0: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Logistic growth where theta* > 0, ``w0 / sqrt(1 + 2 w0^2 t)`` where theta* = 0; signs are kept."""
        c, u0, time = np.asarray(self.theta_star), w0 * w0, t[:, None]
        decay = np.exp(-2 * c * time)
        # (1 - decay) / c, with its limit 2 t as c -> 0: then u = u0 / (decay + u0 growth) covers both cases
        growth = np.where(c > 0, -np.expm1(-2 * c * time) / np.where(c > 0, c, 1.0), 2 * time)
        u = u0 / np.where(u0 > 0, decay + u0 * growth, 1.0)
        return np.sign(w0) * np.sqrt(u)
