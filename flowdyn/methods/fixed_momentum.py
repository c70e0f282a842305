r"""Momentum methods whose beta stays fixed as eta -> 0, e = eta/(1 - beta) and t = e k, and their shadow variable.

    w_{k+1} = w_k + beta (w_k - w_{k-1}) - eta g(w_k + [Nesterov] beta (w_k - w_{k-1}))
    y_k = w_k + beta/(1 - beta) (w_k - w_{k-1}),      y_{k+1} = y_k - e g

    dX = -grad L dt + sqrt(e Sigma) dW                       order 1, for w and for y
    dX = -(grad L + e c H grad L) dt + sqrt(e Sigma) dW      order 2, for y and not for w

c = 1/2 + beta/(1 - beta) for the heavy ball, 1/2 + beta^2/(1 - beta) for Nesterov: the gradient is taken behind y. The
velocity has no flow: it forgets in O(1) steps, at any eta.
"""

from typing import Any, ClassVar, Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn.methods.gradient_descent import GradientFlow
from flowdyn.methods.modified_equation import ModifiedEquation, checked_order
from flowdyn.methods.noisy_gradients import NoisyGradients, checked_draws, sampled_problem
from flowdyn.methods.recursion_equation import Covariance, affine_moments
from flowdyn.methods.sampling import Sampling, batch_noise_scale
from flowdyn.methods.systems import Moments, System
from flowdyn.methods.with_velocity import WithVelocity
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule

Tracked = Literal["w", "shadow"]
_SOURCE = "Li, Tai and E (2017); Kovachki and Stuart (2021)"


def _checked_beta(value: Any) -> jax.Array:
    if not is_traced(value) and not 0 <= _check.real("beta", value, nonnegative=True) < 1:
        raise _check.fail("beta", "must be below 1", value, "for a momentum that tends to 1 use fd.NoisyHeavyBall")
    return leaf("beta", value, ndim=0)


class ShadowEquation(ModifiedEquation):
    r"""Equation of a momentum method with fixed beta, e = eta/(1 - beta), of weak order 2 for its shadow.

    .. math:: dX = -(\nabla L + [p{=}2]\,e\,c\,H \nabla L)\,dt + \sqrt{e s}\,G(X)\,dW,
              \qquad c = \tfrac12 + \tfrac{\beta}{1-\beta} \ \text{or}\ \tfrac12 + \tfrac{\beta^2}{1-\beta}

    Parameters
    ----------
    problem : Problem
        With n samples, or a Quadratic with noise.
    eta : float
        Step size in front of the gradient, positive.
    beta : float
        Momentum, 0 <= beta < 1.
    nesterov : bool
        Whether the gradient is taken ahead, along the velocity: it makes the second c.
    batch_size : int
        Batch B.
    order : {1, 2}
        Weak order p in e; order 2 is for the shadow variable alone.
    sampling : {"with", "without"}
        How batches are drawn: s = 1/B, or (n - B)/(B (n - 1)).

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, or a number is out of range.

    Notes
    -----
    Ito. The noise is that of order 1: stationary covariances are right to e only. Source: Li, Tai and E (2017);
    Kovachki and Stuart (2021) for the correction.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(2.0, noise=1.0)
    >>> equation = fd.ShadowEquation(p, eta=0.01, beta=0.8, order=2)  # e = 0.05, c = 4.5
    >>> round(float(equation.drift(0.0, [1.0])[0]), 10)
    -2.9
    """

    beta: jax.Array
    nesterov: bool = eqx.field(static=True)
    sampling: Sampling = eqx.field(static=True)
    summary: ClassVar[str] = "equation of a momentum method with fixed beta"
    references: ClassVar[str] = _SOURCE

    def __init__(
        self,
        problem: Problem,
        eta: Scalar,
        beta: Scalar,
        nesterov: bool = False,
        batch_size: int = 1,
        order: int = 1,
        sampling: Sampling = "with",
    ):
        self.problem = sampled_problem(problem)
        self.eta, self.beta = leaf("eta", eta, ndim=0, positive=True), _checked_beta(beta)
        self.nesterov = _check.flag("nesterov", nesterov)
        self.order = checked_order(order)
        self.batch_size, self.sampling = checked_draws(problem, batch_size, sampling)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, beta=0.5, order=2), w0

    @property
    def e(self) -> jax.Array:
        """``eta / (1 - beta)``, the recursion's time step."""
        return self.eta / (1 - self.beta)

    @property
    def strength(self) -> jax.Array:
        """``sqrt(e s)``."""
        n = None if self.problem.gaussian_factor is not None else self.problem.sample_count
        return jnp.sqrt(self.e * batch_noise_scale(self.batch_size, n, self.sampling))

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-grad L``, with ``-e c H grad L`` for order 2."""
        grad = self.problem.grad(state)
        if self.order == 1:
            return -grad
        lag = (self.beta**2 if self.nesterov else self.beta) / (1 - self.beta)
        return -grad - self.e * (0.5 + lag) * self.problem.hvp(state, grad)

    def default_dt(self, span: float) -> float:
        """At most e / 2."""
        return min(span / 1000, float(self.e) / 2)

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance where the sample gradients are linear in w."""
        if self.problem.linear_gradients() is None:
            return None
        return affine_moments(self, w0, when)


