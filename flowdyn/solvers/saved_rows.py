"""Rows that an adaptive run leaves behind: states at the times asked, or each step of an open end, thinned.

(t_1, s_1), (t_2, s_2), ...,  and where it stops  (t_stop, s_stop)
"""

import bisect
from collections.abc import Callable
from typing import Any

import numpy as np

from flowdyn.solvers.base import Task
from flowdyn.solvers.thinning import ThinnedRecord


class SavedRows:
    """What has been saved so far."""

    def __init__(self, task: Task):
        self.task = task
        room = 0 if task.t is None else len(task.t) + 1  # one more: where it stops
        self._times, self._rows = np.empty(room), np.empty((room, task.state0.size))  # written once, and never joined
        self._asked = [] if task.t is None else task.t.tolist()  # numpy takes ten times as long to look for one of few
        self.count = self.steps = 0
        self.record = ThinnedRecord(task.saves)
        self.record.add(0, task.t0, task.state0)

    def keep(self, t: np.ndarray, rows: np.ndarray) -> None:
        """Append times (R,) and states (R, S)."""
        self.fill(t, rows)
        self.count += len(t)

    def fill(self, t: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Times and states in all, those that follow what is kept included."""
        end = self.count + len(t)
        self._times[self.count : end], self._rows[self.count : end] = t, rows
        return self._times[:end], self._rows[:end]

    def keep_step(self, t: float, state: np.ndarray) -> None:
        """Offer where one more step of an open end has led."""
        self.steps += 1
        self.record.add(self.steps, t, state)

    def keep_inside(self, dense: Callable[[], Callable], low: float, high: float) -> None:
        """Keep the times asked in (low, high]; `dense` makes the dense output if there are any."""
        if self.task.t is None:
            return
        first, last = bisect.bisect_right(self._asked, low), bisect.bisect_right(self._asked, high)
        if last > first:
            output, t = dense(), self.task.t[first:last]
            self.keep(t, np.array([output(at) for at in t]))

    def close(self, status: str, t_stop: float, state: np.ndarray | None) -> tuple[Any, Any]:
        """Times and states in all; `state` at `t_stop` becomes the last row of a run that stopped."""
        if self.task.t is None:
            return self.record.close(t_stop, self.task.state0 if state is None else np.array(state))
        if status == "stopped" and state is not None:
            self.count = int(np.searchsorted(self._times[: self.count], t_stop, side="right"))
            if not self.count or self._times[self.count - 1] < t_stop:
                return self.fill(np.array([t_stop]), state[None])
        return self._times[: self.count], self._rows[: self.count]
