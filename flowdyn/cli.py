"""The ``flowdyn`` command: eta-limit, solve, info, plot. Exit status 0; 1 if a run fails; 2 for wrong usage.

Nothing heavy is imported before a command runs, so that ``flowdyn --help`` answers at once.
"""

import argparse
import os
import sys
import warnings
from typing import Any

from flowdyn import _check

PROGRAM = "flowdyn"


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers separated by commas, got {text!r}") from None


def parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    top = argparse.ArgumentParser(
        PROGRAM, description="Training dynamics and their limits as the step size goes to zero."
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    ladder = commands.add_parser("eta-limit", help="run gradient descent at several eta beside its flow, fit the order")
    _add_problem(ladder)
    ladder.add_argument("--etas", type=_numbers, help="step sizes, e.g. 0.04,0.02,0.01 (default: six halvings)")
    ladder.add_argument(
        "--order", type=int, default=0, help="order of the limit: 0 the flow, p its modified flow (default 0)"
    )
    ladder.add_argument("--steps", type=int, help="steps of the largest eta, in place of --t")
    _add_output(ladder)
    ladder.set_defaults(run=_eta_limit)

    single = commands.add_parser("solve", help="run one method or flow")
    _add_problem(single)
    single.add_argument(
        "--method", default="GradientFlow", help="GradientFlow (default), GradientDescent, ModifiedFlow"
    )
    single.add_argument("--eta", type=float, help="step size of GradientDescent and ModifiedFlow")
    single.add_argument("--order", type=int, default=1, help="order of ModifiedFlow (default 1)")
    single.add_argument("--steps", type=int, help="steps of GradientDescent, in place of --t")
    single.add_argument("--saves", type=int, default=101, help="times kept (default 101)")
    _add_output(single)
    single.set_defaults(run=_solve)

    info = commands.add_parser("info", help="say what a file holds and how it was made")
    info.add_argument("file", metavar="FILE")
    info.set_defaults(run=_info)

    picture = commands.add_parser("plot", help="draw a file")
    picture.add_argument("file", metavar="FILE")
    picture.add_argument("-o", "--figure", required=True, metavar="FIG", help="picture to write (.png, .pdf, .svg)")
    picture.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    picture.set_defaults(run=_plot)
    return top


def _add_problem(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "data", nargs="?", metavar="DATA", help=".csv or .nc table (default: an embedded sparse problem)"
    )
    command.add_argument(
        "--problem", help="LinearRegression (default with DATA), SquaredRegression, DiagonalNetwork, ..."
    )
    command.add_argument("--target", metavar="COLUMN", help="column of DATA to predict")
    command.add_argument("--standardize", action="store_true", help="give every column mean 0 and standard deviation 1")
    command.add_argument(
        "--alpha", type=float, help="scale of the initialisation, where the problem has one (default 0.1)"
    )
    command.add_argument("--t", type=float, help="training time (default: 20 over the largest curvature at the start)")
    command.add_argument("--seed", type=int, default=0, help="seed of the embedded problem (default 0)")


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", metavar="FILE", help="NetCDF file to write")
    command.add_argument("--figure", metavar="FIG", help="picture to write (.png, .pdf, .svg)")
    command.add_argument("--overwrite", action="store_true", help="replace existing files")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    top = parser()
    options = top.parse_args(arguments)
    if options.version:
        import flowdyn

        print(f"{PROGRAM} {flowdyn.__version__}")
        return 0
    if options.command is None:
        top.print_usage(sys.stderr)
        print(f"{PROGRAM}: error: a command is needed; see {PROGRAM} --help", file=sys.stderr)
        return 2
    warnings.showwarning = _one_line_warning
    try:
        options.run(options)
    except _check.ArgumentError as error:
        return _complain(error, 2)
    except _check.FlowdynError as error:
        return _complain(error, 1)
    except MemoryError:
        return _complain("out of memory; use fewer saves or less data", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    return 0


def _complain(error: Any, status: int) -> int:
    text = _printable(" ".join(str(error).split()))
    print(f"{PROGRAM}: error: {text}", file=sys.stderr)
    return status


def _one_line_warning(message: Any, category: Any, *_: Any, **__: Any) -> None:
    if issubclass(category, _check.FlowdynWarning):
        print(f"{PROGRAM}: warning: {message}", file=sys.stderr)


def _printable(text: str) -> str:
    """Without control characters: a file's attributes must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _problem(options: argparse.Namespace) -> tuple[Any, Any]:
    """The problem and its start."""
    import inspect

    from flowdyn import examples, problems
    from flowdyn.problems.regression import TableProblem
    from flowdyn.registry import look_up

    if options.data is None:
        for name in ("problem", "target", "standardize"):
            if getattr(options, name):
                raise _check.fail(f"--{name}", "needs DATA", getattr(options, name), "give a .csv or .nc file first")
        problem = examples.sparse_network(_check.integer("--seed", options.seed, minimum=0))
    else:
        cls = look_up("--problem", options.problem or "LinearRegression", problems.__name__, problems.REGISTRY)
        if not issubclass(cls, TableProblem):
            raise _check.fail("--problem", "must be one that a table of X and y defines", options.problem)
        problem = cls.from_file(options.data, target=options.target, standardize=options.standardize)
    if "alpha" in inspect.signature(problem.init).parameters:
        return problem, problem.init(0.1 if options.alpha is None else options.alpha)
    if options.alpha is not None:
        raise _check.fail("--alpha", f"is not an option of {type(problem).__name__}, which starts at 0", options.alpha)
    return problem, problem.init()


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written before anything is computed."""
    from flowdyn.storage import writable

    if options.out:
        writable(options.out, ".nc", options.overwrite)
    if options.figure:
        writable(options.figure, None, options.overwrite)


def _write(ds: Any, options: argparse.Namespace) -> None:
    import flowdyn as fd

    if options.out:
        fd.save(ds, options.out, overwrite=options.overwrite)
        print(f"wrote {options.out}")
    if options.figure:
        _draw(ds, options.figure, options.overwrite)


def _draw(ds: Any, path: str, overwrite: bool) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from flowdyn.plotting import plot, save_figure

    save_figure(plot(ds), path, overwrite)
    print(f"wrote {path}")


def _eta_limit(options: argparse.Namespace) -> None:
    import numpy as np

    import flowdyn as fd
    from flowdyn.convergence import RUNGS
    from flowdyn.pilot import default_time, stable_eta

    _check_outputs(options)
    problem, w0 = _problem(options)
    if options.t is not None and options.steps is not None:
        raise _check.fail("--steps", "excludes --t", options.steps)
    t = options.t if options.steps is None and options.t is not None else default_time(problem, w0)
    etas = options.etas
    if etas is None:
        etas = (stable_eta(problem, w0, _check.real("--t", t, positive=True)) / 2.0 ** np.arange(RUNGS)).tolist()
    if options.steps is not None:
        t = _check.integer("--steps", options.steps, minimum=1) * max(etas)
    method = fd.GradientDescent(problem, eta=max(etas))
    ladder = fd.eta_limit(method, w0, t, etas, order=options.order, seed=options.seed)
    print(f"{ladder.attrs['title']} ({type(problem).__name__}, up to t = {float(ladder.t[-1]):g})")
    print(f"{'eta':>12} {'steps':>9} {'sup error':>12}")
    for i in range(ladder.sizes["eta"]):
        row = ladder.isel(eta=i)
        print(f"{float(row.eta):12.6g} {int(row.k[-1]):9d} {float(row.sup_error):12.4e}")
    low, high = ladder.order_interval.values
    print(
        f"order {float(ladder.order):.4f}, 95 % interval [{low:.4f}, {high:.4f}], "
        f"expected {float(ladder.order_expected):g}"
    )
    if ladder.attrs["verdict"] != "resolved":
        print(ladder.attrs["verdict"])
    _write(ladder, options)


def _solve(options: argparse.Namespace) -> None:
    import flowdyn as fd
    from flowdyn import methods
    from flowdyn.pilot import default_time
    from flowdyn.registry import look_up

    _check_outputs(options)
    cls = look_up("--method", options.method, methods.__name__, methods.REGISTRY)
    problem, w0 = _problem(options)
    arguments = {"GradientFlow": [], "GradientDescent": ["eta"], "ModifiedFlow": ["eta", "order"]}.get(options.method)
    if arguments is None:
        raise _check.fail("--method", "must be GradientFlow, GradientDescent or ModifiedFlow here", options.method)
    if "eta" in arguments and options.eta is None:
        raise _check.fail("--eta", f"must be given for {options.method}", None)
    if "eta" not in arguments and options.eta is not None:
        raise _check.fail("--eta", f"is not an option of {options.method}", options.eta)
    system = cls(problem, **{name: getattr(options, name) for name in arguments})
    t = options.t if options.t is not None or options.steps is not None else default_time(problem, w0)
    run = fd.solve(system, w0, t, steps=options.steps, saves=options.saves, seed=options.seed)
    end, loss, norm = (float(values[-1]) for values in (run.t, run.loss, run.grad_norm))
    print(f"{run.attrs['title']}: t = {end:g}, loss = {loss:.6g}, grad_norm = {norm:.3g}")
    _write(run, options)


def _info(options: argparse.Namespace) -> None:
    import flowdyn as fd

    with fd.load(options.file) as ds:
        lines = [f"{key}: {value}" for key, value in ds.attrs.items()]
        lines.append("dimensions: " + ", ".join(f"{dim} = {size}" for dim, size in ds.sizes.items()))
        for name, variable in ds.variables.items():
            lines.append(f"  {name}({', '.join(map(str, variable.dims))}): {variable.attrs.get('long_name', '')}")
    print(_printable("\n".join(lines)))


def _plot(options: argparse.Namespace) -> None:
    import flowdyn as fd
    from flowdyn.storage import writable

    writable(options.figure, None, options.overwrite)
    with fd.load(options.file) as ds:
        _draw(ds, options.figure, options.overwrite)


if __name__ == "__main__":
    sys.exit(main())
