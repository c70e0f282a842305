"""A deterministic recursion on a ladder of step sizes, beside its limit:  sup_t ||w_eta(t) - w(t)|| = O(h^{p+1})"""

import time
from typing import Any

import numpy as np

from flowdyn import _check, comparison
from flowdyn._tools.compiled import float64_is_on
from flowdyn._tools.progress import meter, part
from flowdyn.convergence.order_fit import RESOLVED, OrderFit, common_steps, fit_order
from flowdyn.methods.systems import DiscreteSystem
from flowdyn.results import dataset
from flowdyn.results.dataset import Piece
from flowdyn.results.recipes import describe, describe_solver
from flowdyn.running.integration import solve
from flowdyn.solvers.base import Solver
from flowdyn.solvers.exact import Exact
from flowdyn.solvers.scipy_ivp import MIN_RTOL, Scipy
from flowdyn.solvers.selection import pick_solver

NEGLIGIBLE = 0.005  # solver error over gap, below which the limit is solved well enough


def sup_ladder(
    method: DiscreteSystem,
    rungs: list,
    h: np.ndarray,
    w0: Any,
    t: float,
    order: int,
    seed: int,
    solver: Solver | None,
    saves: int,
    progress: Any,
) -> Any:
    """Dataset of the ladder."""
    began = time.monotonic()
    start = method.limit(order).ravel(w0)
    ks = common_steps(h, t, saves)
    finest = int(np.argmin(h))
    times = rungs[finest].clock(ks[finest])
    limits = [rung.limit(order) for rung in rungs] if order else [method.limit(order)]
    with meter(progress, "eta_limit") as report:
        share = 0.7 / len(rungs)
        runs = [_rung(r, start, times, part(report, i * share, (i + 1) * share)) for i, r in enumerate(rungs)]
        for chosen in _limit_solvers(limits[0], start, solver):
            solved = [solved_twice(limit, start, times, chosen) for limit in limits]
            pairs = [(run, *solved[min(i, len(solved) - 1)]) for i, run in enumerate(runs)]
            gaps = [comparison.error(run, limit).values for run, limit, _ in pairs]
            largest = np.array([gap.max() for gap in gaps])
            solver_error = np.array([error for *_, error in pairs])
            if (solver_error <= NEGLIGIBLE * largest).all():
                break
        report(1.0)
    rounding = np.array([_rounding(run, k) for run, k in zip(runs, ks, strict=True)])
    fit = fit_order(h, largest, solver_error + rounding)
    spec, arrays = describe(method)
    texts = {
        "sup_error": (largest, "largest distance between recursion and limit over t"),
        "solver_error": (solver_error, "change of the limit when it is solved to a tighter tolerance"),
        "rounding_error": (rounding, "estimate of the rounding of the recursion"),
    }
    parts = _curves(runs, [run for run, _ in solved], gaps)
    parts += _fitted(fit, float(method.expected_order(order)))
    parts += [Piece(name, ("eta",), values, {"long_name": text}) for name, (values, text) in texts.items()]
    parts += dataset.input_pieces(arrays)
    attrs = _attributes(method, order, chosen, fit, spec, seed)
    ds = dataset.build(parts, _axes(rungs, h, ks, times), method.coords, attrs)
    ds.attrs["wall_seconds"] = time.monotonic() - began
    return ds


def _rung(rung: DiscreteSystem, w0: np.ndarray, times: np.ndarray, report: Any) -> Any:
    try:
        return solve(rung, w0, times, progress=report)
    except _check.RunError as error:
        eta = rung.constant_eta("a ladder")
        raise _check.RunError(f"`etas` must be small enough for every rung, got eta = {eta:g}: {error}") from None


def _limit_solvers(limit: Any, w0: np.ndarray, solver: Solver | None) -> list[Solver]:
    """Solvers to try in turn until the limit's error is negligible beside the gap.

    A recursion resolves its flow with explicit steps, so an explicit method of high order is never the slower one. The
    tightest tolerance comes last: on a loss with kinks it costs a great many steps, and a wide gap does not need it.
    """
    if solver is not None:
        return [pick_solver(limit, np.asarray(limit.lift(w0)), solver)]
    if limit.closed_form():
        return [Exact()]
    return [Scipy("DOP853", rtol=rtol) for rtol in (1e-9, 1e-11, 10 * float(MIN_RTOL))]


