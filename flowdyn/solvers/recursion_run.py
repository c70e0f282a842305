"""One run of a recursion, in pieces of about half a second:  step numbers to go on to  ->  states there  ->  a Result.

Who goes there is left open: a compiled loop of its own (:meth:`RecursionRun.alone`), or one of many runs side by side.
"""

import time
from collections.abc import Generator
from typing import Any

import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn.methods.base import DiscreteSystem
from flowdyn.solvers.base import Result, Status, Task, failure_status, is_bad
from flowdyn.solvers.recursion_loops import advance, advance_until, first_bad
from flowdyn.solvers.resting import RestWatch
from flowdyn.solvers.thinning import ThinnedRecord

MOST_RECURSION_STEPS = 10**9
PIECE_SECONDS = 0.5
FIRST_PIECE = 4096  # steps of the first piece, whose time is mostly compilation
Pieces = Generator[np.ndarray, Any, Result]


class RecursionRun:
    """State of one run between pieces: a generator of the step numbers to go on to, whoever goes there."""

    def __init__(self, task: Task):
        assert isinstance(task.system, DiscreteSystem)
        self.task, self.system = task, task.system
        self.k, self.state, self.hit = task.k0, task.state0, False
        self.block = int(np.clip(2**22 // max(task.state0.size, 1), 1, 64))  # rows a call may return
        self.piece = FIRST_PIECE
        self.end = task.k0 + (task.max_steps or MOST_RECURSION_STEPS)

    def alone(self) -> Result:
        """Run it by itself."""
        stop = self.task.stop
        if stop is None:
            call = bind(advance, self.system)
        else:
            inner = bind(advance_until, self.system, stop.traced, stop.spec)
            call = lambda k, state, targets: inner(k, state, targets, stop.thresholds)  # noqa: E731
        pieces, reached = self.pieces(), None
        while True:
            try:
                targets = pieces.send(reached)
            except StopIteration as end:
                return end.value
            reached = call(self.k, self.state, targets)

    def advance(self, targets: np.ndarray) -> "Generator[np.ndarray, Any, np.ndarray]":
        """Run through `targets` (increasing, at most `block`) and return the states there."""
        padded = np.concatenate([targets, np.repeat(targets[-1:], self.block - len(targets))])
        clock, before = time.monotonic(), self.k
        k, state, rows, hit = yield padded
        rows = np.asarray(rows)[: len(targets)]
        self.k, self.state, self.hit = int(k), np.asarray(state), bool(hit)
        spent = max(time.monotonic() - clock, 1e-6)
        self.piece = int(np.clip((self.k - before) * PIECE_SECONDS / spent, self.piece, 8 * self.piece))
        return rows

    def pieces(self) -> Pieces:
        """Advance until something ends the run."""
        return self.open_end() if self.task.k is None else self.fixed_end(self.task.k)

    def fixed_end(self, ks: np.ndarray) -> Pieces:
        """Save at the step numbers `ks`."""
        kept_k, kept = np.empty(len(ks) + 1, dtype=np.int64), np.empty((len(ks) + 1, self.state.size))
        count = 0
        last_good = (self.k, self.state)
        done = 0
        while True:
            wanted = ks[done : done + self.block]
            wanted = wanted[wanted <= min(self.k + self.piece, self.end)]
            # no save within this piece: run to its end (or the next save's eve) without keeping anything
            targets = wanted if len(wanted) else np.array([min(self.k + self.piece, self.end)])
            rows = yield from self.advance(targets)
            bad = is_bad(rows)
            good = int(np.argmax(bad)) if bad.any() else len(rows)
            if len(wanted):
                end = count + int(np.searchsorted(targets[:good], self.k, side="right"))
                kept_k[count:end], kept[count:end] = targets[: end - count], rows[: end - count]
                count = end
            if bad.any():
                if good:
                    last_good = (int(targets[good - 1]), rows[good - 1])
                return self.broken(kept_k[:count], kept[:count], last_good)
            last_good = (self.k, self.state)
            done = int(np.searchsorted(ks, self.k, side="right"))
            self.task.progress((self.k - self.task.k0) / max(int(ks[-1]) - self.task.k0, 1))
            if self.hit:
                if not count or kept_k[count - 1] != self.k:
                    kept_k[count], kept[count] = self.k, self.state
                    count += 1
                return self.finish(kept_k[:count], kept[:count], "stopped", self.k)
            if done >= len(ks):
                return self.finish(kept_k[:count], kept[:count], "reached_end")
            if self.k >= self.end or self.task.out_of_time():
                over: Status = "max_steps" if self.k >= self.end else "max_seconds"
                return self.finish(kept_k[:count], kept[:count], over, self.k)

    def open_end(self) -> Pieces:
        """Run until a stop rule holds, keeping a thinned record."""
        record, first = ThinnedRecord(self.task.saves), self.k
        record.add(0, self.k, self.state)
        watch, rests = RestWatch(self.system, first, self.end), False
        while not (self.hit or rests) and self.k < self.end and not self.task.out_of_time():
            last_good = (self.k, self.state)
            count = int(np.clip(self.piece // record.stride, 1, self.block))
            ahead = first + record.stride * ((self.k - first) // record.stride + np.arange(1, count + 1))
            targets = np.unique(np.minimum(ahead, min(self.end, watch.due)))
            rows = yield from self.advance(targets)
            if is_bad(rows).any():
                before = np.array([int(when) for when, _ in record.rows])
                return self.broken(before, np.array([row for _, row in record.rows]), last_good)
            for target, row in zip(targets, rows, strict=True):
                if target < self.k:  # later rows repeat the state at which a rule held
                    record.add(int(target) - first, int(target), row)
            rests = not self.hit and watch.finds_rest(self.k, self.state)
        assert self.task.stop is not None
        if self.hit and self.k > first and not self.task.stop.holds(self.state):  # compiled otherwise, it does not hold
            rests = watch.is_rounding(self.k, self.state)
        times, rows = record.close(self.k, self.state)
        over: Status = "max_steps" if self.k >= self.end else "max_seconds"
        status: Status = "at_rest" if rests else "stopped" if self.hit else over
        return self.finish(times, rows, status, self.k)

    def broken(self, ks: np.ndarray, rows: np.ndarray, last_good: tuple[int, np.ndarray]) -> Result:
        """Run once more from the last good save, one step at a time, to find the step that went wrong."""
        k, bad, before = bind(first_bad, self.system)(*last_good, np.iinfo(np.int64).max)
        return self.finish(ks, rows, failure_status(np.asarray(bad), np.asarray(before)), int(k))

    def finish(self, ks: np.ndarray, rows: np.ndarray, status: Status, k_stop: int | None = None) -> Result:
        """Give the rows as a Result with the clock's times."""
        k = np.asarray(ks, dtype=np.int64)
        return Result(
            t=self.system.clock(k) if len(k) else np.empty(0),
            states=np.asarray(rows).reshape(len(ks), self.state.size),
            status=status,
            k=k,
            stats={"n_steps": self.k - self.task.k0},
            t_stop=np.nan if k_stop is None else float(self.system.clock(k_stop)),
        )
