r"""Whether the step of a sample jumps where a random recursion goes:  u_i(z) = (S_h(z, x_i) - z) / h  on either side.

    z-, z+ of a segment with z+ - z- -> 0:     u_i(z-), u_i(z+) stay apart

A sign or a choice that depends on state and sample has the derivative 0 almost everywhere, and the mean over samples
steps by it: b'b of order 2 is lost without a word, and "order 2" is order 1 again. Kinks (a clip) pass, and jumps that
neither the mean nor a few paths with the noise of the recursion meet.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn._tools.dependence import may_jump
from flowdyn.methods.jumps import narrowed
from flowdyn.methods.rate_checks import piece_of

PATHS = 4  # the mean's, and some with noise
STEPS = 100  # of a path
PLACES = 32  # that are looked into
MOST_ENTRIES = 20_000_000  # of the rates of all samples along all paths, 160 MB
JUMPS = 0.25  # share of the largest rate that a jump is


def check_samples(equation: Any, state0: np.ndarray, span: float) -> None:
    """Refuse an equation beyond order 1 of a user's random recursion where the step of a sample jumps on the way."""
    own, start = equation.recursion, np.asarray(state0, dtype=float)
    if equation.order < 2 or not own.is_users or PATHS * STEPS * (own.noise_size + 1) * start.size > MOST_ENTRIES:
        return
    if not by_structure(_samples_may_jump, own, start.size):
        return
    found = {name: np.asarray(value) for name, value in bind(_largest_changes, equation)(start, span).items()}
    gap = np.abs(found["after"] - found["before"])
    rounding = 64 * np.finfo(float).eps * np.abs(start).max(initial=0.0) / float(own.time_step)
    jumps = (gap >= JUMPS * found["largest"]) & (gap > rounding)
    if not jumps.any():
        return
    at = int(np.argmax(np.where(jumps, gap, 0.0)))
    piece = piece_of(own.layout(start.size), np.arange(start.size) == found["entry"][at])
    change = f"d({piece})/dt of a sample goes from {found['before'][at]:.3g} to {found['after'][at]:.3g} at once"
    raise _check.fail(
        "order",
        f"must be 1 for {type(own).__name__}: the step of a sample jumps on the way, as signs do",
        _check.Words(f"{equation.order}, and near t = {found['time'][at]:.3g} {change}"),
        "derivatives do not see a jump; signs of Gaussian noise have their equations in fd.SignSGD",
    )


def _samples_may_jump(own: Any, size: int) -> bool:
    return may_jump(lambda z: _rates(own, z), jax.ShapeDtypeStruct((size,), jnp.float64))


def _outcomes(own: Any) -> jax.Array:
    """What a step is called with: every sample, or no noise and each normal alone."""
    return jnp.arange(own.outcomes) if own.outcomes else jnp.eye(own.noise_size + 1, own.noise_size, k=-1)


def _rates(own: Any, state: jax.Array) -> jax.Array:
    """Rates of all outcomes, (N, S)."""
    h = own.time_step
    return jax.vmap(lambda x: (own.next_state(h, state, x) - state) / h)(_outcomes(own))


def _largest_changes(equation: Any, state: jax.Array, span: jax.Array) -> dict[str, jax.Array]:
    """Rates on either side of the places where that of a sample changes most between two states of a path."""
    own = equation.recursion
    h = own.time_step
    longer = jnp.maximum(h, span / STEPS)
    steps = jnp.minimum(span / longer, STEPS)

    def path(key: jax.Array, noise: jax.Array) -> jax.Array:
        def follow(z: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
            xi = noise * jax.random.normal(jax.random.fold_in(key, k), (own.noise_size,))
            after = own.mean_at(longer, z) + jnp.sqrt(h / longer) * xi @ own.fluctuations(longer, z)
            after = jnp.where(jnp.isfinite(after).all() & (k < steps), after, z)  # it ends there
            return after, after

        return jnp.concatenate([state[None], jax.lax.scan(follow, state, jnp.arange(STEPS))[1]])

    states = jax.vmap(path)(jax.random.split(jax.random.key(0), PATHS), jnp.arange(PATHS) > 0)  # (P, T + 1, S)
    rates = jax.vmap(jax.vmap(lambda z: _rates(own, z)))(states)  # (P, T + 1, N, S)
    largest = jnp.nanmax(jnp.abs(rates))
    change = jnp.nan_to_num(jnp.abs(jnp.diff(rates, axis=1)))
    found = jax.lax.top_k(change.ravel(), min(PLACES, change.size))[1]

    def looked_into(place: jax.Array) -> dict[str, jax.Array]:
        p, k, i, j = jnp.unravel_index(place, change.shape)
        x = _outcomes(own)[i]
        ends = (states[p, k], states[p, k + 1], rates[p, k, i, j], rates[p, k + 1, i, j])
        before, after = narrowed(
            lambda z: ((own.next_state(h, z, x) - z) / h)[j],
            ends,
            lambda before, value, after: jnp.abs(value - before) <= jnp.abs(after - value),  # most of the change later
        )
        return {"before": before, "after": after, "entry": j, "time": k * longer}

    return jax.vmap(looked_into)(found) | {"largest": largest}
