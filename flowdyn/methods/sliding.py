r"""Whether the flow of order 0 of a step that jumps slides along the jump:  F_0 points at it from both sides.

    z_{k+1} = z_k + dt F_0(z_k):     F_0,i turns round at step after step, and its two sides stay apart as dt -> 0

A solver's steps shrink there without end. Signs of gradients have a flow that slides exactly, `SignFlow`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn.methods.jumps import narrowed, step_may_jump
from flowdyn.methods.rate_checks import piece_of

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
    found = {name: np.asarray(value) for name, value in bind(_sliding, flow)(start, span).items()}
    least = np.minimum(np.abs(found["before"]), np.abs(found["after"]))
    slides = (found["before"] * found["after"] < 0) & (least > SLIGHT * found["largest"])
    if not slides.any():
        return
    at = int(np.argmin(np.where(slides, found["time"], np.inf)))
    piece = piece_of(own.layout(start.size), np.arange(start.size) == found["entry"][at])
    sides = f"{found['before'][at]:.3g} and {found['after'][at]:.3g}"
    raise _check.fail(
        "t",
        f"must end before the flow of {type(own).__name__} slides along a jump of its step, as of a sign or a kink",
        _check.Words(f"{span:.3g}, and d({piece})/dt turns between {sides} from about t = {found['time'][at]:.3g} on"),
        "solvers do not step along it; for signs of gradients fd.SignDescent(problem, eta).limit(0) slides exactly",
    )


def _sliding(flow: Any, state: jax.Array, span: jax.Array) -> dict[str, jax.Array]:
    """The entries that turn most often, since when, and their rates on either side of a place where they turn."""
    dt = span / STEPS

    def follow(z: jax.Array, k: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        rate = jnp.asarray(flow.drift(k * dt, z))
        return z + dt * rate, (z, rate)

    states, rates = jax.lax.scan(follow, state, jnp.arange(STEPS + 1.0))[1]
    turns = rates[:-1] * rates[1:] < 0  # not where it is not finite
    count = jnp.cumsum(turns, axis=0)
    often = (count[WINDOW:] - count[:-WINDOW]) >= TURNS

    def looked_into(i: jax.Array) -> dict[str, jax.Array]:
        is_turn = turns[:, i] & (jnp.arange(STEPS) > jnp.argmax(often[:, i]))
        k = jnp.argmax(is_turn)
        whole = (states[k], states[k + 1], rates[k, i], rates[k + 1, i])
        before, after = narrowed(
            lambda z: flow.drift(k * dt, z)[i], whole, lambda before, value, after: value * before > 0
        )
        slides = jnp.any(often[:, i]) & is_turn[k]
        largest = jnp.max(jnp.where(jnp.arange(STEPS + 1) <= k, jnp.abs(rates[:, i]), 0.0))
        sides = {"before": jnp.where(slides, before, 0.0), "after": jnp.where(slides, after, 0.0)}
        return sides | {"entry": i, "time": k * dt, "largest": largest}

    most = jax.lax.top_k(jnp.sum(often, axis=0), min(PLACES, state.size))[1]
    return jax.vmap(looked_into)(most)  # what follows a coordinate that slides turns too, without a jump
