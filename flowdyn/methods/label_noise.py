"""SGD with fresh noise on its labels, section 9.5:  L(w) = scale sum_i (f_i(w) - y_i)^2,  n scale = c.

    w_{k+1} = w_k - eta (1/B) sum_j 2 c (r_{i_j} - eps_j) grad f_{i_j},  eps_j ~ N(0, sigma^2) or +-sigma
    dX = -grad L dt + sqrt(eta/B) [ G(X) dW + 2 c sigma / sqrt(n) sum_i grad f_i dW'_i ]

Near interpolation the sampling noise G vanishes and the label noise remains: 2n Brownian motions in all.
"""

from typing import Any, ClassVar, Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn._tools.randomness import Draw, RandomInputs, below
from flowdyn.methods.gradient_descent import GradientDescent, GradientFlow
from flowdyn.methods.modified_equation import ModifiedEquation, checked_order
from flowdyn.methods.sampling import check_batch
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import Moments, OnProblem, System
from flowdyn.problems.base import Time, Vector
from flowdyn.problems.linear_gradients import MAX_ENTRIES
from flowdyn.problems.regression import Regression
from flowdyn.problems.squared_regression import SquaredRegression
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule
from flowdyn.theory.linear_moments import LinearNoise, LinearResiduals, linear_sde_mean_cov, linear_sgd_mean_cov
from flowdyn.theory.moments_work import Size, sde_route, sgd_route

_SOURCE = "Blanc, Gupta, Valiant and Valiant (2020); HaoChen, Wei, Lee and Ma (2021); Damian, Ma and Lee (2021)"


def checked_regression(problem: Any) -> Regression:
    """Refuse a problem without targets."""
    if not isinstance(problem, Regression):
        raise _check.fail("problem", "must be a regression: label noise is added to targets", type(problem).__name__)
    return problem


def checked_sigma(sigma: Any) -> jax.Array:
    """Standard deviation of the label noise as an array leaf."""
    if not is_traced(sigma):
        _check.real("sigma", sigma, nonnegative=True)
    return leaf("sigma", sigma, ndim=0)


def noise_with_labels(problem: Any, sigma: Any) -> LinearNoise | None:
    """Sample gradients of a linear model with the covariance c^2 sigma^2 x x^T of its labels; None for other models."""
    if labelled_size(problem) is None:
        return None
    noise = problem.linear_gradients()
    if not isinstance(noise, LinearResiduals):
        return None
    rows, known = noise.rows, noise.spread()
    return known._replace(additive=(noise.factor * float(sigma)) ** 2 / len(rows) * rows.T @ rows)


def labelled_size(problem: Any) -> Size | None:
    """Numbers of samples and parameters where the moments are known; None where they are not, or too many."""
    made = problem.linear_work
    if made is None or not made.size.rank_one or made.size.n * made.size.d**2 > MAX_ENTRIES:
        return None
    return Size(made.size.n, made.size.d, rank_one=False)


class LabelNoiseEquation(ModifiedEquation):
    r"""Label-noise SGD as a stochastic differential equation with 2n Brownian motions.

    .. math:: dX = -\nabla L\,dt + \sqrt{\tfrac{\eta}{B}}\Big[G(X)\,dW + \tfrac{2c\,\sigma}{\sqrt n} J(X)^\top dW'\Big]

    Parameters
    ----------
    problem : Regression
        Squared loss, c = n * scale.
    eta, sigma : float
        Step size, and standard deviation of the label noise.
    batch_size : int
        B, drawn with replacement.
    order : {1, 2}
        2 adds ``-(eta/4) grad ||grad L||^2`` to the drift.

    Raises
    ------
    ArgumentError
        If `problem` is not a regression, eta or sigma is out of range, or the order is neither 1 nor 2.

    Notes
    -----
    The sampling noise G vanishes at interpolation, the label noise does not. Source: section 9.5, item 3; Li, Tai and
    E (2017) for the form of the equation.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.SquaredRegression([[1.0, 2.0]], [1.0])
    >>> sde = fd.LabelNoiseEquation(p, eta=0.1, sigma=1.0)
    >>> sde.diffusion(0.0, [0.5, 0.5]).shape
    (2, 2)
    """

    sigma: jax.Array
    summary: ClassVar[str] = "stochastic modified equation of label-noise SGD"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Regression, eta: Scalar, sigma: Scalar, batch_size: int = 1, order: int = 1):
        self.problem = checked_regression(problem)
        self.eta, self.sigma = leaf("eta", eta, ndim=0, positive=True), checked_sigma(sigma)
        self.batch_size, _ = check_batch(batch_size, problem.sample_count, "with")
        self.order = checked_order(order)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Three samples of two features."""
        problem = SquaredRegression([[1.0, 2.0], [0.5, -1.0], [0.3, 0.3]], [1.0, 0.2, 0.4])
        return cls(problem, eta=0.01, sigma=0.5), np.array([0.4, 0.35])

    @property
    def label_strength(self) -> jax.Array:
        """``2 c sigma / sqrt(n)``."""
        p: Any = self.problem
        return 2 * p.sample_scale * self.sigma / np.sqrt(p.sample_count)

    def linear_law(self) -> None:
        """None: its noise depends on the parameters."""

    def moments_work(self, size: int, when: np.ndarray) -> float:
        """Of the moments' own equation for a linear model; 0 for others."""
        known = labelled_size(self.problem)
        return 0.0 if known is None else sde_route(known, np.diff(when, prepend=0.0), float(self.eta)).work

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance for a linear model."""
        noise = noise_with_labels(self.problem, self.sigma)
        if noise is None:
            return None
        return linear_sde_mean_cov(noise, float(self.eta), 1 / self.batch_size, self.order, w0, when)

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``sqrt(eta/B) [G, 2 c sigma J^T / sqrt(n)]`` of shape (P, 2n)."""
        p: Any = self.problem
        labels = self.label_strength * p.jacobian(state).T
        return self.strength * jnp.concatenate([p.noise_factor(state), labels], axis=1)

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """Both noises by one gradient each."""
        p: Any = self.problem
        samples, labels = jnp.split(increment, 2)
        drawn = jax.grad(lambda w: jnp.sum(labels * p.predict(w)))(state)
        return self.strength * (p.noise_product(state, samples) + self.label_strength * drawn)

    def noise_dim(self, state: np.ndarray) -> int:
        """Two Brownian motions a sample, one of them for its label: 2n."""
        return 2 * int(self.problem.sample_count or 0)


