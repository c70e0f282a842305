"""A random recursion on a ladder of step sizes, beside its limit, by weak or strong error.

What is measured is in :mod:`flowdyn.convergence.weak` and :mod:`flowdyn.convergence.strong`.
"""

from typing import Any

import numpy as np
import xarray as xr

from flowdyn._tools.progress import meter, part
from flowdyn.convergence.gap import Gap, columns
from flowdyn.convergence.ladder import Ladder
from flowdyn.convergence.ladder_dataset import LadderFindings, label_ladder
from flowdyn.convergence.order_fit import OrderFit, fit_order
from flowdyn.convergence.strong import strong_gaps
from flowdyn.convergence.weak import WeakGaps, named_functions
from flowdyn.results import dataset
from flowdyn.results.dataset import LabelledArray

TEXTS = {
    "mean": "mean of the observable along the recursion, at the end",
    "mean_limit": "mean of the observable along the limit, at the end",
    "error": "gap between recursion and limit",
    "standard_error": "Monte-Carlo standard error of the gap",
    "solver_error": "error of the limit's own means, by extrapolation or rounding",
}


def weak_ladder(
    ladder: Ladder, observable: Any, budget: int | None, relative_error: float, progress: Any
) -> xr.Dataset:
    """Dataset of the gaps of means at the end."""
    functions = named_functions(ladder.method, observable, len(ladder.state0))
    measured = WeakGaps(ladder, functions, budget, relative_error, progress)
    count, gaps = len(ladder.rungs), []
    with meter(progress, "eta_limit", lines=True) as report:
        for i in range(count):
            own = part(report, i / count, (i + 1) / count)
            gaps.append(measured.gap(i, own))
            own(1.0)
    coords = [
        LabelledArray("t", (), float(ladder.times[-1]), {"long_name": "training time of the comparison"}),
        LabelledArray("k", ("eta",), [int(k[-1]) for k in ladder.steps], {"long_name": "step number k"}),
    ]
    return _dataset(ladder, "weak", list(functions), gaps, [], coords, measured.sampler.cut)


def strong_ladder(ladder: Ladder, budget: int | None, progress: Any) -> xr.Dataset:
    """Dataset of the distances on shared Brownian paths."""
    gaps, curves = strong_gaps(ladder, budget, progress)
    attrs = {"long_name": "root-mean-square distance over the members"}
    arrays = [LabelledArray("rms_error", ("eta", "t"), np.stack(curves), attrs)]
    coords = [
        dataset.time_axis(ladder.method, ladder.times),
        LabelledArray("k", ("eta", "t"), np.stack(ladder.steps), {"long_name": "step number k"}),
    ]
    return _dataset(ladder, "strong", ["distance"], gaps, arrays, coords)


def _dataset(
    ladder: Ladder,
    error: str,
    names: list[str],
    gaps: list[Gap],
    arrays: list[LabelledArray],
    coords: list[LabelledArray],
    cut: str = "",
) -> xr.Dataset:
    found = columns(gaps)
    shown = list(TEXTS) if error == "weak" else list(TEXTS)[2:]
    over = ("eta", "observable")
    arrays = [
        *(LabelledArray(name, over, found[name], {"long_name": TEXTS[name]}) for name in shown),
        LabelledArray(
            "members", ("eta",), [g.members for g in gaps], {"long_name": "paths sampled (0: exact moments)"}
        ),
        *arrays,
    ]
    name, p = type(ladder.method).__name__, ladder.order
    limit = "its gradient flow" if p == 0 else f"its stochastic equation of order {p}"
    return label_ladder(
        ladder,
        LadderFindings(
            kind=f"{error} ladder",
            error=error,
            limit=limit,
            arrays=arrays,
            coords=coords,
            fits=_fits(ladder, error, found, cut),
            observables=names,
            interval="Monte-Carlo noise, unknown higher-order terms and solver error",
            used="the gap stands out of noise and solver error",
            title=f"{name} beside {limit}: {error} error as eta -> 0",
        ),
    )


def _fits(ladder: Ladder, error: str, found: dict[str, np.ndarray], cut: str) -> list[OrderFit]:
    """One order an observable; where it is not resolved and sampling was cut, that is said."""
    columns = zip(found["error"].T, found["solver_error"].T, found["standard_error"].T, strict=True)
    h, expected = ladder.time_steps, ladder.method.expected_order(ladder.order, error)
    fits = [fit_order(h, errors, floor, noise, expected=expected) for errors, floor, noise in columns]
    if not cut:
        return fits
    return [fit if fit.verdict == "resolved" else fit._replace(verdict=f"{fit.verdict}; {cut}") for fit in fits]
