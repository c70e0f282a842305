"""What is settled before a run: its start, times, members, observables, stop rules and solver, each checked."""

import dataclasses
import functools
from collections.abc import Hashable
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import float64_is_on
from flowdyn._tools.progress import Report
from flowdyn._tools.stacked import form
from flowdyn.methods.systems import System
from flowdyn.results.recipes import Arrays, describe, describe_solver
from flowdyn.running.initial_state import Start, fitted, start_from
from flowdyn.running.observer import Observer
from flowdyn.running.options import RunOptions
from flowdyn.running.save_times import SaveTimes, resolve_save_times
from flowdyn.solvers.base import Demand, Solver, Stop, Task
from flowdyn.solvers.selection import pick_solver


@dataclasses.dataclass(frozen=True)
class PreparedRun:
    """Everything that a run needs."""

    system: System
    options: RunOptions
    start: Start
    times: SaveTimes
    members: int  # of a random system, else 1
    observer: Observer
    stop: Stop | None
    solver: Solver

    @property
    def first(self) -> np.ndarray:
        """State (S,) that the first member starts from."""
        return self.start.states[0] if self.has_many_starts else self.start.states

    @property
    def has_many_starts(self) -> bool:
        """Whether each member has a start of its own."""
        return self.start.states.ndim == 2

    @property
    def member_dim(self) -> str:
        """Dimension of the members in the Dataset, "" for a single run."""
        if self.system.is_random:
            return "realization" if self.options.realizations is not None or self.has_many_starts else ""
        return "start" if self.has_many_starts else ""

    @functools.cached_property
    def described(self) -> tuple[dict[str, Any], Arrays]:
        """The system as data: how its recipe names it, and its arrays."""
        return describe(self.system)

    @functools.cached_property
    def form(self) -> Hashable:
        """What its system is but for the numbers in its arrays."""
        return form(self.system)

    @functools.cached_property
    def told(self) -> dict[str, Any]:
        """Solver and options as its recipe holds them."""
        return {"solver": describe_solver(self.solver), "options": self.options.encode()}

    @functools.cached_property
    def fuses(self) -> bool:
        """Whether its solver runs many like it at little more than the cost of one."""
        try:
            return self.solver.fuses(self.task(lambda share: None))
        except _check.FlowdynError:  # told where it is run, of this run alone
            return False

    def task(self, progress: Report) -> Task:
        """What the solver is given."""
        return Task(
            system=self.system,
            state0=self.first,
            t0=self.start.t0,
            k0=self.start.k0,
            t=self.times.t,
            k=self.times.k,
            saves=self.options.saves,
            stop=self.stop,
            max_steps=self.options.max_steps,
            max_seconds=self.options.max_seconds,
            progress=progress,
            seed=self.options.seed,
            members=self.members,
            states0=self.start.states if self.has_many_starts and self.system.is_random else None,
        )

    def doubts(self) -> list[str]:
        """What is allowed but doubtful, in words."""
        found = [] if float64_is_on() else [
            "JAX runs in float32 (JAX_ENABLE_X64=0): results have 7 digits; unset the variable for float64"
        ]  # fmt: skip
        doubt = self.system.warn_before(np.asarray(self.system.project(self.first)))
        return found + ([doubt] if doubt else [])


def prepare(system: System, w0: Any, options: RunOptions, solver: Solver | None, max_bytes: int) -> PreparedRun:
    """Check system, start and solver against each other, and resolve the times."""
    if not isinstance(system, System):
        raise _check.fail("system", "must be a flowdyn system", system, "e.g. fd.GradientFlow(problem) or fd.ODE(f)")
    system = fitted(system, w0)
    start = start_from(system, w0)
    members = _members(system, options.realizations, start)
    many = start.states.ndim == 2
    first = start.states[0] if many else start.states
    system.check_start(first)
    if options.is_open and options.stop and (system.is_random or many):
        what = "a random system" if system.is_random else "several starts"
        before = "; `stop` ends members before it" if system.is_traceable(first) else ""
        raise _check.fail("t", f"must be finite for {what}", options.t, f"give an end{before}")
    times = resolve_save_times(system, options, start.t0, start.k0)
    observer = Observer(system, options.observe, first)
    stop = observer.stop_rules(options.stop)
    _check_size(times, len(start.states) if many and not system.is_random else members, observer, options, max_bytes)
    end = np.inf if times.t is None else float(times.t[-1])
    if np.isfinite(end):
        system.check_path(first, end - start.t0)
    demand = Demand(end, stop is not None, options.max_seconds is not None)
    chosen = pick_solver(system, first, solver, demand)
    for state in start.states if many else ():
        if chosen.refuses_start(system, state):
            chosen = pick_solver(system, state, solver, demand)
    if times.t is not None:
        chosen = chosen.with_defaults(system, end - start.t0)
    return PreparedRun(system, options, start, times, members, observer, stop, chosen)


def _members(system: System, realizations: int | None, start: Start) -> int:
    """Number of members of an ensemble; 1 for a single run."""
    if not system.is_random:
        if realizations is not None:
            raise _check.fail(
                "realizations", "must be None for a deterministic system", realizations, "every one would be equal"
            )
        return 1
    count = 1 if realizations is None else realizations
    if start.states.ndim == 2:
        if not start.is_restart:
            raise _check.fail(
                "w0", "must be one start for a random system", _check.Words(f"{len(start.states)} of them")
            )
        if realizations is not None and count != len(start.states):
            raise _check.fail("realizations", f"must be the {len(start.states)} members of `w0`, or None", count)
        return len(start.states)
    return count


def _check_size(times: SaveTimes, members: int, observer: Observer, options: RunOptions, max_bytes: int) -> None:
    """Refuse a result that would not fit."""
    rows = times.saves if times.t is None else len(times.t)
    observed = sum(v.size for v in observer.variables)
    size = observer.state0.size
    if members > 1 and options.observe_only:
        need = 2 * 8 * members * (rows * observed + 2 * size)  # the record and its labelled copy
    else:
        need = 3 * 8 * rows * size * members  # states, their labelled copy, and the observables' working memory
    if need > max_bytes:
        raise _check.ArgumentError(
            f"`max_bytes` = {max_bytes:,} is below the {need:,} bytes that {rows} saves of {size} numbers"
            f"{f' and {members:,} members' if members > 1 else ''} need; use fewer `saves`, `observe_only=True`, or "
            "raise `max_bytes`"
        )
