"""SGD as a stochastic differential equation, section 9.5.

    dX = -grad L dt + sqrt(eta s) G(X) dW                                   order 1,  G G^T = Sigma
    dX = -grad (L + (eta/4) ||grad L||^2) dt + sqrt(eta s) G(X) dW          order 2
    G -> G + (eta/2) (H G + G'[grad L])                                     order 2, matched

G is the d x n factor of the sample gradients: no matrix root is taken, and G dW is one gradient of a weighted loss.
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, leaf
from flowdyn.methods.recursion_equation import Covariance, checked_covariance
from flowdyn.methods.sampling import Sampling, batch_noise_scale, check_batch
from flowdyn.methods.systems import Moments, OnProblem, SDESystem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.theory.linear_moments import linear_sde_mean_cov, matched_noise
from flowdyn.theory.moments import LinearGaussianLaw
from flowdyn.theory.moments_work import sde_route
from flowdyn.theory.streaming import fresh_moments_work


class ModifiedEquation(OnProblem, SDESystem):
    """Base: the drift of order 1 or 2 and the noise of the samples."""

    problem: Problem
    eta: jax.Array
    batch_size: int = eqx.field(static=True)
    order: int = eqx.field(static=True)
    calculus: ClassVar[str] = "ito"  # type: ignore[misc]

    @property  # type: ignore[misc]
    def noise(self) -> str:  # type: ignore[override]
        """Additive where the problem defines Gaussian noise, else general."""
        return "general" if self.problem.gaussian_factor is None else "additive"

    @property
    def strength(self) -> jax.Array:
        """``sqrt(eta s)``, the factor in front of G."""
        return jnp.sqrt(self.eta / self.batch_size)

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-grad L``, with ``-(eta/2) H grad L`` for order 2."""
        grad = self.problem.grad(state)
        return -grad if self.order == 1 else -grad - 0.5 * self.eta * self.problem.hvp(state, grad)

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``sqrt(eta s) G(w)``."""
        return self.strength * self.problem.noise_factor(state)

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """``sqrt(eta s) G(w) dW`` by one gradient."""
        return self.strength * self.problem.noise_product(state, increment)

    def noise_dim(self, state: np.ndarray) -> int:
        """One Brownian motion a sample, or a column of the factor of a given noise."""
        return self.problem.noise_dim

    def default_dt(self, span: float) -> float:
        """At most eta / 2: a step as long as SGD's own would repeat SGD."""
        return min(span / 1000, float(self.eta) / 2)


