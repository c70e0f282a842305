"""Variance-amplified SGD (SVAG):  the noise of SGD at step eta, taken in steps of eta / l.

    w_{k+1} = w_k - (eta/l) [ (1 + sqrt(2l-1))/2 g_k + (1 - sqrt(2l-1))/2 g'_k ],   t = eta k / l

It tends to SGD's first-order equation at order 1 in 1/l, at fixed eta.
"""

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn._tools.randomness import Draw, RandomInputs, below
from flowdyn.methods.curvature import threshold_doubt
from flowdyn.methods.sampling import check_batch
from flowdyn.methods.sgd import SGD, Sampled, noisy_problem
from flowdyn.methods.systems import Moments, System
from flowdyn.problems.base import Problem, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Scaled, Schedule, StepSize, as_schedule
from flowdyn.theory.linear_moments import linear_sgd_mean_cov


class SVAG(Sampled):
    r"""Stochastic variance amplified gradient: SGD of step eta / l with the noise of step eta.

    .. math:: w_{k+1} = w_k - \frac{\eta}{l}\Big[\tfrac{1+\sqrt{2l-1}}2 g_k + \tfrac{1-\sqrt{2l-1}}2 g'_k\Big],
              \qquad t = \eta k / l

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise.
    eta : float or Schedule
        Step size of the SGD that is imitated, positive.
    batch_size : int
        B, drawn with replacement, twice a step.
    l : float
        Refinement, at least 1; l = 1 is SGD itself (the second gradient has weight 0).

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a noise of its own, eta is not positive, or l is below 1.

    Warns
    -----
    FlowdynWarning
        By :func:`flowdyn.solve`, if eta / l exceeds 2 / lambda_max of the Hessian at the start.

    Notes
    -----
    As l -> infinity it tends to the first-order equation of SGD at fixed eta; the stationary variance on a quadratic is
    eta sigma^2 / (lam (2 - eta lam / l)). Source: Li, Malladi and Arora (2021).

    Examples
    --------
    >>> import flowdyn as fd
    >>> svag = fd.SVAG(fd.problems.Quadratic(1.0, noise=1.0), eta=0.1, l=4)
    >>> float(svag.clock(4))
    0.1
    """

    l: jax.Array  # noqa: E741 - the paper's letter
    summary: ClassVar[str] = "stochastic variance amplified gradient (SVAG)"
    references: ClassVar[str] = "Li, Malladi and Arora (2021)"

    def __init__(self, problem: Problem, eta: StepSize, batch_size: int = 1, l: Scalar = 2):  # noqa: E741
        self.problem = noisy_problem(problem)
        self.eta = as_schedule("eta", eta)
        n = None if self.is_gaussian else problem.sample_count
        self.batch_size, _ = check_batch(batch_size, n, "with")
        self.l = leaf("l", l, ndim=0, positive=True)
        if not is_traced(self.l) and float(self.l) < 1:
            raise _check.fail("l", "must be at least 1", l)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, l=2), w0

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about a step eta / l above the stability threshold of gradient descent."""
        if not isinstance(self.eta, Constant):
            return None
        step = float(self.eta.eta) / float(self.l)
        return threshold_doubt(self.problem, step, w0, "`eta` / `l`", "a smaller eta or a larger l")

    @property
    def increments(self) -> Schedule:
        """Time steps ``eta / l`` of the clock."""
        return Constant(self.eta.eta / self.l) if isinstance(self.eta, Constant) else Scaled(self.eta, 1 / self.l)

    @property
    def random_inputs(self) -> RandomInputs:
        """Two batches, or two Gaussian vectors."""
        one = self.batch_inputs
        return RandomInputs(words=2 * one.words, numbers=2 * one.numbers)

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """``w - (eta/l) (a g + (1 - a) g')``, a = (1 + sqrt(2l - 1))/2."""
        first, second = jnp.split(draw.numbers, 2)
        index: Any = (None, None)
        if self.batch_inputs.words:
            index = jnp.split(below(draw.words, self.problem.sample_count), 2)
        a = (1 + jnp.sqrt(2 * self.l - 1)) / 2
        estimate = a * self.gradient(state, index[0], first) + (1 - a) * self.gradient(state, index[1], second)
        return state - self.eta(k) / self.l * estimate

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """Gradient descent of step eta / l."""
        return state - self.eta(k) / self.l * self.problem.grad(state)

    def limit(self, order: int = 1) -> System:
        """The limit of SGD at the same eta."""
        return SGD(self.problem, self.eta, self.batch_size).limit(order)

    def expected_order(self, order: int = 0, error: str = "weak") -> float:
        """Weak order 1 in eta (at fixed l)."""
        return 1.0 if error == "weak" else 0.5

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance of SGD at step eta / l whose covariance is l times as large."""
        l, fresh = float(self.l), self.problem.fresh_noise  # noqa: E741
        if fresh is not None and isinstance(self.eta, Constant):
            return fresh.sgd_mean_cov(float(self.eta.eta) / l, l / self.batch_size, w0, when)
        noise = self.problem.linear_gradients()
        if noise is None or not isinstance(self.eta, Constant):
            return None
        return linear_sgd_mean_cov(noise, float(self.eta.eta) / l, l / self.batch_size, w0, when)
