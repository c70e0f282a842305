"""One run of the explicit loop as seen from outside: what is saved, where it stops, when it is handed over.

carry  ->  compiled steps  ->  carry, saves, why it came back  ->  next carry, or a result
"""

import functools
from typing import Any

import jax
import numpy as np

from flowdyn.methods.systems import ODESystem
from flowdyn.solvers import stopping
from flowdyn.solvers.base import Result, Status, Task
from flowdyn.solvers.crawling import LONGER, REFUSED, coarsened
from flowdyn.solvers.explicit_state import Carry, ExplicitOptions, Method, Numbers, Why, program_for, upcoming
from flowdyn.solvers.fewer_unknowns import in_fewer_unknowns
from flowdyn.solvers.handover import COMPILED, go_on, hand_over
from flowdyn.solvers.right_hand_side import RightHandSide
from flowdyn.solvers.saved_rows import SavedRows
from flowdyn.solvers.stopping import AT_REST, FOREVER, behind, bounds, first_crossing
from flowdyn.solvers.tolerances import RERUNS, Path
from flowdyn.solvers.trial_steps import states_inside
from flowdyn.solvers.waking import FirstScales, first_scales, unscaled, woken_scale

MOST_STEPS = 1_000_000
PATIENCE = 12  # stiff steps before it is asked what is cheaper, for the first time


