r"""Whether the rates of a recursion keep from a step to the next as h -> 0, as those of a flow do.

    u_h(z, k) = (S_h(z, k) - z) / h
    u_h(z, k + 1) - u_h(z, k) -> 0                   k late; else a step counts, and training time tells it nothing
    u_h(z, k) = v(h k) + o(1)                        and not v(k), as that of a schedule which counts steps
    u_h(S_h(z), k + 1) - u_h(z, k) -> 0              order p: what it adds up does not change its rates

A trace of gradients adds up and moves the parameters less and less; a sum of squares that rates are divided by moves
them as much at any h.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn.methods.step_probes import StepProbes
from flowdyn.problems.base import Variable

RIPPLES = (2.0**-20, 2.0**-12)  # of h, at which the rates of two steps are compared
RIPPLED = 1e-3  # change of a rate from a step to the next, as a share, that is none
SLOW = (2.0**-10, 2.0**-14)  # of h, at which rates of steps of one number are compared
FIRST = (0.0, *(2.0**j for j in range(14)))  # numbers of steps, over which little training time passes
SAME = 0.05  # share of a change over the numbers that differs between the two
OFFSET = 16.0  # share of a rate, times 1/k, that an offset of the number makes of it
BRIEF = 2.0**-4  # of h, that steps away from a start have
ON = 4  # of these steps, after which what stands still at a start moves
LATE = 8192  # number of a step, so late that averages over all of them change no more


def check_counted(flow: Any, state0: np.ndarray) -> None:
    """Refuse a step that changes with its number: training time tells it nothing, however small eta is."""
    if not by_structure(_degree_in_number, flow.recursion, len(state0)):
        return
    probes = StepProbes(flow.recursion)
    rates = _rates(probes, RIPPLES[0] * probes.h, LATE + np.arange(8.0), state0)  # of late steps from one state
    change = np.abs(np.diff(rates, axis=0)).max(axis=0) / np.maximum(np.abs(rates).max(), np.finfo(float).tiny)
    if change.max(initial=0.0) > RIPPLED:
        raise _check.fail(
            "step",
            "must depend on its number k through the training time alone",
            _check.Words(
                f"{piece_of(flow.layout(len(state0)), change)} whose rate changes by "
                f"{100 * change.max():.2g} % from a step to the next at any eta"
            ),
            flow.recursion.of_time,
        )


def _degree_in_number(own: Any, size: int) -> float:
    return degree_of(lambda k: own.step_at(own.time_step, k, jnp.zeros(size)), jax.ShapeDtypeStruct((), jnp.float64))


def check_schedule(flow: Any, state0: np.ndarray) -> None:
    """Refuse a step whose first rates are a function of its number: they take no training time as eta -> 0."""
    own = flow.recursion
    if not own.is_users or by_structure(_degree_in_number, own, len(state0)) == 0:
        return
    first, later, beside = _first_rates(own, state0)  # (2, numbers, S) each
    rounding = 8 * np.abs(later - beside).max(axis=(0, 1))
    rounding += 8 * np.finfo(float).eps * np.abs(state0) / (SLOW[1] * float(own.time_step))
    size = max(np.abs(first).max(), np.abs(later).max(), np.finfo(float).tiny)
    change = np.nan_to_num(np.ptp(later, axis=1).max(axis=0))
    # what starts from nothing is a function of k at the start alone, what moves nothing yet only later
    is_short = _of_number(first, rounding) & _of_number(later, rounding)
    # a step that is no identity there, as that of parameters of before, has a rate of 1/h, at a number or at a time
    is_rate = np.abs(later[1, -1]) * SLOW[1] < 0.5 * np.abs(later[0, -1]) * SLOW[0] + np.finfo(float).tiny
    is_long = is_rate & _is_long(later, rounding)
    counted = np.where((is_short | is_long) & (change > RIPPLED * size), change / size, 0.0)
    if not counted.any():
        return
    piece = piece_of(flow.layout(len(state0)), counted == counted.max())
    raise _check.fail(
        "step",
        "must depend on its number k through the training time alone; a schedule or a fixed rate counts steps",
        _check.Words(f"{piece} whose rate changes by {100 * counted.max():.0f} % over the first steps at any eta"),
        own.of_time,
    )


def _of_number(rates: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Which entries (S,) change with the number, and by the same at both time steps: u_h(z, k) = v(k)."""
    change, between = np.ptp(rates[0], axis=0), np.abs(rates[0] - rates[1]).max(axis=0)
    return np.logical_and(change > rounding, between < SAME * change)


