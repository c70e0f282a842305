"""Stochastic gradient descent, section 9.5.

    w_{k+1} = w_k - eta g_k,   E g_k = grad L(w_k),   Cov(g_k) = s Sigma(w_k)

It tends to dX = -grad L dt + sqrt(eta s Sigma) dW at weak order 1 in eta.
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.randomness import Draw, RandomInputs, below
from flowdyn.methods.gradient_descent import GradientDescent, GradientFlow
from flowdyn.methods.modified_equation import StochasticModifiedEquation
from flowdyn.methods.recursion_equation import COVARIANCES, ORDERS, Covariance, RecursionEquation
from flowdyn.methods.sampling import Sampling, batch_noise_scale, check_batch, distinct, order_of
from flowdyn.methods.scatter_of_steps import Scatter
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import Moments, OnProblem, System, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule
from flowdyn.theory.linear_moments import linear_sgd_mean_cov
from flowdyn.theory.moments_work import sgd_route
from flowdyn.theory.streaming import fresh_moments_work


def noisy_problem(problem: Any) -> Problem:
    """Refuse a problem without samples and without a noise of its own."""
    checked_problem(problem)
    if not problem.noise_dim:
        raise _check.fail(
            "problem",
            "must have samples or a gradient noise",
            type(problem).__name__,
            "e.g. Quadratic(A, noise=Sigma), or CustomProblem(..., sample_losses=...)",
        )
    return problem


class Sampled(OnProblem, RandomRecursionSystem):
    """Gradients estimated from a batch, given or fresh, or with the Gaussian noise that the problem defines."""

    problem: Problem
    eta: Schedule
    batch_size: int = eqx.field(static=True)
    references: ClassVar[str] = "Li, Tai and E (2017, 2019)"

    def gradient(self, state: Vector, index: Any, numbers: jax.Array) -> jax.Array:
        """Mean gradient of the samples in `index` or made of `numbers`, or the gradient with Gaussian noise."""
        factor = self.problem.gaussian_factor
        if factor is not None:
            # minus: the step then adds the same multiple of the numbers as the equation's increment
            return self.problem.grad(state) - matvec(factor, numbers) / np.sqrt(self.batch_size)
        if self.problem.fresh_numbers:
            fresh = numbers.reshape(self.batch_size, self.problem.fresh_numbers)
            return jax.grad(lambda w: jnp.mean(self.problem.fresh_losses(w, fresh)))(jnp.asarray(state))
        return jax.grad(lambda w: jnp.mean(self.problem.batch_losses(w, index)))(jnp.asarray(state))

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about a step size above the stability threshold of gradient descent."""
        return GradientDescent(self.problem, self.increments).warn_before(w0)

    @property
    def is_gaussian(self) -> bool:
        """Whether the noise is Gaussian by the problem's definition."""
        return self.problem.gaussian_factor is not None

    @property
    def batch_inputs(self) -> RandomInputs:
        """What one batch draws: a word a given sample, normals for fresh ones, or one normal a parameter."""
        if self.is_gaussian:
            return RandomInputs(numbers=self.problem.size)
        if self.problem.fresh_numbers:
            return RandomInputs(numbers=self.batch_size * self.problem.fresh_numbers)
        return RandomInputs(words=self.batch_size)

    def moments_work(self, size: int, when: np.ndarray) -> float:
        """Of the samples' gradients and of the cheapest way through the steps; 0 where no moments are known."""
        if self.problem.fresh_noise is not None:
            return fresh_moments_work(size, when)
        made = self.problem.linear_work
        if made is None or not isinstance(self.eta, Constant) or self.epoch:
            return 0.0
        return made.operations + sgd_route(made.size, np.diff(when, prepend=0)).work


