"""Progress on long work: a tqdm bar on a terminal, a user's own function, or nothing."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from flowdyn import _check

Report = Callable[[float], None]


@contextlib.contextmanager
def meter(progress: bool | Report | None, label: str) -> Iterator[Report]:
    """Yield ``report(fraction)``.

    `progress` is None (a bar if stderr is a terminal), True, False, or a function of the fraction done.
    """
    if progress is None:
        progress = sys.stderr.isatty()
    if progress is False:
        yield lambda fraction: None
        return
    if callable(progress):
        yield progress
        return
    if progress is not True:
        raise _check.fail("progress", "must be None, True, False or a function of the fraction done", progress)
    from tqdm import tqdm

    # short runs leave no trace: the bar appears after half a second
    with tqdm(
        total=1.0, desc=label, bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}", delay=0.5
    ) as bar:

        def report(fraction: float) -> None:
            bar.update(max(0.0, min(fraction, 1.0) - bar.n))

        yield report


def part(report: Report, start: float, stop: float) -> Report:
    """The share [start, stop] of a longer piece of work."""
    return lambda fraction: report(start + (stop - start) * fraction)
