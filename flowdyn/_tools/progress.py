"""Progress on long work: a tqdm bar on a terminal or in a notebook, a user's own function, or nothing."""

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from flowdyn import _check

Report = Callable[[float], None]
LONG = 10.0  # seconds from which work is spoken of off a terminal too
KNOWN = 0.01  # share done below which the time spent is that of a start, and says nothing of the rest


@contextlib.contextmanager
def meter(progress: bool | Report | None, label: str, *, lines: bool = False) -> Iterator[Report]:
    """Yield ``report(fraction)``.

    `progress` is None (a bar on a terminal and in a notebook, else sparse lines where asked for), True, False, or a
    function of the fraction done.
    """
    if progress is None and lines and not is_watched():
        yield _sparse_lines(label)
        return
    if progress is None:
        progress = is_watched()
    if progress is False:
        yield lambda fraction: None
        return
    if callable(progress):
        yield _check.function("progress", progress, "of the fraction done", 1)
        return
    if progress is not True:
        raise _check.fail("progress", "must be None, True, False or a function of the fraction done", progress)
    # short runs leave no trace: the bar appears after half a second
    with _tqdm()(
        total=1.0, desc=label, bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}", delay=0.5
    ) as bar:

        def report(fraction: float) -> None:
            bar.update(max(0.0, min(fraction, 1.0) - bar.n))

        yield report
        report(1.0)  # a notebook shows what ends before as failed


def is_watched() -> bool:
    """Whether somebody looks on: at a terminal, or in a notebook (Jupyter's kernel is no terminal)."""
    shell: Any = sys.modules.get("IPython")
    running = shell.get_ipython() if shell else None
    is_terminal = sys.stderr is not None and sys.stderr.isatty()  # a process without a console has none
    return is_terminal or (running is not None and "IPKernelApp" in running.config)


def _tqdm() -> Any:
    """The bar that suits the place; in a notebook without ipywidgets it is of text, and tqdm need not say so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm


def _sparse_lines(label: str) -> Report:
    """Report in lines that grow rarer: after LONG seconds, and each time as many have passed again."""
    began, due = time.monotonic(), LONG

    def report(fraction: float) -> None:
        nonlocal due
        elapsed = time.monotonic() - began
        if elapsed >= due and sys.stderr is not None:
            due = 2 * elapsed
            left = f", {_spelled(elapsed * (1 / fraction - 1))} left" if KNOWN <= fraction < 1 else ""
            print(f"{label}: {fraction:.0%} after {_spelled(elapsed)}{left}", file=sys.stderr, flush=True)

    return report


def _spelled(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def is_spoken(progress: bool | Report | None) -> bool:
    """Whether words may be printed: not where progress is switched off or goes to a function."""
    return progress is None or progress is True


def announce(progress: bool | Report | None, text: str, seconds: float) -> None:
    """Say what work will cost: on a terminal, and off it where it takes long."""
    if sys.stderr is not None and is_spoken(progress) and (progress or is_watched() or seconds > LONG):
        _tqdm().write(text, file=sys.stderr)  # above a bar, where there is one


def part(report: Report, start: float, stop: float) -> Report:
    """The share [start, stop] of a longer piece of work."""
    return lambda fraction: report(start + (stop - start) * fraction)
