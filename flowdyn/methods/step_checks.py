r"""Whether a recursion has a flow at all: what is measured of its step before the flow is solved.

    S_h(z) - z -> 0 as h -> 0                        order 0: the step tends to the identity
    dS_0/dz F_0 = F_0                                order 0: and is it on the way too
    (dS_0/dz - 1)^3 = 0                              order p: at most it adds up what stands still
    (S_h(z) - z) / h -> F_0(z)                       order 0: the step is smooth in h at 0
    S_h(z) - z ~ h^q, 0 < q < 1                      never: training time is another power of eta
    and its rates keep from a step to the next       rate_checks.py
    or S_0 is a projection that every step ends with ends_on_manifold.py

A momentum that does not tend to 1 fails the first two, a trace of gradients (m + g, of size 1/h) the first alone. A
step in the sign of something has a flow, which slides along the sign's change, but no order beyond 0 there.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn.methods.ends_on_manifold import ending_of
from flowdyn.methods.rate_checks import check_counted, check_ripples, check_schedule, piece_of
from flowdyn.problems.base import Variable

SMALLEST, LARGER = 2.0**-30, 2.0**-20  # of h: the step at about h = 0, where one may be defined only for h > 0
SMALL = 2.0**-12  # of h, for the slope near h = 0
MOVES = 1e-6  # share of a step that is left at h = 0
STAYS = 1e-14  # share of a direction that rounding may leave after three times dS_0/dz - 1
ROOTS = 1e4  # roundings of a change from which its power of h is read
CLOSER = 0.02  # share of that distance that is left at LARGER where it shrinks with h
ROUGH = 0.05  # distance of the slope near 0 from the rate at 0, as a share
AWAY = "still changes at eta = 0 once the state has left this start"
LOST = 0.01  # share of the slope that may be rounding


def check_step(flow: Any, state0: np.ndarray) -> None:
    """Refuse a flow whose recursion's step does not do what its order needs at this state."""
    recursion, name = flow.recursion, type(flow.recursion).__name__
    variables = recursion.layout(len(state0))
    found = {key: np.asarray(value) for key, value in bind(_measured, flow)(state0).items()}
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
    _check_roots(flow, state0, found)
    carried = found["carried"]  # at order 0 it may be the identity at the start alone: a momentum of 0
    forgets = (carried > MOVES * np.abs(found["rate"]).max(initial=0.0)) & (carried > 0.1 * found["carried_larger"])
    left = found["cubed"] if flow.order else np.where(forgets, carried, 0.0)
    fails = stays if flow.order else moves | forgets
    if fails.any() and not _ends_on_manifold(flow, state0, moves, moved):
        changes = np.where(fails & moves, moved, 0.0)
        raise _not_identity(flow, variables, np.where(fails, left, 0.0), changes, not stays.any())
    if flow.order:
        check_schedule(flow, state0)
    if flow.order and moves.any():
        check_ripples(flow, state0, np.where(moves, moved, 0.0))
    _check_slopes(flow, state0, found)


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
            "start it where later steps leave it, with a count of steps behind it (t0 and moments of an optimiser)",
        )


def _measured(flow: Any, state: jax.Array) -> dict[str, jax.Array]:
    """The step near h = 0 and at h, what its derivative leaves of a direction, slopes and the right-hand side."""
    recursion = flow.recursion
    h = recursion.time_step

    def near(part: Any, z: jax.Array) -> jax.Array:
        # the time is that after one step, so that the step number grows as h shrinks
        return recursion.step_at(part * h, 1 / part, z)

    def excess(part: Any, direction: jax.Array) -> jax.Array:
        return jax.jvp(lambda z: near(part, z), (state,), (direction,))[1] - direction

    aside = jnp.cos(1.0 + jnp.arange(len(state)))  # a direction of no special place

    def cubed(part: jax.Array) -> jax.Array:
        def again(v: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            return excess(part, v), excess(part, v)

        last, powers = jax.lax.scan(again, aside, None, length=3)
        return jnp.abs(last) / jnp.maximum(jnp.max(jnp.abs(powers)), jnp.max(jnp.abs(aside)))

    left = jax.vmap(cubed)(jnp.array([SMALLEST, LARGER]))
    rate = flow.drift(h, state)
    carried = jnp.abs(jax.vmap(lambda part: excess(part, rate))(jnp.array([SMALLEST, LARGER])))
    at_zero, larger, small = jax.vmap(lambda part: near(part, state))(jnp.array([SMALLEST, LARGER, SMALL]))
    return {
        "at_zero": at_zero,
        "first": recursion.step_at(SMALLEST * h, jnp.zeros(()), state),
        "larger": larger,
        "small": small,
        "whole": recursion.step_at(h, 1.0, state) - state,
        "turn": excess(1.0, aside),
        "cubed": left[0],
        "cubed_larger": left[1],
        "carried": carried[0],
        "carried_larger": carried[1],
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
        _check_smooth(flow, state0, found)
    lost = flow.drift_rounding(state0)
    if lost > LOST * size:
        raise _check.fail(
            "eta",
            f"must be larger for a flow of order {flow.order} of {type(flow.recursion).__name__}: its slope is a "
            "difference of two states",
            h,
            f"rounding is {lost:.2g} of {size:.2g}; give the increment (S(z) - z)/h itself, or use order=0",
        )


def _check_smooth(flow: Any, state0: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Refuse a rate at h = 0 that the slopes do not tend to: of a polynomial in h the distance is O(h)."""
    h, eps = float(flow.recursion.time_step), np.finfo(float).eps * np.abs(state0).max()
    near, nearer = (found["small"] - state0) / (SMALL * h), (found["larger"] - state0) / (LARGER * h)
    apart, closer = np.abs(found["rate"] - near), np.abs(found["rate"] - nearer)
    is_off = apart > ROUGH * np.abs(near).max() + 4 * eps / (SMALL * h)
    is_off &= closer > CLOSER * apart + 4 * eps / (LARGER * h)
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


def _check_roots(flow: Any, state0: np.ndarray, found: dict[str, np.ndarray]) -> None:
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


def _not_identity(
    flow: Any, variables: tuple[Variable, ...], left: np.ndarray, moved: np.ndarray, has_orders: bool
) -> _check.ArgumentError:
    found = f"{piece_of(variables, moved == moved.max())} that still changes by {moved.max():.3g} at eta = 0"
    if not moved.any():  # it stands still here, and would not elsewhere
        how = "still forgets where it was at eta = 0" if flow.order else AWAY
        found = f"{piece_of(variables, left == left.max())} that {how}"
    way_out = "let its rates tend to 1 with eta, e.g. decay = 1 - c*h"
    more = ", or use order >= 1" if has_orders and not flow.order else ""
    return _check.fail("step", "must tend to the identity as eta -> 0", _check.Words(found), way_out + more)


def _ends_on_manifold(flow: Any, state0: np.ndarray, moves: np.ndarray, moved: np.ndarray) -> bool:
    """Whether the steps project onto a manifold that the state is on; a start off it and a kink are refused."""
    ending, variables = ending_of(flow.recursion, state0), flow.layout(len(state0))
    if ending.has_kink.any() and not moves.any():
        raise _check.fail(
            "step",
            "must be smooth in its state at the start",
            _check.Words(f"{piece_of(variables, ending.has_kink)} with a kink there, as a max or a clip has at a tie"),
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
