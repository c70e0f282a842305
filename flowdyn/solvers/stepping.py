"""The loop that drives one of scipy's steppers.

``solve_ivp`` hangs on NaN and calls a NaN state a success; here each step is checked: finiteness, stop rules (looked
for on the dense output), step and time budgets, progress. The Jacobian is exact, from autodiff.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import scipy  # for types alone

from flowdyn.solvers import stopping
from flowdyn.solvers.base import HUGE, Result, Status, Task, failure_status
from flowdyn.solvers.crawling import CrawlWatch, coarsened
from flowdyn.solvers.hidden_growth import looked_into
from flowdyn.solvers.making_steppers import IMPLICIT, Steppers, take_step
from flowdyn.solvers.right_hand_side import PATIENCE, GiveUpError, RaisedError, RightHandSide
from flowdyn.solvers.saved_rows import SavedRows
from flowdyn.solvers.stopping import behind, bounds, first_crossing
from flowdyn.solvers.tolerances import RERUNS, Options, Path
from flowdyn.solvers.waking import FirstScales, awake, first_scales, unscaled

MOST_SCIPY_STEPS = 200_000


class Drive:
    """One run of a stepper."""

    def __init__(self, options: Options, task: Task):
        self.task, self.options = task, options
        self.end = np.inf if task.t is None else float(task.t[-1])
        self.relative = np.zeros(task.state0.shape, bool)  # coordinates whose errors have no absolute part
        self.reruns = 0
        self.drift = RightHandSide(task)
        self.steppers = Steppers(options, self.drift)

    def start(self) -> None:
        """Begin at the start, for the first time or once more."""
        task, options = self.task, self.options
        self.bounds = bounds(options.breakpoints, task.t0, self.end)
        self.path, self.sleeps = Path.at(task.state0, *self.scales), bool(self.scales.asleep.any())
        self.atol = np.full(task.state0.shape, options.atol or 0.0)  # changed in place: a stepper holds it
        self.follow(task.state0)
        self.saves = SavedRows(task)
        self.steps = self.stuck = 0
        self.first_step = self.looked_at = 0.0
        self.crawl = CrawlWatch(hides=options.method == "LSODA")
        self.again: tuple[float, np.ndarray] | None = None  # where the last step is taken once more from
        self.counts = dict.fromkeys(("nfev", "njev", "nlu"), 0)  # what steppers have spent

    @functools.cached_property
    def scales(self) -> FirstScales:
        """Scales of the coordinates at the start; a user's own tolerance needs none."""
        t0, state0, options = self.task.t0, self.task.state0, self.options
        return first_scales(self.drift, t0, state0, options.rtol) if options.atol is None else unscaled(state0)

    @functools.cached_property
    def fastest(self) -> float:
        """Largest rate at which a coordinate changes at the start, in units of its scale."""
        slope = self.drift.slope(self.task.t0, self.task.state0, self.scales.scale)
        return float(np.abs(slope / self.scales.scale).max(initial=0.0))

    def follow(self, state: np.ndarray) -> None:
        """Let the tolerances follow the state, unless the user gave one."""
        if self.options.atol is None:
            self.path = self.path.after(state, self.options.rtol, self.relative)
            self.atol[...] = self.path.atol(self.options.rtol, self.relative)

    def stepper(self, t: float, state: np.ndarray) -> "scipy.integrate.OdeSolver":
        """A stepper of scipy from (t, state) to the next time that it must not step over."""
        return self.steppers.start(t, state, self.bounds.pop(0), self.atol)

    def result(self) -> Result:
        """Drive the stepper until something ends the run; what a user's function raises is passed on."""
        try:
            self.start()
            return self.drive()
        except RaisedError as raised:
            raise raised.error from None

    def drive(self) -> Result:
        """Step until something ends the run."""
        task = self.task
        if task.stop is not None and task.stop.holds(task.state0):
            return self.finish(None, "stopped", task.t0, task.state0)
        if task.t is not None and task.t[0] == task.t0:
            self.saves.keep(task.t[:1], task.state0[None])
        if task.t is not None and task.t[-1] == task.t0:
            return self.finish(None, "reached_end")
        stepper = self.stepper(task.t0, task.state0)
        while True:
            ended = self.step(stepper)
            if self.again is not None:
                self.bounds.insert(0, stepper.t_bound)
                self.count(stepper)
                self.follow(self.again[1])
                stepper, self.again = self.stepper(*self.again), None
                continue
            if self.path.back.any() and self.reruns < RERUNS:
                return self.begin_again()
            if ended is None and stepper.status == "finished":
                self.count(stepper)
                stepper = self.stepper(behind(stepper.t), stepper.y.copy())
            if ended is not None:
                return ended

    def begin_again(self) -> Result:
        """Run once more, with relative errors for the coordinates that came back."""
        self.relative |= self.path.back
        self.reruns += 1
        self.start()
        return self.drive()

    def step(self, stepper: "scipy.integrate.OdeSolver") -> Result | None:
        """Take one step; a Result when the run is over."""
        task, spent = self.task, (stepper.nfev, stepper.njev)
        t_old, y_old = stepper.t, stepper.y.copy()  # LSODA may write over its own
        self.drift.stepping = True
        try:
            take_step(stepper, self.options.method)
        except GiveUpError:
            if task.max_seconds is not None and task.out_of_time():
                return self.finish(stepper, "max_seconds", t_old, y_old, self.where_it_went(stepper))
            return self.finish(stepper, "nonfinite", t_old, y_old, "drift is not finite")
        except ValueError as error:  # implicit steppers factorise a matrix that is not finite
            return self.finish(stepper, "nonfinite", t_old, y_old, str(error))
        finally:
            self.drift.stepping = False
        self.steps += 1
        if self.steps == 1:
            self.first_step = stepper.t - t_old
        # a sum of squares takes a quarter of the time, and is seldom so large
        if not stepper.y.dot(stepper.y) <= HUGE and not np.abs(stepper.y).max() <= HUGE:
            return self.finish(stepper, failure_status(stepper.y, y_old), t_old, y_old)
        if stepper.status == "failed":
            return self.give_up(stepper, t_old, y_old)
        if self.sleeps and self.wakes(stepper, t_old, y_old):
            return None
        self.follow(stepper.y)
        if self.options.atol is None and self.crawl.asks(stepper.nfev - spent[0], stepper.njev - spent[1]):
            self.coarsen(stepper.t, stepper.y)
        if self.options.atol is None and self.options.method in IMPLICIT:
            lost = self.path.lost & ~self.relative & (np.abs(stepper.y) < self.atol)
            self.path = looked_into(self.path, lost, stepper, self.drift.slope, lambda: self.fastest)
        # LSODA creeps towards a singularity for ever instead of failing
        self.stuck = self.stuck + 1 if stepper.t - t_old <= 8 * math.ulp(stepper.t) else 0
        if self.stuck > PATIENCE:
            return self.give_up(stepper, t_old, y_old)
        if task.stop is not None:
            dense = stepper.dense_output()
            root = first_crossing(task.stop.rules, dense, t_old, stepper.t)
            if root is not None and self.is_vague(dense, t_old, root):
                return None
            if root is not None:
                self.saves.keep_inside(lambda: dense, t_old, root)
                return self.finish(stepper, "stopped", root, dense(root))
        if task.t is None:
            self.saves.keep_step(stepper.t, stepper.y.copy())
        else:
            before_jump = stepper.status == "finished" and self.bounds
            self.saves.keep_inside(stepper.dense_output, t_old, behind(stepper.t) if before_jump else stepper.t)
            task.progress((stepper.t - task.t0) / (self.end - task.t0))
        if self.rests(stepper.t, stepper.y):
            return self.finish(stepper, "at_rest", stepper.t, stepper.y)
        if stepper.status == "finished" and not self.bounds:
            return self.finish(stepper, "reached_end")
        if self.steps >= (task.max_steps or MOST_SCIPY_STEPS):
            return self.finish(stepper, "max_steps", stepper.t, stepper.y, self.where_it_went(stepper))
        return None

    def is_vague(self, dense: Callable, low: float, root: float) -> bool:
        """Whether tolerances leave the time of a stop open: then those coordinates are as good as come back."""
        if self.options.atol is not None or self.reruns >= RERUNS:
            return False
        assert self.task.stop is not None
        times, atol = (self.task.t0, low, root), np.where(self.relative, 0.0, self.atol)
        unknown = stopping.vague(self.task.stop.rules, dense, times, atol, self.options.rtol)
        self.path = self.path._replace(back=self.path.back | unknown)
        return bool(unknown.any())

    def wakes(self, stepper: "scipy.integrate.OdeSolver", t: float, state: np.ndarray) -> bool:
        """Whether what leaves zero in a step from (t, state) wants a finer scale: the step is then taken once more."""
        before, self.path = self.path, awake(self.path, self.drift, stepper.t, stepper.y, self.options.rtol)
        self.sleeps = bool(self.path.asleep.any())
        self.again = (t, state) if (self.path.scale < before.scale).any() else None
        return self.again is not None

    def coarsen(self, t: float, state: np.ndarray) -> None:
        """Let tolerances be no finer than rounding where that is what makes steps dear."""
        self.path, coarse = coarsened(self.path, self.drift, t, state, self.options.rtol)
        self.relative &= ~coarse
        self.crawl.answered(bool(coarse.any()))
        self.atol[...] = self.path.atol(self.options.rtol, self.relative)

    def give_up(self, stepper: "scipy.integrate.OdeSolver", t: float, state: np.ndarray) -> Result:
        """End of a run whose steps vanish after (t, state)."""
        status, message = stopping.why_stuck(state, self.task.state0, self.drift.was_finite_near(t))
        return self.finish(stepper, status, t, state, message)

    def where_it_went(self, stepper: "scipy.integrate.OdeSolver") -> str:
        """What a spent budget went into, where it went into short steps."""
        return stopping.how_steps_shrank(stepper.step_size, (stepper.t - self.task.t0) / max(self.steps, 1))

    def rests(self, t: float, y: np.ndarray, broke_off: bool = False) -> bool:
        """Whether nothing moves any more but rounding: looked at each time that an open-ended run has doubled."""
        if self.task.t is not None or self.task.stop is None or not self.task.system.comes_to_rest:
            return False
        passed = t - self.task.t0
        if passed > stopping.FOREVER or (broke_off and passed > stopping.AT_REST * self.first_step):
            return True
        if passed < 2 * self.looked_at:
            return False
        self.looked_at = passed
        return self.drift.is_rounding(t, y, self.steps)

    def count(self, stepper: "scipy.integrate.OdeSolver") -> None:
        """Add what a stepper that is done has spent."""
        self.counts = {name: count + getattr(stepper, name) for name, count in self.counts.items()}

    def finish(
        self,
        stepper: "scipy.integrate.OdeSolver | None",
        status: Status,
        t_stop: float = np.nan,
        state: np.ndarray | None = None,
        message: str = "",
    ) -> Result:
        """Collect rows and counters; `state` at `t_stop` becomes the last row."""
        if stepper and status in stopping.BROKEN_OFF and self.rests(stepper.t, stepper.y, broke_off=True):
            status, message = "at_rest", ""
        t, rows = self.saves.close(status, t_stop, state)
        stats = {"n_steps": self.steps}
        if stepper is not None:
            self.count(stepper)
            stats |= self.counts
        if self.reruns:
            stats |= {"reruns": self.reruns}
        return Result(t=t, states=rows, status=status, message=message, stats=stats, t_stop=t_stop)
