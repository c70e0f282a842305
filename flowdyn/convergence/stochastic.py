"""The Dataset of a random recursion on a ladder of step sizes, beside its limit; see :mod:`weak`."""

import time
import warnings
from typing import Any

import numpy as np

from flowdyn._check import FlowdynWarning
from flowdyn._tools.compiled import float64_is_on
from flowdyn._tools.progress import meter, part
from flowdyn.convergence.order_fit import RESOLVED, OrderFit, common_steps, fit_order
from flowdyn.convergence.weak import ALLOWED, Gap, WeakLadder, scalar_observables, strong_gaps
from flowdyn.methods.stochastic_base import RandomRecursion
from flowdyn.results import dataset
from flowdyn.results.dataset import Piece
from flowdyn.results.recipes import describe
from flowdyn.running.integration import checked_seed

TEXTS = {
    "mean": "mean of the observable along the recursion, at the end",
    "mean_limit": "mean of the observable along the limit, at the end",
    "error": "gap between recursion and limit",
    "standard_error": "Monte-Carlo standard error of the gap",
    "solver_error": "error of the limit's own means, by extrapolation or rounding",
}


def random_ladder(
    method: RandomRecursion,
    rungs: list,
    h: np.ndarray,
    w0: Any,
    t: float,
    order: int,
    kind: str,
    observable: Any,
    budget: int | None,
    resolution: float,
    seed: int,
    saves: int,
    progress: Any,
) -> Any:
    """Weak or strong ladder."""
    began = time.monotonic()
    checked_seed(seed)
    limits = [rung.limit(order) for rung in rungs]
    start = method.ravel(w0)
    doubt = rungs[int(np.argmax(h))].warn_before(start)
    if doubt:
        warnings.warn(doubt, FlowdynWarning, stacklevel=3)
    ks = common_steps(h, t, 2 if kind == "weak" else saves)
    finest = int(np.argmin(h))
    times = rungs[finest].clock(ks[finest])
    curves: list[np.ndarray] = []
    if kind == "weak":
        functions = scalar_observables(method, observable)
        names = list(functions)
        ladder = WeakLadder(
            method.problem,  # type: ignore[attr-defined]
            list(functions.values()),
            start,
            seed,
            budget,
            resolution,
        )
        gaps = []
        with meter(progress, "eta_limit") as report:
            for i, (rung, limit, k) in enumerate(zip(rungs, limits, ks, strict=True)):
                share = part(report, i / len(rungs), (i + 1) / len(rungs))
                gaps.append(ladder.gap(rung, limit, int(k[-1]), float(times[-1]), share))
                share(1.0)
    else:
        names = ["distance"]
        gaps, curves = strong_gaps(rungs, limits, start, times, seed, budget)
    columns = {name: np.stack([getattr(gap, name) for gap in gaps]) for name in Gap._fields[:-1]}
    errors, noise, floor = columns["error"], columns["standard_error"], columns["solver_error"]
    scale = ALLOWED * RESOLVED if any(gap.members for gap in gaps) else 1.0
    fits = [fit_order(h, errors[:, j], scale * floor[:, j], noise[:, j], resolution) for j in range(len(names))]
    ds = _dataset(method, rungs, h, ks, times, order, kind, names, columns, gaps, curves, fits, resolution, seed)
    ds.attrs["wall_seconds"] = time.monotonic() - began
    return ds


def _dataset(
    method: Any,
    rungs: list,
    h: np.ndarray,
    ks: list,
    times: np.ndarray,
    order: int,
    kind: str,
    names: list[str],
    columns: dict[str, np.ndarray],
    gaps: list[Gap],
    curves: list[np.ndarray],
    fits: list[OrderFit],
    resolution: float,
    seed: int,
) -> Any:
    both = ("eta", "observable")
    renamed = {"mean": "mean", "limit": "mean_limit", "error": "error"} if kind == "weak" else {"error": "error"}
    renamed |= {"standard_error": "standard_error", "solver_error": "solver_error"}
    parts = [Piece(new, both, columns[old], {"long_name": TEXTS[new]}) for old, new in renamed.items()]
    text = "95 % interval of the fitted order: Monte-Carlo noise, residuals, and the change without the coarsest rung"
    parts += [
        Piece("order", ("observable",), [fit.order for fit in fits], {"long_name": "fitted order in the time step"}),
        Piece("order_interval", ("observable", "bound"), [[f.low, f.high] for f in fits], {"long_name": text}),
        Piece("order_expected", (), method.expected_order(order, kind), {"long_name": "order that theory expects"}),
        Piece(
            "used",
            both,
            np.stack([fit.used for fit in fits], axis=1).astype(np.int8),
            {"long_name": "1 where the gap stands out of noise and solver error, and is fitted"},
        ),
        Piece("members", ("eta",), [gap.members for gap in gaps], {"long_name": "paths sampled (0: exact moments)"}),
        dataset.status_piece(["reached_end"] * len(rungs), ("eta",)),
    ]
    coords = [
        dataset.axis("eta", [rung.constant_eta("a ladder") for rung in rungs]),
        dataset.axis("observable", np.array(names)),
        Piece("h", ("eta",), h, {"long_name": "time step of the clock"}),
    ]
    if kind == "strong":
        attrs = {"long_name": "root-mean-square distance over the members"}
        parts.append(Piece("rms_error", ("eta", "t"), np.stack(curves), attrs))
        coords += [dataset.axis("t", times), Piece("k", ("eta", "t"), np.stack(ks), {"long_name": "step number k"})]
    else:
        coords += [
            Piece("t", (), float(times[-1]), {"long_name": "training time of the comparison"}),
            Piece("k", ("eta",), [int(k[-1]) for k in ks], {"long_name": "step number k"}),
        ]
    verdicts = [fit.verdict for fit in fits]
    spec, arrays = describe(method)
    parts += dataset.input_pieces(arrays)
    name = type(method).__name__
    limit = "its gradient flow" if order == 0 else f"its stochastic equation of order {order}"
    attrs = dataset.provenance(
        f"{kind} ladder",
        f"{name} beside {limit}: {kind} error as eta -> 0",
        f"{method.summary}, on a ladder of step sizes, beside {limit}",
        method.references or method.problem.citation or "none",
        flowdyn_system=spec,
        flowdyn_options={"order": order, "error": kind, "resolution": resolution},
        flowdyn_parameters=" ".join(v.name for v in method.problem.variables),
        limit_order=order,
        verdict=verdicts[0]
        if len(set(verdicts)) == 1
        else "; ".join(map(": ".join, zip(names, verdicts, strict=True))),
        seed=seed,
        jax_enable_x64=int(float64_is_on()),
    )
    return dataset.build(parts, coords, method.coords, attrs)
