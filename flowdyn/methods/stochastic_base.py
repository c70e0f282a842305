"""The random kinds of dynamics, siblings of the deterministic ones: none is ever run without its noise.

    SDESystem         dX = drift(t, X) dt + diffusion(t, X) dW,    drift (S,), diffusion (S, m)
    RandomRecursion   X_{k+1} = step(k, X_k, draw_k, memory),      E step = mean_step

An Ito equation and its Stratonovich form differ by the drift  1/2 sum_j (D g_j) g_j,  added in one place:
:meth:`SDESystem.drift_as`.
"""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.randomness import Ask, Draw
from flowdyn.methods.systems import Recursion, System
from flowdyn.problems.base import Vector

CALCULI = ("ito", "stratonovich")
NOISES = ("additive", "diagonal", "general")


class Law(NamedTuple):
    """``dX = (force - A X) dt + D^{1/2} dW``, whose law is known at any time."""

    A: np.ndarray  # (S, S)
    D: np.ndarray  # (S, S)
    force: np.ndarray  # (S,)


Moments = tuple[np.ndarray, np.ndarray]  # mean (T, S), covariance (T, S, S)


class RandomSystem(System):
    """Anything that needs a seed."""

    is_random: ClassVar[bool] = True

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance from flat w0 at increasing times (step numbers of a recursion), None if not known."""
        return None


class SDESystem(RandomSystem):
    """A stochastic differential equation.

    `noise` says what the diffusion may depend on: "additive" not on the state, "diagonal" (m = S, no off-diagonal
    entries) in row i on entry i of the state alone, "general" on anything.
    """

    kind: ClassVar[str] = "a stochastic differential equation"
    calculus: eqx.AbstractVar[str]
    noise: eqx.AbstractVar[str]

    @abc.abstractmethod
    def drift(self, t: Vector, state: Vector) -> jax.Array:
        """Drift in the system's own calculus, shape (S,)."""

    @abc.abstractmethod
    def diffusion(self, t: Vector, state: Vector) -> jax.Array:
        """Diffusion, shape (S, m)."""

    @abc.abstractmethod
    def noise_dim(self, state: np.ndarray) -> int:
        """Number m of Brownian motions."""

    def kick(self, t: Vector, state: Vector, increment: Vector) -> jax.Array:
        """``diffusion @ increment``; a subclass may know a cheaper way."""
        return self.diffusion(t, state) @ increment

    def drift_as(self, calculus: str, t: Vector, state: Vector) -> jax.Array:
        """Drift in the asked calculus: Ito = Stratonovich + 1/2 sum_j (D g_j) g_j."""
        own = self.drift(t, state)
        if calculus == self.calculus or self.noise == "additive":
            return own
        g = self.diffusion(t, state)
        slopes = jax.jacfwd(lambda x: self.diffusion(t, x))(state)  # (S, m, S)
        correction = 0.5 * jnp.einsum("ijk,kj->i", slopes, g)
        return own + correction if calculus == "ito" else own - correction

    def default_dt(self, span: float) -> float:
        """Step of the fixed-step solvers where the user names none."""
        return span / 1000

    def law(self) -> Law | None:
        """Exact law where the system is linear with additive noise, else None."""
        return None

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Transient mean and covariance of a linear system."""
        from flowdyn.theory.moments import ou_mean_cov

        law = self.law()
        return None if law is None else ou_mean_cov(law.A, law.D, w0, when, force=law.force)


class RandomRecursion(RandomSystem, Recursion):
    """A recursion that draws random numbers at each step.

    A method that draws for many steps at once (an order of the data, say) has an `epoch` of that many steps, and makes
    its memory in :meth:`begin` from `epoch_words` random words.
    """

    kind: ClassVar[str] = "a random recursion"

    @property
    @abc.abstractmethod
    def ask(self) -> Ask:
        """What a step draws."""

    @abc.abstractmethod
    def step(self, k: jax.Array, state: Vector, draw: Draw, memory: Any) -> jax.Array:
        """Next state, shape (S,)."""

    @abc.abstractmethod
    def mean_step(self, k: jax.Array, state: Vector) -> jax.Array:
        """Expectation of the next state over the draw."""

    @property
    def shares_noise(self) -> bool:
        """Whether the numbers drawn are the normalised Brownian increments of the limits of order 1 and up."""
        return False

    @property
    def epoch(self) -> int:
        """Steps that share one memory; 0 if there is none."""
        return 0

    @property
    def epoch_words(self) -> int:
        """Random words that a memory is made of."""
        return 0

    def begin(self, words: jax.Array) -> Any:
        """Memory of one epoch."""
        return ()


def checked_sde(calculus: Any, noise: Any) -> tuple[str, str]:
    """Check the two names that say what an equation means."""
    return _check.choice("calculus", calculus, CALCULI), _check.choice("noise", noise, NOISES)
