"""Variance reduction that no expectation is paid for: a path is compared with its own linearisation.

    w+ = m(w),   u+ = Dm(w) u + xi(w),      m = E step,  xi = step - m  with the path's own random numbers

E u = 0 exactly, so g(x) - grad g(w) . u has the mean of g(x) with the part of its variance that is linear in the noise
taken out: of order h instead of 1 in small noise, and nothing at all where step and g are linear.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.randomness import Draw, RandomInputs
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import SDESystem, System
from flowdyn.problems.base import Variable, Vector
from flowdyn.schedules import Schedule, as_schedule


class _Inner(RandomRecursionSystem):
    """What the wrappers below take over from the system that they wrap."""

    eta: Schedule

    def layout(self, size: int) -> tuple[Variable, ...]:
        """One vector; these systems are never labelled."""
        return (Variable("w", ("param",), (size,), "state"),)

    def ravel(self, w0: Any) -> np.ndarray:
        """The flat state as it is: these systems are started by code."""
        return np.asarray(w0)

    def limit(self, order: int = 0) -> System:
        """Not defined: a wrapper is compared with nothing."""
        raise NotImplementedError


class EulerScheme(_Inner):
    """Euler-Maruyama's steps of an Ito equation, as a recursion of step size eta."""

    equation: SDESystem
    eta: Schedule
    dimension: int = eqx.field(static=True)

    def __init__(self, equation: SDESystem, eta: float, dimension: int):
        self.equation, self.eta, self.dimension = equation, as_schedule("eta", eta), dimension

    @property
    def viewed(self) -> System:
        """The equation, whose state the observables see."""
        return self.equation

    @property
    def random_inputs(self) -> RandomInputs:
        """One normal a Brownian motion."""
        return RandomInputs(numbers=self.dimension)

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """``X + f h + g dW``."""
        h = self.eta(k)
        return self.mean_step(k, state) + self.equation.diffusion_product(h * k, state, jnp.sqrt(h) * draw.numbers)

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """``X + f h``, the step without its noise."""
        h = self.eta(k)
        return state + h * self.equation.drift_as("ito", h * k, state)


class Controlled(_Inner):
    """State [x, w, u]: a path, the mean recursion, and the path's linearisation about it."""

    inner: RandomRecursionSystem
    eta: Schedule

    def __init__(self, inner: RandomRecursionSystem):
        self.inner, self.eta = inner, inner.eta

    @property
    def viewed(self) -> System:
        """The system of the path, whose state the observables see."""
        return self.inner.viewed if isinstance(self.inner, EulerScheme) else self.inner

    @property
    def random_inputs(self) -> RandomInputs:
        """What the path draws; its linearisation uses the same numbers."""
        return self.inner.random_inputs

    @property
    def epoch(self) -> int:
        """Steps of the path that share one epoch state."""
        return self.inner.epoch

    @property
    def epoch_bits(self) -> int:
        """Random bits of the path's epoch state."""
        return self.inner.epoch_bits

    def start_epoch(self, words: jax.Array) -> Any:
        """The path's epoch state, shared by its linearisation."""
        return self.inner.start_epoch(words)

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """One step of all three with the same random numbers."""
        x, w, u = jnp.split(state, 3)
        mean, slope = jax.jvp(lambda v: self.inner.mean_step(k, v), (w,), (u,))
        noise = self.inner.step(k, w, draw, epoch_state) - mean
        return jnp.concatenate([self.inner.step(k, x, draw, epoch_state), mean, slope + noise])

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """Not needed: a controlled path is not controlled again."""
        raise NotImplementedError


def controlled_start(w0: np.ndarray) -> np.ndarray:
    """Start [w0, w0, 0] of path, mean recursion and linearised deviation."""
    return np.concatenate([w0, w0, np.zeros_like(w0)])


def controlled_value(function: Callable, state: Vector) -> jax.Array:
    """``g(x) - grad g(w) . u`` of a state [x, w, u]."""
    x, w, u = jnp.split(state, 3)
    return function(x) - jax.jvp(function, (w,), (u,))[1]
