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
from flowdyn.solvers.base import SPENT, Task
from flowdyn.solvers.tolerances import absolute

if TYPE_CHECKING:
    from flowdyn.solvers.explicit_run import ExplicitRun

ROWS = 64  # that are widened at once
BROKEN = ("diverged", "nonfinite", "stuck", "at_rest")


def _states(small: System, state: Vector) -> Vector:
    return small.project(state)


def in_fewer_unknowns(task: Task) -> ODESystem | None:
    """The form of a task's system that has fewer unknowns, if there is one; an open end is left to the system's own."""
    if task.t is None or not isinstance(task.system, ODESystem):
        return None
    return task.system.in_fewer_unknowns(task.state0)


def successor(run: "ExplicitRun") -> "ExplicitRun":
    """The same run in fewer unknowns, with errors that the states would be allowed."""
    assert run.smaller is not None
    task, small = run.task, run.smaller
    state0, stop, left = np.asarray(small.lift(task.state0)), task.stop, task.max_steps
    if stop is not None:
        rules = stop.rules
        stop = dataclasses.replace(stop, rules=lambda states: rules(map_rows(_states, small, states)))
    if left is not None:
        left = max(left - int(run.carry.accepted), 1)
    t, report = float(run.carry.t), task.progress
    done = (t - task.t0) / (run.end - task.t0)  # progress does not go back
    begun = dataclasses.replace(
        task,
        system=small,
        state0=state0,
        stop=stop,
        max_steps=left,
        progress=lambda share: report(done + share * (1 - done)),
    )
    return type(run)(begun, run.options._replace(atol=absolute(None, run.options.rtol, small)))


def take_over(run: "ExplicitRun") -> None:
    """Make the result of the successor the run's own, in its states, with the work that came before.

    One that broke off, or was out of its budget before it came as far, is dropped: the run goes on from where it was.
    """
    assert run.successor is not None and run.successor.result is not None
    found, small = run.successor.result, run.successor.task.system
    got_further = found.t_stop > float(run.carry.t) and not (found.status == "max_steps" and run.task.max_steps is None)
    if found.status in BROKEN or (found.status in SPENT and not got_further):
        run.successor = run.smaller = None
        return
    rows = np.empty((len(found.states), run.task.state0.size))
    for first in range(0, len(rows), ROWS):
        part = slice(first, first + ROWS)
        rows[part] = map_rows(_states, small, found.states[part])
    before, name = run.stats(), type(small).__name__
    choice = (
        f"{run.choice}, from t = {run.task.t0:.17g} on again as {name}, {run.successor.task.state0.size} unknowns in "
        f"place of {run.task.state0.size} (stiff at t = {float(run.carry.t):.6g}): {found.choice}"
    )
    work = {name: before.get(name, 0) + count for name, count in found.stats.items()}
    run.result = dataclasses.replace(found, states=rows, stats=work, choice=choice)
