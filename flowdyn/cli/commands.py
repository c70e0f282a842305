"""The ``flowdyn`` command: eta-limit, solve, info, plot, report. Exit status 0; 1 if a run fails; 2 for wrong usage.

Nothing heavy is imported before a command runs, so that ``flowdyn --help`` answers at once.
"""

import argparse
import os
import sys
import warnings
from typing import Any

from flowdyn import _check
from flowdyn.cli.inputs import in_shell_terms, method_class, method_of, problem_of
from flowdyn.cli.parser import PROGRAM, QUICK_RELATIVE_ERROR, build_parser
from flowdyn.cli.program_cache import keep_programs

RANDOM_STEPS = 20  # of the largest step size, where a random ladder is given no time


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    top = build_parser()
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
    # given arguments, it is called from Python: the process is not the shell's
    if arguments is None and not getattr(options, "no_cache", True):
        keep_programs()
    try:
        COMMANDS[options.command](options)
    except _check.ArgumentError as error:
        return _complain(in_shell_terms(str(error), options), 2)
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


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written before anything is computed."""
    from flowdyn._tools.files import writable

    if options.out:
        writable(options.out, ".nc", options.overwrite)
    if options.figure:
        from flowdyn.plotting.figures import check_suffix

        writable(options.figure, None, options.overwrite)
        check_suffix(options.figure)


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
    from flowdyn.plotting.figures import plot, save_figure

    save_figure(plot(ds), path, overwrite)
    print(f"wrote {path}")


def _eta_limit(options: argparse.Namespace) -> None:
    import numpy as np

    import flowdyn as fd
    from flowdyn.convergence.default_scales import default_time, stable_eta
    from flowdyn.convergence.ladder import RANDOM_RUNGS, RUNGS

    _check_outputs(options)
    problem, w0 = problem_of(options)
    if options.t is not None and options.steps is not None:
        raise _check.fail("--steps", "excludes --t", options.steps)
    cls = method_class(options)
    random = cls.is_random
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
    method = method_of(options, cls, problem, w0=w0, eta=max(etas), order=options.order)
    more = {"order": options.order, "error": options.error, "realizations": options.realizations, "seed": options.seed}
    if options.resolution is not None:
        warnings.warn("--resolution is now called --relative-error", _check.FlowdynWarning, stacklevel=2)
        options.relative_error = options.resolution
    if random and options.relative_error is None:
        options.relative_error = QUICK_RELATIVE_ERROR
    more["relative_error"] = options.relative_error
    ladder = fd.eta_limit(method, w0, t, etas, **more)
    print(f"{ladder.attrs['title']} ({type(problem).__name__}, up to t = {float(ladder.t.max()):g})")
    for line in _ladder_lines(ladder):
        print(line)
    _write(ladder, options)


def _ladder_lines(ladder: Any) -> list[str]:
    """The table of a ladder and its fitted order."""
    weak = "observable" in ladder.dims
    what = f"{ladder.attrs['flowdyn_kind'].split()[0]} error" if weak else "sup error"
    lines = [f"{'eta':>12} {'steps':>9} {what:>12}" + (f" {'std. error':>12}" if weak else "")]
    for i in range(ladder.sizes["eta"]):
        row = ladder.isel(eta=i)
        steps = int(row.k.max())
        if weak:
            numbers = f"{float(row.error[0]):12.4e} {float(row.standard_error[0]):12.4e}"
        else:
            numbers = f"{float(row.sup_error):12.4e}"
        lines.append(f"{float(row.eta):12.6g} {steps:9d} {numbers}")
    first = ladder.isel(observable=0) if weak else ladder
    low, high = first.order_interval.values
    expected = float(ladder.order_expected)
    lines.append(f"order {float(first.order):.4f}, 95 % interval [{low:.4f}, {high:.4f}], expected {expected:g}")
    return lines


def _solve(options: argparse.Namespace) -> None:
    import flowdyn as fd
    from flowdyn.convergence.default_scales import default_time

    _check_outputs(options)
    problem, w0 = problem_of(options)
    system = method_of(options, method_class(options), problem, w0=w0)
    t = options.t if options.t is None else _check.real("t", options.t, positive=True)
    if t is None and options.steps is None:
        t = default_time(problem, w0)
    more = {"saves": options.saves, "seed": options.seed, "realizations": options.realizations}
    run = fd.solve(system, w0, t, steps=options.steps, **more)
    last = run.isel(t=-1).mean("realization") if "realization" in run.dims else run.isel(t=-1)
    end, loss, norm = float(run.t[-1]), float(last.loss), float(last.grad_norm)
    print(f"{run.attrs['title']}: t = {end:g}, loss = {loss:.6g}, grad_norm = {norm:.3g}")
    _write(run, options)


def _info(options: argparse.Namespace) -> None:
    import flowdyn as fd

    with fd.load(options.file) as ds:
        lines = [f"{key}: {value}" for key, value in ds.attrs.items()]
        lines.append("dimensions: " + ", ".join(f"{dim} = {size}" for dim, size in ds.sizes.items()))
        lines += [f"group {name}: {part.attrs.get('title', '')}" for name, part in getattr(ds, "children", {}).items()]
        for name, variable in ds.variables.items():
            lines.append(f"  {name}({', '.join(map(str, variable.dims))}): {variable.attrs.get('long_name', '')}")
    print(_printable("\n".join(lines)))


def _plot(options: argparse.Namespace) -> None:
    import flowdyn as fd
    from flowdyn._tools.files import writable

    writable(options.figure, None, options.overwrite)
    with fd.load(options.file) as ds:
        _draw(ds, options.figure, options.overwrite)


def _report(options: argparse.Namespace) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from flowdyn.pages.writing import report

    report(options.files, options.out, title=options.title, overwrite=options.overwrite)
    print(f"wrote {options.out}")


COMMANDS = {"eta-limit": _eta_limit, "solve": _solve, "info": _info, "plot": _plot, "report": _report}
