"""Homogenized SGD: what one-pass SGD on Gaussian least squares becomes in many dimensions.

    dX = -grad L dt + sqrt(2 eta L(X) H / B) dW,    t = eta k,  eta = gamma / d

The modified equation of SGD has the covariance H e e^T H + 2 L H, e = w - w*: its first part is one direction among d,
and is left out. Risks of the two then differ by O(1/d), at a step size that moves the risk by O(1).
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, leaf
from flowdyn.methods.systems import Moments, OnProblem, SDESystem
from flowdyn.problems.base import Time, Vector
from flowdyn.problems.streaming import Streaming
from flowdyn.theory.streaming import fresh_moments_work


class HomogenizedSGD(OnProblem, SDESystem):
    r"""Homogenized SGD, the limit of one-pass SGD on Gaussian least squares as the dimension grows.

    .. math:: dX = -\nabla L(X)\,dt + \sqrt{\tfrac{2\eta}{B} L(X)}\; H^{1/2}\,dW, \qquad t = \eta k, \quad
              \eta = \gamma/d

    Parameters
    ----------
    problem : Streaming
        Inputs x ~ N(0, H), labels with noise.
    eta : float
        Step size of SGD, positive: gamma/d.
    batch_size : int
        Samples B of a step of SGD.

    Raises
    ------
    ArgumentError
        If `problem` is not Streaming, eta is not positive, or batch_size is no positive whole number.

    Notes
    -----
    Ito. Its mean and covariance are exact; 2 L - sigma^2 solves :func:`flowdyn.theory.volterra_risk`. The time of the
    source is k/d, in which all rates are gamma times these.
    Source: Paquette, Lee, Pedregosa and Paquette (2021); Collins-Woodfin and Paquette (2023).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Streaming(H=[1.0, 0.5], w_star=[1.0, 1.0], sigma=0.1)
    >>> run = fd.solve(fd.HomogenizedSGD(p, eta=0.25), p.init(), t=2.0, realizations=50, seed=1)
    >>> bool(run.excess_risk[:, -1].mean() < 0.2)
    True
    """

    problem: Streaming
    eta: jax.Array
    batch_size: int = eqx.field(static=True)
    calculus: ClassVar[str] = "ito"  # type: ignore[misc]
    noise: ClassVar[str] = "general"  # type: ignore[misc]
    summary: ClassVar[str] = "homogenized SGD dX = -grad L dt + sqrt(2 eta L H / B) dW"
    references: ClassVar[str] = "Paquette, Lee, Pedregosa and Paquette (2021); Collins-Woodfin and Paquette (2023)"

    def __init__(self, problem: Streaming, eta: Scalar, batch_size: int = 1):
        if not isinstance(problem, Streaming):
            raise _check.fail(
                "problem", "must be a Streaming problem", type(problem).__name__, "see problems.Streaming"
            )
        self.problem = problem
        self.eta = leaf("eta", eta, ndim=0, positive=True)
        self.batch_size = _check.integer("batch_size", batch_size, minimum=1)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On two correlated inputs."""
        problem, w0 = Streaming.example()
        return cls(problem, eta=0.01), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-grad L``."""
        return -self.problem.grad(state)

    def _strength(self, state: Vector) -> jax.Array:
        return jnp.sqrt(2 * self.eta / self.batch_size * self.problem.loss(state))

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``sqrt(2 eta L / B) H^{1/2}`` of shape (d, d)."""
        root = self.problem.input_root
        return self._strength(state) * (jnp.diag(root) if root.ndim == 1 else root)

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """``sqrt(2 eta L / B) H^{1/2} dW`` without a matrix where H is diagonal."""
        return self._strength(state) * self.problem.times(self.problem.input_root, increment)

    def noise_dim(self, state: np.ndarray) -> int:
        """As many Brownian motions as parameters."""
        return self.problem.size

    def default_dt(self, span: float) -> float:
        """At most eta / 2, as for SGD's own equations."""
        return min(span / 1000, float(self.eta) / 2)

    def moments_work(self, size: int, when: np.ndarray) -> float:
        """One eigenbasis, and products for each time."""
        return fresh_moments_work(size, when)

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments:
        """Mean and covariance at times from w0, in the eigenbasis of H."""
        return self.problem.fresh_noise.equation_mean_cov(float(self.eta), 1.0 / self.batch_size, 0, w0, when)
