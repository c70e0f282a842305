"""Whether a step is a smooth function of its length h at 0:  S_h(z) - z = h F_0(z) + O(h^2).

(S_h(z) - z) / h -> F_0(z)                       order 0
S_h(z) - z ~ h^q, q not whole                    never: training time is another power of eta
S_h(z) - z ~ h log h                             never: a flow at each eta, and no order
"""

from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.methods.rate_checks import check_schedule, piece_of
from flowdyn.methods.step_probes import rate_at

SMALLEST, LARGER = 2.0**-30, 2.0**-20  # of h: the step at about h = 0, where one may be defined only for h > 0
SMALL = 2.0**-12  # of h, for the slope near h = 0
ROOTS = 1e4  # roundings of a change from which its power of h is read
CLOSER = 0.02  # share of that distance that is left at LARGER where it shrinks with h
ROUGH = 0.05  # distance of the slope near 0 from the rate at 0, as a share
LOST = 0.01  # share of the slope that may be rounding


def check_smooth(flow: Any, state0: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Refuse a rate at h = 0 that the slopes do not tend to: of a polynomial in h the distance is O(h)."""
    h, eps = float(flow.recursion.time_step), np.finfo(float).eps * np.abs(state0).max()
    near, nearer = (found["small"] - state0) / (SMALL * h), (found["larger"] - state0) / (LARGER * h)
    apart, closer = np.abs(found["rate"] - near), np.abs(found["rate"] - nearer)
    is_off = apart > ROUGH * np.abs(near).max() + 4 * eps / (SMALL * h)
    is_off &= closer > CLOSER * apart + 4 * eps / (LARGER * h)
    if is_off.any():
        is_off &= ~_is_held(flow, state0, found)
    if is_off.any():
        check_schedule(flow, state0)
        at = int(np.argmax(np.where(is_off, apart, 0.0)))
        piece = piece_of(flow.layout(len(state0)), np.arange(len(state0)) == at)
        raise _check.fail(
            "step",
            "must be smooth in eta at 0",
            _check.Words(f"{piece} with a slope of {near[at]:.4g} near 0 and {found['rate'][at] + 0.0:.4g} at 0"),
            "write what depends on eta without quotients of small differences; start warm what a sign is taken of",
        )


def _is_held(flow: Any, state0: np.ndarray, found: dict[str, np.ndarray]) -> np.ndarray:
    """Which entries (S,) no step moves, and no flow a little on: a bound that the state is pushed against.

    The rate at the tie of a maximum is the mean of its two sides, half of what the push would be.
    """
    on = state0 + LARGER * float(flow.recursion.time_step) * found["rate"]
    is_slow = np.abs(rate_at(flow, float(flow.recursion.time_step), on)) <= CLOSER * np.abs(found["rate"])
    return stands_still(state0, found) & is_slow


def stands_still(state0: np.ndarray, found: dict[str, np.ndarray]) -> np.ndarray:
    """Which entries (S,) no step moves, however long it is."""
    return (found["whole"] == 0) & (found["small"] == state0) & (found["larger"] == state0)


def check_roots(flow: Any, state0: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Refuse a step that changes like another power of h: training time is that power of eta."""
    small, larger = np.abs(found["small"] - state0), np.abs(found["larger"] - state0)
    is_seen = larger > ROOTS * np.finfo(float).eps * np.maximum(np.abs(state0), np.abs(state0).max(initial=0.0))
    power = np.zeros(len(state0))
    power[is_seen] = np.log2(small[is_seen] / larger[is_seen]) / np.log2(SMALL / LARGER)
    is_root = is_seen & (power > 0.1) & (power < 0.9)
    if is_seen.any() and not is_root.any():  # what all else follows may be slower than h too
        top = int(np.argmax(small))
        is_root[top] = power[top] > 1.1 and abs(power[top] - round(power[top])) > 0.1
    if not is_root.any():
        _check_logarithm(flow, state0, found, power)
        return
    own = flow.recursion
    q = own.step_power * power[is_root].min()
    clock = f"give clock_power={q:.3g}: training time is then eta^{q:.3g} k"
    raise _check.fail(
        "step",
        "must change in proportion to the time step as eta -> 0",
        _check.Words(f"{piece_of(flow.layout(len(state0)), is_root)} that changes like eta^{q:.3g}"),
        clock
        if "clock_power" in own.config()
        else "write it in the time step h, with h**2 where eta stands beside a root",
    )


def _check_logarithm(flow: Any, state0: np.ndarray, found: dict[str, np.ndarray], power: np.ndarray) -> None:
    """Refuse slopes that go on to change with every power of h: those of h log h."""
    h = float(flow.recursion.time_step)
    parts = ((found["at_zero"], SMALLEST), (found["larger"], LARGER), (found["small"], SMALL))
    slopes = [(after - state0) / (part * h) for after, part in parts]
    last, before = slopes[0] - slopes[1], slopes[1] - slopes[2]
    lost = 8 * np.finfo(float).eps * np.abs(state0).max(initial=0.0) / (SMALLEST * h)
    share = np.log(SMALLEST / LARGER) / np.log(LARGER / SMALL)  # of two changes of a logarithm; rounding has another
    grows = np.abs(last - share * before) < 0.1 * np.abs(last)
    grows &= (np.abs(power - 1) < 0.1) & (np.abs(before) > LOST * np.abs(slopes[2]) + lost)
    if grows.any():
        raise _check.fail(
            "step",
            "must have a slope as eta -> 0",
            _check.Words(f"{piece_of(flow.layout(len(state0)), grows)} whose slope grows like log(eta)"),
            "write the step in powers of eta: one with eta*log(eta) has a flow at each eta, and no order",
        )
