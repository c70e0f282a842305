"""The first time at which a stop rule holds:  min {t : margin_r(x(t)) >= 0 for some rule r}

Looking for a change of sign from one step to the next would miss a rule that holds inside a step only (an oscillation
passing through its minimum). So each margin is sampled at several points, and where it peaks below zero, but may do so
above, the peak is followed.
"""

from collections.abc import Callable

import numpy as np

from flowdyn.solvers.base import Status
from flowdyn.solvers.tolerances import GROWN

Margins = Callable[[np.ndarray], np.ndarray]  # times (R,) -> margins (R, rules)
Bracket = tuple[float, float]  # no rule holds at the first time, one does at the second

POINTS = 8  # intervals that a step, or the surroundings of a peak, is cut into
ROUNDS = 12
FOREVER = 1e300  # an open-ended run that comes so far has found its rest
AT_REST = 1e15  # first steps, after which a bad end is no singularity: a system at rest moves by rounding alone
ROOM = 16  # spacings of t, the least between two times that steps end on
SHORTEST = 1e-295  # a time that numbers can still divide by
BROKEN_OFF = ("diverged", "nonfinite", "stuck")  # endings that may be rest after all
VAGUE = 1e-3  # share of a coordinate that its tolerance may be
SIGNS = 4
SHRUNK = 1e-2  # of the mean step, below which a last one says where a budget went
VANISHED = "the step size fell below the spacing of t"
OUT_OF_REACH = (
    "the step that the tolerance asks for is below the spacing of numbers there: a kink, a jump or a pole, or a "
    "tolerance out of reach; smooth it, name jumps in the solver's `breakpoints`, or give a solver with a larger "
    "`rtol` or another method"
)
KINKS = "as they do at kinks (|w|, a hinge), where signs change, and at poles: smooth them"


def behind(t: float) -> float:
    """Just after a jump, whose steps end just before it: at it a function has its value from either side."""
    return float(np.nextafter(np.nextafter(t, np.inf), np.inf))


def bounds(breakpoints: tuple[float, ...], t0: float, end: float) -> list[float]:
    """Times that steps end on: just before each jump, where a function has its value from the left, and the end.

    Of jumps so close that no step fits between them one is left.
    """
    ends: list[float] = []
    for before in (float(np.nextafter(t, -np.inf)) for t in breakpoints if t0 < t < end):
        room = ROOM * max(np.spacing(abs(before)), SHORTEST)
        if before - behind(ends[-1] if ends else t0) > room and end - before > room:
            ends.append(before)
    return [*ends, end]


def first_bracket(margins: Margins, t: np.ndarray, discrete: bool = False) -> Bracket | None:
    """Bracket of the first crossing, given increasing times `t` at the first of which no rule holds."""
    values = margins(t)
    held = (values >= 0).any(axis=1)
    hit = int(np.argmax(held)) if held.any() else len(t)
    # a peak at point i lies between its neighbours; of those that may reach zero, the earliest crossing counts
    for i in range(min(hit, len(t) - 1) + 1):
        for rule in range(values.shape[1]):
            if i < hit and _may_reach_zero(values[:, rule], i):
                low, high = t[max(i - 1, 0)], t[min(i + 1, len(t) - 1)]
                found = _peak(margins, rule, low, high, discrete)
                if found is not None:
                    return found
    return (float(t[max(hit - 1, 0)]), float(t[hit])) if hit < len(t) else None


def _may_reach_zero(values: np.ndarray, i: int) -> bool:
    """Whether sample i is a local maximum whose top may lie above zero: by as much as the samples around it differ."""
    around = values[max(i - 1, 0) : i + 2]
    if around.max() > values[i] or np.isnan(around).any():
        return False
    wider = values[max(i - 2, 0) : i + 3]
    return bool(values[i] + np.ptp(wider[np.isfinite(wider)]) >= 0)


def _peak(margins: Margins, rule: int, low: float, high: float, discrete: bool) -> Bracket | None:
    """Follow the largest value of one rule's margin in (low, high) until it is nonnegative or cannot become so."""
    spread, rough = np.inf, 0
    for _ in range(ROUNDS):
        t = np.linspace(low, high, 2 * POINTS + 1)
        t = np.unique(np.rint(t)) if discrete else np.unique(t)
        values = margins(t)[:, rule]
        if (values >= 0).any():
            j = int(np.argmax(values >= 0))
            return (float(t[j - 1]), float(t[j])) if j else None
        if np.isnan(values).all():
            return None
        j = int(np.nanargmax(values))
        before, spread = spread, np.nanmax(values) - np.nanmin(values)
        rough += int(spread > before / 4)  # around a peak, or a kink, values draw together; rounding does not
        if rough > 1 or not _may_reach_zero(values, j):
            return None
        low, high = float(t[max(j - 1, 0)]), float(t[min(j + 1, len(t) - 1)])
        if high - low <= (2 if discrete else 4 * np.spacing(high)):
            return None
    return None


def bisect(holds: Callable[[float], bool], low: float, high: float, discrete: bool) -> float:
    """Smallest time in (low, high] at which `holds`, given that it does at high: to the step, or to the last bit."""
    while True:
        middle = (low + high) // 2 if discrete else low + (high - low) / 2
        if not low < middle < high:
            return high
        low, high = (low, middle) if holds(middle) else (middle, high)


def first_crossing(rules: Callable, dense: Callable, low: float, high: float) -> float | None:
    """Time in (low, high] at which the first of the `rules` begins to hold along dense output, if one does."""
    found = first_bracket(lambda t: rules(dense(t).T), np.linspace(low, high, POINTS + 1))
    if found is None:
        return None
    return bisect(lambda t: bool((rules(dense(t)[None]) >= 0).any()), *found, discrete=False)


def vague(rules: Callable, dense: Callable, times: tuple, atol: np.ndarray, rtol: float) -> np.ndarray:
    """Coordinates (S,) that their tolerances leave so wrong at a root of the `rules` that its time is not known.

    `times` are those of the start, of the step with the root, and of the root, which is as far off as the margins are,
    over their slope in that step.
    """
    start, low, root = times
    state, share = np.asarray(dense(root)), GROWN * rtol * (root - start)
    small = atol > VAGUE * np.abs(state)
    if not small.any():
        return small
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (SIGNS, state.size))
    here, before, *moved = rules(np.vstack([state, dense(low), state + signs * np.where(small, atol, 0.0)]))
    first = int(np.argmax(here))
    off = max(abs(float(margins[first] - here[first])) for margins in moved)
    return small & (off * (root - low) > share * abs(float(here[first] - before[first])))


def why_stuck(state: np.ndarray, state0: np.ndarray, finite: bool) -> tuple[Status, str]:
    """Status and words for a run whose steps vanish, with a right-hand side that is `finite` there or not."""
    if np.abs(state).max() > 1e6 * (1 + np.abs(state0).max()):
        return "diverged", VANISHED
    return ("stuck", OUT_OF_REACH) if finite else ("nonfinite", VANISHED)


def how_steps_shrank(last: float | None, mean: float) -> str:
    """Words for a budget that went into ever shorter steps; none where it did not."""
    return f"its steps have shrunk to {last:.1g}, {KINKS}" if last is not None and last < SHRUNK * mean else ""
