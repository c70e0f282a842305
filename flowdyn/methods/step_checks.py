r"""Whether a recursion has a flow at all: what is measured of its step before the flow is solved.

    S_h(z) - z -> 0 as h -> 0                        order 0: the step tends to the identity
    dS_0/dz F_0 = F_0                                order 0: and is it on the way too, identity_on_way.py
    (dS_0/dz - 1)^3 = 0                              order p: at most it adds up what stands still
    and it is smooth in h at 0                       power_checks.py
    and its rates keep from a step to the next       rate_checks.py
    or S_0 is a projection that every step ends with ends_on_manifold.py

A momentum that does not tend to 1 fails the first two, a trace of gradients (m + g, of size 1/h) the first alone. A
step in the sign of something has a flow, which slides along the sign's change, but no order beyond 0 there.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

from flowdyn import _check
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn.methods.ends_on_manifold import ending_of
from flowdyn.methods.identity_on_way import forgotten
from flowdyn.methods.power_checks import LARGER, LOST, SMALL, SMALLEST, check_roots, check_smooth, stands_still
from flowdyn.methods.rate_checks import check_counted, check_ripples, check_schedule, piece_of
from flowdyn.methods.step_precision import check_precision
from flowdyn.methods.step_probes import StepProbes, rate_at
from flowdyn.problems.base import Variable

MOVES = 1e-6  # share of a step that is left at h = 0
STAYS = 1e-14  # share of a direction that rounding may leave after three times dS_0/dz - 1
AWAY = "still changes at eta = 0 once the state has left this start"
TO_ONE = "let its rates tend to 1 with eta, e.g. decay = 1 - c*h"
BEFORE = "keep a velocity (x - before)/h for parameters of before; let rates tend to 1 with eta, e.g. decay = 1 - c*h"


def check_step(flow: Any, state0: np.ndarray) -> None:
    """Refuse a flow whose recursion's step does not do what its order needs at this state."""
    recursion, name = flow.recursion, type(flow.recursion).__name__
    variables = recursion.layout(len(state0))
    check_precision(recursion, _whole_step, len(state0))
    found = _measured(flow, state0)
    rigid = (found["turn"] == 0) & (found["whole"] != 0)  # it moves, and does so wherever it is
    if flow.order and rigid.any() and _takes_signs(recursion, state0):
        raise _check.fail(
            "order",
            f"must be 0 for {name}: its step takes the sign of its state",
            flow.order,
            "its flow slides along the change of sign and no flow of higher order follows it there",
        )
    if not np.isfinite(found["at_zero"]).all():
        where = piece_of(variables, ~np.isfinite(found["at_zero"]))
        raise _check.fail("step", "must be finite as eta -> 0", _check.Words(f"{where} that is not"))
    check_counted(flow, state0)
    scale = np.abs(found["whole"]) + np.finfo(float).eps * np.abs(state0)
    moved = np.abs(found["at_zero"] - state0)
    _check_first(variables, np.where(moved <= MOVES * scale, np.abs(found["first"] - state0), 0.0), scale)
    left = found["cubed"]
    stays = left > np.maximum(STAYS, 0.1 * found["cubed_larger"])  # and does not shrink with h
    moves = moved > MOVES * scale + 8 * np.finfo(float).eps * np.abs(state0)
    check_roots(flow, state0, found)
    carried = found["carried"]  # at order 0 it may be the identity at the start alone: a momentum of 0
    forgets = (carried > MOVES * np.abs(found["rate"]).max(initial=0.0)) & (carried > 0.1 * found["carried_larger"])
    left = found["cubed"] if flow.order else np.where(forgets, carried, 0.0)
    if not flow.order:
        lost = forgotten(flow, state0)
        forgets, left = forgets | (lost > 0), np.maximum(left, lost)
    fails = stays if flow.order else moves | forgets
    if fails.any() and not _ends_on_manifold(flow, state0, moves, moved, stands_still(state0, found)):
        changes = np.where(fails & moves, moved, 0.0)
        has_orders = not (flow.order or flow.recursion.is_mean or stays.any()) and _has_order_1(flow, state0)
        raise _not_identity(flow, variables, np.where(fails, left, 0.0), changes, has_orders)
    if flow.order:
        check_schedule(flow, state0)
    if flow.order and moves.any():
        check_ripples(flow, state0, np.where(moves, moved, 0.0))
    _check_slopes(flow, state0, found)


def _has_order_1(flow: Any, state0: np.ndarray) -> bool:
    """Whether a flow of order 1 is a way out where one of order 0 is refused."""
    try:
        check_step(dataclasses.replace(flow, order=1), state0)
    except _check.ArgumentError:
        return False
    return True


def _whole_step(recursion: Any, z: jax.Array) -> jax.Array:
    return recursion.step_at(recursion.time_step, 1.0, z)


def _check_first(variables: tuple[Variable, ...], first: np.ndarray, scale: np.ndarray) -> None:
    """Refuse a first step that changes at any h what later ones do not."""
    jumps = np.where(first > MOVES * np.maximum(scale, np.finfo(float).tiny), first, 0.0)
    if jumps.any():
        raise _check.fail(
            "step",
            "must tend to the identity as eta -> 0 from the first step on",
            _check.Words(
                f"{piece_of(variables, jumps == jumps.max())} that it changes by {jumps.max():.3g} at any eta"
            ),
            "write eta*k for k, or start it where later steps leave it, with a count of steps behind it (t0 and "
            "moments of an optimiser)",
        )


