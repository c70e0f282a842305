"""``flowdyn sweep``: one method on a table, over a grid of alpha, eta, seed and batch size."""

import argparse
import dataclasses
import functools
from typing import Any

from flowdyn import _check
from flowdyn.cli.inputs import method_class, method_of, problem_of
from flowdyn.cli.printing import Output
from flowdyn.cli.writing import check_place

GRID = {"alphas": "alpha", "etas": "eta", "seeds": "seed", "batch_sizes": "batch_size"}  # option -> name in the grid
OF_PROBLEM = ("data", "problem", "target", "standardize", "center", "intercept", "index", "seed")
SHOWN = 20  # cells that are printed


@dataclasses.dataclass(frozen=True)
class MethodOnTable:
    """What is run at a point of the grid; another process can be given it."""

    options: argparse.Namespace
    t: float | None

    def __call__(self, **point: Any) -> tuple[Any, Any, dict[str, Any]]:
        """A run as the shell's options say, with the numbers of a point in their place."""
        here = argparse.Namespace(**vars(self.options) | point)
        problem, w0 = _problem(self.options)
        if here.alpha is not None:
            w0 = _start(problem, here.alpha)
        system = method_of(here, method_class(here), problem, w0=w0)
        if "seed" in point and not system.is_random:
            raise _check.fail("--seeds", f"is not an option of {type(system).__name__}, which has no noise", here.seed)
        more: dict[str, Any] = {"steps": here.steps} if here.steps is not None else {"t": self.t}
        if system.is_random:
            more |= {"seed": _check.seed(here.seed), "realizations": here.realizations}
        return system, w0, more | {"saves": here.saves}


def _problem(options: argparse.Namespace) -> tuple[Any, Any]:
    return _loaded(*(getattr(options, name) for name in OF_PROBLEM))


@functools.lru_cache(maxsize=2)
def _loaded(*values: Any) -> tuple[Any, Any]:
    """The problem of a table, read once a process."""
    return problem_of(argparse.Namespace(**dict(zip(OF_PROBLEM, values, strict=True)), alpha=None))


def _start(problem: Any, alpha: float) -> Any:
    import inspect

    if "alpha" not in inspect.signature(problem.init).parameters:
        raise _check.fail("alpha", f"is not an option of {type(problem).__name__}, which starts at 0", alpha)
    return problem.init(alpha)


def sweep(options: argparse.Namespace, output: Output) -> int:
    """Run the grid, print where its cells end, and write what is asked for; status 1 if a cell failed."""
    import flowdyn as fd
    from flowdyn.convergence.default_scales import default_time

    grid = {name: getattr(options, option) for option, name in GRID.items() if getattr(options, option) is not None}
    if not grid:
        names = ", ".join("--" + option.replace("_", "-") for option in GRID)
        raise _check.ArgumentError(f"a sweep must have one of {names}; e.g. --etas 0.1,0.05")
    for option, name in GRID.items():
        if name in grid and name != "seed" and getattr(options, name) is not None:  # a seed makes the problem too
            single, many = (word.replace("_", "-") for word in (name, option))
            raise _check.fail(f"--{many}", f"excludes --{single}", getattr(options, name), "give one of both")
    if options.t is not None and options.steps is not None:
        raise _check.fail("--steps", "excludes --t", options.steps)
    if options.out is not None:
        check_place("--out", options.out, ".nc", options.overwrite)
    t = options.t if options.t is None else _check.real("--t", options.t, positive=True)
    if t is None and options.steps is None:
        problem, w0 = _problem(options)
        t = default_time(problem, w0)
        if (longest := max(options.etas or [options.eta or 0.0])) > t:
            rule = f"must be given where a step is longer than its default, 20 / lambda_max at the start, {t:.3g}"
            raise _check.fail("--t", rule, longest)
    make = MethodOnTable(options, t)
    first = {name: values[0] for name, values in grid.items()}
    for name, values in grid.items():  # what is wrong for certain is told before anything runs
        for value in values:
            make(**first | {name: value})
    result = fd.sweep(make, grid, options.store, workers=options.workers, progress=output.progress)
    _tell(result, list(grid), output)
    if options.out:
        fd.save(result, options.out, overwrite=options.overwrite)
        output.wrote(options.out)
    lost = int((result.failure != "").sum())
    output.note(failed=lost)
    return int(lost > 0)


def _tell(result: Any, names: list[str], output: Output) -> None:
    """A line a cell: its numbers, and the last loss."""
    import numpy as np

    row = "t" if "t" in result.loss.dims else "save"
    spread = "realization" in result.loss.dims
    loss = (result.loss.mean("realization") if spread else result.loss).transpose(*names, row).values
    last = np.isfinite(loss).cumsum(axis=-1).argmax(axis=-1)  # where a cell has its last number
    ends = np.take_along_axis(loss, last[..., None], axis=-1)[..., 0]
    heads = [*names, "mean loss" if spread else "loss"]
    grid = {name: result[name].values for name in names}
    output.say(result.attrs["title"], title=result.attrs["title"], grid=grid, loss=ends)
    output.say(" ".join(f"{head:>12}" for head in heads))
    for shown, place in enumerate(np.ndindex(*ends.shape)):
        if shown == SHOWN:
            output.say(f"... and {ends.size - SHOWN} more")
            break
        point = [float(values[i]) for values, i in zip(grid.values(), place, strict=True)]
        output.say(" ".join(f"{number:12.6g}" for number in [*point, float(ends[place])]))
    risen = int((ends > loss[..., 0]).sum())
    if risen:
        output.say(f"{risen} of {ends.size} cells end above the loss that they began with")
    output.note(risen=risen)
