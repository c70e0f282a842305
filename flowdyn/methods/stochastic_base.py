"""Recursions that draw random numbers; none is ever run without its noise.

X_{k+1} = step(k, X_k, draw_k, epoch_state),      E step = mean_step
"""

import abc
from typing import Any, ClassVar

import jax

from flowdyn import _check
from flowdyn._tools.randomness import Draw, RandomInputs
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import RandomSystem
from flowdyn.problems.base import Vector


class RandomRecursionSystem(RandomSystem, RecursionSystem):
    """A recursion that draws random numbers at each step.

    A method that draws for many steps at once (an order of the data, say) has an `epoch` of that many steps, and makes
    its state in :meth:`start_epoch` from `epoch_bits` random bits.
    """

    kind: ClassVar[str] = "a random recursion"
    covariances: ClassVar[tuple[str, ...]] = ("plain",)  # of its equations, as `limit` takes them

    @property
    @abc.abstractmethod
    def random_inputs(self) -> RandomInputs:
        """How many words and numbers a step draws, and of which kind."""

    @abc.abstractmethod
    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """State of shape (S,) after step k, given what the step has drawn."""

    @abc.abstractmethod
    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """Expectation of the next state over the draw."""

    def rescaled(self, kappa: int) -> "RandomRecursionSystem":
        """The same method for a batch kappa times as large, by its scaling rule."""
        raise _check.fail("method", "must have a scaling rule", type(self).__name__, "e.g. fd.SGD(...)")

    @property
    def has_brownian_increments(self) -> bool:
        """Whether the numbers drawn are the normalised Brownian increments of the limits of order 1 and up."""
        return False

    @property
    def epoch(self) -> int:
        """Steps that share one epoch state; 0 if there is none."""
        return 0

    @property
    def epoch_bits(self) -> int:
        """Random bits that an epoch state is made of."""
        return 0

    def start_epoch(self, words: jax.Array) -> Any:
        """State of one epoch, from `epoch_bits` bits in words of 32."""
        return ()