def _measured(flow: Any, state: np.ndarray) -> dict[str, np.ndarray]:
    """The step near h = 0 and at h, what its derivative leaves of a direction, slopes and the right-hand side."""
    probes = StepProbes(flow.recursion)
    h = probes.h
    aside = np.cos(1.0 + np.arange(len(state)))  # a direction of no special place

    def near(part: float, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # the time is that after one step, so that the step number grows as h shrinks
        after, moved = probes.along(part * h, 1 / part, state, direction)
        return after, moved - direction

    def cubed(first: np.ndarray, part: float) -> np.ndarray:
        powers = [first]
        for _ in range(2):
            powers.append(near(part, powers[-1])[1])
        return np.abs(powers[-1]) / np.maximum(np.abs(powers).max(), np.abs(aside).max())

    rate = rate_at(flow, h, state)
    with np.errstate(all="ignore"):  # what is not finite is refused by its name
        (at_zero, at_smallest), (larger, at_larger), (small, _), (whole, turn) = (
            near(part, aside) for part in (SMALLEST, LARGER, SMALL, 1.0)
        )
        return {
            "at_zero": at_zero,
            "first": probes.along(SMALLEST * h, 0.0, state, aside)[0],
            "larger": larger,
            "small": small,
            "whole": whole - state,
            "turn": turn,
            "cubed": cubed(at_smallest, SMALLEST),
            "cubed_larger": cubed(at_larger, LARGER),
            "carried": np.abs(near(SMALLEST, rate)[1]),
            "carried_larger": np.abs(near(LARGER, rate)[1]),
            "rate": rate,
        }


def _check_slopes(flow: Any, state0: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Refuse a right-hand side that is not finite, not the slope's limit, or nothing but rounding."""
    rate, h = found["rate"], float(flow.recursion.time_step)
    size = np.abs(rate).max()
    if not np.isfinite(rate).all():
        where = piece_of(flow.layout(len(state0)), ~np.isfinite(rate))
        raise _check.fail("step", "must have a slope as eta -> 0", _check.Words(f"{where} whose slope is not finite"))
    if flow.order == 0:
        check_smooth(flow, state0, found)
    lost = flow.drift_rounding(state0)
    if lost > LOST * size:
        raise _check.fail(
            "eta",
            f"must be larger for a flow of order {flow.order} of {type(flow.recursion).__name__}: its slope is a "
            "difference of two states",
            h,
            f"rounding is {lost:.2g} of {size:.2g}; give the increment (S(z) - z)/h itself, or use order=0",
        )


def _not_identity(
    flow: Any, variables: tuple[Variable, ...], left: np.ndarray, moved: np.ndarray, has_orders: bool
) -> _check.ArgumentError:
    found = f"{piece_of(variables, moved == moved.max())} that still changes by {moved.max():.3g} at eta = 0"
    if not moved.any():  # it stands still here, and would not elsewhere
        how = "still forgets where it was at eta = 0" if flow.order else AWAY
        found = f"{piece_of(variables, left == left.max())} that {how}"
    way_out = TO_ONE if moved.any() or flow.order else BEFORE
    own, number = flow.recursion, jax.ShapeDtypeStruct((), jnp.float64)
    if not degree_of(lambda h: own.step_at(h, 1.0, jnp.zeros(sum(v.size for v in variables))), number):
        way_out = "eta does not enter it: multiply by eta what it adds, or let a decay be 1 - c*h"
    more = ", or use order >= 1" if has_orders else ""
    return _check.fail("step", "must tend to the identity as eta -> 0", _check.Words(found), way_out + more)


def _ends_on_manifold(flow: Any, state0: np.ndarray, moves: np.ndarray, moved: np.ndarray, stands: np.ndarray) -> bool:
    """Whether the steps project onto a manifold that the state is on; a start off it and a kink are refused."""
    ending, variables = ending_of(flow.recursion, state0), flow.layout(len(state0))
    has_kink = ending.has_kink & ~stands
    if has_kink.any() and not moves.any():
        raise _check.fail(
            "step",
            "must be smooth in its state at the start",
            _check.Words(f"{piece_of(variables, has_kink)} with a kink there, as a max or a clip has at a tie"),
            "start beside the tie, where a step at eta = 0 changes nothing",
        )
    if ending.is_kept and moves.any():
        raise _check.fail(
            "w0",
            "must be on the manifold that the step projects onto",
            _check.Words(f"{piece_of(variables, moved == moved.max())} at a distance of {moved.max():.3g} from it"),
            "start where a step at eta = 0 leaves it: step(w0, 0)",
        )
    return ending.is_kept


def _takes_signs(recursion: Any, state0: np.ndarray) -> bool:
    """Whether the sign of something that depends on the state enters a step."""
    closed = jax.make_jaxpr(lambda z: recursion.step_at(recursion.time_step, 1.0, z))(state0)
    return _has_sign(closed.jaxpr)


def _has_sign(jaxpr: Any) -> bool:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "sign":
            return True
        if any(_has_sign(inner) for inner in jaxprs_in_params(equation.params)):
            return True
    return False