def _is_long(rates: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Which entries (S,) are not the same at the same times; what falls like 1/k, as k/(k + 3), is let pass."""
    times = 16 * 2.0 ** np.arange(len(FIRST) - 9)[:, None]  # in steps of the larger h; the other is 2^-4 of it
    one, other = rates[0, 5:-4], rates[1, 9:]
    size = np.maximum(np.abs(one), np.abs(other))
    return np.asarray((np.abs(one - other) > (SAME + OFFSET / times) * size + rounding).any(axis=0))


def _first_rates(recursion: Any, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates at the numbers FIRST at two small h, from the state, from that a few steps on, and from beside that."""
    probes = StepProbes(recursion)

    def rates(z: np.ndarray) -> np.ndarray:
        return np.stack([_rates(probes, part * probes.h, FIRST, z) for part in SLOW])

    moved = probes.path(BRIEF * probes.h, ON, state)[-1]
    return rates(state), rates(moved), rates(moved * (1 + 2.0**-40))


def _rates(probes: StepProbes, h: float, numbers: Sequence[float] | np.ndarray, z: np.ndarray) -> np.ndarray:
    """Rates (N, S) of the steps of these numbers and of length h from a state (S,)."""
    with np.errstate(all="ignore"):
        return np.stack([(probes.after(h, k, z) - z) / h for k in numbers])


def check_ripples(flow: Any, state0: np.ndarray, moved: np.ndarray) -> None:
    """Refuse rates that change from a step to the next however small eta is: what adds up in a step steers them.

    A trace of gradients adds up too, but moves the parameters by less and less. Where the change stays the first steps
    leave a gap O(eta) that no order mends: with u = -g/sqrt(s), s+ = s + g^2 (Adagrad), u changes by g^2/(2 s).
    """
    variables = flow.layout(len(state0))
    small, large, size = map(np.asarray, bind(_ripples, flow)(state0))
    lost = 8 * np.finfo(float).eps * np.abs(state0) / (RIPPLES[0] * float(flow.recursion.time_step))
    stays = (small > 0.1 * large) & (small > RIPPLED * size + lost)
    if not stays.any():
        return
    share = np.where(stays, small / np.maximum(size, np.finfo(float).tiny), 0.0)
    raise _check.fail(
        "step",
        f"must keep its rates from a step to the next as eta -> 0 for a flow of order {flow.order}",
        _check.Words(f"{piece_of(variables, stays)} whose rate changes by {100 * share.max():.2g} %"),
        f"{piece_of(variables, moved > 0)} changes by {moved.max():.3g} a step at any eta, so that the gap is O(eta) "
        "at every order: let it change by eta times that, or start it at a size of 1/eta",
    )


def _ripples(flow: Any, state: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Change of the rates from the first step to the second at two small h, and their size there and at h."""
    own, h = flow.recursion, flow.recursion.time_step
    is_fresh = jnp.all(own.lift(own.project(state)) == state)  # then it starts at small h as it does there

    def of(part: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = own.with_eta((part * h) ** (1 / own.step_power)).lift(own.project(state))
        start = jnp.where(is_fresh, start, state)
        first = own.step_at(part * h, 1 / part, start)
        rate = (first - start) / (part * h)
        return jnp.abs((own.step_at(part * h, 1 + 1 / part, first) - first) / (part * h) - rate), jnp.abs(rate)

    changes, sizes = jax.vmap(of)(jnp.array([*RIPPLES, 1.0]))
    return changes[0], changes[1], jnp.maximum(sizes[0], sizes[2])


def piece_of(variables: tuple[Variable, ...], fails: np.ndarray) -> str:
    """Name of the piece of the state in which something fails."""
    edges = np.cumsum([v.size for v in variables])
    return repr(variables[int(np.searchsorted(edges, int(np.argmax(fails)), side="right"))].name)
