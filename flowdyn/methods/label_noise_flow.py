"""The slow flow of label-noise SGD along the zero-loss manifold, section 9.5, in the time tau = eta^2 k.

    dY/dtau = -(c sigma^2 / (2 B)) P_T grad tr H,    P_T = I - J^+ J,  J = df/dw,  tr H = (2c/n) ||J||_F^2

(Li, Wang and Arora 2022), for the loss (c/n) sum r_i^2: it starts where the gradient flow of w(0) ends.
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar
from flowdyn.methods.label_noise import checked_regression, checked_sigma
from flowdyn.methods.systems import ODESystem, OnProblem
from flowdyn.problems.base import Time, Variable, Vector
from flowdyn.problems.regression import Regression
from flowdyn.problems.squared_regression import SquaredRegression

INTERPOLATES = 1e-4  # largest residual, beside the size of the targets, at which a start counts as on the manifold


class LabelNoiseFlow(OnProblem, ODESystem):
    r"""Flow of the trace of the Hessian along the interpolating weights.

    .. math:: \frac{dY}{d\tau} = -\frac{c\,\sigma^2}{2B} P_T \nabla \operatorname{tr} H(Y), \qquad \tau = \eta^2 k

    Parameters
    ----------
    problem : Regression
        Squared loss, c = n * scale.
    sigma : float
        Standard deviation of the label noise.
    batch_size : int
        Batch B of label-noise SGD.

    Raises
    ------
    ArgumentError
        If `problem` is not a regression or sigma is negative; by :func:`flowdyn.solve`, if the start does not
        interpolate: take the end of ``GradientFlow``.

    Notes
    -----
    `t` in the Dataset is tau. The mean of label-noise SGD over many runs approaches it as eta -> 0, at the step
    k = tau / eta^2. Source: section 9.5, item 3; Li, Wang and Arora (2022).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.SquaredRegression([[1.0, 2.0]], [2.0])
    >>> run = fd.solve(fd.LabelNoiseFlow(p, sigma=1.0), [1.2, 0.5291502622129181], t=5.0)
    >>> bool(run.trace_hessian[-1] < run.trace_hessian[0]), bool(abs(run.loss[-1]) < 1e-12)
    (True, True)
    """

    problem: Regression
    sigma: jax.Array
    batch_size: int = eqx.field(static=True)
    summary: ClassVar[str] = "slow flow of label-noise SGD along the zero-loss manifold"
    references: ClassVar[str] = "Li, Wang and Arora (2022); Blanc, Gupta, Valiant and Valiant (2020)"

    def __init__(self, problem: Regression, sigma: Scalar, batch_size: int = 1):
        self.problem, self.sigma = checked_regression(problem), checked_sigma(sigma)
        self.batch_size = _check.integer("batch_size", batch_size, minimum=1)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Two weights on the valley that interpolates one sample."""
        return cls(SquaredRegression([[1.0, 2.0]], [1.5]), sigma=1.0), np.array([1.0, -0.5])

    def trace_hessian(self, w: Vector) -> jax.Array:
        """``(2c/n) ||J||_F^2``, the trace of the Hessian where the residuals vanish."""
        return 2 * self.problem.scale * jnp.sum(self.problem.jacobian(w) ** 2)

    def drift(self, t: Time, state: Vector) -> Vector:
        """Tangential part of ``-(c sigma^2/(2B)) grad tr H``."""
        J = self.problem.jacobian(state)
        force = jax.grad(self.trace_hessian)(jnp.asarray(state))
        # J loses rank as weights vanish: the normal part comes from the eigenvectors of J J^T above rounding
        values, vectors = jnp.linalg.eigh(J @ J.T)
        good = values > 1e-13 * values[-1]
        weights = (vectors.T @ (J @ force)) * jnp.where(good, 1 / jnp.where(good, values, 1.0), 0.0)
        rate = self.problem.sample_scale * self.sigma**2 / (2 * self.batch_size)
        return -rate * (force - (vectors @ weights) @ J)

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Those of the problem, then the trace that is minimised."""
        return (*super().observable_variables, Variable("trace_hessian", (), (), "trace of the Gauss-Newton Hessian"))

    def observables(self, state: Vector) -> dict[str, Vector]:
        """Those of the problem, and the trace of the Gauss-Newton Hessian."""
        return super().observables(state) | {"trace_hessian": self.trace_hessian(state)}

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a start that does not interpolate."""
        worst = float(np.abs(np.asarray(self.problem.residuals(state0))).max())
        scale = float(np.abs(np.asarray(self.problem.targets)).max()) or 1.0
        if not worst <= INTERPOLATES * scale:
            raise _check.fail(
                "w0",
                "must interpolate the data",
                f"a residual of {worst:.3g}",
                "start at the end of GradientFlow(problem)",
            )
