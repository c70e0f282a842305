"""The Dataset of a ladder, whatever its kind: what was measured on each rung, the fitted order, and how it was made."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from flowdyn._tools.compiled import float64_is_on
from flowdyn.convergence.ladder import Ladder
from flowdyn.convergence.order_fit import OrderFit
from flowdyn.results import dataset
from flowdyn.results.dataset import LabelledArray
from flowdyn.results.recipes import describe
from flowdyn.results.sealed_recipe import sealed


@dataclasses.dataclass(frozen=True)
class LadderFindings:
    """What one kind of ladder adds to what all have in common."""

    kind: str  # of the Dataset: "ladder", "weak ladder", "strong ladder"
    error: str  # as `eta_limit` calls it
    limit: str  # what the recursion is compared with, in words
    arrays: Sequence[LabelledArray]
    coords: Sequence[LabelledArray]
    fits: Sequence[OrderFit]
    observables: Sequence[str] | None  # that the fits belong to; None where there is one fit of the state itself
    interval: str  # what the interval joins, in words
    used: str  # what makes a rung count, in words
    title: str
    solver: dict[str, Any] | None = None  # of the limit


def label_ladder(ladder: Ladder, found: LadderFindings) -> xr.Dataset:
    """Assemble the Dataset of a ladder from what was found."""
    method, p = ladder.method, ladder.order
    parameters, problem = method.parameters(len(ladder.start)), method.on_problem
    spec, inputs = describe(method)
    coords = [
        dataset.axis("eta", ladder.etas),
        LabelledArray("h", ("eta",), ladder.time_steps, {"long_name": "time step of the clock"}),
        *found.coords,
    ]
    if found.observables is not None:
        coords.append(dataset.axis("observable", np.array(found.observables)))
    arrays = [
        *found.arrays,
        *_order_arrays(ladder, found),
        dataset.status_array(["reached_end"] * len(ladder.rungs), ("eta",)),
    ]
    made_from = [*dataset.input_arrays(inputs), *dataset.initial_arrays(parameters, ladder.start, ())]
    how = {
        "kind": found.kind,
        "system": spec,
        "solver": found.solver,
        "options": {**ladder.record, "error": found.error},
        "target": (problem.target_name if problem else None) or None,
    }
    times = next((len(axis.values) for axis in coords if axis.dims == ("t",)), 0)
    recipe, *seals = sealed(how, made_from, times)
    arrays += seals
    coords += [recipe, *made_from]
    coords += dataset.number_coords(method, (*arrays, *coords), {"seed": ladder.seed} if method.is_random else {})
    attrs = dataset.provenance(
        found.kind,
        found.title,
        f"{method.summary or type(method).__name__}, on a ladder of step sizes, beside {found.limit}",
        method.references or ladder.limits[0].references or (problem.citation if problem else "") or "none",
        flowdyn_parameters=" ".join(v.name for v in parameters),
        limit_order=p,
        verdict=_verdict(found),
        jax_enable_x64=int(float64_is_on()),
    )
    return dataset.build(arrays, coords, method.coords, attrs)


def _order_arrays(ladder: Ladder, found: LadderFindings) -> list[LabelledArray]:
    """The fitted orders beside the one that theory expects, and which rungs were fitted."""
    orders = np.array([fit.order for fit in found.fits])
    intervals = np.array([[fit.low, fit.high] for fit in found.fits])
    used = np.stack([fit.used for fit in found.fits], axis=1).astype(np.int8)  # (m, F)
    over: tuple[str, ...] = ("observable",)
    if found.observables is None:
        orders, intervals, used, over = orders[0], intervals[0], used[:, 0], ()
    expected = ladder.method.expected_order(ladder.order, found.error)
    return [
        LabelledArray("order", over, orders, {"long_name": "fitted order in the time step"}),
        LabelledArray(
            "order_interval",
            (*over, "bound"),
            intervals,
            {"long_name": f"95 % interval of the fitted order: {found.interval}"},
        ),
        LabelledArray("order_expected", (), float(expected), {"long_name": "order that theory expects"}),
        LabelledArray("used", ("eta", *over), used, {"long_name": f"1 where {found.used}, and is fitted"}),
    ]


def _verdict(found: LadderFindings) -> str:
    """One for all fits where they agree, else one each."""
    verdicts = [fit.verdict for fit in found.fits]
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return "; ".join(map(": ".join, zip(found.observables or [], verdicts, strict=True)))
