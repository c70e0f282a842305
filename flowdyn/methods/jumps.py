r"""Whether a recursion's path meets a jump of its step:  u_h(z) = (S_h(z) - z) / h  turns round between two states.

    u_i(z_k) u_i(z_{k+1}) < 0,     z-, z+ of the segment with z+ - z- -> 0:     u_i(z-), u_i(z+) stay apart

A sign that follows the path (Lion's, Yogi's, a `where` between two numbers) has no flow of order beyond 0: where the
path meets it the gap is O(h). Kinks (a clip) and what is steep pass: their u_i meet at 0. So does what jumps with the
gradient of the loss, which may be less smooth than theory asks, and jumps that the path does not meet. The path is that
of the same method in at most 200 steps.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn._tools.dependence import may_jump
from flowdyn.methods.step_probes import StepProbes
from flowdyn.problems.base import Vector

STEPS = 200  # of the path
PLACES = 8  # that are looked into
MOST_ENTRIES = 10_000_000  # of the path, 80 MB
HALVINGS = 50
TURNS = 0.25  # share of the larger side that the smaller one of a jump is
SLIGHT = 1e-3  # of a component's largest rate, below which a jump is not told from rounding
SMOOTH = 1e-6  # change of a gradient, as a share, that is none


def check_path(flow: Any, state0: np.ndarray, span: float) -> None:
    """Refuse a flow of order beyond 0 whose recursion's path meets a jump of its step within a time."""
    own, start = flow.recursion, np.asarray(state0, dtype=float)
    if not flow.order or not own.is_users or start.size * STEPS > MOST_ENTRIES:
        return
    if not by_structure(step_may_jump, own, len(start)):
        return
    with np.errstate(all="ignore"):  # what is not finite does not turn
        found, largest = _turns(flow, start, float(span))
    variables = own.layout(len(start))
    edges = np.cumsum([0, *(v.size for v in variables)])
    least = SLIGHT * largest
    if own.on_problem is None:  # a user's own step may hold a loss with kinks, whose jumps are small in their piece
        least = TURNS * np.repeat(np.maximum.reduceat(largest, edges[:-1]), np.diff(edges))
    jumps = [turn for turn in found if _is_jump(turn, least)]
    if not jumps:
        return
    first = min(jumps, key=lambda turn: turn["time"])
    piece = variables[int(np.searchsorted(edges, first["entry"], side="right")) - 1].name
    change = f"d({piece})/dt goes from {first['before']:.3g} to {first['after']:.3g} at once"
    raise _check.fail(
        "order",
        f"must be 0 for {type(own).__name__}: its step jumps on the way, as signs do",
        _check.Words(f"{flow.order}, and near t = {first['time']:.3g} {change}"),
        "no flow of higher order follows it there",
    )


def _is_jump(turn: dict[str, float], least: np.ndarray) -> bool:
    """Whether neither side of a turn is slight, beside the other or beside what counts (S,)."""
    low, high = sorted((abs(turn["before"]), abs(turn["after"])))
    return low >= TURNS * high and low >= least[int(turn["entry"])]


def step_may_jump(own: Any, size: int) -> bool:
    """Whether something in a recursion's step jumps in its state (S,), wherever that is."""
    return may_jump(lambda z: own.step_at(own.time_step, 1.0, z), jax.ShapeDtypeStruct((size,), jnp.float64))


def narrowed(rate: Callable, ends: tuple, is_low: Callable) -> tuple:
    """Rates on the two sides of a jump between the `ends`, two states and their rates, by bisection.

    ``is_low(before, value, after)`` tells whether the middle is on the side of the first.
    """

    def halve(_: int, ends: tuple) -> tuple:
        low, high, before, after = ends
        middle = 0.5 * (low + high)
        value = rate(middle)
        on_low, on_high = (middle, high, value, after), (low, middle, before, value)
        return tuple(jnp.where(is_low(before, value, after), a, b) for a, b in zip(on_low, on_high, strict=True))

    _, _, before, after = jax.lax.fori_loop(0, HALVINGS, halve, ends)
    return before, after


def _turns(flow: Any, state: np.ndarray, span: float) -> tuple[list[dict[str, float]], np.ndarray]:
    """Where an entry of the rates along the path turns round, its rates on either side, and the largest of each entry.

    What jumps with the gradient of the loss is left out.
    """
    own, probes = flow.recursion, StepProbes(flow.recursion)
    h = max(probes.h, span / STEPS)
    states = probes.path(h, STEPS, state)
    rates = np.diff(states, axis=0) / h
    is_there = np.isfinite(states[1:]).all(axis=1) & (h * np.arange(STEPS) <= span)
    size = np.where(np.logical_and.accumulate(is_there)[:, None], np.abs(rates), 0.0)
    largest = size.max(axis=0)
    lower = np.where(rates[:-1] * rates[1:] < 0, np.minimum(size[:-1], size[1:]), 0.0)
    shares = np.minimum(lower / np.where(largest > 0, largest, 1.0), TURNS).ravel()
    places = np.argsort(-shares, kind="stable")[:PLACES]  # the first ones of those that count
    found = []
    for place in places[lower.ravel()[places] > 0]:
        k, i = divmod(int(place), state.size)
        low, high, before, after = _either_side(probes, h, k, i, states)
        if before * after < 0 and _is_smooth_between(own, low, high):
            found.append({"before": before, "after": after, "entry": i, "time": k * h})
    return found, largest


def _either_side(probes: StepProbes, h: float, k: int, i: int, states: np.ndarray) -> tuple:
    """Two states about a place where an entry of the rate of step k turns round, and the entry there, by bisection."""

    def rate(z: np.ndarray) -> float:
        return (probes.after(h, k, z)[i] - z[i]) / h

    low, high = states[k], states[k + 1]
    return bisected(rate, (low, high, (high[i] - low[i]) / h, rate(high)))  # the number k for both: that is no jump


def bisected(rate: Callable, ends: tuple) -> tuple:
    """Two states about a place where a rate turns round, and its values there, from two states with theirs."""
    low, high, before, after = ends
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        value = rate(middle)
        if value * before > 0:
            low, before = middle, value
        else:
            high, after = middle, value
    return low, high, before, after


def _is_smooth_between(own: Any, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether the gradient of the loss, where there is one, is the same at two states that are about the same."""
    if own.on_problem is None:
        return True
    one, other = (np.asarray(bind(_gradient, own)(z)) for z in (low, high))
    return bool(np.abs(one - other).max() <= SMOOTH * np.maximum(np.abs(one).max(), np.finfo(float).tiny))


def _gradient(own: Any, state: jax.Array) -> Vector:
    return own.on_problem.grad(own.project(state))
