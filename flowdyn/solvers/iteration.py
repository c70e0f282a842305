"""Recursions:  state_{k+1} = step(k, state_k),  one compiled loop that keeps only what is saved.

Step numbers and step size are arguments of the compiled program, so that runs of any length and a whole ladder over eta
share it. The loop is handed out in pieces of about half a second, for progress, budgets and Ctrl-C.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn.methods.base import DiscreteSystem, RecursionSystem
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import System
from flowdyn.solvers.base import Result, Solver, Support, Task, ThinnedRecord, failure_status, is_bad
from flowdyn.solvers.ensembles import MemberBlock, run_ensemble
from flowdyn.solvers.recursion_batches import can_join, run_together
from flowdyn.solvers.recursion_loops import advance, advance_until, first_bad
from flowdyn.solvers.resting import RestWatch
from flowdyn.solvers.segments import Segments
from flowdyn.solvers.step_program import StepProgram, recursion_step

MOST_RECURSION_STEPS = 10**9
PIECE_SECONDS = 0.5
FIRST_PIECE = 4096  # steps of the first piece, whose time is mostly compilation


@dataclasses.dataclass(frozen=True)
class Iteration(Solver):
    r"""Run a recursion step by step, compiled; a random one with all its members side by side.

    .. math:: s_{k+1} = \mathrm{step}(k, s_k), \qquad t_k = \mathrm{clock}(k)

    Parameters
    ----------
    brownian_dt : float, optional
        For recursions with Gaussian noise and a constant eta: cell of the Brownian path that their noise is the
        increments of, so that they share it with an equation solved by ``EulerMaruyama(dt, brownian_dt)``.

    Raises
    ------
    ArgumentError
        If the system is not a recursion or needs more than 10^9 steps; if `brownian_dt` does not divide eta, or the
        noise is not Gaussian.

    Notes
    -----
    Source: section 9.3.1, equations (9.87) and (9.88): step k ends at time eta (k + 1).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.CustomProblem(lambda w: w**4 / 4, 1.0)
    >>> gd = fd.solve(fd.GradientDescent(p, eta=0.5), 1.0, steps=1, saves=2, solver=fd.solvers.Iteration())
    >>> gd.w.values.tolist()
    [1.0, 0.5]
    """

    brownian_dt: float | None = None

    @property
    def support(self) -> Support:
        """Recursions, with or without noise, to a fixed or an open end."""
        return Support((RecursionSystem,), "runs recursions", open_end=True)

    def on_path(self, brownian_dt: float, dt: float | None) -> "Iteration | None":
        """Recursions with Gaussian noise, whose step is their own eta."""
        return Iteration(brownian_dt) if dt is None else None

    def refuses_system(self, system: System) -> str | None:
        """A shared path needs Gaussian noise."""
        if self.brownian_dt is not None and not (
            isinstance(system, RandomRecursionSystem) and system.has_brownian_increments
        ):
            return "`brownian_dt` is for recursions whose noise is Gaussian, e.g. SGD on Quadratic(A, noise)"
        return None

    def ensemble(self, task: Task) -> Iterator[MemberBlock]:
        """Run all members of a random recursion."""
        system = task.system
        assert isinstance(system, RandomRecursionSystem) and task.k is not None
        before = np.concatenate([[task.k0], task.k[:-1]])
        segments = Segments(before, task.k, np.zeros(len(before)), np.ones(len(before)))
        refine = 1
        if self.brownian_dt is not None:
            ratio = system.constant_eta("a shared path") / self.brownian_dt
            refine = round(ratio)
            if refine < 1 or abs(ratio - refine) > 1e-9 * ratio:
                raise _check.fail("brownian_dt", "must divide eta", self.brownian_dt)
        program = StepProgram(recursion_step, system.random_inputs, refine)
        return run_ensemble(task, program, segments, system.epoch, system.epoch_bits)

    def brownian_id(self, task: Task) -> dict[str, Any] | None:
        """What EulerMaruyama must agree with: cell, dimension and seed."""
        if self.brownian_dt is None:
            return None
        assert isinstance(task.system, RandomRecursionSystem)
        return {"brownian_dt": self.brownian_dt, "dimension": task.system.random_inputs.numbers, "seed": task.seed}

    def run(self, task: Task) -> Result:
        """Run to the last save, the first stop, the first bad state or the end of the budget."""
        count = 0 if task.k is None else int(task.k[-1]) - task.k0
        if task.max_steps is None and count > MOST_RECURSION_STEPS:
            raise _check.ArgumentError(
                f"`t` must not need more than {MOST_RECURSION_STEPS:,} steps, got {count:,}; raise `max_steps`, or use "
                "flowdyn.fast_forward, whose cost does not grow with 1/eta"
            )
        return _Run(task).result()

    def fuses(self, task: Task) -> bool:
        """Runs to a fixed end without a budget."""
        return can_join(task) and int(task.k[-1]) - task.k0 <= MOST_RECURSION_STEPS  # type: ignore[index]

    def run_many(self, tasks: Sequence[Task]) -> "list[Result | _check.FlowdynError]":
        """All in one compiled loop, where they have a fixed end."""
        return run_together(tasks) if all(map(self.fuses, tasks)) else super().run_many(tasks)


class _Run:
    """State of one run between pieces."""

    def __init__(self, task: Task):
        assert isinstance(task.system, DiscreteSystem)
        self.task, self.system = task, task.system
        self.k, self.state, self.hit = task.k0, task.state0, False
        self.block = int(np.clip(2**22 // max(task.state0.size, 1), 1, 64))  # rows a call may return
        self.piece = FIRST_PIECE
        self.end = task.k0 + (task.max_steps or MOST_RECURSION_STEPS)
        stop = task.stop
        if stop is None:
            self.call = bind(advance, self.system)
        else:
            inner = bind(advance_until, self.system, stop.traced, stop.spec)
            self.call = lambda k, state, targets: inner(k, state, targets, stop.thresholds)

    def advance(self, targets: np.ndarray) -> np.ndarray:
        """Run through `targets` (increasing, at most `block`) and return the states there."""
        padded = np.concatenate([targets, np.repeat(targets[-1:], self.block - len(targets))])
        clock, before = time.monotonic(), self.k
        k, state, rows, hit = self.call(self.k, self.state, padded)
        rows = np.asarray(rows)[: len(targets)]
        self.k, self.state, self.hit = int(k), np.asarray(state), bool(hit)
        spent = max(time.monotonic() - clock, 1e-6)
        self.piece = int(np.clip((self.k - before) * PIECE_SECONDS / spent, self.piece, 8 * self.piece))
        return rows

    def result(self) -> Result:
        """Advance until something ends the run."""
        return self.open_end() if self.task.k is None else self.fixed_end(self.task.k)

    def fixed_end(self, ks: np.ndarray) -> Result:
        """Save at the step numbers `ks`."""
        kept_k: list[int] = []
        kept: list[np.ndarray] = []
        last_good = (self.k, self.state)
        done = 0
        while True:
            wanted = ks[done : done + self.block]
            wanted = wanted[wanted <= min(self.k + self.piece, self.end)]
            # no save within this piece: run to its end (or the next save's eve) without keeping anything
            targets = wanted if len(wanted) else np.array([min(self.k + self.piece, self.end)])
            rows = self.advance(targets)
            bad = is_bad(rows)
            good = int(np.argmax(bad)) if bad.any() else len(rows)
            if len(wanted):
                reached = targets[:good] <= self.k
                kept_k.extend(targets[:good][reached].tolist())
                kept.extend(rows[:good][reached])
            if bad.any():
                if good:
                    last_good = (int(targets[good - 1]), rows[good - 1])
                return self.broken(kept_k, kept, last_good)
            last_good = (self.k, self.state)
            done = int(np.searchsorted(ks, self.k, side="right"))
            self.task.progress((self.k - self.task.k0) / max(int(ks[-1]) - self.task.k0, 1))
            if self.hit:
                if not kept_k or kept_k[-1] != self.k:
                    kept_k.append(self.k)
                    kept.append(self.state)
                return self.finish(kept_k, kept, "stopped", self.k)
            if done >= len(ks):
                return self.finish(kept_k, kept, "reached_end")
            if self.k >= self.end or self.task.out_of_time():
                return self.finish(kept_k, kept, "max_steps" if self.k >= self.end else "max_seconds", self.k)

    def open_end(self) -> Result:
        """Run until a stop rule holds, keeping a thinned record."""
        record, first = ThinnedRecord(self.task.saves), self.k
        record.add(0, self.k, self.state)
        watch, rests = RestWatch(self.system, first, self.end), False
        while not (self.hit or rests) and self.k < self.end and not self.task.out_of_time():
            last_good = (self.k, self.state)
            count = int(np.clip(self.piece // record.stride, 1, self.block))
            ahead = first + record.stride * ((self.k - first) // record.stride + np.arange(1, count + 1))
            targets = np.unique(np.minimum(ahead, min(self.end, watch.due)))
            rows = self.advance(targets)
            if is_bad(rows).any():
                return self.broken([int(when) for when, _ in record.rows], [row for _, row in record.rows], last_good)
            for target, row in zip(targets, rows, strict=True):
                if target < self.k:  # later rows repeat the state at which a rule held
                    record.add(int(target) - first, int(target), row)
            rests = not self.hit and watch.finds_rest(self.k, self.state)
        assert self.task.stop is not None
        if self.hit and self.k > first and not self.task.stop.holds(self.state):  # compiled otherwise, it does not hold
            rests = watch.is_rounding(self.k, self.state)
        times, rows = record.close(self.k, self.state)
        over = "max_steps" if self.k >= self.end else "max_seconds"
        status = "at_rest" if rests else "stopped" if self.hit else over
        return self.finish(times.tolist(), list(rows), status, self.k)

    def broken(self, ks: list[int], rows: list[np.ndarray], last_good: tuple[int, np.ndarray]) -> Result:
        """Run once more from the last good save, one step at a time, to find the step that went wrong."""
        k, bad, before = bind(first_bad, self.system)(*last_good, np.iinfo(np.int64).max)
        return self.finish(ks, rows, failure_status(np.asarray(bad), np.asarray(before)), int(k))

    def finish(self, ks: list[int], rows: list[np.ndarray], status, k_stop: int | None = None) -> Result:
        """Collect the rows into a Result with the clock's times."""
        k = np.array(ks, dtype=np.int64)
        return Result(
            t=self.system.clock(k) if len(k) else np.empty(0),
            states=np.array(rows).reshape(len(ks), self.state.size),
            status=status,
            k=k,
            stats={"n_steps": self.k - self.task.k0},
            t_stop=np.nan if k_stop is None else float(self.system.clock(k_stop)),
        )
