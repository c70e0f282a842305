"""Files that commands write, and the refusal beforehand of those that they could not."""

import argparse
from typing import Any

from flowdyn import _check
from flowdyn.cli.printing import Output


def check_place(option: str, path: str, suffix: str | None, overwrite: bool) -> None:
    """Refuse a place that cannot be written, by the name of the option that gave it."""
    from flowdyn._tools.files import writable

    try:
        writable(path, suffix, overwrite)
    except _check.FlowdynError as error:
        raise type(error)(str(error).replace("`path`", f"`{option}`")) from None


def check_outputs(options: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written before anything is computed."""
    if getattr(options, "out", None) is not None:
        check_place("--out", options.out, ".nc", options.overwrite)
    if options.figure is not None:  # empty text, an unset variable of the shell, is no place
        from flowdyn.plotting.figures import check_suffix

        check_place("--figure", options.figure, None, options.overwrite)
        check_suffix(options.figure)


def write(ds: Any, options: argparse.Namespace, output: Output) -> None:
    """Write the file and the picture that were asked for."""
    import flowdyn as fd

    if options.out:
        fd.save(ds, options.out, overwrite=options.overwrite)
        output.wrote(options.out)
    if options.figure:
        draw(ds, options, output)


def draw(ds: Any, options: argparse.Namespace, output: Output) -> None:
    """Draw a result without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    from flowdyn.plotting.figures import plot, save_figure

    save_figure(plot(ds), options.figure, options.overwrite)
    output.wrote(options.figure)
