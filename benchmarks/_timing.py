"""Timing that two noisy cores cannot fool: repetitions of both sides in turn, and the median of their ratio."""

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class Row(NamedTuple):
    """One comparison: seconds of both sides, and the ratio that is asked for (inf: none, the row informs)."""

    what: str
    ours: float
    peer: float
    ratio: float
    target: float


def is_here(*peers: str) -> bool:
    """Whether all of these packages are installed; those that are not are named."""
    missing = [name for name in peers if importlib.util.find_spec(name) is None]
    for name in missing:
        print(f"{name}: skipped, it is not installed", file=sys.stderr)
    return not missing


def clock(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def compare(what: str, ours: Callable, peer: Callable, target: float, *, scale: float = 1.0, runs: int = 7) -> Row:
    """Time both in turn after a warm-up; `scale` multiplies the peer's time where it does a part of the work."""
    ours(), peer()
    pairs = [(clock(ours), scale * clock(peer)) for _ in range(runs)]
    ratio = statistics.median(a / b for a, b in pairs)
    return Row(what, statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio, target)


def table(rows: list[Row]) -> None:
    """Print the comparisons."""
    print(f"{'what':<66}{'flowdyn s':>11}{'peer s':>11}{'ratio':>8}{'target':>8}  ok")
    for row in rows:
        verdict = "-" if row.target == float("inf") else "yes" if row.ratio <= row.target else "NO"
        print(f"{row.what:<66}{row.ours:>11.4g}{row.peer:>11.4g}{row.ratio:>8.3f}{row.target:>8.3g}  {verdict}")