class ExplicitRun:
    """A run that is over once `result` is there."""

    def __init__(self, task: Task, options: ExplicitOptions):
        self.task, self.options = task, options
        self.program = program_for(task, options)
        self.end = np.inf if task.t is None else float(task.t[-1])
        self.relative = np.zeros(task.state0.shape, bool)
        self.scale, self.asleep = self._first_scales()
        self.reruns, self.heeds_back = 0, True  # whether what comes back has the run made again
        self.result: Result | None = None
        self.successor: ExplicitRun | None = None  # the same run in fewer unknowns, which is to go on instead
        self.start()

    @functools.cached_property
    def drift(self) -> RightHandSide:
        """The right-hand side outside the compiled loop."""
        return RightHandSide(self.task)

    @functools.cached_property
    def smaller(self) -> ODESystem | None:
        """Its system in fewer unknowns."""
        return in_fewer_unknowns(self.task)

    def _first_scales(self) -> FirstScales:
        task, rtol = self.task, self.options.rtol
        if self.options.atol is not None or task.state0.all():  # nothing is asked of the right-hand side then
            sizes = unscaled(task.state0)
            return sizes._replace(scale=np.minimum(np.abs(task.state0), 1.0)) if self.program.follows else sizes
        return first_scales(self.drift, task.t0, task.state0, rtol)

    def start(self) -> None:
        """Begin at the start, for the first time or once more."""
        task = self.task
        self.program = self.program._replace(method=self.options.explicit_method)
        self.choice = str(self.program.method)
        self.bounds = bounds(self.options.breakpoints, task.t0, self.end)
        self.saves = SavedRows(task)
        self.patience, self.most_refused, self.looked_at, self.first_step = PATIENCE, REFUSED, 0.0, np.nan
        self.carry = self.carry_at(task.t0, task.state0, Path.at(task.state0, self.scale, self.asleep))
        if task.stop is not None and task.stop.holds(task.state0):
            self.finish("stopped", task.t0, task.state0)
            return
        if task.t is not None and task.t[0] == task.t0:
            self.saves.keep(task.t[:1], task.state0[None])
        if task.t is not None and task.t[-1] == task.t0:
            self.finish("reached_end")

    def carry_at(self, t: float, state: np.ndarray, path: Path) -> Carry:
        """What the compiled loop carries at the start of a stretch."""
        return Carry.at(t, state, path, self.relative, self.program.dense_rows)

    def numbers(self, most_tries: int) -> Numbers:
        """What the next call is given."""
        task, options, rows = self.task, self.options, self.program.rows
        # floats of Python throughout: JAX would compile one program more for those of numpy
        bound = float(self.bounds[0])
        times, following = upcoming(None if task.t is None else task.t[self.saves.count :], rows)
        covered = behind(bound) if len(self.bounds) > 1 else bound
        look = task.t0 + 2 * self.looked_at if self.may_rest else np.inf
        longest = np.inf if options.max_step is None else float(options.max_step)
        return Numbers(
            times, following, bound, covered, look, task.max_steps or MOST_STEPS, self.patience,
            self.heeds_back and self.reruns < RERUNS, self.most_refused, most_tries,
            float(options.rtol), float(options.atol or 0.0), longest,
            np.zeros(0) if task.stop is None else task.stop.thresholds,
        )  # fmt: skip

    @property
    def is_over(self) -> bool:
        """Whether it takes no more steps of its own."""
        return self.result is not None or self.successor is not None

    @property
    def may_rest(self) -> bool:
        """Whether it is looked if anything moves but rounding."""
        return self.task.t is None and self.task.stop is not None and self.task.system.comes_to_rest

    def absorb(self, carry: Carry, count: Any, rows: Any, times: Any) -> None:
        """Take what a call has done, and settle what it came back for."""
        self.carry = carry
        why, count = Why(int(carry.why)), int(count)
        if np.isnan(self.first_step) and int(carry.accepted):
            self.first_step = float(carry.t) - self.task.t0
        if why & Why.BACK:
            self.begin_again(np.asarray(carry.path.back))
            return
        if why & Why.WOKE and self._woke(float(carry.t), np.asarray(carry.y), np.asarray(carry.path.asleep)):
            self.start()
            return
        if self.task.t is None:
            for t, row in zip(np.asarray(times)[:count], np.asarray(rows)[:count], strict=True):
                self.saves.keep_step(float(t), np.array(row))
        elif count:
            ahead = self.task.t[self.saves.count :]
            self.saves.keep(ahead[:count], np.asarray(rows)[:count])
        self._settle(why, float(carry.t), np.asarray(carry.y))

    def begin_again(self, back: np.ndarray) -> None:
        """Run once more, with relative errors for coordinates whose tolerances were too wide."""
        self.relative = self.relative | back
        self.reruns += 1
        self.start()

    def _frees(self, y: np.ndarray) -> bool:
        """Whether what holds a run up is an error that is to be relative where a coordinate is as good as 0.

        One that only touches 0, where its derivative jumps, has been driven away from there and was no dip.
        """
        held = self.relative & (np.abs(y) < self.options.rtol * np.asarray(self.carry.path.scale))
        if frees := bool(held.any()):
            self.relative, self.heeds_back, self.reruns = self.relative & ~held, False, self.reruns + 1
        return frees

    def _woke(self, t: float, y: np.ndarray, asleep: np.ndarray) -> bool:
        """Whether what has left zero asks for a finer scale: then the run is made again."""
        woken = self.asleep & ~asleep
        own = woken_scale(self.drift, t, y, self.options.rtol)
        finer = np.where(woken, np.minimum(own, self.scale), self.scale)
        if self.reruns >= RERUNS or (finer == self.scale).all():
            return False
        self.scale, self.asleep = finer, self.asleep & ~woken
        self.reruns += 1
        return True

    def _settle(self, why: Why, t: float, y: np.ndarray) -> None:
        task = self.task
        if why & Why.STUCK and self._frees(y):
            self.start()
            return
        # where a derivative jumps Rodas5P may have no step, and LSODA one
        if why & Why.STUCK and self.program.method is Method.RODAS5P:
            self.choice = f"{self.choice}; from t = {t:.17g} on LSODA: steps of {COMPILED} vanished"
            go_on(self, "LSODA")
            return
        if why & (Why.HUGE | Why.STUCK):
            status: Status = "diverged"
            message = ""
            if why & Why.STUCK:
                status, message = stopping.why_stuck(y, task.state0, self.drift.is_finite_ahead(t, y))
            if self.may_rest and t - task.t0 > AT_REST * self.first_step:
                status, message = "at_rest", ""
            self.finish(status, t, y, message)
            return
        if why & Why.ALARM and self._stops():
            return
        if why & Why.CRAWL:
            self._coarsen(t, y)
        if task.t is not None:
            task.progress((t - task.t0) / (self.end - task.t0))
        if why & Why.LOOK and self._rests(t, y):
            self.finish("at_rest", t, y)
        elif why & Why.END and len(self.bounds) == 1:
            self.finish("reached_end")
        elif why & Why.SPENT:
            self.finish("max_steps", t, y, self._where_it_went(t))
        elif task.out_of_time():
            self.finish("max_seconds", t, y, self._where_it_went(t))
        elif why & Why.END:
            self.bounds.pop(0)
            old, path = self.carry, jax.tree.map(np.asarray, self.carry.path)
            fresh = self.carry_at(behind(t), y, path)
            self.carry = fresh._replace(accepted=old.accepted, rejected=old.rejected)
        elif why & Why.STIFF:
            hand_over(self)

    def _coarsen(self, t: float, y: np.ndarray) -> None:
        """Let tolerances be no finer than rounding where that is what refuses the steps."""
        path = jax.tree.map(np.asarray, self.carry.path)
        path, coarse = coarsened(path, self.drift, t, y, self.options.rtol)
        self.relative = self.relative & ~coarse
        self.most_refused *= 1 if coarse.any() else LONGER
        self.carry = self.carry._replace(path=path, relative=self.relative, crawl=np.float64(0.0))

    def _where_it_went(self, t: float) -> str:
        return stopping.how_steps_shrank(float(self.carry.h), (t - self.task.t0) / max(int(self.carry.accepted), 1))

    def _rests(self, t: float, y: np.ndarray) -> bool:
        self.looked_at = t - self.task.t0
        return self.looked_at > FOREVER or self.drift.is_rounding(t, y, int(self.carry.accepted))

    def _stops(self) -> bool:
        """Whether a stop rule holds in the last step; then the run is over."""
        stop, dense = self.task.stop, np.asarray(self.carry.dense)
        assert stop is not None
        low, states = states_inside(dense, self.program.method)
        root = first_crossing(stop.rules, states, low, float(self.carry.t))
        if root is None:
            return False
        if self.program.follows and self.reruns < RERUNS:
            rtol = self.options.rtol
            atol = np.where(self.relative, 0.0, self.carry.path.atol(rtol, self.relative))
            unknown = stopping.vague(stop.rules, states, (self.task.t0, low, root), atol, rtol)
            if unknown.any():
                self.begin_again(unknown)
                return True
        self.finish("stopped", root, states(root))
        return True

    def finish(
        self, status: Status, t_stop: float = np.nan, state: np.ndarray | None = None, message: str = ""
    ) -> None:
        """Collect rows and counters; `state` at `t_stop` becomes the last row of a run that stopped."""
        t, rows = self.saves.close(status, t_stop, state)
        self.result = Result(
            t=t, states=rows, status=status, message=message, stats=self.stats(), t_stop=t_stop, choice=self.choice
        )

    def stats(self) -> dict[str, int]:
        """Counts of what the steps took."""
        again = {"reruns": self.reruns} if self.reruns else {}
        return {"n_steps": int(self.carry.accepted), "n_rejected": int(self.carry.rejected)} | again
