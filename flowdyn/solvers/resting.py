"""When a recursion is at rest:  |s(K) - s(J)|,  |step(k, s) - s|  <=  sqrt(K - J) noise  at every coordinate.

J is two thirds of K or more, and k any step number up to the end of the budget: a step size that is to grow again moves
what rests now. The noise is that of a step (``rounding_noise.py``), and adds up like a random walk. Below it a stop
rule that does not hold yet is met by chance or never. Both are looked at each time that the run has become a third or
half as long again, so that where it ends does not depend on the machine.
"""

import jax
import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn.methods.base import DiscreteSystem
from flowdyn.solvers.rounding_noise import noise, probes

EPS = np.finfo(float).eps
FIRST_LOOK = 1024  # steps
LATER = 64  # step numbers that are tried


def _moves(system: DiscreteSystem, ks: jax.Array, states: jax.Array) -> jax.Array:
    """What a step adds to each state (R, S), at each step number (N,)."""
    return jax.vmap(lambda k: jax.vmap(lambda s: system.step(k, s) - s)(states))(ks)


class RestWatch:
    """Looks whether a recursion is at rest, each time that it is due."""

    def __init__(self, system: DiscreteSystem, first: int, end: int):
        self.moves = bind(_moves, system)
        self.first, self.end = first, end
        self.due = first + FIRST_LOOK
        self.last: tuple[int, np.ndarray] | None = None

    def finds_rest(self, k: int, state: np.ndarray) -> bool:
        """Whether nothing but rounding has moved the state since the last look, nor will."""
        if k < self.due:
            return False
        passed = self.due - self.first
        self.due = self.first + (3 * passed // 2 if passed.bit_count() == 1 else 4 * passed // 3)
        before, self.last = self.last, (k, state)
        if before is None:
            return False
        rounding = np.sqrt(k - before[0]) * self.rounding_of_steps(k, state)
        return bool((np.abs(state - before[1]) <= rounding).all())

    def rounding_of_steps(self, k: int, state: np.ndarray) -> np.ndarray:
        """Noise (S,) of a step; nothing where a step is more than what its noise adds up to."""
        later = np.unique(np.geomspace(k + 1, max(self.end, k + 1), LATER).astype(np.int64) - 1)
        ks = np.concatenate([np.full(LATER - len(later), k), later])
        moves = np.asarray(self.moves(ks, np.vstack([state, probes(state, k)])))
        rounding = np.maximum(noise(moves[:, 0], moves[:, 1:]).max(axis=0), EPS / 2 * np.abs(state))
        rests = np.abs(moves[:, 0]).max(axis=0) <= np.sqrt(k - self.first) * rounding
        return np.where(rests, rounding, -1.0)

    def is_rounding(self, k: int, state: np.ndarray) -> bool:
        """Whether steps from `state` after step k are rounding."""
        return bool((self.rounding_of_steps(k, state) >= 0).all())
