"""The loop that drives one of scipy's steppers.

``solve_ivp`` hangs on NaN and calls a NaN state a success; here each step is checked: finiteness, stop rules (looked
for on the dense output), step and time budgets, progress. The Jacobian is exact, from autodiff.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its integrators load where one is made

from flowdyn.solvers import stopping
from flowdyn.solvers.base import HUGE, Result, Status, Task, ThinnedRecord, failure_status
from flowdyn.solvers.hidden_growth import looked_into
from flowdyn.solvers.right_hand_side import PATIENCE, GiveUpError, RaisedError, RightHandSide
from flowdyn.solvers.stopping import behind, bounds, first_crossing, how_steps_shrank, why_stuck
from flowdyn.solvers.tolerances import RERUNS, Options, Path
from flowdyn.solvers.waking import FirstScales, awake, first_scales, rounding_scale, unscaled

IMPLICIT = ("LSODA", "Radau", "BDF")
MOST_SCIPY_STEPS = 200_000
DEAR = 24.0  # steps of twice the evaluations that one takes, less half of the others, before it is asked why, at first


class Drive:
    """One run of a stepper."""

    def __init__(self, options: Options, task: Task):
        self.task, self.options = task, options
        self.end = np.inf if task.t is None else float(task.t[-1])
        self.relative = np.zeros(task.state0.shape, bool)  # coordinates whose errors have no absolute part
        self.reruns = 0
        self.drift = RightHandSide(task)

    def start(self) -> None:
        """Begin at the start, for the first time or once more."""
        task, options = self.task, self.options
        self.bounds = bounds(options.breakpoints, task.t0, self.end)
        self.path, self.sleeps = Path.at(task.state0, *self.scales), bool(self.scales.asleep.any())
        self.atol = np.full(task.state0.shape, options.atol or 0.0)  # changed in place: a stepper holds it
        self.follow(task.state0)
        self.rows_t: list[float] = []
        self.rows: list[np.ndarray] = []
        self.record = ThinnedRecord(task.saves)
        self.steps = self.stuck = 0
        self.first_step = self.looked_at = 0.0
        self.fewest, self.crawl, self.most_dear = np.inf, 0.0, DEAR
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
        options, bound = self.options, self.bounds.pop(0)
        more: dict[str, Any] = {}
        if self.drift.traceable and options.method in IMPLICIT:
            more["jac"] = self.drift.jacobian
        if options.max_step is not None:
            more["max_step"] = options.max_step
            more["first_step"] = min(options.max_step, bound - t)
        if np.isinf(bound) and options.method != "LSODA":  # their first guess of a step divides by the span
            more.setdefault("first_step", 1e-6)
        more |= {"rtol": options.rtol, "atol": self.atol}
        return getattr(scipy.integrate, options.method)(self.drift, t, state, bound, **more)

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
            self.keep(task.t0, task.state0)
        if task.t is not None and task.t[-1] == task.t0:
            return self.finish(None, "reached_end")
        self.record.add(0, task.t0, task.state0)
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
        task, spent = self.task, stepper.nfev
        t_old, y_old = stepper.t, stepper.y.copy()  # LSODA may write over its own
        self.drift.stepping = True
        try:
            stepper.step()
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
        if not np.abs(stepper.y).max() <= HUGE:
            return self.finish(stepper, failure_status(stepper.y, y_old), t_old, y_old)
        if stepper.status == "failed":
            return self.give_up(stepper, t_old, y_old)
        if self.sleeps and self.wakes(stepper, t_old, y_old):
            return None
        self.follow(stepper.y)
        if self.options.atol is None and self.crawls(stepper.nfev - spent):
            self.coarsen(stepper.t, stepper.y)
        if self.options.atol is None and self.options.method in IMPLICIT:
            lost = self.path.lost & ~self.relative & (np.abs(stepper.y) < self.atol)
            self.path = looked_into(self.path, lost, stepper, self.drift.slope, lambda: self.fastest)
        # LSODA creeps towards a singularity for ever instead of failing
        self.stuck = self.stuck + 1 if stepper.t - t_old <= 8 * np.spacing(stepper.t) else 0
        if self.stuck > PATIENCE:
            return self.give_up(stepper, t_old, y_old)
        if task.stop is not None:
            dense = stepper.dense_output()
            root = first_crossing(task.stop.rules, dense, t_old, stepper.t)
            if root is not None:
                self.save_until(dense, t_old, root)
                return self.finish(stepper, "stopped", root, dense(root))
        if task.t is None:
            self.record.add(self.steps, stepper.t, stepper.y.copy())
        else:
            before_jump = stepper.status == "finished" and self.bounds
            self.save_until(stepper.dense_output, t_old, behind(stepper.t) if before_jump else stepper.t)
            task.progress((stepper.t - task.t0) / (self.end - task.t0))
        if self.rests(stepper.t, stepper.y):
            return self.finish(stepper, "at_rest", stepper.t, stepper.y)
        if stepper.status == "finished" and not self.bounds:
            return self.finish(stepper, "reached_end")
        if self.steps >= (task.max_steps or MOST_SCIPY_STEPS):
            return self.finish(stepper, "max_steps", stepper.t, stepper.y, self.where_it_went(stepper))
        return None

    def wakes(self, stepper: "scipy.integrate.OdeSolver", t: float, state: np.ndarray) -> bool:
        """Whether what leaves zero in a step from (t, state) wants a finer scale: the step is then taken once more."""
        before, self.path = self.path, awake(self.path, self.drift, stepper.t, stepper.y, self.options.rtol)
        self.sleeps = bool(self.path.asleep.any())
        self.again = (t, state) if (self.path.scale < before.scale).any() else None
        return self.again is not None

    def crawls(self, evaluations: int) -> bool:
        """Whether more than a third of the steps is dear, as where tries are refused."""
        self.fewest = min(self.fewest, max(evaluations, 1))
        self.crawl = self.crawl + 1 if evaluations >= 2 * self.fewest else max(self.crawl - 0.5, 0)
        return self.crawl >= self.most_dear

    def coarsen(self, t: float, state: np.ndarray) -> None:
        """Let tolerances be no finer than rounding where that is what makes steps dear."""
        self.path, coarse = self.path.coarsened(state, rounding_scale(self.drift, t, state, self.options.rtol))
        self.relative &= ~coarse
        self.crawl, self.most_dear = 0.0, self.most_dear * (1 if coarse.any() else 2)
        self.atol[...] = self.path.atol(self.options.rtol, self.relative)

    def give_up(self, stepper: "scipy.integrate.OdeSolver", t: float, state: np.ndarray) -> Result:
        """End of a run whose steps vanish after (t, state)."""
        status, message = why_stuck(state, self.task.state0, self.drift.was_finite_near(t))
        return self.finish(stepper, status, t, state, message)

    def where_it_went(self, stepper: "scipy.integrate.OdeSolver") -> str:
        """What a spent budget went into, where it went into short steps."""
        return how_steps_shrank(stepper.step_size, (stepper.t - self.task.t0) / max(self.steps, 1))

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

    def keep(self, t: float, state: np.ndarray) -> None:
        """Append a row of time and state to the record."""
        self.rows_t.append(float(t))
        self.rows.append(np.array(state))

    def save_until(self, dense: Callable, low: float, high: float) -> None:
        """Keep the save times in (low, high]; `dense` is the dense output or a function that makes it."""
        if self.task.t is None:
            return
        first, last = np.searchsorted(self.task.t, [low, high], side="right")
        if last > first:
            output = dense if isinstance(dense, scipy.integrate.DenseOutput) else dense()
            for t in self.task.t[first:last]:
                self.keep(t, output(t))

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
        t, rows = np.array(self.rows_t), np.array(self.rows).reshape(len(self.rows), self.task.state0.size)
        if self.task.t is None:
            t, rows = self.record.close(t_stop, self.task.state0 if state is None else state)
        elif status == "stopped" and state is not None and (len(t) == 0 or t[-1] < t_stop):
            t, rows = np.append(t, t_stop), np.vstack([rows, state])
        stats = {"n_steps": self.steps}
        if stepper is not None:
            self.count(stepper)
            stats |= self.counts
        if self.reruns:
            stats |= {"reruns": self.reruns}
        return Result(t=t, states=rows, status=status, message=message, stats=stats, t_stop=t_stop)
