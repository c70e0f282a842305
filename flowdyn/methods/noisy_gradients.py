"""Methods whose step takes one noisy gradient of a problem, as random recursions that tell their step.

    g = grad L(w) + noise:    the mean of B samples' gradients, or the Gaussian noise that the problem defines

Where a step is affine in g, a batch of B has the fluctuations of one sample times sqrt(s), s = 1/B with replacement.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.randomness import Draw, RandomInputs, below
from flowdyn.methods.sampling import Sampling, batch_noise_scale, check_batch, distinct
from flowdyn.methods.scattered import Scattered
from flowdyn.methods.systems import OnProblem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector

RULE = "must have given samples or a Gaussian gradient noise"
WAY_OUT = "e.g. Quadratic(A, noise=Sigma), or CustomProblem(..., sample_losses=...)"
NO_MEAN = (
    "a gradient on fresh samples is a product of normals, and the mean of a step that divides by the root of its "
    "square, which flows and ladders need, has no closed form"
)


def sampled_problem(problem: Any, without: str = "", no_mean: bool = False, takes_fresh: bool = False) -> Problem:
    """Refuse a problem without given samples and without a noise of its own; say why where fresh ones have no mean.

    `without` names the method that it is without noise.
    """
    checked_problem(problem)
    if problem.fresh_numbers and takes_fresh:
        return problem
    if problem.fresh_numbers and no_mean:
        way_out = "draw samples and give them, e.g. LinearRegression(X, y), or use fd.SGD(...), whose moments are exact"
        raise _check.fail("problem", f"{RULE}: {NO_MEAN}", type(problem).__name__, way_out)
    if not problem.noise_dim or problem.fresh_numbers:
        way_out = WAY_OUT + (f"; without noise it is {without}" if without else "")
        raise _check.fail("problem", RULE, type(problem).__name__, way_out)
    return problem


def checked_draws(problem: Problem, batch_size: int, sampling: Sampling) -> tuple[int, Sampling]:
    """Check batch size and sampling; steps along a reshuffled order are not independent."""
    if sampling == "reshuffle":
        raise _check.fail("sampling", "must be 'with' or 'without': reshuffled steps are not independent", sampling)
    return check_batch(batch_size, None if problem.gaussian_factor is not None else problem.sample_count, sampling)


class NoisyGradients(OnProblem, Scattered):
    """Base of methods whose step is affine in one noisy gradient: outcomes are samples, batches are their means."""

    problem: eqx.AbstractVar[Problem]
    batch_size: eqx.AbstractVar[int]
    sampling: eqx.AbstractVar[Sampling]

    @property
    def outcomes(self) -> int | None:
        """Samples; None where the problem defines Gaussian noise."""
        return None if self.problem.gaussian_factor is not None else self.problem.sample_count

    @property
    def noise_size(self) -> int:
        """Samples, or columns of the factor of the Gaussian noise."""
        return self.problem.noise_dim

    @property
    def noise_scale(self) -> float:
        """Share of one sample's covariance in a batch's mean."""
        return batch_noise_scale(self.batch_size, self.outcomes, self.sampling)

    @property
    def random_inputs(self) -> RandomInputs:
        """A word a sample of the batch, or the normals."""
        return RandomInputs(words=self.batch_size) if self.outcomes else RandomInputs(numbers=self.noise_size)

    def gradient(self, w: Vector, noise: Any) -> Vector:
        """The gradient of the samples of these indices or made of these normals, or with these normals as noise."""
        if self.problem.fresh_numbers:
            fresh = noise.reshape(self.batch_size, self.problem.fresh_numbers)
            return jax.grad(lambda v: jnp.mean(self.problem.fresh_losses(v, fresh)))(w)
        if self.outcomes is None:
            factor = self.problem.gaussian_factor
            # minus: the step then adds the same multiple of the numbers as the equation's increment
            return self.problem.grad(w) - matvec(factor, noise) / np.sqrt(self.batch_size)
        return jax.grad(lambda v: jnp.mean(self.problem.batch_losses(v, jnp.atleast_1d(noise))))(w)

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """The step with the batch that is drawn."""
        noise = draw.numbers
        if self.outcomes:
            noise = (below if self.sampling == "with" else distinct)(draw.words, self.outcomes)
        return self.next_state(self.increments(k), jnp.asarray(state), noise)

    def fluctuations(self, h: Time, state: Vector) -> jax.Array:
        """Columns phi of the fluctuation, as rows (m, S), of a batch."""
        rows = super().fluctuations(h, state)
        return rows * np.sqrt(self.noise_scale) if self.outcomes else rows
