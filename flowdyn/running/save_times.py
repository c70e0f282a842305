"""Which times are kept: one place turns every way to say it into ticks of the clock, and results onto them."""

import dataclasses
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import System
from flowdyn.running.options import RunOptions
from flowdyn.solvers.base import Result

MAX_SAVES = 10**8  # of which the times alone take 0.8 GB
ON_CLOCK = 1e-9  # relative distance at which a requested time counts as a tick


@dataclasses.dataclass(frozen=True)
class SaveTimes:
    """Save times `t` (None: open end), step numbers `k` for recursions, and a note on rounding."""

    t: np.ndarray | None
    k: np.ndarray | None
    saves: int
    requested: np.ndarray | None  # a user's own array, whose bits are kept
    note: str = ""

    def align(self, results: list[Result], size: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Times (T,), step numbers and states (B, T, size) of one or more results; missing rows are NaN.

        A single run that was stopped ends at its stop; every other early end keeps the whole grid.
        """
        alone = len(results) == 1
        if alone and (self.t is None or results[0].status == "stopped"):
            only = results[0]
            return only.t, only.k, only.states[None]
        assert self.t is not None  # several starts have an end
        if alone and len(results[0].t) == len(self.t):  # nothing is missing: the rows are not copied
            self._refuse_others(results[0], len(self.t))
            return self.t, self.k, np.require(results[0].states, float, ["W"])[None]
        states = np.full((len(results), len(self.t), size), np.nan)
        for row, result in zip(states, results, strict=True):
            # a stopped member's last row is the stop itself, which need not be a save time
            count = (
                int(np.searchsorted(self.t, result.t_stop, side="right"))
                if result.status == "stopped"
                else len(result.t)
            )
            self._refuse_others(result, count)
            row[:count] = result.states[:count]
        return self.t, self.k, states

    def _refuse_others(self, result: Result, count: int) -> None:
        """Rows of other times would have the labels of those that were asked for."""
        assert self.t is not None
        allowed = 0.0 if self.k is None else ON_CLOCK * np.abs(self.t[:count])  # a user's times are the clock's nearly
        missing = result.status == "reached_end" and count < len(self.t)
        if missing or len(result.t) < count or (np.abs(result.t[:count] - self.t[:count]) > allowed).any():
            raise _check.RunError("a solver must give its states at the times it was asked for, got other ones")


def resolve_save_times(system: System, options: RunOptions, t0: float, k0: int) -> SaveTimes:
    """Resolve the options `t`, `steps` and `saves` of a run that starts at time t0, step k0."""
    t, steps, saves = options.t, options.steps, options.saves
    count = saves if steps is None else min(saves, _check.integer("steps", steps, minimum=0) + 1)
    if count > MAX_SAVES:
        raise _check.fail("saves", f"must be at most {MAX_SAVES:,}", saves, "a picture or a fit needs far fewer")
    if (t is None) == (steps is None):
        raise _check.fail("t", "or `steps` must be given, and not both", (t, steps))
    if steps is not None:
        if not isinstance(system, RecursionSystem):
            raise _check.fail("steps", "is for recursions; a flow takes `t`", steps)
        return _spread_over_steps(system, k0 + steps, saves, k0)
    if np.ndim(t):
        array = _check.times("t", t)
        if array[0] < t0:
            raise _check.fail("t", f"must not start before {t0:g}, where the run starts", array[0])
        k = on_clock(system, array) if isinstance(system, RecursionSystem) else None
        return SaveTimes(array, k, saves, array)
    end = _end(t, t0, bool(options.stop))
    if np.isinf(end):
        return SaveTimes(None, None, saves, None)
    if not isinstance(system, RecursionSystem):
        return SaveTimes(np.linspace(t0, end, saves if end > t0 else 1), None, saves, None)
    if end == t0:
        return _spread_over_steps(system, k0, saves, k0)
    last = system.increments.steps_until(end, 10**12)
    if last <= k0:
        first = float(system.clock(k0 + 1))
        raise _check.fail("t", f"must reach at least one step of the clock, {first:g}", t, "use a smaller eta")
    note = f"the end t = {end:g} was rounded down to step {last}" if float(system.clock(last)) != end else ""
    return _spread_over_steps(system, last, saves, k0, note)


def _end(t: Any, t0: float, has_stop: bool) -> float:
    try:
        end = float(t)
    except (TypeError, ValueError, OverflowError):
        raise _check.fail("t", "must be an end time or an array of times", t, "e.g. t=10.0") from None
    if np.isnan(end) or end < t0:
        raise _check.fail("t", f"must not be before {t0:g}, where the run starts", t)
    if np.isinf(end) and not has_stop:
        raise _check.fail("t", "must be finite unless `stop` is given", t, 'e.g. stop={"grad_norm": ("<", 1e-8)}')
    return end


def _spread_over_steps(system: RecursionSystem, last: int, saves: int, k0: int, note: str = "") -> SaveTimes:
    k = np.unique(np.rint(np.linspace(k0, last, min(saves, last - k0 + 1))).astype(np.int64))
    return SaveTimes(system.clock(k), k, saves, None, note)


def on_clock(system: RecursionSystem, t: np.ndarray) -> np.ndarray:
    """Step numbers of the times `t`, which must be ticks of the system's clock."""
    k = system.increments.nearest(t)
    ticks = system.clock(k)
    off = np.abs(ticks - t) > ON_CLOCK * np.maximum(np.abs(t), 1e-300)
    if off.any():
        i = int(np.argmax(off))
        around = system.clock(np.array([k[i], k[i] + (1 if t[i] > ticks[i] or k[i] == 0 else -1)]))
        raise _check.ArgumentError(
            f"`t` must hold times of the clock of {type(system).__name__}, got t[{i}] = {t[i]:.12g}; the nearest are "
            f"{around.min():.12g} and {around.max():.12g}"
        )
    return k
