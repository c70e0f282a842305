"""Step sizes that change with the step number:  eta_k,  and the clock  t_k = sum_{j<k} eta_j  that they add up to."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf, shown_call

__all__ = ["Constant", "PiecewiseConstant", "PowerDecay", "Scaled", "Schedule"]


class Schedule(eqx.Module):
    """A step size for every step. Subclasses define ``__call__``; the clock is its sum."""

    @abc.abstractmethod
    def __call__(self, k: jax.Array) -> jax.Array:
        """Step size eta_k of step k = 0, 1, 2, ..."""

    def __repr__(self) -> str:
        return shown_call(type(self).__name__, vars(self), unnamed=1)

    def clock(self, k: np.ndarray) -> np.ndarray:
        """Training time ``sum_{j<k} eta_j`` at step numbers `k`."""
        steps = np.asarray(jax.vmap(self)(jnp.arange(max(int(np.max(k, initial=0)), 1))))
        return np.concatenate([[0.0], np.cumsum(steps)])[np.asarray(k)]

    def steps_until(self, t: float, limit: int) -> int:
        """Largest k with clock(k) <= t (to 1e-9 relative), at most `limit`."""
        ticks = self._ticks(t, limit)
        return int(np.searchsorted(ticks, t * (1 + 1e-9), side="right")) - 1

    def nearest(self, t: np.ndarray) -> np.ndarray:
        """Step numbers whose clock is nearest to the increasing times `t`."""
        ticks = self._ticks(float(t[-1]), 10**8)
        after = np.clip(np.searchsorted(ticks, t), 1, len(ticks) - 1)
        return np.where(t - ticks[after - 1] < ticks[after] - t, after - 1, after)

    def _ticks(self, t: float, limit: int) -> np.ndarray:
        """Clock from step 0 until it has passed t, or for `limit` steps."""
        count = min(1024, limit)
        while count < limit and self.clock(np.array([count]))[0] <= t:
            count = min(2 * count, limit)
        return self.clock(np.arange(count + 1))


class Constant(Schedule):
    """The same eta at every step; the clock is ``eta * k``, not a sum of rounded terms."""

    eta: jax.Array

    def __init__(self, eta: Scalar):
        self.eta = leaf("eta", eta, ndim=0, positive=True)

    def __call__(self, k: jax.Array) -> jax.Array:
        """``eta``."""
        return self.eta

    def clock(self, k: np.ndarray) -> np.ndarray:
        """``eta * k``."""
        return float(self.eta) * np.asarray(k)

    def steps_until(self, t: float, limit: int) -> int:
        """``floor(t / eta)``, up to the rounding of the quotient."""
        count = t / float(self.eta)
        return int(min(np.floor(count * (1 + 1e-14) + 1e-9), limit))

    def nearest(self, t: np.ndarray) -> np.ndarray:
        """``rint(t / eta)``."""
        return np.rint(t / float(self.eta)).astype(np.int64)


class PiecewiseConstant(Schedule):
    """``values[i]`` from step ``boundaries[i-1]`` on (a learning rate that is cut at given steps).

    Parameters
    ----------
    values : array_like, shape (m,)
        Step sizes, positive.
    boundaries : array_like of int, shape (m - 1,)
        Increasing step numbers at which the next value starts.
    """

    values: jax.Array
    boundaries: jax.Array

    def __init__(self, values: ArrayLike, boundaries: ArrayLike):
        self.values = leaf("values", values, ndim=1, positive=True)
        edges = _check.real_array("boundaries", boundaries, ndim=1)
        if len(edges) != len(self.values) - 1 or (np.diff(edges) <= 0).any() or (edges != np.rint(edges)).any():
            raise _check.fail("boundaries", f"must be {len(self.values) - 1} increasing step numbers", boundaries)
        self.boundaries = jnp.asarray(edges.astype(np.int64))

    def __call__(self, k: jax.Array) -> jax.Array:
        """Value of the piece that holds k."""
        return self.values[jnp.searchsorted(self.boundaries, k, side="right")]


class PowerDecay(Schedule):
    """``eta0 * (1 + k / offset) ** -power``, the Robbins-Monro family.

    Parameters
    ----------
    eta0 : float
        First step size, positive.
    offset : float
        Steps after which the decay sets in, positive.
    power : float
        Exponent, positive.
    """

    eta0: jax.Array
    offset: jax.Array
    power: jax.Array

    def __init__(self, eta0: Scalar, offset: Scalar = 1.0, power: Scalar = 1.0):
        self.eta0 = leaf("eta0", eta0, ndim=0, positive=True)
        self.offset = leaf("offset", offset, ndim=0, positive=True)
        self.power = leaf("power", power, ndim=0, positive=True)

    def __call__(self, k: jax.Array) -> jax.Array:
        """Step size of step k."""
        return self.eta0 * (1 + k / self.offset) ** -self.power


class Scaled(Schedule):
    """Another schedule times a constant; its clock is scaled as a whole.

    Parameters
    ----------
    base : Schedule
        What is scaled.
    factor : float
        Positive.
    """

    base: Schedule
    factor: jax.Array

    def __init__(self, base: Schedule, factor: Scalar):
        if not isinstance(base, Schedule):
            raise _check.fail("base", "must be a Schedule", base, "a number times a constant is a number")
        self.base, self.factor = base, leaf("factor", factor, ndim=0, positive=True)

    def __call__(self, k: jax.Array) -> jax.Array:
        """``factor * eta_k``."""
        return self.factor * self.base(k)

    def clock(self, k: np.ndarray) -> np.ndarray:
        """``factor`` times the clock of the base."""
        return float(self.factor) * self.base.clock(k)

    def steps_until(self, t: float, limit: int) -> int:
        """As the base, in its own time."""
        return self.base.steps_until(t / float(self.factor), limit)

    def nearest(self, t: np.ndarray) -> np.ndarray:
        """As the base, in its own time."""
        return self.base.nearest(t / float(self.factor))


StepSize = float | jax.Array | Schedule


def as_schedule(name: str, value: Any) -> Schedule:
    """Return `value` if it is a Schedule, else the Constant schedule of that step size."""
    if isinstance(value, Schedule):
        return value
    if callable(value):
        raise _check.fail(name, "must be a positive number or a flowdyn.schedules.Schedule", value, "subclass Schedule")
    return Constant(_positive(name, value))


def _positive(name: str, value: Any) -> Any:
    if not is_traced(value):
        if _check.real(name, value) == 0:
            raise _check.fail(name, "must be positive", value, "eta = 0 is the flow itself: use the method's .limit()")
        _check.real(name, value, positive=True)
    return value


REGISTRY = {cls.__name__: cls for cls in (Constant, PiecewiseConstant, PowerDecay, Scaled)}


def __dir__() -> list[str]:
    return sorted(__all__)
