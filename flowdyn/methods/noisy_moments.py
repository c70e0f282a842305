r"""Methods with moments of noisy gradients: a step S_h(z, g), entry by entry in g, is not affine in it.

    samples:  every batch b is an outcome,  M_h = sum_b p_b S_h(z, g_b),  phi_b = sqrt(p_b) (S_h(z, g_b) - M_h)

    Gaussian: g_i = grad_i + s_i x_i,  x = R y,  y independent normals
              phi_k = E[S_i x_i] R_ik,   phi_kl = E[S_i (x_i^2 - 1)/sqrt 2] R_ik R_il, times sqrt 2 where k < l

    fresh: samples are polynomials of degree 2 in normals; where S_h is affine in g and g^2 nodes of a Gaussian
    quadrature are outcomes like batches: all moments that enter, of degree 8, are exact

Where g enters S_h up to g^2 at orders h and h^2, as it does here, the columns of a Gaussian noise are all there are.

    v_{k+1} >= c h g_k^2 > 0 in the recursion, but the noise of an equation takes its v anywhere:

    F(z), G_h(z) are taken at s(v),   s(v) = v for v >= l = c h E g^2(w),   l - d (1 - e^{-l/2d}),  d = l - v,  below

s is smooth and at least l/2. A weak order needs smooth coefficients everywhere, but the right ones only where the
recursion comes to: at fixed t v stays above v_0 (1 - c h)^{t/h}, hence above l once h is small, and orders stay.
"""

import abc

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.randomness import RandomInputs
from flowdyn.methods.moment_estimates import WithMoments
from flowdyn.methods.noisy_gradients import NoisyGradients
from flowdyn.methods.sampling import count_batches, count_nodes, every_batch, product_rule
from flowdyn.problems.base import Time, Vector

FRESH_NODES = 5  # a normal: exact for polynomials of degree 9
NODES = 40  # of the quadrature over a Gaussian noise: exact for polynomials of degree 79


class NoisyMoments(WithMoments, NoisyGradients):
    """Base: means and columns of a step that is a function of one noisy gradient, entry by entry."""

    @property
    @abc.abstractmethod
    def v_rate(self) -> jax.Array:
        """The c of ``v + c h (g^2 - v)``."""

    @abc.abstractmethod
    def moved(self, h: Time, state: Vector, gradient: Vector) -> Vector:
        """State after a step of length h with this gradient; entry i of its parts depends on entry i of it."""

    def next_state(self, h: Time, state: Vector, noise: Vector) -> Vector:
        """State after a step with the samples of these indices, or with these normals."""
        return self.moved(h, state, self.gradient(self.project(state), noise))

    @property
    def noise_size(self) -> int:
        """Batches; for a Gaussian noise of m columns m and m (m + 1)/2, of its squares."""
        if self.outcomes:
            return count_batches(self.outcomes, self.batch_size, self.sampling)
        if self.problem.fresh_numbers:
            return count_nodes(self._normals, FRESH_NODES)
        m = self.problem.noise_dim
        return m + m * (m + 1) // 2

    @property
    def random_inputs(self) -> RandomInputs:
        """A word a sample of the batch, or the normals of the noise itself."""
        return RandomInputs(words=self.batch_size) if self.outcomes else RandomInputs(numbers=self._normals)

    @property
    def _normals(self) -> int:
        """Normals of a step: those of the noise, or of all fresh samples."""
        return self.problem.noise_dim * (self.batch_size if self.problem.fresh_numbers else 1)

    @property
    def is_symmetric(self) -> bool:
        """No: squares of gradients are skewed."""
        return False

    @property
    def has_brownian_increments(self) -> bool:
        """No: squares of normals have Brownian motions of their own."""
        return False

    def within(self, state: Vector) -> Vector:
        """The state with a v that is at least half of what a step adds to it in the mean."""
        rows, weights, _ = self._gradients(self.project(state))
        names, size = list(self.at_start), self.problem.size
        place = slice((1 + names.index("v")) * size, (2 + names.index("v")) * size)
        level = self.v_rate * self.time_step * (weights @ rows**2)
        return jnp.asarray(state).at[place].set(floored(state[place], level))

    def _outcomes(self, h: Time, state: Vector) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Each outcome as a row, its probability, and the normal of a Gaussian noise that made it."""
        rows, weights, nodes = self._gradients(self.project(state))
        return jnp.asarray(jax.vmap(lambda g: self.moved(h, state, g))(rows)), weights, nodes

    def _gradients(self, w: Vector) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Each gradient as a row, its probability, and the normal of a Gaussian noise that made it."""
        if self.outcomes:
            counts, weights = every_batch(self.outcomes, self.batch_size, self.sampling)
            rows, nodes = jnp.asarray(counts / self.batch_size) @ self.problem.sample_grads(w), np.zeros(len(weights))
        elif self.problem.fresh_numbers:
            places, weights = product_rule(self._normals, FRESH_NODES)
            rows = jax.vmap(lambda z: jnp.asarray(self.gradient(w, z)))(jnp.asarray(places))
            nodes = np.zeros(len(weights))
        else:
            nodes, found = np.polynomial.hermite_e.hermegauss(NODES)
            rows, weights = self.problem.grad(w) + jnp.asarray(nodes)[:, None] * self._spread, found / found.sum()
        return jnp.asarray(rows), jnp.asarray(weights), jnp.asarray(nodes)

    @property
    def _spread(self) -> jax.Array:
        """Standard deviation of each entry of a Gaussian noise."""
        factor = jnp.asarray(self.problem.gaussian_factor)
        return jnp.sqrt(jnp.sum(factor**2, axis=1) / self.batch_size)

    def mean_at(self, h: Time, state: Vector) -> Vector:
        """Mean over all batches, or over the normals."""
        rows, weights, _ = self._outcomes(h, state)
        return weights @ rows

    def fluctuations(self, h: Time, state: Vector) -> jax.Array:
        """One column a batch, as rows; or those of a Gaussian noise and of its squares."""
        rows, weights, x = self._outcomes(h, state)
        if self.outcomes or self.problem.fresh_numbers:
            return jnp.sqrt(weights)[:, None] * (rows - weights @ rows)
        first, second = (weights * x) @ rows, (weights * (x**2 - 1) / np.sqrt(2)) @ rows
        spread = self._spread[:, None]
        factor = jnp.asarray(self.problem.gaussian_factor) / np.sqrt(self.batch_size)
        own = jnp.where(spread > 0, factor / jnp.where(spread > 0, spread, 1.0), 0.0)
        pieces = 1 + len(self.at_start)
        R = jnp.pad(jnp.tile(own, (pieces, 1)), ((0, len(rows[0]) - pieces * len(own)), (0, 0))).T
        i, j = np.triu_indices(len(R))
        share = jnp.asarray(np.where(i < j, np.sqrt(2), 1.0))[:, None]
        return jnp.concatenate([first * R, second * share * R[i] * R[j]])


def floored(v: Vector, level: Vector) -> jax.Array:
    """``v`` above the level; below it a smooth function that tends to half of the level."""
    below = jnp.maximum(level - v, 0.0)
    depth = jnp.where(below > 0, below, 1.0)
    return jnp.where(below > 0, level + depth * jnp.expm1(-level / (2 * depth)), v)
