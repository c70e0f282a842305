r"""Recursions whose step is drawn from a distribution of steps, and what their equations need of it.

    z_{k+1} = S_h(z_k, i_k)            i_k one of n outcomes, equally likely
    z_{k+1} = S_h(z_k, xi_k)           xi_k standard normals, S_h affine in xi

    M_h(z) = E S_h(z),   phi_j(z) the columns of the fluctuation:   Cov S_h(z) = sum_j phi_j phi_j^T

With n outcomes phi_i = (S_h(z, i) - M_h(z)) / sqrt(n): no matrix root is taken; with normals phi_j = dS_h/dxi_j.
"""

import abc
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn._tools.leaves import Scalar
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn._tools.randomness import Draw, RandomInputs, below
from flowdyn._tools.registry import look_up
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.equation_checks import check_noise, whole_state
from flowdyn.methods.following import RecursionFlow
from flowdyn.methods.of_recursion import OfRecursion
from flowdyn.methods.recursion_equation import (
    COVARIANCES,
    MAX_ENTRIES,
    Covariance,
    RecursionEquation,
    linear_noise_of,
)
from flowdyn.methods.scatter_of_steps import Scatter
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import Moments, System
from flowdyn.problems.base import Time, Vector
from flowdyn.schedules import Constant, Schedule
from flowdyn.theory.linear_moments import linear_sgd_mean_cov
from flowdyn.theory.moments_work import Size, sgd_route


