"""The kernel regime: a model linearised at w0, whose gradient flow is exact (Remark 9.21).

w' = -2 scale J0^T (r0 + J0 (w - w0)),   J0 = df/dw(w0),  r0 = f(w0) - y
"""

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import is_traced
from flowdyn._tools.memory import remember
from flowdyn.methods.spectral import flow_shares, relaxation
from flowdyn.methods.systems import ClosedForm, ODESystem, OnProblem
from flowdyn.problems.base import Spectrum, Time, Vector
from flowdyn.problems.diagonal_network import DiagonalNetwork
from flowdyn.problems.regression import Regression


class KernelFlow(OnProblem, ODESystem):
    r"""Gradient flow of the model linearised at w0.

    .. math:: w' = -2\,\mathrm{scale}\, J_0^\top (r_0 + J_0 (w - w_0))

    Parameters
    ----------
    problem : Regression
        Squared loss on any predictor.
    w0 : array_like of float, shape (P,), mapping or pytree
        Where the model is linearised.

    Raises
    ------
    ArgumentError
        If `problem` is not a regression, or w0 does not fit its layout.

    Notes
    -----
    Exact at any time. The observables of the Dataset (loss, theta) are those of the full model at the weights. On the
    diagonal network with scale alpha, theta of the linearised model is X^T (X X^T)^{-1} (1 - exp(-X X^T s)) y in the
    time s = 8 alpha^2 t, and differs from the network's own by O(alpha^{-4}). Source: section 9.3, Remark 9.21.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.DiagonalNetwork([[1.0, 0.5]], [1.0])
    >>> w0 = p.init(alpha=10.0)
    >>> lazy = fd.solve(fd.KernelFlow(p, w0), w0, t=1.0, saves=2)
    >>> full = fd.solve(fd.GradientFlow(p), w0, t=1.0, saves=2)
    >>> bool(fd.comparison.sup_error(lazy, full) < 1e-3)
    True
    """

    problem: Regression
    w0: jax.Array
    jacobian: jax.Array
    residual: jax.Array
    summary: ClassVar[str] = "gradient flow of the model linearised at its start (kernel regime)"
    references: ClassVar[str] = "Jacot, Gabriel and Hongler (2018); Chizat, Oyallon and Bach (2019)"

    def __init__(self, problem: Regression, w0: Any):
        if not isinstance(problem, Regression):
            raise _check.fail("problem", "must be a regression", type(problem).__name__)
        self.problem = problem
        self.w0 = jnp.asarray(w0 if is_traced(w0) else problem.ravel(w0))
        self.jacobian, self.residual = problem.jacobian(self.w0), problem.residuals(self.w0)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """A diagonal network linearised near the start."""
        return cls(DiagonalNetwork([[2.0]], [1.0]), [1.2, -0.5]), np.array([1.0, -0.5])

    def config(self) -> dict[str, Any]:
        """Problem and point of linearisation."""
        return {"problem": self.problem, "w0": self.w0}

    def predict(self, w: Vector) -> jax.Array:
        """Predictions of the linearised model, shape (n,)."""
        return self.problem.targets + self.residual + self.jacobian @ (w - self.w0)

    def drift(self, t: Time, state: Vector) -> Vector:
        """Minus the gradient of the linearised model's loss."""
        return -2 * self.problem.scale * (self.residual + self.jacobian @ (state - self.w0)) @ self.jacobian

    def closed_form(self) -> ClosedForm | None:
        """Exponential relaxation of each mode of J0, cut at its numerical rank."""
        J, r = np.asarray(self.jacobian), np.asarray(self.residual)
        U, s, Vt = remember(_decomposed, self.jacobian)
        kept = s > max(J.shape) * np.finfo(float).eps * s.max(initial=0.0)
        goal = Vt[kept] @ np.asarray(self.w0) - (U[:, kept].T @ r) / s[kept]
        return relaxation(Spectrum(2 * float(self.problem.scale) * s[kept] ** 2, Vt[kept].T, goal), flow_shares)


def _decomposed(jacobian: jax.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.linalg.svd(np.asarray(jacobian), full_matrices=False)