class SGD(Sampled, Scatter):
    r"""Stochastic gradient descent with batches of size B, at training time t = eta k.

    .. math:: w_{k+1} = w_k - \eta_k \frac1B \sum_{i \in \mathrm{batch}_k} \nabla \ell_i(w_k)

    On ``Quadratic(A, noise)`` the gradient carries Gaussian noise of covariance noise / B instead; on ``Streaming``
    each step draws B fresh samples.

    Parameters
    ----------
    problem : Problem
        With samples, given or fresh, or a Quadratic with noise.
    eta : float or Schedule
        Step size, positive.
    batch_size : int
        B >= 1; at most n without replacement.
    sampling : {"with", "without", "reshuffle"}
        Draw each batch with replacement, as a random subset, or along a new random order of the data each epoch (of
        floor(n / B) steps; what is left over is not used that epoch).

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a noise of its own, eta is not positive, or a batch without replacement
        exceeds n.

    Warns
    -----
    FlowdynWarning
        By :func:`flowdyn.solve`, if eta exceeds 2 / lambda_max of the Hessian at the start, or second moments on fresh
        samples grow.

    Notes
    -----
    Noise covariance at w: Sigma(w)/B with replacement, times (n - B)/(n - 1) without. Limits: order 0 the gradient
    flow, 1 and 2 the stochastic modified equations, 3 with covariance="matched" a :class:`RecursionEquation`, where the
    noise has no third moments. Source: section 9.5; Li, Tai and E (2017).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0, noise=1.0)
    >>> run = fd.solve(fd.SGD(p, eta=0.1), [1.0], steps=10, realizations=4, seed=1)
    >>> run.w.shape  # (realization, t, param)
    (4, 11, 1)
    """

    sampling: Sampling = eqx.field(static=True)
    summary: ClassVar[str] = "stochastic gradient descent"
    covariances: ClassVar[tuple[str, ...]] = COVARIANCES

    def __init__(self, problem: Problem, eta: StepSize, batch_size: int = 1, sampling: Sampling = "with"):
        self.problem = noisy_problem(problem)
        self.eta = as_schedule("eta", eta)
        n = None if self.is_gaussian else problem.sample_count
        self.batch_size, self.sampling = check_batch(batch_size, n, sampling)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01), w0

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about a step size above the threshold of descent, or above that of the noise of fresh samples."""
        doubt, fresh = super().warn_before(w0), self.problem.fresh_noise
        if doubt or fresh is None or not isinstance(self.eta, Constant):
            return doubt
        excess = fresh.instability(float(self.eta.eta), self.noise_scale)
        if excess < 1:
            return None
        return (
            f"`eta` = {float(self.eta.eta):.6g} is so large that the second moments of SGD grow (sum of eta l / (2B - "
            f"eta (B + 1) l) = {excess:.3g}, at least 1, over the eigenvalues l of H): use a smaller eta"
        )

    @property
    def has_brownian_increments(self) -> bool:
        """The Gaussian noise of a Quadratic is the increment of its equation's Brownian motion."""
        return self.is_gaussian

    def rescaled(self, kappa: int) -> "SGD":
        """The linear rule: ``kappa eta`` and ``kappa B`` have the same equation of order 1."""
        eta = kappa * self.constant_eta("a scaling rule")
        return SGD(self.problem, eta, kappa * self.batch_size, self.sampling)

    @property
    def noise_scale(self) -> float:
        """Share of one sample's covariance in the noise of a step."""
        n = None if self.is_gaussian else self.problem.sample_count
        return batch_noise_scale(self.batch_size, n, self.sampling)

    @property
    def random_inputs(self) -> RandomInputs:
        """Those of a batch; an order of the data is drawn once an epoch."""
        return RandomInputs() if self.sampling == "reshuffle" else self.batch_inputs

    @property
    def epoch(self) -> int:
        """Steps along one order of the data."""
        return (self.problem.sample_count or 0) // self.batch_size if self.sampling == "reshuffle" else 0

    @property
    def epoch_bits(self) -> int:
        """64 random bits a sample: the keys that an order of the data is sorted by."""
        return 64 * (self.problem.sample_count or 0) if self.epoch else 0

    def start_epoch(self, words: jax.Array) -> Any:
        """Order of the data for one epoch."""
        return order_of(words, self.problem.sample_count or 0) if self.epoch else ()

    def batch(self, k: jax.Array, words: jax.Array, epoch_state: Any) -> jax.Array | None:
        """Indices of the batch of step k."""
        if self.batch_inputs.numbers:
            return None
        n = self.problem.sample_count
        if self.sampling == "with":
            return below(words, n)
        if self.sampling == "without":
            return distinct(words, n)  # type: ignore[arg-type]
        return jax.lax.dynamic_slice(epoch_state, ((k % self.epoch) * self.batch_size,), (self.batch_size,))

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """``w - eta_k g_k``."""
        return state - self.eta(k) * self.gradient(state, self.batch(k, draw.words, epoch_state), draw.numbers)

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """Step of gradient descent: the estimate of the gradient is unbiased."""
        return state - self.eta(k) * self.problem.grad(state)

    @property
    def time_step(self) -> jax.Array:
        """The step size, of the first step if it changes."""
        return self.increments(jnp.asarray(0))

    @property
    def noise_size(self) -> int:
        """Samples, or columns of the factor of a given noise."""
        return self.problem.noise_dim

    @property
    def is_symmetric(self) -> bool:
        """Whether the noise is Gaussian."""
        return self.is_gaussian

    def mean_at(self, h: Time, state: Vector) -> Vector:
        """``w - h grad L``."""
        return state - h * self.problem.grad(state)

    def fluctuations(self, h: Time, state: Vector) -> jax.Array:
        """Columns ``h sqrt(s) G(w)``, as rows."""
        return h * np.sqrt(self.noise_scale) * self.problem.noise_factor(state).T

    def limit(self, order: int = 0, covariance: Covariance = "plain") -> System:
        """Gradient flow for order 0, the stochastic modified equation for 1 and 2, that of the step for 3, matched."""
        if _check.integer("order", order, minimum=0) == 0:
            return GradientFlow(self.problem)
        eta = self.constant_eta(f"its limit of order {order}")
        if order > 2:
            self._check_third(order, covariance)
            return RecursionEquation(self, order, covariance)
        return StochasticModifiedEquation(self.problem, eta, self.batch_size, order, self.sampling, covariance)

    def _check_third(self, order: int, covariance: Covariance) -> None:
        if order > 3 or covariance != "matched":
            raise _check.fail("order", ORDERS, order)
        if self.sampling == "reshuffle":
            raise _check.fail(
                "sampling", "must be 'with' or 'without': reshuffled steps are not independent", "reshuffle"
            )
        if self.problem.fresh_numbers:
            raise _check.fail("order", "must be at most 2 on fresh samples, whose gradients have third moments", order)

    def expected_order(self, order: int = 0, error: str = "weak") -> float:
        """Weak order max(p, 1); strong order 1/2, 1, 3/2 for p = 0, 1 and from 2, as without noise where there is none.

        A strong gap has a part O(eta^max(p, 1)) of the means, which vanishes from the minimum, and a part
        O(eta^{3/2}) of shared noise: within a step it acts at once here, and decays there.
        """
        factor = self.problem.gaussian_factor
        if error == "weak" or (factor is not None and not np.asarray(factor).any()):
            return float(max(order, 1))
        return (0.5, 1.0, 1.5)[min(order, 2)]

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance after `when` steps, where the gradients are linear in w."""
        fresh = self.problem.fresh_noise
        if fresh is not None and isinstance(self.eta, Constant):
            return fresh.sgd_mean_cov(float(self.eta.eta), self.noise_scale, w0, when)
        noise = self.problem.linear_gradients()
        if noise is None or not isinstance(self.eta, Constant) or self.sampling == "reshuffle":
            return None
        return linear_sgd_mean_cov(noise, float(self.eta.eta), self.noise_scale, w0, when)
