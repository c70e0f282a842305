"""A deterministic recursion on a ladder of step sizes, beside its limit:  sup_t ||w_eta(t) - w(t)|| = O(h^{p+1})"""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from flowdyn import _check, comparison
from flowdyn._tools.progress import Report, meter, part
from flowdyn.convergence.budget import Budget
from flowdyn.convergence.ladder import Ladder
from flowdyn.convergence.ladder_dataset import LadderFindings, label_ladder
from flowdyn.convergence.limits import NEGLIGIBLE, limit_solvers, solved_twice
from flowdyn.convergence.order_fit import fit_order
from flowdyn.results import dataset
from flowdyn.results.dataset import LabelledArray, flat_parameters
from flowdyn.results.recipes import describe_solver
from flowdyn.results.sealed_recipe import SEAL_OF_TIMES
from flowdyn.solvers.base import Solver

RUNS = 0.7  # share of the progress that the recursions take; the rest is the limit's


def sup_ladder(ladder: Ladder, solver: Solver | None, progress: Any) -> xr.Dataset:
    """Dataset of a deterministic ladder: every rung, its limit, their distance and the fitted order."""
    with meter(progress, "eta_limit") as report:
        runs = [_run_of_rung(ladder, i, report) for i in range(len(ladder.rungs))]
        found_limits = _solved_limits(ladder, runs, solver)
        report(1.0)
    limits, solver_error, gaps = found_limits.runs, found_limits.errors, found_limits.gaps
    largest = np.array([gap.max() for gap in gaps])
    walks, worst = np.transpose([_rounding(run, k) for run, k in zip(runs, ladder.steps, strict=True)])
    rounding = worst if (largest <= worst + solver_error).all() else walks  # nothing but that, at any step size
    expected = ladder.method.expected_order(ladder.order, "sup")
    fit = fit_order(ladder.time_steps, largest, solver_error + rounding, expected=expected)
    if found_limits.cut and fit.verdict != "resolved":
        fit = fit._replace(verdict=f"{fit.verdict}; {found_limits.cut}")
    over_eta = {
        "sup_error": (largest, "largest distance between recursion and limit over t"),
        "solver_error": (solver_error, "change of the limit when it is solved to a tighter tolerance"),
        "rounding_error": (rounding, "estimate of the rounding of the recursion"),
    }
    arrays = [
        *_curves(runs, limits[:1] if ladder.has_one_limit else limits),
        LabelledArray("error", ("eta", "t"), np.stack(gaps), {"long_name": "distance between recursion and limit"}),
        *(LabelledArray(name, ("eta",), values, {"long_name": text}) for name, (values, text) in over_eta.items()),
    ]
    coords = [
        dataset.time_axis(ladder.method, ladder.times),
        LabelledArray("k", ("eta", "t"), np.stack(ladder.steps), {"long_name": "step number k"}),
    ]
    limit = f"limit of order {ladder.order}"
    found = LadderFindings(
        kind="ladder",
        error="sup",
        limit=f"its continuous {limit}",
        arrays=arrays,
        coords=coords,
        fits=[fit],
        observables=None,
        interval="unknown higher-order terms, solver error and rounding",
        used="the error stands out of solver error and rounding",
        title=f"{type(ladder.method).__name__} as eta -> 0, beside its {limit}",
        solver=describe_solver(found_limits.solver),
    )
    return label_ladder(ladder, found)


def _run_of_rung(ladder: Ladder, index: int, report: Report) -> xr.Dataset:
    """The recursion at one step size."""
    rung, share = ladder.rungs[index], RUNS / len(ladder.rungs)
    own = part(report, index * share, (index + 1) * share)
    try:
        return ladder.budget.solve(rung, ladder.start, ladder.times, progress=own)
    except _check.RunError as error:
        eta = rung.constant_eta("a ladder")
        if isinstance(error, _check.BudgetError):
            raise _check.BudgetError(
                f"the rung eta = {eta:g} is beyond the budget: {error}; use larger `etas`, a shorter `t`, or raise it"
            ) from None
        if isinstance(error, _check.DivergenceError):
            raise type(error)(f"`etas` must be small enough for every rung, got eta = {eta:g}: {error}") from None
        raise _check.RunError(f"the rung eta = {eta:g} could not be run: {error}") from None


class _Limits(NamedTuple):
    """The limit of each rung, as well as it was solved."""

    runs: list[xr.Dataset]
    errors: np.ndarray  # (m,), of the solver
    gaps: list[np.ndarray]  # (m,) arrays over t
    solver: Solver
    cut: str = ""  # why it was not solved better, where a budget ended that

    @property
    def are_negligible(self) -> bool:
        """Whether solver error is negligible beside the gaps."""
        return bool((self.errors <= NEGLIGIBLE * np.array([gap.max() for gap in self.gaps])).all())


def _solved_limits(ladder: Ladder, runs: list[xr.Dataset], solver: Solver | None) -> _Limits:
    """Limits by the first solver whose error is negligible, or by the last that the budget allows."""
    budget = ladder.limit_budget if solver is None else ladder.budget  # a user's solver knows its steps
    found: _Limits | None = None
    for chosen in limit_solvers(ladder.limits[0], ladder.start, float(ladder.times[-1]), solver):
        try:
            found = _limits_by(chosen, ladder, runs, budget)
        except _check.BudgetError as spent:
            if found is None:
                raise
            return found._replace(cut=f"its limit is not solved any better: {spent}")
        if found.are_negligible:
            break
    assert found is not None
    return found


def _limits_by(solver: Solver, ladder: Ladder, runs: list[xr.Dataset], budget: Budget) -> _Limits:
    distinct = ladder.limits[:1] if ladder.has_one_limit else ladder.limits
    solved = [solved_twice(limit, ladder.start, ladder.times, solver, budget) for limit in distinct]
    solved *= len(runs) // len(solved)
    limits, errors = [limit for limit, _ in solved], np.array([error for _, error in solved])
    gaps = [comparison.error(run, limit).values for run, limit in zip(runs, limits, strict=True)]
    return _Limits(limits, errors, gaps, solver)


def _rounding(run: xr.Dataset, k: np.ndarray) -> tuple[float, float]:
    """Rounding of k steps of a recursion: a random walk of half-ulps of the largest parameter, and all of one sign."""
    half = float(np.finfo(float).eps / 2 * np.abs(flat_parameters(run)).max())
    count = max(int(k[-1]), 1)
    return half * np.sqrt(count), half * count


def _curves(runs: list[xr.Dataset], limits: list[xr.Dataset]) -> list[LabelledArray]:
    """Recursions and limits side by side over (eta, t)."""
    arrays = []
    names = map(str, runs[0].drop_vars(SEAL_OF_TIMES).data_vars)
    shared = [name for name in names if runs[0][name].dims[:1] == ("t",)]
    for name in shared:
        dims, long_name = runs[0][name].dims, runs[0][name].attrs["long_name"]
        values = np.stack([run[name].values for run in runs])
        arrays.append(LabelledArray(name, ("eta", *map(str, dims)), values, {"long_name": long_name}))
        solved = [limit[name].values for limit in limits if name in limit]
        if solved:
            lead, stacked = (("eta",), np.stack(solved)) if len(solved) > 1 else ((), solved[0])
            text = {"long_name": f"{long_name}, of the limit"}
            arrays.append(LabelledArray(f"{name}_limit", (*lead, *map(str, dims)), stacked, text))
    return arrays
