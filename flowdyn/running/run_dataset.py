"""The Dataset of one run or of many: parameters, observables, how each ended, and how it was made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from flowdyn._tools.compiled import float64_is_on
from flowdyn.results import dataset
from flowdyn.results.dataset import LabelledArray, Parts
from flowdyn.results.sealed_recipe import sealed
from flowdyn.running.exact_law import law_beside
from flowdyn.running.outcome import Ending, Outcome
from flowdyn.running.preparation import PreparedRun


def label(run: PreparedRun, outcome: Outcome) -> xr.Dataset:
    """Assemble the Dataset of a run from its outcome."""
    return labelled(run, outcome).dataset()


def labelled(run: PreparedRun, outcome: Outcome) -> Parts:
    """What the Dataset of a run is made of."""
    system, start, dim = run.system, run.start, run.member_dim
    variables = system.layout(run.first.size)
    lead = (dim,) if dim else ()
    arrays = _states(variables, outcome, dim, bool(run.options.observe_only))
    observed = {name: drop_member_axis(values, dim) for name, values in outcome.values.items()}
    arrays += dataset.labelled_arrays(run.observer.variables, observed, (*lead, "t"))
    arrays.append(dataset.status_array(drop_member_axis(outcome.codes, dim), lead))
    if np.isfinite(outcome.t_stop).any():
        attrs = {"long_name": "time at which the run stopped or broke off"}
        arrays.append(LabelledArray("t_stop", lead, drop_member_axis(outcome.t_stop, dim), attrs))
    law, left_out = law_beside(run, outcome, [array.name for array in arrays])
    arrays += law
    coords = dataset.run_coords(system, outcome.t, outcome.k, run.times.note)
    if dim:
        extra = {"standard_name": "realization"} if dim == "realization" else {}
        coords.append(dataset.axis(dim, np.arange(len(outcome.codes)), **extra))
    spec, inputs = run.described
    made_from = dataset.input_arrays(inputs)
    made_from += dataset.initial_arrays(variables, start.states, lead if run.has_many_starts else ())
    requested = run.times.requested
    if requested is not None and len(requested) != len(outcome.t):
        made_from.append(LabelledArray("t_requested", ("t_request",), requested, {"long_name": "times asked for"}))
    made = recipe_of_run(run, outcome.t, outcome.k is not None, spec, outcome.choice)
    recipe, *seals = sealed(made, made_from, len(outcome.t), dim, len(outcome.codes))
    arrays += seals
    coords += [recipe, *made_from]
    coords += dataset.number_coords(system, (*arrays, *coords), {"seed": run.options.seed} if system.is_random else {})
    attrs = attributes(run, outcome.stats, outcome.endings, outcome.choice)
    attrs |= {"flowdyn_law": left_out} if left_out else {}
    return dataset.parts(arrays, coords, system.coords, attrs).with_coordinate("log_t")


def drop_member_axis(values: np.ndarray, dim: str) -> np.ndarray:
    """Values without their leading axis where a single run was made."""
    return values if dim else values[0]


def _states(variables: Any, outcome: Outcome, dim: str, observe_only: bool) -> list[LabelledArray]:
    """The state over time, or at the first and last one only."""
    lead = (dim,) if dim else ()
    if not observe_only:
        named = dataset.split_state(variables, drop_member_axis(outcome.states, dim))
        return dataset.labelled_arrays(variables, named, (*lead, "t"))
    arrays = []
    for i, name in enumerate(("first", "last")):
        named = dataset.split_state(variables, drop_member_axis(outcome.states[:, -i], dim))
        for array in dataset.labelled_arrays(variables, named, lead):
            text = {"long_name": f"{array.attrs['long_name']}, {name} state"}
            arrays.append(array._replace(name=f"{array.name}_{name}", attrs=text))
    return arrays


def recipe_of_run(run: PreparedRun, t: np.ndarray, has_k: bool, spec: dict[str, Any], choice: str) -> dict[str, Any]:
    """What is needed to run it again, and the times that it has."""
    system, start = run.system, run.start
    target = system.on_problem.target_name if system.on_problem else None
    clock = {"t_initial": start.t0} | ({"k_initial": start.k0} if has_k else {})
    return {
        "kind": "run",
        "system": spec,
        "choice": choice or None,
        **run.told,
        "noise": run.solver.brownian_id(run.task(lambda share: None)) if system.is_random else None,
        "target": target or None,
        "span": [float(t[0]), float(t[-1]), len(t)] if len(t) else None,
        **(clock if start.is_restart else {}),
    }


def attributes(run: PreparedRun, stats: Mapping[str, Any], endings: Sequence[Ending], choice: str) -> dict[str, Any]:
    """What the run is called, and what it took."""
    system, solver = run.system, run.solver
    on_problem = system.on_problem
    cited = on_problem.citation if on_problem else ""
    own = system.parameters(run.first.size)
    return dataset.provenance(
        "run",
        system.title,
        f"{system.summary or type(system).__name__}{f'; {cited}' if cited else ''}; solved by {type(solver).__name__}",
        system.references or cited or "none",
        flowdyn_stats=stats,
        flowdyn_choice=choice or None,
        flowdyn_parameters=" ".join(v.name for v in own),
        jax_enable_x64=int(float64_is_on()),
        stopped_by="; ".join(end.text for end in endings) or None,
    )
