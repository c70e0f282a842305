r"""Stochastic gradient Langevin dynamics (SGLD), at t = eta k.

    w_{k+1} = w_k - eta g(w_k) + sqrt(2 T eta) xi_k

The injected noise has a covariance of order eta, not eta^2: the rule of a random recursion's own equations does not
hold, and these are written down by hand. Order 1 is Langevin itself; there is no flow. Where L grows faster than a
parabola SGLD on the whole line runs away from beyond |x| ~ sqrt(2/eta) (for x^4/4), at any eta: it has no stationary
law.
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.leaves import Scalar
from flowdyn._tools.randomness import Draw, RandomInputs, below
from flowdyn.methods.curvature import threshold_doubt
from flowdyn.methods.langevin import (
    SOURCE,
    Langevin,
    SGLDEquation,
    checked_temperature,
    drawn_if_any,
    given_samples,
    linear_gradients,
)
from flowdyn.methods.sampling import Sampling, batch_noise_scale, distinct
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import Moments, OnProblem, System, checked_problem
from flowdyn.problems.base import Problem, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule
from flowdyn.theory.linear_moments import LinearNoise, linear_sgd_mean_cov


class SGLD(OnProblem, RandomRecursionSystem):
    r"""Stochastic gradient Langevin dynamics at training time t = eta k; without samples, unadjusted Langevin.

    .. math:: w_{k+1} = w_k - \eta\,g_k(w_k) + \sqrt{2 T \eta}\,\xi_k

    Parameters
    ----------
    problem : Problem
        With samples, a Gaussian gradient noise, or neither: then g is the gradient.
    eta : float or Schedule
        Step size, positive.
    temperature : float
        T, positive.
    batch_size : int
        B >= 1; at most n without replacement.
    sampling : {"with", "without"}
        Draw each batch with replacement or as a random subset.

    Raises
    ------
    ArgumentError
        If a number is not positive, the sampling is "reshuffle", or the samples are drawn fresh; by ``limit(0)``, since
        the noise stays as eta -> 0.

    Warns
    -----
    FlowdynWarning
        By :func:`flowdyn.solve`, if eta exceeds 2 / lambda_max of the Hessian at the start.

    Notes
    -----
    On a quadratic of curvature lam with gradients of variance s^2 the stationary variance is
    (2 T + eta s^2) / (lam (2 - eta lam)). Where the loss grows faster than a parabola members run away: from beyond
    ``|x| ~ sqrt(2/eta)`` for x^4/4; sooner or later one gets there, and the recursion has no stationary law on the
    whole line. Source: Welling and Teh (2011); Roberts and Tweedie (1996).

    Examples
    --------
    >>> import flowdyn as fd
    >>> sgld = fd.SGLD(fd.problems.Quadratic(1.0, noise=1.0), eta=0.1, temperature=0.5)
    >>> mean, cov = sgld.exact_moments([0.0], [1000])
    >>> round(float(cov[0, 0, 0]), 9)  # (1 + 0.1) / 1.9
    0.578947368
    """

    problem: Problem
    eta: Schedule
    temperature: jax.Array
    batch_size: int = eqx.field(static=True)
    sampling: Sampling = eqx.field(static=True)
    summary: ClassVar[str] = "stochastic gradient Langevin dynamics"
    references: ClassVar[str] = SOURCE

    def __init__(
        self, problem: Problem, eta: StepSize, temperature: Scalar, batch_size: int = 1, sampling: Sampling = "with"
    ):
        self.problem, self.temperature = checked_problem(problem), checked_temperature(temperature)
        self.eta = as_schedule("eta", eta)
        self.batch_size, self.sampling = drawn_if_any(problem, batch_size, sampling)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss with noise."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, temperature=0.1), w0

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about a step size above the stability threshold of gradient descent."""
        if not isinstance(self.eta, Constant):
            return None
        return threshold_doubt(self.problem, float(self.eta.eta), w0, "`eta`", "a smaller eta")

    @property
    def noise_scale(self) -> float:
        """Share of one sample's covariance in a batch's mean."""
        return batch_noise_scale(self.batch_size, given_samples(self.problem), self.sampling)

    @property
    def random_inputs(self) -> RandomInputs:
        """A normal a parameter, and the batch's words, or a Gaussian noise's normals."""
        is_gaussian = self.problem.gaussian_factor is not None
        words = self.batch_size if given_samples(self.problem) else 0
        return RandomInputs(words=words, numbers=self.problem.size * (2 if is_gaussian else 1))

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """``w - eta g + sqrt(2 T eta) xi``."""
        eta, w, p = self.eta(k), jnp.asarray(state), self.problem
        n, xi, own = given_samples(p), draw.numbers[: p.size], draw.numbers[p.size :]
        if n:
            index = (below if self.sampling == "with" else distinct)(draw.words, n)
            gradient = jax.grad(lambda v: jnp.mean(p.batch_losses(v, index)))(w)
        else:
            gradient = p.grad(w)
            if p.gaussian_factor is not None:
                gradient = gradient - matvec(p.gaussian_factor, own) / np.sqrt(self.batch_size)
        return w - eta * gradient + jnp.sqrt(2 * self.temperature * eta) * xi

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """Step of gradient descent."""
        return state - self.eta(k) * self.problem.grad(state)

    def limit(self, order: int = 1) -> System:
        """:class:`Langevin` for order 1, :class:`SGLDEquation` for order 2."""
        if _check.integer("order", order, minimum=0) == 0:
            raise _check.fail(
                "order", "must be 1 or 2: the noise stays as eta -> 0 and there is no flow", order, "use order=1"
            )
        if order == 1:
            return Langevin(self.problem, self.temperature)
        if order > 2:
            raise _check.fail("order", "must be 1 or 2", order)
        eta = self.constant_eta("its limit of order 2")
        return SGLDEquation(self.problem, eta, self.temperature, self.batch_size, self.sampling)

    def expected_order(self, order: int = 1, error: str = "weak") -> float:
        """Weak order p."""
        return float(max(order, 1)) if error == "weak" else 1.0

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance where the gradients are linear in w: the injected noise adds 2 T / eta to theirs."""
        noise = linear_gradients(self.problem)
        if noise is None or not isinstance(self.eta, Constant):
            return None
        eta, scale = float(self.eta.eta), self.noise_scale
        injected = 2 * float(self.temperature) / eta * np.eye(len(noise.b))
        both = LinearNoise(
            noise.A,
            noise.b,
            np.sqrt(scale) * noise.matrices,
            np.sqrt(scale) * noise.vectors,
            scale * noise.additive + injected,
        )
        return linear_sgd_mean_cov(both, eta, 1.0, w0, when)
