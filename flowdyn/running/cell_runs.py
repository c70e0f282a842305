"""One cell of many: what is asked of it, with which others it is run together, and how it is run without them."""

import dataclasses
import inspect
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.methods.systems import System
from flowdyn.results import dataset
from flowdyn.results.dataset import Parts
from flowdyn.running.integration import MAX_BYTES, execute, execute_together, solve
from flowdyn.running.like_runs import prepare_like
from flowdyn.running.options import RunOptions
from flowdyn.running.outcome import GOOD, Outcome
from flowdyn.running.preparation import PreparedRun, prepare
from flowdyn.running.run_dataset import labelled

ASKED = tuple(field.name for field in dataclasses.fields(RunOptions))
OPTIONS = {name for name in inspect.signature(solve).parameters if name not in ("system", "w0")}


def prepare_asked(system: System, w0: Any, options: Mapping[str, Any], known: PreparedRun | None = None) -> PreparedRun:
    """What :func:`flowdyn.solve` would run, from its keyword arguments; `known` is a run that may be like it."""
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise _check.fail("options", f"must be arguments of solve, {sorted(OPTIONS)}", unknown)
    own = RunOptions(**{name: options[name] for name in ASKED if name in options})
    solver, max_bytes = options.get("solver"), options.get("max_bytes", MAX_BYTES)
    asks_for_other = solver is not None and (known is None or known.solver != solver)
    like = None if known is None or asks_for_other else prepare_like(known, system, w0, own, solver)
    return prepare(system, w0, own, solver, max_bytes) if like is None else like


def joint_form(run: PreparedRun) -> Hashable | None:
    """What runs must agree in to be run together; None for a run that is one of its own."""
    if run.has_many_starts or (run.system.is_random and not run.fuses):
        return None
    if run.system.is_random:
        return "members", run.form, run.first.size, type(run.solver)
    if not run.observer.joins:
        return None
    options = run.options
    functions = tuple((name, id(function)) for name, function in run.observer.functions.items())
    rules = None if run.stop is None else tuple(sign for _, sign in run.stop.spec)
    named = tuple(options.stop or ())
    solver = type(run.solver), tuple(map(repr, run.solver.config().values()))
    saved = None if run.times.t is None else len(run.times.t), options.observe_only, run.times.requested is None
    return run.form, run.first.size, functions, named, rules, solver, saved


class Joint(NamedTuple):
    """Runs with the dimension `cell`, or one run; why some have no values."""

    parts: Parts
    failures: dict[int, str]  # by their place


def run_one(run: PreparedRun) -> Joint:
    """A run that is not joined with others."""
    return _of_one(*execute(run, lambda share: None))


def run_members(runs: Sequence[PreparedRun]) -> list[Joint]:
    """Random runs of one :func:`joint_form`: in one program, each a result of its own."""
    return [_of_one(run, outcome) for run, outcome in execute_together(runs)]


def _of_one(run: PreparedRun, outcome: Outcome) -> Joint:
    bad = [end for end in outcome.endings if end.status not in GOOD]
    if bad and run.options.on_divergence != "keep":
        codes = np.array(outcome.codes[outcome.codes > 0].max(), dtype=np.int8)
        status = xr.Variable((), codes, dataset.status_array(codes).attrs)
        return Joint(Parts({"status": status}, {}, {}), {0: "; ".join(end.text for end in bad) + _check.KEEP})
    return Joint(labelled(run, outcome), {})
