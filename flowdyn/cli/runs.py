"""The commands that run something new: eta-limit, solve."""

import argparse
import math
import warnings
from typing import Any

from flowdyn import _check
from flowdyn.cli.inputs import (
    method_class,
    method_of,
    observables_of,
    problem_of,
    solver_of,
    stop_rules,
)
from flowdyn.cli.parser import QUICK_RELATIVE_ERROR
from flowdyn.cli.printing import Output
from flowdyn.cli.writing import check_outputs, write

RANDOM_STEPS = 20  # of the largest step size, where a random ladder is given no time


def eta_limit(options: argparse.Namespace, output: Output) -> int:
    """Run a ladder, print its table, write it."""
    import flowdyn as fd
    from flowdyn.solvers.selection import accurate_solver

    check_outputs(options)
    problem, w0 = problem_of(options)
    if options.t is not None and options.steps is not None:
        raise _check.fail("--steps", "excludes --t", options.steps)
    cls = method_class(options)
    if options.observe and not cls.is_random:
        raise _check.fail(
            "--observe", "is for random methods, whose means are compared", options.observe, "leave it out"
        )
    t, etas = _ladder_scales(options, cls.is_random, problem, w0)
    method = method_of(options, cls, problem, w0=w0, eta=max(etas), order=options.order)
    more = {"order": options.order, "error": options.error, "realizations": options.realizations, "seed": options.seed}
    if options.resolution is not None:
        warnings.warn("--resolution is now called --relative-error", _check.FlowdynWarning, stacklevel=2)
        options.relative_error = options.resolution
    if cls.is_random and options.relative_error is None:
        options.relative_error = QUICK_RELATIVE_ERROR
    more |= {"relative_error": options.relative_error, "max_steps": options.max_steps}
    more["observable"] = observables_of(options.observe, problem, w0, max(etas))
    if options.solver is not None or options.rtol is not None:
        limit = method.limit(options.order or 0)
        more["solver"] = solver_of(options, limit, w0, lambda state0: accurate_solver(limit, state0, options.rtol))
    ladder = fd.eta_limit(method, w0, t, etas, max_seconds=options.max_seconds, progress=output.progress, **more)
    title = f"{ladder.attrs['title']} ({type(problem).__name__}, up to t = {float(ladder.t.max()):g})"
    output.say(title, title=ladder.attrs["title"], t=float(ladder.t.max()))
    _tell_ladder(ladder, output)
    write(ladder, options, output)
    return 0


def _ladder_scales(options: argparse.Namespace, random: bool, problem: Any, w0: Any) -> tuple[float, list[float]]:
    """Time and step sizes, as asked for or by the scales of the problem."""
    import numpy as np

    from flowdyn.convergence.default_scales import default_time, stable_eta
    from flowdyn.convergence.ladder import RANDOM_RUNGS, RUNGS

    t = options.t if options.steps is None and options.t is not None else default_time(problem, w0)
    etas = options.etas
    if etas is None:
        largest = stable_eta(problem, w0, _check.real("--t", t, positive=True))
        if random:  # one sample's curvature is up to n times that of the mean
            largest *= min(1.0, 3 * ((options.batch_size or 1) / (problem.sample_count or 1)) ** 0.5)
        etas = (largest / 2.0 ** np.arange(RANDOM_RUNGS if random else RUNGS)).tolist()
    if random and options.t is None:
        t = RANDOM_STEPS * max(etas)  # sampled means are dear
    if options.steps is not None:
        t = _check.integer("--steps", options.steps, minimum=1) * max(etas)
    return t, etas


def _tell_ladder(ladder: Any, output: Output) -> None:
    """The table of a ladder and its fitted order, or one for each of several observables."""
    if "observable" not in ladder.dims:
        output.note(verdict=ladder.attrs["verdict"], **_tell_order(ladder, output))
        return
    names, found = [str(name) for name in ladder.observable.values], {}
    for i, name in enumerate(names):
        if len(names) > 1:
            output.say(f"{name}:")
        found[name] = _tell_order(ladder.isel(observable=i), output)
    output.note(verdict=ladder.attrs["verdict"], **found[names[0]])
    if len(names) > 1:
        output.note(observables=found)


