"""The options of every command. Nothing heavy is imported, so that ``flowdyn --help`` answers at once."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from flowdyn.cli.printing import PROGRAM
from flowdyn.cli.usage import OneLineParser

QUICK_RELATIVE_ERROR = 0.15  # standard error over gap of a sampled rung: half a minute on the embedded problem
SHELLS = ("bash", "zsh", "fish")
ONE = "a result, or FILE:/NODE of a file that holds several"
Number = TypeVar("Number", int, float)


def _number_list(text: str) -> list[float]:
    return _listed(text, float, "numbers")


def _whole_list(text: str) -> list[int]:
    return _listed(text, int, "whole numbers")


def _listed(text: str, kind: Callable[[str], Number], what: str) -> list[Number]:
    """Numbers between commas, one at least: an unset variable of the shell is empty text."""
    if not text.replace(",", " ").split():
        raise argparse.ArgumentTypeError(f"must hold at least one value, {what} separated by commas, got {text!r}")
    try:
        return [kind(number) for part in text.split(",") for number in part.split() or [part]]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {what} separated by commas, got {text!r}") from None


def build_parser() -> OneLineParser:
    """Build the argument parser with a subparser for each command."""
    top = OneLineParser(
        PROGRAM, description="Training dynamics and their limits as the step size goes to zero.", allow_abbrev=False
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _add_eta_limit(commands.add_parser("eta-limit", help="run a method at several eta, fit the order"))
    _add_solve(commands.add_parser("solve", help="run one method or flow"))
    _add_sweep(commands.add_parser("sweep", help="run a method over a grid of numbers"))
    _add_files(commands)

    shell = commands.add_parser("completion", help="print what makes a shell complete commands, options and names")
    shell.add_argument("shell", choices=SHELLS, help='e.g. in ~/.bashrc: eval "$(flowdyn completion bash)"')
    for command in commands.choices.values():
        command.allow_abbrev = False
    top.commands = commands.choices
    return top


def _add_eta_limit(ladder: argparse.ArgumentParser) -> None:
    _add_problem(ladder)
    ladder.add_argument("--method", default="GradientDescent", help="GradientDescent (default), SGD, ...")
    _add_method(ladder)
    ladder.add_argument("--etas", type=_number_list, help="step sizes, e.g. 0.04,0.02,0.01 (default: six halvings)")
    ladder.add_argument(
        "--order", type=int, help="order of the limit: 0 the flow, p its modified flow or equation (default 0; SGD: 1)"
    )
    ladder.add_argument("--error", help="sup (default); for random methods weak (default) or strong")
    ladder.add_argument(
        "--observe",
        action="append",
        metavar="NAME",
        help="compare the means of sharpness, margins, invariant, ... in place of the loss (weak; may be repeated)",
    )
    ladder.add_argument("--steps", type=int, help="steps of the largest eta, in place of --t")
    ladder.add_argument(
        "--relative-error",
        type=float,
        help=f"standard error over gap down to which means are sampled (default {QUICK_RELATIVE_ERROR})",
    )
    ladder.add_argument("--resolution", type=float, help=argparse.SUPPRESS)  # former name of --relative-error
    _add_solver(ladder, "of the limit")
    _add_output(ladder)


def _add_solve(single: argparse.ArgumentParser) -> None:
    _add_problem(single)
    single.add_argument(
        "--method", default="GradientFlow", help="GradientFlow (default), GradientDescent, ModifiedFlow, SGD, ..."
    )
    single.add_argument("--eta", type=float, help="step size, for the methods that have one")
    single.add_argument("--order", type=int, help="order of ModifiedFlow or of a stochastic equation (default 1)")
    single.add_argument("--steps", type=int, help="steps of a recursion, in place of --t")
    _add_method(single)
    single.add_argument("--saves", type=int, default=101, help="times kept (default 101)")
    single.add_argument(
        "--observe", action="append", metavar="NAME", help="record sharpness, margins, invariant, ... (may be repeated)"
    )
    single.add_argument(
        "--stop",
        action="append",
        metavar="RULE",
        help='end where a rule holds, e.g. "loss<1e-6" (may be repeated; without --t there is no other end)',
    )
    single.add_argument("--on-divergence", help="raise (default), or keep what was good before it")
    _add_solver(single, "of the flow or equation")
    _add_output(single)


def _add_sweep(many: argparse.ArgumentParser) -> None:
    _add_problem(many)
    many.add_argument("--method", default="GradientDescent", help="GradientDescent (default), SGD, GradientFlow, ...")
    _add_method(many)
    many.add_argument("--eta", type=float, help="step size, where it is not in the grid")
    many.add_argument("--order", type=int, help="order of ModifiedFlow or of a stochastic equation (default 1)")
    many.add_argument("--alphas", type=_number_list, metavar="LIST", help="scales of the start, e.g. 0.1,0.01")
    many.add_argument("--etas", type=_number_list, metavar="LIST", help="step sizes, e.g. 0.04,0.02")
    many.add_argument("--seeds", type=_whole_list, metavar="LIST", help="seeds of the noise, e.g. 0,1,2")
    many.add_argument("--batch-sizes", type=_whole_list, metavar="LIST", help="batch sizes, e.g. 1,8")
    many.add_argument("--steps", type=int, help="steps of a recursion, in place of --t")
    many.add_argument("--saves", type=int, default=11, help="times kept (default 11)")
    many.add_argument("--store", metavar="FOLDER", help="keep each part when it is done, and go on from there")
    many.add_argument("--workers", type=int, metavar="N", help="processes to start")
    many.add_argument("--out", metavar="FILE", help="NetCDF file to write")
    many.add_argument("--overwrite", action="store_true", help="replace an existing file")
    many.add_argument("--no-cache", action="store_true", help="keep no compiled programs in the user's cache folder")
    _add_style(many)


def _add_files(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    info = commands.add_parser("info", help="say what a file holds and how it was made")
    info.add_argument("file", metavar="FILE", help=ONE)
    _add_style(info)

    picture = commands.add_parser("plot", help="draw a file")
    picture.add_argument("file", metavar="FILE", help=ONE)
    picture.add_argument("-o", "--figure", required=True, metavar="FIG", help="picture to write (.png, .pdf, .svg)")
    picture.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    _add_style(picture)

    page = commands.add_parser("report", help="write a self-contained page about files")
    page.add_argument("files", metavar="FILE", nargs="+")
    page.add_argument("-o", "--out", required=True, metavar="PAGE", help="page to write (.html)")
    page.add_argument("--title", default="Training dynamics", help="heading of the page")
    page.add_argument("--overwrite", action="store_true", help="replace an existing page")
    _add_style(page)

    again = commands.add_parser(
        "rerun", help="make a result again and compare; exit status 0 if equal, 1 if not, 2 if in trouble"
    )
    again.add_argument("file", metavar="FILE", help=ONE)
    again.add_argument("--node", metavar="NODE", help="which of the results, where FILE holds several")
    _add_output(again)

    diff = commands.add_parser(
        "diff", help="compare the recipes and numbers of two files; exit status 0 if equal, 1 if not, 2 if in trouble"
    )
    diff.add_argument("file", metavar="A", help=ONE)
    diff.add_argument("other", metavar="B")
    diff.add_argument("--rtol", type=float, default=0.0, help="differences that count as none, over the largest size")
    _add_style(diff)

    example = commands.add_parser("example-data", help="write a small real table (CC0) to try the other commands on")
    example.add_argument("file", metavar="FILE", nargs="?", default="penguins.csv", help="default: penguins.csv")
    example.add_argument("--overwrite", action="store_true", help="replace an existing file")
    _add_style(example)


def _add_problem(command: argparse.ArgumentParser) -> None:
    """Options that choose the problem."""
    command.add_argument(
        "data", nargs="?", metavar="DATA", help=".csv or .nc table (default: an embedded sparse problem)"
    )
    command.add_argument(
        "--problem", help="LinearRegression (default with DATA), SquaredRegression, DiagonalNetwork, ..."
    )
    command.add_argument("--target", metavar="COLUMN", help="column of DATA to predict")
    command.add_argument("--standardize", action="store_true", help="give every column mean 0 and standard deviation 1")
    command.add_argument("--center", action="store_true", help="give every column mean 0")
    command.add_argument("--intercept", action="store_true", help="put a column of ones in front of the features")
    command.add_argument("--index", metavar="COLUMN", help="column of labels of the rows, which is no feature")
    command.add_argument(
        "--no-index",
        dest="index",
        action="store_false",
        default=None,
        help="a column that numbers rows is a feature",
    )
    command.add_argument(
        "--alpha", type=float, help="scale of the initialisation, where the problem has one (default 0.1)"
    )
    command.add_argument("--t", type=float, help="training time (default: 20 over the largest curvature at the start)")
    command.add_argument(
        "--seed", type=int, default=0, help="seed of the embedded problem and of the noise (default 0)"
    )


def _add_method(command: argparse.ArgumentParser) -> None:
    """Options of methods, each for the methods that take it."""
    command.add_argument("--batch-size", type=int, metavar="B", help="batch of SGD, SVAG, LabelNoiseSGD (default 1)")
    command.add_argument("--sampling", help="with (default), without or reshuffle: how SGD draws its batches")
    command.add_argument("--sigma", type=float, help="standard deviation of the label noise of LabelNoiseSGD")
    command.add_argument("--label-noise", metavar="KIND", help="gaussian (default) or sign, for LabelNoiseSGD")
    command.add_argument("--refinement", type=float, metavar="L", help="l of SVAG (default 2)")
    command.add_argument("--friction", type=float, help="friction of HeavyBall")
    command.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="any other argument of the method, e.g. rho=0.1 for SAM (may be repeated)",
    )
    command.add_argument("--realizations", type=int, metavar="N", help="members of an ensemble (random methods)")
    command.add_argument("--device", metavar="KIND", help="cpu, gpu or tpu, where JAX finds one (default: JAX's own)")


def _add_solver(command: argparse.ArgumentParser, whose: str) -> None:
    command.add_argument("--solver", metavar="NAME", help=f"{whose}: LSODA, DOP853, Tsit5, Exact, ...")
    command.add_argument("--rtol", type=float, help="its relative tolerance")
    command.add_argument("--max-steps", type=int, metavar="N", help="budget of steps of the solver")
    command.add_argument("--max-seconds", type=float, metavar="S", help="budget of wall time")


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", metavar="FILE", help="NetCDF file to write")
    command.add_argument("--figure", metavar="FIG", help="picture to write (.png, .pdf, .svg)")
    command.add_argument("--overwrite", action="store_true", help="replace existing files")
    command.add_argument(
        "--no-cache",
        action="store_true",
        help="keep no compiled programs in the user's cache folder (nor does FLOWDYN_NO_CACHE=1)",
    )
    _add_style(command)


def _add_style(command: argparse.ArgumentParser) -> None:
    """How a command speaks."""
    style = command.add_mutually_exclusive_group()
    style.add_argument("--json", action="store_true", help="print one JSON object in place of words")
    style.add_argument("--quiet", action="store_true", help="print nothing but errors and warnings")
