"""Closed forms: quadratic losses mode by mode, the squared parametrisation's population flow by coordinates."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.solvers.base import Result, Solver, Task, blame, is_bad
from flowdyn.systems import DiscreteSystem, System


@dataclasses.dataclass(frozen=True)
class Exact(Solver):
    """Evaluate the exact solution at any time; a run costs the same however long it is.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic([[2.0]])
    >>> run = fd.solve(fd.GradientDescent(p, eta=1e-9), [1.0], t=1.0, saves=2, solver=fd.solvers.Exact())
    >>> bool(abs(run.w[-1, 0] - 0.1353352832) < 1e-9)
    True
    """

    def refuses(self, system: System, state0: np.ndarray) -> str | None:
        """Only systems with a closed form."""
        return None if system.closed_form() else "it has no closed form here; use solver=None or another solver"

    def run(self, task: Task) -> Result:
        """States at the times asked, up to the first stop or overflow."""
        form = task.system.closed_form()
        assert form is not None
        discrete = isinstance(task.system, DiscreteSystem)
        origin = task.k0 if discrete else task.t0

        def states(when: np.ndarray) -> np.ndarray:
            return form(task.state0, np.asarray(when, dtype=float) - origin)

        when = task.k if discrete else task.t
        end = None
        if task.stop is not None:
            when, end = _until_stop(task, states, when, discrete)
        assert when is not None
        rows = states(when)
        bad = is_bad(rows)
        if bad.any():
            first = int(np.argmax(bad))
            low = when[first - 1] if first else origin
            at = _bisect(lambda x: bool(is_bad(states(np.array([x])))[0]), low, when[first], discrete)
            rows_ok, status = rows[:first], blame(states(np.array([at]))[0], task.state0)
            return _result(task, when[:first], rows_ok, discrete, status=status, t_stop=_clock(task, at, discrete))
        status = "reached_end" if end is None else "stopped"
        return _result(task, when, rows, discrete, status=status, t_stop=_clock(task, end, discrete))


def _clock(task: Task, when: float | None, discrete: bool) -> float:
    if when is None:
        return np.nan
    return float(task.system.clock(int(when))) if isinstance(task.system, DiscreteSystem) else float(when)


def _result(task: Task, when: np.ndarray, rows: np.ndarray, discrete: bool, **more: Any) -> Result:
    if isinstance(task.system, DiscreteSystem):
        k = np.asarray(when, dtype=np.int64)
        return Result(t=task.system.clock(k), states=rows, k=k, **more)
    return Result(t=np.asarray(when), states=rows, **more)


def _bisect(holds: Callable[[float], bool], low: float, high: float, discrete: bool) -> float:
    """Smallest time in (low, high] at which `holds`, given that it does at high: to the step, or to the last bit."""
    while True:
        middle = (low + high) // 2 if discrete else low + (high - low) / 2
        if not low < middle < high:
            return high
        low, high = (low, middle) if holds(middle) else (middle, high)


def _until_stop(
    task: Task, states: Callable, when: np.ndarray | None, discrete: bool
) -> tuple[np.ndarray, float | None]:
    """Save times up to the first stop (which is the last of them), and that time; None if no rule ever holds."""
    assert task.stop is not None
    margin = task.stop.margin

    def holds(x: float) -> bool:
        return margin(states(np.array([x]))[0]) >= 0

    origin = task.k0 if discrete else task.t0
    grid = when if when is not None else _doubling(task, origin, holds)
    low = float(origin)
    if holds(low):
        return np.array([origin]), low
    for high in grid:
        if holds(high):
            end = _bisect(holds, low, float(high), discrete)
            if when is not None:
                return np.append(when[when < end], end), end
            full = np.linspace(origin, end, task.saves)
            return (np.unique(np.rint(full)) if discrete else full), end
        low = float(high)
    return grid, None


def _doubling(task: Task, origin: float, holds: Callable[[float], bool]) -> np.ndarray:
    """Times 1, 2, 4, ... (in units of the clock's smallest scale) up to the first at which a rule holds."""
    span = 1.0 if isinstance(task.system, DiscreteSystem) else 1e-6
    for _ in range(110):
        if holds(origin + span):
            return np.array([origin + span / 2, origin + span])
        span *= 2
    raise _check.RunError(f"`stop` is never met: {task.stop.describe} does not hold by t = {origin + span:.3g}")  # type: ignore[union-attr]
