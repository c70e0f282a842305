"""Recursions:  state_{k+1} = step(k, state_k)  at training time  t_k = clock(k)."""

import abc
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar
from flowdyn.methods.following import Followed, RecursionFlow
from flowdyn.methods.step_spectrum import largest_change
from flowdyn.methods.systems import ODESystem, System
from flowdyn.problems.base import Time, Vector
from flowdyn.schedules import Constant, Schedule


class Edge(NamedTuple):
    """Where a recursion of constant step oscillates, and how it moves there on average."""

    threshold: Scalar  # curvature above which it is unstable
    step_time: Scalar  # of the clock
    speed: Scalar  # of the slow motion a step, in units of 2 / threshold times the force
    momentum: Scalar


class RecursionSystem(System):
    """Anything with a step size eta and a clock that turns step numbers into training time.

    `step_power` says how the clock's step h follows from eta: h = eta ** step_power (1 for gradient descent, 1/2 for
    momentum methods). Convergence orders are counted in h.
    """

    kind: ClassVar[str] = "a recursion"
    step_power: ClassVar[float] = 1.0

    eta: eqx.AbstractVar[Schedule]

    @abc.abstractmethod
    def limit(self, order: int = 0) -> System:
        """Continuous system that the recursion follows as eta -> 0."""

    @property
    def numbers(self) -> dict[str, Any]:
        """The constructor's arguments; a constant step size is its number."""
        return self.config() | ({"eta": self.eta.eta} if isinstance(self.eta, Constant) else {})

    def expected_order(self, order: int = 0, error: str = "sup") -> float:
        """Order in h of the gap between the recursion and ``limit(order)``."""
        return order + 1.0

    @property
    def increments(self) -> Schedule:
        """Time steps of the clock, as a schedule over k."""
        return self.eta

    def clock(self, k: Any) -> np.ndarray:
        """Training time t_k = sum of the first k increments, for the step numbers `k`."""
        return self.increments.clock(np.asarray(k))

    @property
    def edge(self) -> Edge | None:
        """Its edge of stability, where that is known."""
        return None

    def constant_eta(self, why: str) -> float:
        """The one eta of this method; a changing schedule is refused."""
        return float(self._constant(why).eta)

    def _constant(self, why: str) -> Constant:
        if not isinstance(self.eta, Constant):
            raise _check.fail(
                "eta", f"must be one number for {why}", type(self.eta).__name__, "use a constant step size"
            )
        return self.eta

    def with_eta(self, eta: Scalar) -> Self:
        """The same method at another constant step size; it shares the compiled program."""
        self._constant("a change of step size")
        cls: Any = type(self)
        return cls(**self.config() | {"eta": eta})


class DiscreteSystem(Followed, RecursionSystem):
    """A recursion without noise; its limits of every order come from its step."""

    change_text: ClassVar[str] = "the largest |lambda| of dS/dz - 1, S the step,"  # what `step_change` is, in words

    @abc.abstractmethod
    def step(self, k: jax.Array, state: Vector) -> Vector:
        """State of shape (S,) after step k from `state`."""

    @property
    def time_step(self) -> jax.Array:
        """The clock's step h, of the first step if it changes."""
        return self.increments(jnp.asarray(0))

    def step_at(self, h: Time, k: Time, state: Vector) -> Vector:
        """Step of the same method at ``eta = h ** (1 / step_power)``."""
        eta = h if self.step_power == 1 else h ** (1 / self.step_power)
        return self.with_eta(jnp.asarray(eta)).step(jnp.asarray(k), state)

    def step_change(self, k: int, state: np.ndarray) -> float:
        """Largest |lambda| of dS/dz - 1 at a state: the series of the flows converges about where it is below 1."""
        return largest_change(self, k, state)

    def limit(self, order: int = 0) -> ODESystem:
        """The flow that the recursion follows: order 0 as eta -> 0, order p > 0 with a gap O(h^{p+1})."""
        if _check.integer("order", order, minimum=0):
            self.constant_eta(f"its limit of order {order}")
        return RecursionFlow(self, order)
