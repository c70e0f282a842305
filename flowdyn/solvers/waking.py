r"""Scales of the coordinates that start at zero, from what drives them.

    scale_i = min(smallest |y_j| > 0,  max(|z_i|, noise_i tau / (MARGIN rtol))),    tau = |f| / |f' f|

z is where a few short Euler steps lead: each lets one more link of a chain of zero coordinates move. A source of 1e-30
has its growth resolved as a start of 1e-30 would. What the right-hand side's own rounding makes of a zero is no source:
there tolerances are no finer than that rounding.
"""

from typing import NamedTuple

import numpy as np

from flowdyn.solvers.right_hand_side import RaisedError, RightHandSide
from flowdyn.solvers.rounding_noise import SHIFT, noise, probes
from flowdyn.solvers.tolerances import MARGIN, TINY, Path

SHARE = 1 / 8  # of the time scale, a step of Euler
LINKS = 64  # of a chain of zero coordinates, looked at one after the other
ROOM = 1e4  # of a tolerance over rounding: the equations of implicit steps are solved to a share of it
ORDINARY = 1e-3  # of the smallest size: what is driven so far stands out of rounding
WIDE = 2.0**-15  # relative shift of what has just left zero: beside 1 a shorter one may move nothing
NEAR = 1e-3  # of the state, over which the time scale is looked at


class FirstScales(NamedTuple):
    """Scales (S,) of all coordinates, and which of them nothing drives yet."""

    scale: np.ndarray
    asleep: np.ndarray


def unscaled(state: np.ndarray) -> FirstScales:
    """What stands for scales where the tolerances are a user's own."""
    return FirstScales(np.ones(state.shape), np.zeros(state.shape, bool))


def first_scales(f: RightHandSide, t: float, state: np.ndarray, rtol: float) -> FirstScales:
    """Scales at a start: sizes of what is not zero, of what drives the rest, the smallest of them of what rests."""
    sizes = np.minimum(np.abs(state), 1.0)
    smallest = float(np.min(sizes, initial=1.0, where=sizes > 0))
    zero = sizes == 0
    if not zero.any():
        return FirstScales(sizes, zero)
    driven, there, tau = _driven(f, t, state)
    scale = np.where(zero, driven, sizes)
    asleep = zero & (driven == 0)
    floor = np.zeros(state.shape)
    if (driven[zero & ~asleep] < ORDINARY * smallest).any():
        floor = _rounding(f, t, there, zero) * tau * ROOM / (MARGIN * rtol)
    scale = np.where(zero, np.minimum(np.maximum(np.maximum(scale, floor), TINY), smallest), sizes)
    return FirstScales(np.where(asleep, smallest, scale), asleep)


def woken_scale(f: RightHandSide, t: float, state: np.ndarray, rtol: float) -> np.ndarray:
    """Scales (S,) of coordinates that have just left zero: where they are driven to, no finer than rounding is."""
    rate = _tried(f, t, state)
    tau = _time_scale(f, t, state, rate)
    reach = np.maximum(np.abs(state), SHARE * tau * np.abs(np.nan_to_num(rate)))
    return np.maximum(
        np.maximum(reach, _rounding(f, t, state, f.task.state0 == 0) * tau * ROOM / (MARGIN * rtol)), TINY
    )


def rounding_over_time(f: RightHandSide, t: float, state: np.ndarray, least: np.ndarray) -> np.ndarray:
    """What rounding (S,) of the right-hand side, `least` or more, makes in the time scale of the state."""
    found = np.maximum(_rounding(f, t, state, np.zeros(state.shape, bool)), least)
    return found * _time_scale(f, t, state, _tried(f, t, state))


def awake(path: Path, f: RightHandSide, t: float, state: np.ndarray, rtol: float) -> Path:
    """The path with scales no wider, where coordinates have left zero by `state` that had none."""
    woken = path.asleep & (state != 0)
    if not woken.any():
        return path
    scale = np.where(woken, np.minimum(woken_scale(f, t, state, rtol), path.scale), path.scale)
    return path._replace(scale=scale, asleep=path.asleep & ~woken, near=np.where(woken, scale, path.near))


def _time_scale(f: RightHandSide, t: float, state: np.ndarray, rate: np.ndarray) -> float:
    """Time in which the right-hand side changes by as much as it is; at most what is left of the run."""
    left = f.task.t[-1] - t if f.task.t is not None else 1.0
    fastest = np.abs(rate).max()
    if fastest == 0 or left <= 0:
        return max(left, 0.0)
    h = NEAR * (np.abs(state).max() or 1.0) / fastest
    change = np.abs(_tried(f, t, state + h * rate) - rate).max()
    return float(min(left, h * fastest / change)) if change > 0 else float(left)


def _driven(f: RightHandSide, t: float, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Sizes (S,) of the zero coordinates when they have first moved, 0 where they have not, and where that led."""
    rate = f(t, state)
    if not np.isfinite(rate).all():
        return np.zeros(state.shape), state, 0.0
    tau = _time_scale(f, t, state, rate)
    driven, here = np.zeros(state.shape), state
    for link in range(LINKS):
        there = here + SHARE * tau * rate
        rate = _tried(f, t + (link + 1) * SHARE * tau, there)
        if not (np.isfinite(there).all() and np.isfinite(rate).all()):
            break
        moved = (state == 0) & (driven == 0) & (there != 0)
        driven, here = np.where(moved, np.abs(there), driven), there
        if link > 0 and not moved.any():
            break
    return driven, here, tau


def _rounding(f: RightHandSide, t: float, state: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Rounding (S,) of the right-hand side, near a state whose coordinates `zero` have just left zero."""
    shifts = np.where(zero, WIDE, SHIFT)
    found = noise(_tried(f, t, state), np.array([_tried(f, t, probe) for probe in probes(state, 0, shifts)]))
    return np.where(np.isfinite(found), found, 0.0)


def _tried(f: RightHandSide, t: float, state: np.ndarray) -> np.ndarray:
    """Value (S,) at a state that the run itself may never come to: NaN where the user's function refuses it."""
    try:
        return f(t, state)
    except RaisedError:
        return np.full(state.shape, np.nan)