def solved_twice(limit: Any, w0: np.ndarray, times: np.ndarray, solver: Solver) -> tuple[Any, float]:
    """The limit at `times`, and the change from a looser to a tighter tolerance: a bound on the latter's error."""
    run = solve(limit, w0, times, solver=solver, progress=False)
    tighter = solver.tighter()
    if tighter is None:
        return run, 0.0
    finer = solve(limit, w0, times, solver=tighter, progress=False)
    return finer, float(comparison.sup_error(run, finer))


def _rounding(run: Any, k: np.ndarray) -> float:
    """Rounding of k steps of a recursion: a random walk of half-ulps of the largest parameter."""
    names = run.attrs["flowdyn_parameters"].split()
    scale = max(float(abs(run[name]).max()) for name in names)
    return float(np.finfo(float).eps / 2 * scale * np.sqrt(max(int(k[-1]), 1)))


def _curves(runs: list, limits: list, gaps: list) -> list[Piece]:
    """Recursions and limits side by side over (eta, t), and the distance between them."""
    parts = []
    shared = [str(name) for name in runs[0].data_vars if runs[0][name].dims[:1] == ("t",)]
    for name in shared:
        dims, long_name = runs[0][name].dims, runs[0][name].attrs["long_name"]
        parts.append(
            Piece(name, ("eta", *dims), np.stack([run[name].values for run in runs]), {"long_name": long_name})
        )
        values = [run[name].values for run in limits if name in run]
        if values:
            lead, stacked = (("eta",), np.stack(values)) if len(values) > 1 else ((), values[0])
            parts.append(Piece(f"{name}_limit", (*lead, *dims), stacked, {"long_name": f"{long_name}, of the limit"}))
    parts.append(Piece("error", ("eta", "t"), np.stack(gaps), {"long_name": "distance between recursion and limit"}))
    parts.append(dataset.status_piece(["reached_end"] * len(runs), ("eta",)))
    return parts


def _fitted(fit: OrderFit, expected: float) -> list[Piece]:
    """The order, beside the one that theory expects."""
    text = "95 % interval of the fitted order: residuals, and the change on leaving out the coarsest rung"
    used = {"long_name": "1 where the error stands out of solver error and rounding, and is fitted"}
    return [
        Piece("order", (), fit.order, {"long_name": "fitted order in the time step"}),
        Piece("order_interval", ("bound",), np.array([fit.low, fit.high]), {"long_name": text}),
        Piece("order_expected", (), expected, {"long_name": "order that theory expects"}),
        Piece("used", ("eta",), fit.used.astype(np.int8), used),
    ]


def _axes(rungs: list, h: np.ndarray, ks: list, times: np.ndarray) -> list[Piece]:
    """Step sizes, with the time step of the clock; common times, with the step numbers."""
    return [
        dataset.axis("eta", [rung.constant_eta("a ladder") for rung in rungs]),
        dataset.axis("t", times),
        Piece("k", ("eta", "t"), np.stack(ks), {"long_name": "step number k"}),
        Piece("h", ("eta",), h, {"long_name": "time step of the clock"}),
    ]


def _attributes(method: Any, order: int, solver: Solver, fit: OrderFit, spec: Any, seed: int) -> dict[str, Any]:
    name = type(method).__name__
    return dataset.provenance(
        "ladder",
        f"{name} as eta -> 0, beside its limit of order {order}",
        f"{method.summary}, on a ladder of step sizes, beside its continuous limit of order {order}",
        method.references or method.limit(order).references or method.problem.citation or "none",
        flowdyn_system=spec,
        flowdyn_solver=describe_solver(solver),
        flowdyn_options={"order": order, "error": "sup", "resolved_above": RESOLVED},
        flowdyn_parameters=" ".join(v.name for v in method.problem.variables),
        limit_order=order,
        verdict=fit.verdict,
        seed=_check.integer("seed", seed, minimum=0),
        jax_enable_x64=int(float64_is_on()),
    )
