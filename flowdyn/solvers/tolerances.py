r"""What adaptive steps go by: times they must not step over, and absolute tolerances that follow the state.

.. math:: \mathrm{atol}_i(t) = 10^{-4}\, \mathrm{rtol}\, \min\bigl(1, \max_{s \le t} |y_i(s)|\bigr)

One absolute tolerance for all coordinates loses a start of 1e-20 without a word: a flow away from a saddle at 0 would
end there, in rounding. A coordinate that starts at 0 takes its scale from what drives it (``waking.py``); while
nothing does, from the smallest of the others, and when it wakes its scale is looked at again.
A coordinate may also shrink towards its tolerance on the way, or below it. If it comes back from there, the error that
the tolerance let in comes back with it, as large a share of the coordinate as it was at the bottom:

.. math:: \varepsilon_i(t) = \max_{s \le t} \min\bigl(1, \mathrm{atol}_i(s) / |y_i(s)|\bigr)

Where that share, taken of what has come back, exceeds `GROWN` times the relative tolerance, the run is made again with
errors relative to what that coordinate is at the time. A coordinate that comes back on the other side was driven
through zero and has no such error; nor has one that is small for a single step.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check
from flowdyn.methods.systems import ODESystem

MARGIN = 1e-4  # absolute over relative tolerance, in units of a coordinate's scale
GROWN = 30.0  # share of what has come back that may be wrong, in units of the relative tolerance
FALL = 1e-3  # a size is not believed to fall further in one step
PART = 0.1  # of its scale, at which a coordinate has come back
TINY = 1e-290  # keeps the tolerance of what is exactly 0 positive
TRIED = 4  # coordinates that are looked at one by one in a step
RATE = 1e-12  # a rate of growth that is smaller beside the others is rounding
RERUNS = 8  # runs made again at most; each frees one coordinate or more


def breakpoints(values: Sequence[float]) -> tuple[float, ...]:
    """Times in ascending order, each once."""
    return tuple(sorted({float(t) for t in _check.real_array("breakpoints", values, ndim=1)}))


def relative_tolerance(value: float, least: float) -> float:
    """Return a relative tolerance that steps can be held to."""
    rtol = _check.real("rtol", value, positive=True)
    if not least <= rtol < 1:
        raise _check.fail("rtol", f"must be at least {least:.2g}, in float64, and below 1", value)
    return rtol


def absolute(atol: float | None, rtol: float, system: ODESystem) -> float | None:
    """The absolute tolerance that was given, or the one that a system has; None: it follows the state."""
    return atol if atol is not None or system.error_unit is None else rtol * system.error_unit


def grows(rate: Any, h: Any, fastest: Any) -> Any:
    """Whether something of a rate grows by itself by more than a factor e in a step, by a rate above rounding."""
    return (h * rate > 1) & (rate > RATE * fastest)


class Options(NamedTuple):
    """What a stepper of scipy is told."""

    method: str
    rtol: float
    atol: float | None  # None: it follows the state
    max_step: float | None
    breakpoints: tuple[float, ...]


class Path(NamedTuple):
    """What is remembered of a run, coordinate by coordinate."""

    scale: Any  # (S,) largest size so far, at most 1
    seen: Any  # (S,) whether it has had the scale of its start
    lost: Any  # (S,) whether it has then been below its tolerance
    back: Any  # (S,) whether it has come back from there
    asleep: Any  # (S,) whether it has been 0 so far, and nothing drove it
    near: Any  # (S,) size, for longer than one step
    share: Any  # (S,) largest share of it that its tolerance has let be wrong
    side: Any  # (S,) its sign, times one more than the changes of sign since it was as large as a part of its scale

    @classmethod
    def at(cls, state0: np.ndarray, scale: np.ndarray, asleep: np.ndarray) -> "Path":
        """At the start of a run."""
        none = np.zeros(state0.shape, bool)
        side = np.where(state0 < 0, -1.0, 1.0)
        return cls(scale, state0 != 0, none, none, asleep, scale, np.zeros(state0.shape), side)

    def atol(self, rtol: Any, relative: Any, xp: Any = np) -> Any:
        """Absolute tolerances (S,); for coordinates whose errors are `relative`, by what they are now."""
        return xp.maximum(MARGIN * rtol * xp.where(relative, self.near, self.scale), TINY)

    def after(self, state: Any, rtol: Any, relative: Any, xp: Any = np) -> "Path":
        """The same after one more step, for arrays of numpy (`xp`) or JAX."""
        size, atol = xp.abs(state), self.atol(rtol, relative, xp)
        scale = xp.maximum(self.scale, xp.minimum(size, 1.0))
        seen = self.seen | (size >= self.scale)
        lost = self.lost | (seen & ~relative & (size < atol))
        near = xp.maximum(size, xp.where(self.asleep, self.near, FALL * self.near))
        share = xp.where(seen & ~relative, xp.maximum(self.share, xp.minimum(atol / xp.maximum(near, TINY), 1.0)), 0.0)
        side = xp.where(self.side * state < 0, xp.sign(state) * (xp.abs(self.side) + 1), self.side)
        through = xp.abs(side) == 2
        wrong = ~through & (share * size > GROWN * rtol * xp.maximum(size, scale))
        back = self.back | wrong | (lost & (size > rtol * scale))
        whole = size >= PART * scale
        share, side = xp.where(whole & through, 0.0, share), xp.where(whole, xp.sign(side), side)
        return Path(scale, seen, lost, back, self.asleep & (size == 0), near, share, side)

    def coarsened(self, state: np.ndarray, floor: np.ndarray) -> tuple["Path", np.ndarray]:
        """The same with scales no finer than a floor, and for which coordinates: those that it alone would hold.

        They may not be said to come back from below it: what they are there is the rounding of others.
        """
        coarse = (floor > self.scale) & (np.abs(state) < MARGIN * floor)
        scale = np.where(coarse, floor, self.scale)
        path = self._replace(
            scale=scale,
            seen=self.seen & ~coarse,
            lost=self.lost & ~coarse,
            asleep=self.asleep & ~coarse,
            near=np.where(coarse, scale, self.near),
            share=np.where(coarse, 0.0, self.share),
        )
        return path, coarse

    def without_jumps(self, lost: np.ndarray, h: float, slope: Callable, fastest: Callable[[], float]) -> "Path":
        """Call back those of the `lost` that grow by themselves within a step of h: an implicit step jumps over it.

        `slope` is the derivative of the right-hand side along a direction; rates below `RATE` times the `fastest` of
        the start are rounding.
        """
        if not lost.any():
            return self
        found, scale = np.zeros(lost.shape, bool), self.scale
        rates = slope(np.where(lost, scale, 0.0)) / scale
        for i in np.argsort(-np.where(lost, rates, -np.inf))[:TRIED]:
            if lost[i] and h * rates[i] > 1 and grows(rates[i], h, fastest()):  # `fastest` is dear
                own = np.where(np.arange(lost.size) == i, scale, 0.0)  # others may have pushed it: its share decides
                found[i] = h * slope(own)[i] > scale[i]
        return self._replace(back=self.back | found)
