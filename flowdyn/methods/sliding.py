r"""Whether the flow of order 0 of a step that jumps slides along the jump:  F_0 points at it from both sides.

    z_{k+1} = z_k + dt F_0(z_k):     F_0,i turns round at step after step, and its two sides stay apart as dt -> 0

A solver's steps shrink there without end. Signs of gradients have a flow that slides exactly, `SignFlow`.
"""

from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import by_structure
from flowdyn.methods.jumps import bisected, step_may_jump
from flowdyn.methods.rate_checks import piece_of
from flowdyn.methods.step_probes import rate_at

STEPS = 200  # of the path
WINDOW, TURNS = 32, 6  # steps, and how many of them turn round where a flow slides
MOST_ENTRIES = 10_000_000  # of the path, 80 MB
PLACES = 8  # entries that are looked into
SLIGHT = 1e-3  # of a component's largest rate, below which a jump is not told from rounding


def check_sliding(flow: Any, state0: np.ndarray, span: float) -> None:
    """Refuse a flow of order 0 of a user's step that slides along a jump within a time."""
    own, start = flow.recursion, np.asarray(state0, dtype=float)
    if not own.is_users or start.size * STEPS > MOST_ENTRIES:
        return
    if not by_structure(step_may_jump, own, len(start)):
        return
    with np.errstate(all="ignore"):  # what is not finite does not turn
        sides = [side for side in _sides(flow, start, span) if _is_jump(side)]
    if not sides:
        return
    first = min(sides, key=lambda side: side["time"])
    piece = piece_of(own.layout(start.size), np.arange(start.size) == first["entry"])
    between = f"{first['before']:.3g} and {first['after']:.3g}"
    raise _check.fail(
        "t",
        f"must end before the flow of {type(own).__name__} slides along a jump of its step, as of a sign or a kink",
        _check.Words(f"{span:.3g}, and d({piece})/dt turns between {between} from about t = {first['time']:.3g} on"),
        "solvers do not step along it; for signs of gradients fd.SignDescent(problem, eta).limit(0) slides exactly",
    )


def _is_jump(side: dict[str, float]) -> bool:
    """Whether rates on two sides of a place are opposite, and neither is slight."""
    least = min(abs(side["before"]), abs(side["after"]))
    return side["before"] * side["after"] < 0 and least > SLIGHT * side["largest"]


class _Path(NamedTuple):
    """States (STEPS + 1, S) along a path by steps of a length dt, NaN after one that is not finite, and rates there."""

    dt: float
    states: np.ndarray
    rates: np.ndarray


def _path(flow: Any, state: np.ndarray, span: float) -> _Path:
    dt = span / STEPS
    states, rates = np.full((2, STEPS + 1, state.size), np.nan)
    for k in range(STEPS + 1):
        states[k], rates[k] = state, rate_at(flow, k * dt, state)
        state = state + dt * rates[k]
        if not np.isfinite(state).all():
            break
    return _Path(dt, states, rates)


def _sides(flow: Any, state: np.ndarray, span: float) -> list[dict[str, float]]:
    """Of the entries that turn most often, since when, and their rates on either side of a place where they turn."""
    path = _path(flow, state, span)
    turns = path.rates[:-1] * path.rates[1:] < 0
    count = np.cumsum(turns, axis=0)
    often = (count[WINDOW:] - count[:-WINDOW]) >= TURNS
    most = np.argsort(-often.sum(axis=0), kind="stable")[:PLACES]
    found = []
    for i in most[often.any(axis=0)[most]]:  # what follows a coordinate that slides turns too, without a jump
        is_turn = turns[:, i] & (np.arange(STEPS) > np.argmax(often[:, i]))
        if is_turn.any():
            found.append(_side(flow, path, int(i), int(np.argmax(is_turn))))
    return found


def _side(flow: Any, path: _Path, i: int, k: int) -> dict[str, float]:
    """Rates of an entry on the two sides of a turn between two states, by bisection."""
    ends = path.states[k], path.states[k + 1], path.rates[k, i], path.rates[k + 1, i]
    *_, before, after = bisected(lambda z: rate_at(flow, k * path.dt, z)[i], ends)
    largest = np.abs(path.rates[: k + 1, i]).max()
    return {"before": before, "after": after, "entry": i, "time": k * path.dt, "largest": largest}
