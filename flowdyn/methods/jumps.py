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
    found = {name: np.asarray(value) for name, value in bind(_turns, flow)(start, jnp.asarray(float(span))).items()}
    variables = own.layout(len(start))
    edges = np.cumsum([0, *(v.size for v in variables)])
    places = np.searchsorted(edges, found["entry"], side="right") - 1
    least = SLIGHT * found["largest"][found["entry"]]
    if own.on_problem is None:  # a user's own step may hold a loss with kinks, whose jumps are small in their piece
        least = TURNS * np.maximum.reduceat(found["largest"], edges[:-1])[places]
    low, high = (pick(np.abs([found["before"], found["after"]]), axis=0) for pick in (np.min, np.max))
    jumps = found["turns"] & (low >= TURNS * high) & (low >= least) & (found["rough"] <= SMOOTH)
    if not jumps.any():
        return
    at = int(np.argmin(np.where(jumps, found["time"], np.inf)))
    piece = variables[places[at]].name
    change = f"d({piece})/dt goes from {found['before'][at]:.3g} to {found['after'][at]:.3g} at once"
    raise _check.fail(
        "order",
        f"must be 0 for {type(own).__name__}: its step jumps on the way, as signs do",
        _check.Words(f"{flow.order}, and near t = {found['time'][at]:.3g} {change}"),
        "no flow of higher order follows it there",
    )


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


def _turns(flow: Any, state: jax.Array, span: jax.Array) -> dict[str, jax.Array]:
    """Where an entry of the rates along the path turns round, and its rates on either side of that place."""
    own = flow.recursion
    h = jnp.maximum(own.time_step, span / STEPS)

    def follow(carry: tuple, _: None) -> tuple[tuple, Vector]:
        k, z = carry
        return (k + 1, own.step_at(h, k, z)), z

    states = jax.lax.scan(follow, (jnp.zeros(()), state), None, length=STEPS + 1)[1]
    rates = jnp.diff(states, axis=0) / h
    is_there = jnp.isfinite(states[1:]).all(axis=1) & (h * jnp.arange(STEPS) <= span)
    size = jnp.where(jnp.cumprod(is_there)[:, None] > 0, jnp.abs(rates), 0.0)
    largest = jnp.max(size, axis=0)
    lower = jnp.where(rates[:-1] * rates[1:] < 0, jnp.minimum(size[:-1], size[1:]), 0.0)
    shares = lower / jnp.where(largest > 0, largest, 1.0)
    places = jax.lax.top_k(jnp.minimum(shares, TURNS).ravel(), PLACES)[1]  # the first ones of those that count

    def looked_into(place: jax.Array) -> dict[str, jax.Array]:
        k, i = place // state.size, place % state.size

        def halve(ends: tuple, is_first: jax.Array) -> tuple[tuple, None]:
            low, high, before, after = ends
            middle = jnp.where(is_first, high, 0.5 * (low + high))
            rate = (own.step_at(h, k * 1.0, middle)[i] - middle[i]) / h
            is_low = rate * before > 0
            low, before = jnp.where(is_low, middle, low), jnp.where(is_low, rate, before)
            return (low, jnp.where(is_low, high, middle), before, jnp.where(is_low, after, rate)), None

        whole = (states[k], states[k + 1], rates[k, i], jnp.zeros(()))
        low, high, before, after = jax.lax.scan(halve, whole, jnp.arange(HALVINGS) == 0)[0]
        rough = jnp.zeros(())
        if own.on_problem is not None:
            one, other = jax.vmap(lambda z: own.on_problem.grad(own.project(z)))(jnp.stack([low, high]))
            rough = jnp.max(jnp.abs(one - other)) / jnp.maximum(jnp.max(jnp.abs(one)), jnp.finfo(float).tiny)
        turns = (before * after < 0) & (lower.ravel()[place] > 0)
        return {"turns": turns, "before": before, "after": after, "rough": rough, "entry": i, "time": k * h}

    return jax.vmap(looked_into)(places) | {"largest": largest}