class Scattered(Scatter, RandomRecursionSystem):
    """A random recursion that says what its step would be at any time step h, and for any outcome."""

    covariances: ClassVar[tuple[str, ...]] = COVARIANCES
    is_users: ClassVar[bool] = False  # whether its step is a user's own, which may do anything

    @property
    @abc.abstractmethod
    def outcomes(self) -> int | None:
        """Number n of outcomes that are equally likely, None where the noise is Gaussian."""

    @property
    def is_symmetric(self) -> bool:
        """Whether the noise is Gaussian."""
        return self.outcomes is None

    @property
    def time_step(self) -> jax.Array:
        """The clock's step h, of the first step if it changes."""
        return self.increments(jnp.asarray(0))

    @abc.abstractmethod
    def next_state(self, h: Time, state: Vector, noise: Any) -> Vector:
        """State after a step of length h with outcome `noise`: an index, or normals (m,)."""

    @property
    def random_inputs(self) -> RandomInputs:
        """One word for an outcome, or the normals."""
        return RandomInputs(words=1) if self.outcomes else RandomInputs(numbers=self.noise_size)

    @property
    def has_brownian_increments(self) -> bool:
        """Normals are the increments of the equation's Brownian motions."""
        return self.outcomes is None

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """The step of the outcome that is drawn."""
        noise = below(draw.words[:1], self.outcomes)[0] if self.outcomes else draw.numbers
        return self.next_state(self.increments(k), jnp.asarray(state), noise)

    def mean_at(self, h: Time, state: Vector) -> Vector:
        """``M_h(z) = E S_h(z)``."""
        if self.outcomes is None:
            return self.next_state(h, state, jnp.zeros(self.noise_size))
        return jnp.mean(self._all(h, state), axis=0)

    def fluctuations(self, h: Time, state: Vector) -> jax.Array:
        """Columns phi of the fluctuation, as rows (m, S)."""
        if self.outcomes is None:
            return jax.jacfwd(lambda xi: self.next_state(h, state, xi))(jnp.zeros(self.noise_size)).T
        rows = self._all(h, state)
        return (rows - jnp.mean(rows, axis=0)) / np.sqrt(len(rows))

    def _all(self, h: Time, state: Vector) -> Vector:
        return jax.vmap(lambda i: self.next_state(h, state, i))(jnp.arange(self.outcomes))

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """The mean over the outcomes."""
        return self.mean_at(self.increments(k), jnp.asarray(state))

    def limit(self, order: int = 0, covariance: Covariance = "plain") -> System:
        """The flow of the mean step for order 0, the stochastic equation for orders 1, 2 and, matched, 3."""
        if _check.integer("order", order, minimum=0) == 0:
            return MeanRecursion(self).limit(0)
        return RecursionEquation(self, order, covariance)

    def expected_order(self, order: int = 0, error: str = "weak") -> float:
        """Weak order max(p, 1)."""
        return float(max(order, 1)) if error == "weak" else 0.5 if order == 0 else 1.0

    def affine_parts(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
        """(A, c, P, q) where ``M(z) = A z + c`` and ``phi_j(z) = P_j z + q_j``; None where a step is not affine."""
        if not self._is_affine(size):
            return None
        A, c, P, q = map(np.asarray, bind(_affine, self)(np.zeros(size)))
        return A, c, P, q

    def _is_affine(self, size: int) -> bool:
        """Whether every step is affine in the state, and their derivatives are not too many."""
        if self.noise_size * size**2 > MAX_ENTRIES or not isinstance(self.eta, Constant):
            return False
        return by_structure(_degree, self, size) <= 1

    def moments_work(self, size: int, when: np.ndarray) -> float:
        """Of the moments of an affine recursion; 0 where it is not, and none are known."""
        if not self._is_affine(size):
            return 0.0
        shape = Size(self.noise_size, size, rank_one=False)
        return sgd_route(shape, np.diff(np.asarray(when, dtype=np.int64), prepend=0)).work

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance after `when` steps where every step is affine in the state."""
        start = whole_state(self, w0)
        parts = self.affine_parts(len(start))
        if parts is None:
            return None
        A, c, P, q = parts
        return linear_sgd_mean_cov(linear_noise_of(np.eye(len(c)) - A, c, P, q), 1.0, 1.0, start, when)


def _degree(recursion: Scattered, size: int) -> float:
    """Degree of a step and of its noise in the state."""
    flat, h = jax.ShapeDtypeStruct((size,), jnp.float64), recursion.increments(jnp.asarray(0))
    parts = (lambda z: recursion.mean_at(h, z)), (lambda z: recursion.fluctuations(h, z))
    return max(degree_of(part, flat) for part in parts)


def _affine(recursion: Scattered, zero: jax.Array) -> tuple:
    h = recursion.increments(jnp.asarray(0))
    mean, columns = (lambda z: recursion.mean_at(h, z)), (lambda z: recursion.fluctuations(h, z))
    return jax.jacfwd(mean)(zero), mean(zero), jax.jacfwd(columns)(zero), columns(zero)


class MeanRecursion(OfRecursion, DiscreteSystem):
    r"""The recursion of means: a random recursion without its noise.

    .. math:: z_{k+1} = M_h(z_k) = E\, S_h(z_k, \cdot)

    Parameters
    ----------
    recursion : RandomRecursionSystem
        Whose outcomes are averaged at every step.

    Raises
    ------
    ArgumentError
        If `recursion` does not tell its outcomes.

    Notes
    -----
    Its flows of order p are the drifts of the equations of the random recursion. Source: of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> coin = fd.RandomRecursion(lambda z, h, x: z - h * (z - x), 0.5, samples=[[-1.0], [1.0]])
    >>> fd.solve(fd.MeanRecursion(coin), [1.0], steps=2).w.values.ravel().tolist()
    [1.0, 0.5, 0.25]
    """

    recursion: Scattered
    eta: Schedule
    is_mean: ClassVar[bool] = True
    summary: ClassVar[str] = "the recursion of means of a random recursion"

    def __init__(self, recursion: Scattered):
        if not isinstance(recursion, Scattered):
            raise _check.fail("recursion", "must be a random recursion", recursion, "e.g. fd.RandomRecursion(...)")
        self.recursion, self.eta = recursion, recursion.eta

    def config(self) -> dict[str, Any]:
        """The random recursion, which has the step size."""
        return {"recursion": self.recursion}

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Of steps towards one of two points."""
        names = {"RandomRecursion": "random_recursion"}
        recursion, w0 = look_up("recursion", "RandomRecursion", "flowdyn.methods", names).example()
        return cls(recursion), w0

    def with_eta(self, eta: Scalar) -> Self:
        """The means at another step size."""
        return type(self)(self.recursion.with_eta(eta))

    @property
    def step_power(self) -> float:  # type: ignore[override]
        """That of the random recursion."""
        return self.recursion.step_power

    @property
    def increments(self) -> Schedule:
        """Time steps of the random recursion."""
        return self.recursion.increments

    @property
    def is_users(self) -> bool:  # type: ignore[override]
        """Whether the random recursion's step is a user's own."""
        return self.recursion.is_users

    @property
    def numbers(self) -> dict[str, Any]:
        """Those of the random recursion."""
        return self.recursion.numbers

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """The mean over the outcomes."""
        return self.recursion.mean_step(k, state)

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse noise that is in the limit itself: then the means do not follow a flow of their own."""
        self.recursion.check_start(state0)
        check_noise(self.recursion, np.asarray(state0, dtype=float))

    def step_at(self, h: Time, k: Time, state: Vector) -> Vector:
        """The mean step at another time step."""
        return self.recursion.mean_at(h, state)

    def limit(self, order: int = 0) -> RecursionFlow:
        """The flow of the means."""
        return RecursionFlow(self, order)
