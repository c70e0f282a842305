"""Preparing a run by what is known of another that differs from it in numbers alone.

A sweep prepares a hundred thousand of them: what is settled by the structure of a system is not settled again.
"""

import copy
import dataclasses
from typing import Any

import jax
import numpy as np

from flowdyn import _check
from flowdyn._tools.stacked import form
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import System
from flowdyn.running.initial_state import Start
from flowdyn.running.options import RunOptions
from flowdyn.running.preparation import PreparedRun
from flowdyn.running.save_times import SaveTimes, resolve_save_times
from flowdyn.solvers.base import Demand, Solver
from flowdyn.solvers.selection import pick_solver


def prepare_like(
    known: PreparedRun, system: System, w0: Any, options: RunOptions, solver: Solver | None
) -> PreparedRun | None:
    """As :func:`flowdyn.running.preparation.prepare`, beside a run of the same options; None where more may differ."""
    if (
        type(system) is not type(known.system)
        or not _is_plain(known)
        or not isinstance(w0, list | np.ndarray | jax.Array)
    ):
        return None
    if np.ndim(options.t) or options != known.options or form(system) != known.form:
        return None
    flat = _check.real_array("w0", w0)
    if flat.ndim != 1 or flat.shape != np.shape(known.system.project(known.first)):
        return None
    state = np.array(system.lift(flat), dtype=float)
    system.check_start(state)
    end = Demand(known.times.t[-1] if known.times.t is not None else np.inf)
    if pick_solver(system, state, solver, end) != known.solver:  # a closed form may be known from some starts only
        return None
    observer = copy.copy(known.observer)
    observer.system, observer.state0 = system, state
    run = dataclasses.replace(
        known, system=system, start=Start(state), times=_times(known, system, options), observer=observer
    )
    vars(run).update(form=known.form, told=known.told, fuses=known.fuses)  # what it shares with the known one
    return run


def _is_plain(run: PreparedRun) -> bool:
    """Whether nothing in it belongs to its own numbers: a stop rule is bound to them, and so may a step be."""
    is_one = not run.system.is_random and not run.has_many_starts and not run.start.is_restart
    return is_one and run.stop is None and run.times.t is not None and run.fuses


def _times(known: PreparedRun, system: System, options: RunOptions) -> SaveTimes:
    if options.steps is None or not isinstance(system, RecursionSystem):
        return resolve_save_times(system, options, 0.0, 0)
    return dataclasses.replace(known.times, t=system.clock(known.times.k))