def _tell_order(ladder: Any, output: Output) -> dict[str, Any]:
    weak = "standard_error" in ladder
    what = f"{ladder.attrs['flowdyn_kind'].split()[0]} error" if weak else "sup error"
    output.say(f"{'eta':>12} {'steps':>9} {what:>12}" + (f" {'std. error':>12}" if weak else ""))
    rungs = []
    for i in range(ladder.sizes["eta"]):
        row = ladder.isel(eta=i)
        rung = {"eta": float(row.eta), "steps": int(row.k.max())}
        rung["error"] = float(row.error) if weak else float(row.sup_error)
        if weak:
            rung["standard_error"] = float(row.standard_error)
        rungs.append(rung)
        numbers = " ".join(f"{value:12.4e}" for value in list(rung.values())[2:])
        output.say(f"{rung['eta']:12.6g} {rung['steps']:9d} {numbers}")
    low, high = map(float, ladder.order_interval.values)
    order, expected = float(ladder.order), float(ladder.order_expected)
    output.say(f"order {order:.4f}, 95 % interval [{low:.4f}, {high:.4f}], expected {expected:g}")
    return {"order": order, "order_interval": [low, high], "order_expected": expected, "rungs": rungs}


def solve(options: argparse.Namespace, output: Output) -> int:
    """Run one system, print where it ended, write it."""
    import flowdyn as fd
    from flowdyn.solvers.selection import pick_solver

    check_outputs(options)
    stop = stop_rules(options.stop)
    problem, w0 = problem_of(options)
    system = method_of(options, method_class(options), problem, w0=w0)
    more = {
        "saves": options.saves,
        "seed": options.seed,
        "realizations": options.realizations,
        "on_divergence": options.on_divergence or "raise",
        "max_steps": options.max_steps,
        "max_seconds": options.max_seconds,
        "observe": observables_of(options.observe, problem, w0, options.eta),
        "solver": solver_of(options, system, w0, lambda state0: pick_solver(system, state0, None)),
    }
    t = _end(options, stop is not None, problem, w0)
    run = fd.solve(system, w0, t, steps=options.steps, stop=stop, progress=output.progress, **more)
    tell_end(run, output)
    write(run, options, output)
    return 0


def _end(options: argparse.Namespace, has_rules: bool, problem: Any, w0: Any) -> float | None:
    """End of a run; rules to stop by may be the only one."""
    from flowdyn.convergence.default_scales import default_time

    if options.t is None:
        if options.steps is not None:
            return None
        return float("inf") if has_rules else default_time(problem, w0)
    is_open = has_rules and options.t == float("inf")
    return options.t if is_open else _check.real("--t", options.t, positive=True)


def tell_end(run: Any, output: Output) -> None:
    """Where a run ended, and whether above where it began: the means of its members, where it has some."""
    from flowdyn.solvers.base import STATUSES

    values = _means(run.isel(t=-1))
    first = _means(run.isel(t=0)).get("loss", math.nan)
    codes, counts = _counted(run.status.values)
    status = {STATUSES[code]: count for code, count in zip(codes, counts, strict=True)}
    text = f"{run.attrs['title']}: t = {float(run.t[-1]):g}" + "".join(
        f", {name} = {value:{'.6g' if name == 'loss' else '.3g'}}"
        + (f" (up from {first:.6g})" if name == "loss" and value > first else "")
        for name, value in values.items()
    )
    data = {"title": run.attrs["title"], "t": float(run.t[-1]), **values, "loss_at_start": first, "status": status}
    output.say(text if set(status) == {"reached_end"} else f"{text} ({', '.join(status)})", **data)


def _means(row: Any) -> dict[str, float]:
    return {name: float(row[name].mean()) for name in ("loss", "grad_norm") if name in row}


def _counted(codes: Any) -> tuple[list[int], list[int]]:
    import numpy as np

    found, counts = np.unique(np.asarray(codes).ravel(), return_counts=True)
    return found.tolist(), counts.tolist()
