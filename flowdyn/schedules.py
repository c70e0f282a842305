"""Step sizes that change with the step number:  eta_k,  and the clock  t_k = sum_{j<k} eta_j  that they add up to."""

import abc
from typing import Any, SupportsFloat

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf, shown_call
from flowdyn._tools.plain_help import Module

__all__ = ["Constant", "PiecewiseConstant", "PowerDecay", "Scaled", "Schedule"]


class Schedule(Module):
    r"""A step size for every step; subclasses define ``__call__``, and the clock is its sum.

    .. math:: t_k = \sum_{j<k} \eta_j

    Raises
    ------
    ArgumentError
        By :meth:`RecursionSystem.constant_eta`, where a method or a limit needs one step size.

    Notes
    -----
    Source: the definition; section 9.3.1, equation (9.88), for a constant step.

    Examples
    --------
    >>> import flowdyn as fd
    >>> class Harmonic(fd.schedules.Schedule):
    ...     def __call__(self, k):
    ...         return 1 / (k + 1)
    >>> float(Harmonic().clock(3))  # 1 + 1/2 + 1/3
    1.8333333333333333
    """

    @abc.abstractmethod
    def __call__(self, k: jax.Array) -> jax.Array:
        """Step size eta_k of step k = 0, 1, 2, ..., traced by JAX."""

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
    r"""The same eta at every step; the clock is ``eta * k``, not a sum of rounded terms.

    .. math:: \eta_k = \eta, \qquad t_k = \eta k

    Parameters
    ----------
    eta : float
        Step size, positive, in the units of training time.

    Raises
    ------
    ArgumentError
        If eta is not positive.

    Notes
    -----
    Source: section 9.3.1, equation (9.88).

    Examples
    --------
    >>> import flowdyn as fd
    >>> float(fd.schedules.Constant(0.1).clock(30))
    3.0
    """

    eta: jax.Array

    def __init__(self, eta: Scalar):
        self.eta = leaf("eta", eta, ndim=0, positive=True)

    def __call__(self, k: jax.Array) -> jax.Array:
        """The one eta, whatever k."""
        return self.eta

    def clock(self, k: np.ndarray) -> np.ndarray:
        """Training time ``eta * k`` at step numbers `k`."""
        return float(self.eta) * np.asarray(k)

    def steps_until(self, t: float, limit: int) -> int:
        """``floor(t / eta)``, up to the rounding of the quotient."""
        count = t / float(self.eta)
        return int(min(np.floor(count * (1 + 1e-14) + 1e-9), limit))

    def nearest(self, t: np.ndarray) -> np.ndarray:
        """Step numbers ``rint(t / eta)`` of the times `t`."""
        return np.rint(t / float(self.eta)).astype(np.int64)


class PiecewiseConstant(Schedule):
    r"""A learning rate that is cut at given steps.

    .. math:: \eta_k = v_i \quad \text{for}\ b_i \le k < b_{i+1}, \qquad b_0 = 0

    Parameters
    ----------
    values : array_like of float, shape (m,)
        Step sizes v, positive.
    boundaries : array_like of int, shape (m - 1,)
        Increasing step numbers b_1, b_2, ... at which the next value starts.

    Raises
    ------
    ArgumentError
        If a value is not positive, or the boundaries are not m - 1 increasing whole numbers.

    Notes
    -----
    Source: the definition; HaoChen, Wei, Lee and Ma (2021) cut theirs by 10 twice.

    Examples
    --------
    >>> import flowdyn as fd
    >>> cut = fd.schedules.PiecewiseConstant([0.1, 0.01], [2])
    >>> [round(float(cut(k)), 12) for k in range(4)]
    [0.1, 0.1, 0.01, 0.01]
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
    r"""A step size that decays like a power of k, the Robbins-Monro family.

    .. math:: \eta_k = \eta_0 (1 + k / k_0)^{-p}

    Parameters
    ----------
    eta0 : float
        First step size, positive.
    offset : float
        k_0, the number of steps after which the decay sets in, positive.
    power : float
        Exponent p, positive; 1/2 < p <= 1 for the convergence of SGD.

    Raises
    ------
    ArgumentError
        If a number is not positive.

    Notes
    -----
    Source: Robbins and Monro (1951).

    Examples
    --------
    >>> import flowdyn as fd
    >>> float(fd.schedules.PowerDecay(0.1, offset=10.0)(10))
    0.05
    """

    eta0: jax.Array
    offset: jax.Array
    power: jax.Array

    def __init__(self, eta0: Scalar, offset: Scalar = 1.0, power: Scalar = 1.0):
        self.eta0 = leaf("eta0", eta0, ndim=0, positive=True)
        self.offset = leaf("offset", offset, ndim=0, positive=True)
        self.power = leaf("power", power, ndim=0, positive=True)

    def __call__(self, k: jax.Array) -> jax.Array:
        """Step size ``eta0 (1 + k/offset)^-power`` of step k."""
        return self.eta0 * (1 + k / self.offset) ** -self.power


class Scaled(Schedule):
    r"""Another schedule times a constant; its clock is scaled as a whole.

    .. math:: \eta_k = c\, \eta^{\text{base}}_k, \qquad t_k = c\, t^{\text{base}}_k

    Parameters
    ----------
    base : Schedule
        What is scaled.
    factor : float
        Positive constant, 1/l for SVAG.

    Raises
    ------
    ArgumentError
        If `base` is not a schedule, or the factor is not positive.

    Notes
    -----
    Source: the definition; Li, Malladi and Arora (2021) for SVAG's factor 1/l.

    Examples
    --------
    >>> import flowdyn as fd
    >>> half = fd.schedules.Scaled(fd.schedules.Constant(0.1), 0.5)
    >>> float(half.clock(20))
    1.0
    """

    base: Schedule
    factor: jax.Array

    def __init__(self, base: Schedule, factor: Scalar):
        if not isinstance(base, Schedule):
            raise _check.fail("base", "must be a Schedule", base, "a number times a constant is a number")
        self.base, self.factor = base, leaf("factor", factor, ndim=0, positive=True)

    def __call__(self, k: jax.Array) -> jax.Array:
        """Step size ``factor * eta_k`` of step k."""
        return self.factor * self.base(k)

    def clock(self, k: np.ndarray) -> np.ndarray:
        """Training time: ``factor`` times the clock of the base."""
        return float(self.factor) * self.base.clock(k)

    def steps_until(self, t: float, limit: int) -> int:
        """Steps of the base until t / factor, at most `limit`."""
        return self.base.steps_until(t / float(self.factor), limit)

    def nearest(self, t: np.ndarray) -> np.ndarray:
        """Steps of the base nearest to t / factor."""
        return self.base.nearest(t / float(self.factor))


StepSize = SupportsFloat | jax.Array | Schedule


def as_schedule(name: str, value: Any) -> Schedule:
    """Return `value` if it is a Schedule, else the Constant schedule of that step size.

    Parameters
    ----------
    name : str
        What an error calls the argument.
    value : float or Schedule
        A positive number, or a schedule.

    Returns
    -------
    Schedule
        What the methods keep as their eta.

    Raises
    ------
    ArgumentError
        If `value` is a function or not a positive number (eta = 0 is the flow itself).

    Notes
    -----
    Source: of our own; section 9.3.1 takes eta -> 0 to the flow.

    Examples
    --------
    >>> import flowdyn as fd
    >>> float(fd.schedules.as_schedule("eta", 0.1).eta)
    0.1
    """
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
