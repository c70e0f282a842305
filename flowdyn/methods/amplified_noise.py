r"""What methods share where noise dominates the gradient: one noisy gradient, amplified by sigma = s0/sqrt(h).

g = grad L + sigma zeta,   zeta = sqrt(B) (mean of a batch of B - grad L)
SVAG: sigma = s0/eta_0 stays, zeta = (1 + r)/2 zeta_1 + (1 - r)/2 zeta_2,   r = sqrt(2 l^2 - 1),   eta = eta_0/l
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.leaves import is_traced
from flowdyn._tools.randomness import Draw, RandomInputs, below
from flowdyn.methods.moment_estimates import WithMoments
from flowdyn.methods.noise_dominated_equations import positive
from flowdyn.methods.sampling import count_batches, every_batch
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.problems.base import Problem, Vector
from flowdyn.schedules import Constant, Schedule

NODES = 64  # of the quadrature over a Gaussian noise: exact for polynomials of degree 127


class NoiseDominated(WithMoments, RandomRecursionSystem):
    """Base: the clock h = eta^2, the amplified noise of a batch or of two, the step of u."""

    problem: eqx.AbstractVar[Problem]
    eta: eqx.AbstractVar[Schedule]
    s0: eqx.AbstractVar[jax.Array]
    c2: eqx.AbstractVar[jax.Array]
    batch_size: eqx.AbstractVar[int]
    imitated: eqx.AbstractVar[jax.Array | None]
    step_power: ClassVar[float] = 2.0

    @property
    def increments(self) -> Schedule:
        """Time steps ``h = eta^2``."""
        return Constant(self.eta(jnp.asarray(0)) ** 2)

    @property
    def random_inputs(self) -> RandomInputs:
        """A word a sample, or the normals; twice as many for SVAG."""
        draws = 1 if self.imitated is None else 2
        is_gaussian = self.problem.gaussian_factor is not None
        return (
            RandomInputs(numbers=draws * self.problem.noise_dim)
            if is_gaussian
            else RandomInputs(words=draws * self.batch_size)
        )

    @property
    def h(self) -> jax.Array:
        """``eta^2``."""
        return self.increments(jnp.asarray(0))

    @abc.abstractmethod
    def next_state(self, k: jax.Array, state: Vector, gradient: Vector) -> Vector:
        """State after step k with this noisy gradient; entry i of its parts depends on entry i of the gradient."""

    def next_u(self, u: Vector, gradient: Vector) -> Vector:
        """``u + c2 h (h g^2 / s0^2 - u)``."""
        return u + self.c2 * self.h * (self.h / self.s0**2 * gradient**2 - u)

    def _with(self, k: jax.Array, state: Vector, away: Vector) -> Vector:
        """The step with the mean gradient and its amplified noise."""
        gradient = self.problem.grad(self.project(state))
        return self.next_state(k, state, gradient + self.s0 / jnp.sqrt(self.h) * away)

    def _mixed(self, first: Vector, second: Vector) -> Vector:
        """Two noises, weighted as in SVAG, in units of sigma l."""
        l = self.imitated / self.eta(jnp.asarray(0))  # type: ignore[operator]  # noqa: E741 - the paper's letter
        a = (1 + jnp.sqrt(2 * l**2 - 1)) / 2
        return (a * first + (1 - a) * second) / l

    def _zeta(self, w: Vector, words: jax.Array, numbers: jax.Array) -> Vector:
        """The noise of one batch, of covariance Sigma."""
        p = self.problem
        if p.gaussian_factor is not None:
            return matvec(p.gaussian_factor, numbers)
        index = below(words, p.sample_count)
        return np.sqrt(self.batch_size) * (jax.grad(lambda v: jnp.mean(p.batch_losses(v, index)))(w) - p.grad(w))

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """The step with the samples, or the normals, that are drawn."""
        z = jnp.asarray(state)
        w = self.project(z)
        if self.imitated is None:
            return self._with(k, z, self._zeta(w, draw.words, draw.numbers))
        halves = zip(jnp.split(draw.words, 2), jnp.split(draw.numbers, 2), strict=True)
        return self._with(k, z, self._mixed(*(self._zeta(w, *half) for half in halves)))

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """The mean over all batches, or over the normals: entry by entry, by Gauss-Hermite quadrature."""
        z, p = jnp.asarray(state), self.problem
        if p.gaussian_factor is None:
            rows, weights = self._all_batches(p.sample_grads(self.project(z)))
            away = rows
            if self.imitated is not None:
                pairs = jax.vmap(lambda x: jax.vmap(lambda y: self._mixed(x, y))(rows))(rows)
                away = jnp.reshape(pairs, (-1, rows.shape[1]))
                weights = jnp.outer(weights, weights).ravel()
        else:
            nodes, found = np.polynomial.hermite_e.hermegauss(NODES)
            spread = jnp.sqrt(jnp.diag(p.noise_cov(self.project(z))))
            away, weights = jnp.asarray(nodes[:, None] * spread), jnp.asarray(found / found.sum())
        return weights @ jax.vmap(lambda x: self._with(k, z, x))(away)

    def _all_batches(self, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Noise of every batch, drawn with replacement, and its probability."""
        n, size = len(rows), self.batch_size
        count_batches(n, size, "with", pairs=self.imitated is not None)
        counts, weights = every_batch(n, size, "with")
        return jnp.asarray(counts / np.sqrt(size)) @ (rows - jnp.mean(rows, axis=0)), jnp.asarray(weights)

    def rescaled(self, kappa: int) -> "NoiseDominated":
        """The square-root rule: ``sqrt(kappa) eta`` and ``kappa B`` with the same (s0, c1, c2, e0)."""
        if self.imitated is not None:
            raise _check.fail("imitated", "must be None for a scaling rule", float(self.imitated), "leave it out")
        eta = kappa**0.5 * self.constant_eta("a scaling rule")
        cls: Any = type(self)
        return cls(**self.config() | {"eta": eta, "batch_size": kappa * self.batch_size})

    def expected_order(self, order: int = 1, error: str = "weak") -> float:
        """Weak order 1 in h; strong order 1/2."""
        return 1.0 if error == "weak" else 0.5

    def _checked_draws(self, batch_size: Any, imitated: Any) -> tuple[int, jax.Array | None]:
        """Batch size, and the step size that SVAG imitates: not below eta."""
        size = _check.integer("batch_size", batch_size, minimum=1)
        if imitated is None:
            return size, None
        found, eta = positive("imitated", imitated), self.eta(jnp.asarray(0))
        if not is_traced(found) and not is_traced(eta) and float(found) < float(eta) * (1 - 1e-12):
            rule = f"must be at least eta = {float(eta):g}: l = imitated/eta"
            raise _check.fail("imitated", rule, float(found), "use a smaller eta")
        return size, found

    def _check_rates(self, **rates: Any) -> None:
        """Refuse a schedule, and rates that make a beta negative."""
        h = float(self._constant("an adaptive method").eta) ** 2 if not is_traced(self.h) else 0.0
        for name, rate in rates.items():
            if not is_traced(rate) and float(rate) * h > 1:
                rule = f"must keep beta = 1 - {name} eta^2 >= 0; a fixed beta has no closed limit as eta -> 0"
                raise _check.fail("eta", rule, h**0.5, "use a smaller eta")
