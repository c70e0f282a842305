"""The Dataset of one run or of many: parameters, observables, how each ended, and how it was made."""

from typing import Any

import numpy as np

from flowdyn._tools.compiled import float64_is_on
from flowdyn.methods.stochastic_base import RandomSystem
from flowdyn.methods.systems import OnProblem, Recursion, System
from flowdyn.results import dataset
from flowdyn.results.dataset import Piece
from flowdyn.results.recipes import describe, describe_solver
from flowdyn.running.initial_state import Start
from flowdyn.running.observer import Observer
from flowdyn.running.outcome import Outcome
from flowdyn.running.save_times import Grid
from flowdyn.solvers.base import Solver, Task

LAW_ENTRIES = 200_000  # of the exact covariance over time, above which it is left out


def label(
    system: System,
    solver: Solver,
    observer: Observer,
    grid: Grid,
    outcome: Outcome,
    start: Start,
    dim: str,
    task: Task,
    options: dict[str, Any],
) -> Any:
    """Assemble the Dataset; `dim` names the members' dimension, "" for a single run."""
    variables = system.layout(task.state0.size)
    lead = (dim, "t") if dim else ("t",)
    parts = _states(variables, outcome, lead, options["observe_only"])
    parts += dataset.pieces(observer.variables, {n: _one(v, dim) for n, v in outcome.values.items()}, lead)
    parts.append(dataset.status_piece(_one(outcome.codes, dim), lead[:-1]))
    if np.isfinite(outcome.t_stop).any():
        attrs = {"long_name": "time at which the run stopped or broke off"}
        parts.append(Piece("t_stop", lead[:-1], _one(outcome.t_stop, dim), attrs))
    spec, arrays = describe(system)
    parts += dataset.input_pieces(arrays)
    parts += dataset.initial_pieces(variables, start.states, lead[:-1] if start.states.ndim == 2 else ())
    parts += _law(system, outcome, start, task)
    coords = dataset.run_coords(system, outcome.t, outcome.k, grid.note)
    if dim:
        extra = {"standard_name": "realization"} if dim == "realization" else {}
        coords.append(dataset.axis(dim, np.arange(len(outcome.codes)), **extra))
    if grid.requested is not None and len(grid.requested) != len(outcome.t):
        parts.append(Piece("t_requested", ("t_request",), grid.requested, {"long_name": "times asked for"}))
    ds = dataset.build(parts, coords, system.coords, _attributes(system, solver, outcome, task, options, spec))
    if "log_t" in ds:
        ds = ds.set_coords("log_t")
    if start.is_restart:
        ds.attrs |= {"t_initial": start.t0} | ({"k_initial": start.k0} if outcome.k is not None else {})
    return ds


def _one(values: np.ndarray, dim: str) -> np.ndarray:
    return values if dim else values[0]


def _states(variables: Any, outcome: Outcome, lead: tuple[str, ...], observe_only: bool) -> list[Piece]:
    if not observe_only:
        named = dataset.split_state(variables, _one(outcome.states, lead[0] if len(lead) > 1 else ""))
        return dataset.pieces(variables, named, lead)
    parts = []
    for i, name in enumerate(("first", "last")):
        named = dataset.split_state(variables, _one(outcome.states[:, -i], lead[0] if len(lead) > 1 else ""))
        for piece in dataset.pieces(variables, named, lead[:-1]):
            text = {"long_name": f"{piece.attrs['long_name']}, {name} state"}
            parts.append(piece._replace(name=f"{piece.name}_{name}", attrs=text))
    return parts


def _law(system: System, outcome: Outcome, start: Start, task: Task) -> list[Piece]:
    """Exact mean and covariance beside a random run, where they are known and small."""
    size = task.state0.size
    if not isinstance(system, RandomSystem) or start.states.ndim == 2 or len(outcome.t) * size**2 > LAW_ENTRIES:
        return []
    variables = system.layout(size)
    if len(variables) != 1 or len(variables[0].dims) != 1:
        return []
    when = outcome.k - start.k0 if isinstance(system, Recursion) and outcome.k is not None else outcome.t - start.t0
    known = system.exact_moments(start.states, when)
    if known is None:
        return []
    name, dim = variables[0].name, variables[0].dims[0]
    return [
        Piece(f"{name}_mean_exact", ("t", dim), known[0], {"long_name": f"exact mean of {name}"}),
        Piece(f"{name}_cov_exact", ("t", dim, f"{dim}_2"), known[1], {"long_name": f"exact covariance of {name}"}),
    ]


def _attributes(
    system: System, solver: Solver, outcome: Outcome, task: Task, options: dict[str, Any], spec: Any
) -> dict[str, Any]:
    on_problem = system.problem if isinstance(system, OnProblem) else None
    cited = on_problem.citation if on_problem else ""
    own = on_problem.variables if on_problem else system.layout(task.state0.size)
    return dataset.provenance(
        "run",
        f"{type(system).__name__}{f' of {type(on_problem).__name__}' if on_problem else ''}",
        f"{system.summary}{f'; {cited}' if cited else ''}; solved by {type(solver).__name__}",
        system.references or cited or "none",
        flowdyn_system=spec,
        flowdyn_solver=describe_solver(solver),
        flowdyn_options=options,
        flowdyn_stats=outcome.stats,
        flowdyn_noise=solver.noise_record(task) if system.is_random else None,
        flowdyn_parameters=" ".join(v.name for v in own),
        seed=options["seed"],
        jax_enable_x64=int(float64_is_on()),
        stopped_by="; ".join(outcome.endings) or None,
        target=(on_problem.target_name or None) if on_problem else None,
    )