class LabelNoiseSGD(OnProblem, RandomRecursionSystem):
    r"""SGD whose labels carry fresh noise at every draw.

    .. math:: w_{k+1} = w_k - \frac{\eta}{B} \sum_j 2c\,(r_{i_j}(w_k) - \epsilon_j)\,\nabla f_{i_j}(w_k)

    Parameters
    ----------
    problem : Regression
        Squared loss, c = n * scale.
    eta : float or Schedule
        Step size, positive.
    sigma : float
        Standard deviation of the label noise.
    batch_size : int
        B, drawn with replacement; one noise value a draw.
    noise : {"gaussian", "sign"}
        N(0, sigma^2), or +-sigma.

    Raises
    ------
    ArgumentError
        If `problem` is not a regression, eta, sigma or the batch is out of range, or the noise is of another kind.

    Warns
    -----
    FlowdynWarning
        By :func:`flowdyn.solve`, if eta exceeds 2 / lambda_max of the Hessian at the start.

    Notes
    -----
    Near interpolation it minimises L + (eta sigma^2/(4B)) tr H (for c = 1/2) along the zero-loss manifold, on the time
    scale k ~ 1/eta^2: see :func:`flowdyn.theory.label_noise_penalty`. Moments are exact for a linear model.
    Source: section 9.5, item 3.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.SquaredRegression([[1.0, 2.0]], [1.0])
    >>> run = fd.solve(fd.LabelNoiseSGD(p, eta=0.01, sigma=0.5), p.init(0.5), steps=100, seed=3)
    >>> bool(run.loss[-1] < run.loss[0])
    True
    """

    problem: Regression
    eta: Schedule
    sigma: jax.Array
    batch_size: int = eqx.field(static=True)
    noise: str = eqx.field(static=True)
    summary: ClassVar[str] = "SGD with fresh noise on the labels"
    references: ClassVar[str] = _SOURCE

    def __init__(
        self,
        problem: Regression,
        eta: StepSize,
        sigma: Scalar,
        batch_size: int = 1,
        noise: Literal["gaussian", "sign"] = "gaussian",
    ):
        self.problem = checked_regression(problem)
        self.eta, self.sigma = as_schedule("eta", eta), checked_sigma(sigma)
        self.batch_size, _ = check_batch(batch_size, problem.sample_count, "with")
        self.noise = _check.choice("noise", noise, ("gaussian", "sign"))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Three samples of two features."""
        problem = SquaredRegression([[1.0, 2.0], [0.5, -1.0], [0.3, 0.3]], [1.0, 0.2, 0.4])
        return cls(problem, eta=0.01, sigma=0.5), np.array([0.4, 0.35])

    @property
    def random_inputs(self) -> RandomInputs:
        """A word for the sample and a number for its label."""
        kind = "float64" if self.noise == "gaussian" else "rademacher"
        return RandomInputs(words=self.batch_size, numbers=self.batch_size, kind=kind)

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """Gradient of the batch's loss with the labels shifted."""
        p = self.problem
        index = below(draw.words, p.sample_count)
        shift = self.sigma * draw.numbers

        def loss(w: Vector) -> jax.Array:
            return p.sample_scale * jnp.mean((p.batch_residuals(w, index) - shift) ** 2)

        return state - self.eta(k) * jax.grad(loss)(jnp.asarray(state))

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """Step of gradient descent: label noise has mean 0."""
        return state - self.eta(k) * self.problem.grad(state)

    def moments_work(self, size: int, when: np.ndarray) -> float:
        """Of the moments of a linear model; 0 where none are known."""
        known = labelled_size(self.problem) if isinstance(self.eta, Constant) else None
        return 0.0 if known is None else sgd_route(known, np.diff(np.asarray(when, dtype=np.int64), prepend=0)).work

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance after `when` steps for a linear model, whatever the law of the labels' noise."""
        noise = noise_with_labels(self.problem, self.sigma)
        if noise is None or not isinstance(self.eta, Constant):
            return None
        return linear_sgd_mean_cov(noise, float(self.eta.eta), 1 / self.batch_size, w0, when)

    def limit(self, order: int = 0) -> System:
        """Gradient flow for order 0, the stochastic equation for orders 1 and 2."""
        if _check.integer("order", order, minimum=0) == 0:
            return GradientFlow(self.problem)
        eta = self.constant_eta(f"its limit of order {order}")
        return LabelNoiseEquation(self.problem, eta, self.sigma, self.batch_size, order)

    def expected_order(self, order: int = 0, error: str = "weak") -> float:
        """Weak order max(p, 1) and strong order 1/2, those of SGD."""
        return float(max(order, 1)) if error == "weak" else 0.5

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about a step size above the stability threshold of gradient descent."""
        return GradientDescent(self.problem, self.eta).warn_before(w0)