class FixedMomentum(WithVelocity, NoisyGradients):
    r"""Heavy ball or Nesterov's method with noisy gradients and a beta that stays, at t = e k, e = eta/(1 - beta).

    .. math:: w_{k+1} = w_k + \beta (w_k - w_{k-1}) - \eta\,g_k, \qquad
              y_k = w_k + \tfrac{\beta}{1-\beta}(w_k - w_{k-1})

    Parameters
    ----------
    problem : Problem
        With samples, or a Quadratic with noise.
    eta : float
        Step size in front of the gradient, positive.
    beta : float
        Momentum, 0 <= beta < 1, the same at every eta.
    nesterov : bool
        Whether the gradient is taken at w_k + beta (w_k - w_{k-1}) in place of w_k.
    tracked : {"w", "shadow"}
        Whether the variables of a run are w or the shadow y; both start at w0, at rest.
    batch_size : int
        B >= 1; at most n without replacement.
    sampling : {"with", "without"}
        Draw each batch with replacement or as a random subset.

    Raises
    ------
    ArgumentError
        If `problem` has neither samples nor a Gaussian noise, or a number is out of range; by ``limit(2)``, unless the
        shadow is tracked.

    Notes
    -----
    The velocity is (w_k - w_{k-1}) / e. Its ``limit(order)`` is written down by hand, :class:`ShadowEquation`: a step
    does not tend to the identity. Source: Li, Tai and E (2017); Kovachki and Stuart (2021).

    Examples
    --------
    >>> import flowdyn as fd
    >>> ball = fd.FixedMomentum(fd.problems.Quadratic(1.0, noise=1.0), 0.01, beta=0.5, tracked="shadow")
    >>> ladder = fd.eta_limit(ball, [1.0], t=1.0, order=2, observable={"w": lambda w: w[0]})
    >>> round(float(ladder.order.item()), 1)
    2.0
    """

    problem: Problem
    eta: Schedule
    beta: jax.Array
    nesterov: bool = eqx.field(static=True)
    tracked: Tracked = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    sampling: Sampling = eqx.field(static=True)
    covariances: ClassVar[tuple[str, ...]] = ("plain",)
    summary: ClassVar[str] = "momentum method with noisy gradients and fixed beta"
    references: ClassVar[str] = _SOURCE

    def __init__(
        self,
        problem: Problem,
        eta: StepSize,
        beta: Scalar,
        nesterov: bool = False,
        tracked: Tracked = "w",
        batch_size: int = 1,
        sampling: Sampling = "with",
    ):
        self.problem = sampled_problem(problem)
        self.eta, self.beta = as_schedule("eta", eta), _checked_beta(beta)
        self.nesterov = _check.flag("nesterov", nesterov)
        self.tracked = _check.choice("tracked", tracked, ("w", "shadow"))  # type: ignore[assignment]
        self.batch_size, self.sampling = checked_draws(problem, batch_size, sampling)
        self._constant("a momentum method")

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss, followed by its shadow."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, beta=0.5, tracked="shadow"), w0

    @property
    def increments(self) -> Schedule:
        """Time steps ``e = eta / (1 - beta)``."""
        return Constant(self.eta(jnp.asarray(0)) / (1 - self.beta))

    def next_state(self, h: Time, state: Vector, noise: Any) -> Vector:
        """``v <- beta v - (1 - beta) g,  w <- w + e v``, with what is tracked in place of w."""
        x, v = jnp.split(state, 2)
        ahead = h * self.beta / (1 - self.beta) if self.tracked == "shadow" else 0.0
        w = x - ahead * v
        at = w + self.beta * h * v if self.nesterov else w
        v = self.beta * v - (1 - self.beta) * self.gradient(at, noise)
        return jnp.concatenate([w + (h + ahead) * v, v])

    def limit(self, order: int = 0, covariance: Covariance = "plain") -> System:
        """Gradient flow for order 0, :class:`ShadowEquation` for order 1 and, where the shadow is tracked, 2."""
        _check.choice("covariance", covariance, self.covariances)
        if _check.integer("order", order, minimum=0) == 0:
            return GradientFlow(self.problem)
        if order > 1 and self.tracked == "w":
            raise _check.fail(
                "order",
                "must be at most 1 for w itself at a fixed beta: it lags behind by O(eta)",
                order,
                'use tracked="shadow", which has an equation of order 2',
            )
        eta = self.constant_eta(f"its limit of order {order}")
        return ShadowEquation(self.problem, eta, self.beta, self.nesterov, self.batch_size, order, self.sampling)
