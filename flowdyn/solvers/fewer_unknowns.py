"""A stiff run in fewer unknowns, where its system has such a form: made again from its start, and widened at the end.

s = P(u),   u' = g(t, u),   u(t_0) the lift of s(t_0)         (g, P, lift: of what `ODESystem.in_fewer_unknowns` is)

Implicit methods cost the third power of the number of unknowns; n residuals in place of 2 d weights make stiff flows of
a diagonal network cheap at any d. Stop rules and observables are those of the states P(u).
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from flowdyn._tools.compiled import map_rows
from flowdyn.methods.systems import ODESystem, System
from flowdyn.problems.base import Vector
from flowdyn.solvers.base import Task

if TYPE_CHECKING:
    from flowdyn.solvers.explicit_run import ExplicitRun

ROWS = 64  # that are widened at once


def _states(small: System, state: Vector) -> Vector:
    return small.project(state)


def in_fewer_unknowns(task: Task) -> ODESystem | None:
    """The form of a task's system that has fewer unknowns, if there is one."""
    return task.system.in_fewer_unknowns(task.state0) if isinstance(task.system, ODESystem) else None


def successor(run: "ExplicitRun", reason: str) -> "ExplicitRun":
    """The same run in fewer unknowns, of which each has a tolerance of its own."""
    task, small = run.task, in_fewer_unknowns(run.task)
    assert small is not None
    state0, stop, left = np.asarray(small.lift(task.state0)), task.stop, task.max_steps
    if stop is not None:
        rules = stop.rules
        stop = dataclasses.replace(stop, rules=lambda states: rules(map_rows(_states, small, states)))
    if left is not None:
        left = max(left - int(run.carry.accepted), 1)
    run.choice += f", from t = {task.t0:.17g} on {len(state0)} unknowns for {task.state0.size}: {reason}"
    begun = dataclasses.replace(task, system=small, state0=state0, stop=stop, max_steps=left)
    return type(run)(begun, run.options._replace(atol=None))


def take_over(run: "ExplicitRun") -> None:
    """Make the result of the successor the run's own, in its states, with the work that came before."""
    assert run.successor is not None and run.successor.result is not None
    found, small = run.successor.result, run.successor.task.system
    rows = np.empty((len(found.states), run.task.state0.size))
    for first in range(0, len(rows), ROWS):
        part = slice(first, first + ROWS)
        rows[part] = map_rows(_states, small, found.states[part])
    before, choice = run.stats(), f"{run.choice}; there {found.choice}"
    work = {name: before.get(name, 0) + count for name, count in found.stats.items()}
    run.result = dataclasses.replace(found, states=rows, stats=work, choice=choice)
