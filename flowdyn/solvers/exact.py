"""Closed forms: quadratic losses mode by mode, the population flow of section 9.2, Ornstein-Uhlenbeck laws."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from flowdyn import _check
from flowdyn.compiled import matvec
from flowdyn.randomness import Ask
from flowdyn.solvers.base import Result, Solver, Task, blame, is_bad
from flowdyn.solvers.ensembles import Block, run_ensemble
from flowdyn.solvers.plans import Legs, Plan
from flowdyn.stochastic import SDESystem
from flowdyn.systems import Recursion, System
from flowdyn.theory.moments import root, transition


def _sample(system: SDESystem, when: Any, move: tuple, state: jax.Array, memory: Any, draw: Any) -> jax.Array:
    phi, shift, factor = move
    return matvec(phi, state) + shift + matvec(factor, draw.numbers)


@dataclasses.dataclass(frozen=True)
class Exact(Solver):
    """Evaluate the exact solution, or sample the exact law, at any time; a run costs the same however long it is.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic([[2.0]])
    >>> run = fd.solve(fd.GradientDescent(p, eta=1e-9), [1.0], t=1.0, saves=2, solver=fd.solvers.Exact())
    >>> bool(abs(run.w[-1, 0] - 0.1353352832) < 1e-9)
    True
    """

    def refuses(self, system: System, state0: np.ndarray) -> str | None:
        """Only systems with a closed form or an exact law."""
        known = system.law() if isinstance(system, SDESystem) else system.closed_form()
        return None if known else "it has no closed form here; use solver=None or another solver"

    def ensemble(self, task: Task) -> Iterator[Block]:
        """Sample the exact law from save to save: X(t + tau) ~ N(Phi X(t) + shift, Q)."""
        system = task.system
        assert isinstance(system, SDESystem) and task.t is not None
        law = system.law()
        assert law is not None
        span = np.diff(task.t, prepend=task.t0)
        unit = max(float(span.max()), 1e-300)
        keys, inverse = np.unique(np.round(span / unit, 13), return_inverse=True)
        moves = [transition(law.A, law.D, law.force, float(key) * unit) for key in keys]
        extra = tuple(
            np.stack(part)[inverse] for part in zip(*((phi, shift, root(Q)) for phi, shift, Q in moves), strict=True)
        )
        first = task.k0 + np.arange(len(span))
        legs = Legs(first, first + 1, task.t - span, span, extra)
        return run_ensemble(task, Plan(_sample, Ask(numbers=task.state0.size)), legs)

    def counters(self, task: Task) -> np.ndarray | None:
        """One draw a save."""
        return None if task.t is None else task.k0 + 1 + np.arange(len(task.t))

    def run(self, task: Task) -> Result:
        """States at the times asked, up to the first stop or overflow."""
        form = task.system.closed_form()
        assert form is not None
        discrete = isinstance(task.system, Recursion)
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
    return float(task.system.clock(int(when))) if isinstance(task.system, Recursion) else float(when)


def _result(task: Task, when: np.ndarray, rows: np.ndarray, discrete: bool, **more: Any) -> Result:
    if isinstance(task.system, Recursion):
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
    span = 1.0 if isinstance(task.system, Recursion) else 1e-6
    for _ in range(110):
        if holds(origin + span):
            return np.array([origin + span / 2, origin + span])
        span *= 2
    raise _check.RunError(f"`stop` is never met: {task.stop.describe} does not hold by t = {origin + span:.3g}")  # type: ignore[union-attr]