class StochasticModifiedEquation(ModifiedEquation):
    r"""Stochastic modified equation of SGD, of weak order 1 or 2 in eta.

    .. math:: dX = -\nabla\big(L + [p{=}2]\tfrac{\eta}{4}\|\nabla L\|^2\big)\,dt + \sqrt{\eta s}\,G(X)\,dW,
              \qquad GG^\top = \Sigma

    Parameters
    ----------
    problem : Problem
        With n samples (n Brownian motions), or a Quadratic with noise (d of them).
    eta : float
        Step size of SGD, positive.
    batch_size : int
        Batch B of SGD.
    order : {1, 2}
        Weak order p.
    sampling : {"with", "without"}
        How SGD draws: s = 1/B, or (n - B)/(B (n - 1)).
    covariance : {"plain", "matched"}
        Whether the factor G of order 2 has the correction that makes covariances right to eta^2.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a noise of its own, eta is not positive, the order is neither 1 nor 2, or
        the sampling is "reshuffle", whose steps are not independent; if order 1 is to be matched.

    Notes
    -----
    Ito. On a Quadratic with noise it is an Ornstein-Uhlenbeck process and exact. The second-order equation is the
    closer one at fixed t, but the farther one for the stationary variance (relative gap eta lam against eta lam / 2):
    matched, its gap is O(eta^2). Source: section 9.5; Li, Tai and E (2017); the matched covariance is of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> sde = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), eta=0.1).limit(order=1)
    >>> float(sde.diffusion(0.0, [1.0])[0, 0]) == 0.1**0.5
    True
    """

    sampling: Sampling = eqx.field(static=True)
    covariance: Covariance = eqx.field(static=True)
    summary: ClassVar[str] = "stochastic modified equation of SGD"
    references: ClassVar[str] = "Li, Tai and E (2017, 2019)"

    def __init__(
        self,
        problem: Problem,
        eta: Scalar,
        batch_size: int = 1,
        order: int = 1,
        sampling: Sampling = "with",
        covariance: Covariance = "plain",
    ):
        self.problem = checked_problem(problem)
        if not problem.noise_dim:
            raise _check.fail("problem", "must have samples or a gradient noise", type(problem).__name__)
        self.eta = leaf("eta", eta, ndim=0, positive=True)
        self.order = checked_order(order)
        self.covariance = checked_covariance(covariance)
        if self.covariance == "matched" and self.order == 1:
            raise _check.fail("covariance", "must be 'plain' at order 1", covariance, "use order=2")
        n = None if problem.gaussian_factor is not None else problem.sample_count
        self.batch_size, self.sampling = check_batch(batch_size, n, sampling)
        if sampling == "reshuffle":
            raise _check.fail("sampling", "must be 'with' or 'without': reshuffled steps are not independent", sampling)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01), w0

    @property
    def noise_scale(self) -> float:
        """Share s of one sample's covariance."""
        n = None if self.problem.gaussian_factor is not None else self.problem.sample_count
        return batch_noise_scale(self.batch_size, n, self.sampling)

    @property
    def strength(self) -> jax.Array:
        """``sqrt(eta s)``."""
        return jnp.sqrt(self.eta * self.noise_scale)

    @property  # type: ignore[misc]
    def noise(self) -> str:  # type: ignore[override]
        """Additive where the noise is Gaussian by the problem's definition and its factor does not turn with w."""
        if self.covariance == "matched" and self.problem.linear_work is None:
            return "general"
        return super().noise

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``sqrt(eta s) G(w)``, with the correction of order eta where it is matched."""
        G = self.problem.noise_factor(state)
        if self.covariance == "matched":
            grad = self.problem.grad(state)
            turned = jax.vmap(lambda column: self.problem.hvp(state, column), in_axes=1, out_axes=1)(G)
            moved = jax.jvp(self.problem.noise_factor, (jnp.asarray(state),), (grad,))[1]
            G = G + 0.5 * self.eta * (turned + moved)
        return self.strength * G

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """``sqrt(eta s) G(w) dW`` by one gradient; matched, by its derivatives along two directions."""
        if self.covariance == "plain":
            return self.strength * self.problem.noise_product(state, increment)
        w, grad = jnp.asarray(state), self.problem.grad(state)
        noise, moved = jax.jvp(lambda v: self.problem.noise_product(v, increment), (w,), (grad,))
        return self.strength * (noise + 0.5 * self.eta * (self.problem.hvp(w, noise) + moved))

    def linear_law(self) -> LinearGaussianLaw | None:
        """Ornstein-Uhlenbeck where loss and noise are those of a Quadratic."""
        if self.problem.gaussian_factor is None:
            return None
        noise: Any = self.problem.linear_gradients()
        if noise is None:
            return None
        slope = np.eye(len(noise.b)) if self.order == 1 else np.eye(len(noise.b)) + float(self.eta) / 2 * noise.A
        D = noise.additive if self.covariance == "plain" else slope @ noise.additive @ slope
        return LinearGaussianLaw(slope @ noise.A, float(self.eta) * self.noise_scale * D, slope @ noise.b)

    def moments_work(self, size: int, when: np.ndarray) -> float:
        """Of the law where there is one, else of the moments' own equation."""
        if self.problem.gaussian_factor is not None:
            return super().moments_work(size, when)
        if self.problem.fresh_noise is not None:
            return 0.0 if self.covariance == "matched" else fresh_moments_work(size, when)
        made = self.problem.linear_work
        if made is None:
            return 0.0  # they are not known
        return made.operations + sde_route(made.size, np.diff(when, prepend=0.0), float(self.eta)).work

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance wherever the sample gradients are linear in w."""
        if self.linear_law() is not None:
            return super().exact_moments(w0, when)
        fresh = self.problem.fresh_noise
        if fresh is not None:
            if self.covariance == "matched":
                return None
            return fresh.equation_mean_cov(float(self.eta), self.noise_scale, self.order, w0, when)
        noise = self.problem.linear_gradients()
        if noise is None:
            return None
        eta = float(self.eta)
        if self.covariance == "matched":
            noise = matched_noise(noise, eta)
        return linear_sde_mean_cov(noise, eta, self.noise_scale, self.order, w0, when)


def checked_order(order: Any) -> int:
    """Return the order if it is 1 or 2, else refuse it."""
    if _check.integer("order", order, minimum=1) > 2:
        raise _check.fail("order", "must be 1 or 2", order, "no stochastic equation of higher order is known here")
    return int(order)
