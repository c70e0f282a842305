"""The options of every command. Nothing heavy is imported, so that ``flowdyn --help`` answers at once."""

import argparse
from typing import NoReturn

from flowdyn.cli.inputs import add_method, add_problem

PROGRAM = "flowdyn"
QUICK_RELATIVE_ERROR = 0.15  # standard error over gap of a sampled rung: half a minute on the embedded problem


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of flowdyn."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit status 2 and one line."""
        self.exit(2, f"{PROGRAM}: error: {message}; see {self.prog} --help\n")


def _number_list(text: str) -> list[float]:
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers separated by commas, got {text!r}") from None


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser with a subparser for each command."""
    top = OneLineParser(
        PROGRAM, description="Training dynamics and their limits as the step size goes to zero.", allow_abbrev=False
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    ladder = commands.add_parser("eta-limit", help="run a method at several eta, fit the order", allow_abbrev=False)
    add_problem(ladder)
    ladder.add_argument("--method", default="GradientDescent", help="GradientDescent (default), SGD, ...")
    add_method(ladder)
    ladder.add_argument("--etas", type=_number_list, help="step sizes, e.g. 0.04,0.02,0.01 (default: six halvings)")
    ladder.add_argument(
        "--order", type=int, help="order of the limit: 0 the flow, p its modified flow or equation (default 0; SGD: 1)"
    )
    ladder.add_argument("--error", help="sup (default); for random methods weak (default) or strong")
    ladder.add_argument("--steps", type=int, help="steps of the largest eta, in place of --t")
    ladder.add_argument(
        "--relative-error",
        type=float,
        help=f"standard error over gap down to which means are sampled (default {QUICK_RELATIVE_ERROR})",
    )
    ladder.add_argument("--resolution", type=float, help=argparse.SUPPRESS)  # former name of --relative-error
    _add_output(ladder)

    single = commands.add_parser("solve", help="run one method or flow", allow_abbrev=False)
    add_problem(single)
    single.add_argument(
        "--method", default="GradientFlow", help="GradientFlow (default), GradientDescent, ModifiedFlow, SGD, ..."
    )
    single.add_argument("--eta", type=float, help="step size, for the methods that have one")
    single.add_argument("--order", type=int, help="order of ModifiedFlow or of a stochastic equation (default 1)")
    single.add_argument("--steps", type=int, help="steps of a recursion, in place of --t")
    add_method(single)
    single.add_argument("--saves", type=int, default=101, help="times kept (default 101)")
    _add_output(single)

    info = commands.add_parser("info", help="say what a file holds and how it was made", allow_abbrev=False)
    info.add_argument("file", metavar="FILE")

    picture = commands.add_parser("plot", help="draw a file", allow_abbrev=False)
    picture.add_argument("file", metavar="FILE")
    picture.add_argument("-o", "--figure", required=True, metavar="FIG", help="picture to write (.png, .pdf, .svg)")
    picture.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    page = commands.add_parser("report", help="write a self-contained page about files", allow_abbrev=False)
    page.add_argument("files", metavar="FILE", nargs="+")
    page.add_argument("-o", "--out", required=True, metavar="PAGE", help="page to write (.html)")
    page.add_argument("--title", default="Training dynamics", help="heading of the page")
    page.add_argument("--overwrite", action="store_true", help="replace an existing page")
    return top


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", metavar="FILE", help="NetCDF file to write")
    command.add_argument("--figure", metavar="FIG", help="picture to write (.png, .pdf, .svg)")
    command.add_argument("--overwrite", action="store_true", help="replace existing files")
    command.add_argument(
        "--no-cache",
        action="store_true",
        help="keep no compiled programs in the user's cache folder (nor does FLOWDYN_NO_CACHE=1)",
    )
