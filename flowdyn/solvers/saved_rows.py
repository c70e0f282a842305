"""Rows that an adaptive run leaves behind: states at the times asked, or each step of an open end, thinned.

(t_1, s_1), (t_2, s_2), ...,  and where it stops  (t_stop, s_stop)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from flowdyn.solvers.base import Task
from flowdyn.solvers.thinning import ThinnedRecord


class SavedRows:
    """What has been saved so far."""

    def __init__(self, task: Task):
        self.task = task
        self.times: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []
        self.count = self.steps = 0
        self.record = ThinnedRecord(task.saves)
        self.record.add(0, task.t0, task.state0)

    def keep(self, t: np.ndarray, rows: np.ndarray) -> None:
        """Append times (R,) and states (R, S)."""
        self.times.append(t)
        self.rows.append(rows)
        self.count += len(t)

    def keep_step(self, t: float, state: np.ndarray) -> None:
        """Offer where one more step of an open end has led."""
        self.steps += 1
        self.record.add(self.steps, t, state)

    def keep_inside(self, dense: Callable[[], Callable], low: float, high: float) -> None:
        """Keep the times asked in (low, high]; `dense` makes the dense output if there are any."""
        if self.task.t is None:
            return
        first, last = np.searchsorted(self.task.t, [low, high], side="right")
        if last > first:
            output, t = dense(), self.task.t[first:last]
            self.keep(t, np.array([output(at) for at in t]))

    def close(self, status: str, t_stop: float, state: np.ndarray | None) -> tuple[Any, Any]:
        """Times and states in all; `state` at `t_stop` becomes the last row of a run that stopped."""
        size = self.task.state0.size
        if self.task.t is None:
            return self.record.close(t_stop, self.task.state0 if state is None else np.array(state))
        t = np.concatenate([np.zeros(0), *self.times])
        rows = self.rows[0] if len(self.rows) == 1 else np.concatenate([np.zeros((0, size)), *self.rows])
        if status == "stopped" and state is not None:
            kept = int(np.searchsorted(t, t_stop, side="right"))
            t, rows = t[:kept], rows[:kept]
            if not kept or t[-1] < t_stop:
                t, rows = np.append(t, t_stop), np.vstack([rows, state])
        return t, rows
