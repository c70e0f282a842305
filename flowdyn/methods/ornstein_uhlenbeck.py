"""The Ornstein-Uhlenbeck process, section 9.5:  dX = (b - A (X - c)) dt + D^{1/2} dW,  with its exact law.

linearize() gives the one that any SGD looks like near a point:  A = H(w),  D = covariance of its limit's noise there.
"""

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn._tools.compiled import matvec
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.described import PLAIN_TIME
from flowdyn.methods.systems import OnProblem, SDESystem
from flowdyn.problems.base import Time, Variable, Vector
from flowdyn.theory import moments


class OrnsteinUhlenbeck(SDESystem):
    r"""Linear drift with additive noise.

    .. math:: dX = (b - A (X - c))\,dt + D^{1/2}\,dW

    Parameters
    ----------
    A : array_like of float, shape (d, d) or scalar
        Drift matrix; directions in which it vanishes diffuse.
    D : array_like of float, shape (d, d) or scalar
        Covariance of the noise per unit time, positive semi-definite (eta Sigma / B for SGD).
    center, force : array_like of float, shape (d,), optional
        c and b, else 0.

    Raises
    ------
    ArgumentError
        If A is not square, D not a covariance of its size, or a vector of another length.

    Notes
    -----
    ``solve`` samples the exact law on any grid. Source: section 9.5, items 1 and 2; Uhlenbeck and Ornstein (1930).

    Examples
    --------
    >>> import flowdyn as fd
    >>> ou = fd.OrnsteinUhlenbeck(A=1.0, D=0.1)
    >>> round(float(ou.stationary_cov()[0, 0]), 12)
    0.05
    """

    A: jax.Array
    D: jax.Array
    center: jax.Array
    force: jax.Array
    factor: jax.Array
    calculus: ClassVar[str] = "ito"  # type: ignore[misc]
    noise: ClassVar[str] = "additive"  # type: ignore[misc]
    summary: ClassVar[str] = "Ornstein-Uhlenbeck process dX = (b - A (X - c)) dt + D^(1/2) dW"

    def __init__(self, A: ArrayLike, D: ArrayLike, center: ArrayLike | None = None, force: ArrayLike | None = None):
        matrix = _check.real_array("A", A if np.ndim(A) else [[A]], ndim=2)
        d = len(matrix)
        if matrix.shape != (d, d) or d == 0:
            raise _check.fail("A", "must be a square matrix", _check.Words(f"shape {matrix.shape}"))
        noise = moments.covariance("D", D, d)
        self.A, self.D, self.factor = jnp.asarray(matrix), jnp.asarray(noise), jnp.asarray(moments.root(noise))
        self.center, self.force = (
            jnp.zeros(d) if v is None else jnp.asarray(_check.real_array(name, np.atleast_1d(v), shape=(d,)))
            for name, v in (("center", center), ("force", force))
        )

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Two coordinates that are coupled."""
        return cls([[2.0, 0.5], [0.5, 1.0]], 0.1 * np.eye(2)), np.array([0.4, 0.35])

    def config(self) -> dict[str, Any]:
        """Arguments that build the process again."""
        return {"A": self.A, "D": self.D, "center": self.center, "force": self.force}

    def layout(self, size: int) -> tuple[Variable, ...]:
        """One vector ``w`` over `param`."""
        return (Variable("w", ("param",), (self.A.shape[0],), "state X"),)

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat state (d,); a number where d = 1."""
        return _check.real_array("w0", np.atleast_1d(w0), shape=(self.A.shape[0],))

    def drift(self, t: Time, state: Vector) -> Vector:
        """``b - A (x - c)``."""
        return self.force - matvec(self.A, jnp.asarray(state) - self.center)

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """Symmetric root of D, shape (d, d)."""
        return self.factor

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """``D^{1/2} dW`` of shape (d,)."""
        return matvec(self.factor, increment)

    def noise_dim(self, state: np.ndarray) -> int:
        """As many Brownian motions as parameters, d."""
        return self.A.shape[0]

    @property
    def time_name(self) -> str:
        """What t is of an equation that need not be one of training."""
        return PLAIN_TIME

    def linear_law(self) -> moments.LinearGaussianLaw:
        """The law of the process itself, with force b + A c."""
        A = np.asarray(self.A)
        return moments.LinearGaussianLaw(A, np.asarray(self.D), np.asarray(self.force) + A @ np.asarray(self.center))

    def mean_cov(self, x0: ArrayLike, t: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Mean (T, d) and covariance (T, d, d) at times t, from x0."""
        law = self.linear_law()
        return moments.ou_mean_cov(law.A, law.D, self.ravel(x0), t, force=law.force)

    def stationary_cov(self) -> np.ndarray:
        """Stationary covariance S: A S + S A^T = D; refused where a mode does not decay."""
        return moments.stationary_cov(self.A, self.D, 1.0, "ou")

    def autocovariance(self, tau: ArrayLike) -> np.ndarray:
        """Stationary autocovariance at the lags tau, shape (T, d, d)."""
        return moments.ou_autocovariance(self.A, self.stationary_cov(), tau)


@told
def linearize(method: RecursionSystem, at: Any) -> OrnsteinUhlenbeck:
    r"""Ornstein-Uhlenbeck process that a random method looks like near a point.

    .. math:: dX = -(\nabla L(w) + H(w)(X - w))\,dt + D(w)^{1/2}\,dW

    Parameters
    ----------
    method : RecursionSystem
        SGD, SVAG or LabelNoiseSGD with a constant eta.
    at : array_like of float, shape (P,), mapping or pytree
        The point w; usually a minimum.

    Returns
    -------
    OrnsteinUhlenbeck
        A = H(w), D the covariance of the noise of the method's first-order equation at w, force -grad L(w).

    Raises
    ------
    ArgumentError
        If `method` is not a random recursion on a problem, or its eta is a changing schedule.

    Notes
    -----
    Source: section 9.5, items 1 and 2, for the quadratic part of the loss; Mandt, Hoffman and Blei (2017).

    Examples
    --------
    >>> import flowdyn as fd
    >>> import numpy as np
    >>> p = fd.problems.CustomRegression(lambda w: w**2, [1.0], np.ones(1))  # a minimum at w = 1 with Hessian 4
    >>> ou = fd.linearize(fd.LabelNoiseSGD(p, eta=0.1, sigma=1.0), at=[1.0])
    >>> float(ou.A[0, 0]), round(float(ou.stationary_cov()[0, 0]), 12)  # eta sigma^2 / 2 on the range of H
    (4.0, 0.05)
    """
    if not (isinstance(method, RecursionSystem) and isinstance(method, OnProblem) and method.is_random):
        raise _check.fail("method", "must be a random recursion on a problem", method, "e.g. fd.SGD(problem, eta)")
    w = method.ravel(at)
    limit = method.limit(1)
    assert isinstance(limit, SDESystem)
    G = np.asarray(limit.diffusion(0.0, jnp.asarray(w)))
    return OrnsteinUhlenbeck(method.problem.hessian(w), G @ G.T, center=w, force=-np.asarray(method.problem.grad(w)))
