"""What is measured of a recursion's step is measured by two programs:  S_h(z, k)  and  (S_h(z, k), dS_h(z, k)/dz v).

A step that solves an equation within takes half a second to compile, each time that a program holds it: checks which
have it four times over took longer than the flow. They call these programs instead, a few hundred times at most.
"""

from typing import Any

import jax
import numpy as np

from flowdyn._tools.compiled import bind


class StepProbes:
    """A recursion's step and its derivative along a direction, at any h and k.

    Parameters
    ----------
    recursion : Followed
        Whose step is measured.
    """

    def __init__(self, recursion: Any):
        self.h = float(recursion.time_step)
        self._after, self._along = bind(_after, recursion), bind(_along, recursion)

    def after(self, h: float, k: float, z: np.ndarray) -> np.ndarray:
        """State (S,) after step k of length h from a state (S,)."""
        return np.asarray(self._after(np.float64(h), np.float64(k), z))

    def path(self, h: float, count: int, z: np.ndarray) -> np.ndarray:
        """States (count + 1, S) after steps 0, 1, ... of length h; none is waited for before the last."""
        step, states = np.float64(h), [z]
        for k in range(count):
            states.append(self._after(step, np.float64(k), states[-1]))
        return np.stack([np.asarray(state) for state in states])

    def along(self, h: float, k: float, z: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """That state, and its derivative (S,) along a direction v (S,)."""
        after, moved = self._along(np.float64(h), np.float64(k), z, v)
        return np.asarray(after), np.asarray(moved)


def _after(recursion: Any, h: jax.Array, k: jax.Array, z: jax.Array) -> jax.Array:
    return recursion.step_at(h, k, z)


def _along(recursion: Any, h: jax.Array, k: jax.Array, z: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(lambda state: recursion.step_at(h, k, state), (z,), (v,))


def drift(system: Any, t: jax.Array, state: jax.Array) -> jax.Array:
    """Drift (S,) of an equation: the program of the checks, and of steppers that ask for single values."""
    return system.drift(t, state)


def rate_at(flow: Any, t: float, state: np.ndarray) -> np.ndarray:
    """Right-hand side (S,) of a flow at a time and a state (S,)."""
    return np.asarray(bind(drift, flow)(np.float64(t), state))
