"""What the shell's options mean: a problem with its start, and a method with its arguments."""

import argparse
import inspect
import re
from typing import Any

from flowdyn import _check

# options of methods: flag -> argument of the constructor
METHOD_OPTIONS = {
    "eta": "eta",
    "order": "order",
    "batch_size": "batch_size",
    "sampling": "sampling",
    "sigma": "sigma",
    "label_noise": "noise",
    "refinement": "l",
    "friction": "friction",
}


def in_shell_terms(message: str, options: argparse.Namespace) -> str:
    """A message of the library in which the arguments that have an option bear its name: `--batch-size`."""
    flags = {argument: option for option, argument in METHOD_OPTIONS.items()} | {name: name for name in vars(options)}
    return re.sub(
        r"`([a-z_]+)`",
        lambda found: f"`--{flags[found[1]].replace('_', '-')}`" if found[1] in flags else found[0],
        message,
    )


def add_problem(command: argparse.ArgumentParser) -> None:
    """Options that choose the problem."""
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
    command.add_argument(
        "--seed", type=int, default=0, help="seed of the embedded problem and of the noise (default 0)"
    )


def add_method(command: argparse.ArgumentParser) -> None:
    """Options of methods, each for the methods that take it."""
    command.add_argument("--batch-size", type=int, metavar="B", help="batch of SGD, SVAG, LabelNoiseSGD (default 1)")
    command.add_argument("--sampling", help="with (default), without or reshuffle: how SGD draws its batches")
    command.add_argument("--sigma", type=float, help="standard deviation of the label noise of LabelNoiseSGD")
    command.add_argument("--label-noise", metavar="KIND", help="gaussian (default) or sign, for LabelNoiseSGD")
    command.add_argument("--refinement", type=float, metavar="L", help="l of SVAG (default 2)")
    command.add_argument("--friction", type=float, help="friction of HeavyBall")
    command.add_argument("--realizations", type=int, metavar="N", help="members of an ensemble (random methods)")


def problem_of(options: argparse.Namespace) -> tuple[Any, Any]:
    """The problem and its start."""
    from flowdyn import problems
    from flowdyn._tools.registry import look_up
    from flowdyn.problems.examples import sparse_table
    from flowdyn.problems.regression import TableProblem

    if options.data is None:
        for name in ("problem", "target", "standardize"):
            if getattr(options, name):
                raise _check.fail(f"--{name}", "needs DATA", getattr(options, name), "give a .csv or .nc file first")
        problem: Any = problems.DiagonalNetwork(*sparse_table(_check.seed(options.seed, "--seed")))
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


def method_class(options: argparse.Namespace) -> Any:
    """The class that --method names, in any case and with hyphens or without."""
    from flowdyn import methods
    from flowdyn._tools.registry import look_up

    exact = {name.lower(): name for name in methods.REGISTRY}
    name = exact.get(str(options.method).lower().replace("_", "").replace("-", ""), options.method)
    cls = look_up("--method", name, methods.__name__, methods.REGISTRY)
    if next(iter(inspect.signature(cls).parameters), None) != "problem":
        raise _check.fail("--method", "must be one that runs on a problem", name, "use it from Python")
    return cls


def method_of(options: argparse.Namespace, cls: Any, problem: Any, **given: Any) -> Any:
    """The method of class `cls` with the options that it takes; others are refused, unless what is `given` counts."""
    signature = inspect.signature(cls).parameters
    arguments = {argument: value for argument, value in given.items() if argument in signature and value is not None}
    for option, argument in METHOD_OPTIONS.items():
        value = getattr(options, option, None)
        flag = "--" + option.replace("_", "-")
        if argument in given:
            continue
        if argument in signature:
            if value is not None:
                arguments[argument] = value
            elif signature[argument].default is inspect.Parameter.empty:
                raise _check.ArgumentError(f"`{flag}` must be given for {cls.__name__}")
        elif value is not None:
            raise _check.fail(flag, f"is not an option of {cls.__name__}", value)
    return cls(problem, **arguments)
