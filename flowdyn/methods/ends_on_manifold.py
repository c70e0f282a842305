r"""Whether every step ends on a manifold that a step of no length keeps, as one that ends by a projection does.

    S_0(S_h(z)) = S_h(z)                             and S_0 smooth: then S_0 is a projection onto M = {z: S_0(z) = z}

On M the recursion is a map M -> M that tends to the identity, so that its flows of every order exist there. Off M a
step does not tend to the identity, but the difference form needs no more than M: from z at a distance n it has the
slopes (-n/h, 0, 0, ...), F_p(z) = -(1 + 1/2 + ... + 1/(p+1)) n/h + O(h^{p+1}), which holds the flow within O(h^{p+2})
of M, and its gap along M is O(h^{p+1}) as that of any flow is.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.compiled import bind

NOTHING = 2.0**-30  # of h: a step of no length, where one may be defined only for h > 0
ASIDE = 2.0**-10  # of the state, how far off M a step begins
KEPT = 1e-6  # share of what a step moves that one of no length may move after it
KINKED = 0.05  # share of a difference that two sides may differ by


class Ending(NamedTuple):
    """What a step of no length does with what steps end on."""

    is_kept: bool  # where any step ends it changes nothing
    has_kink: np.ndarray  # (S,) which entries of it turn at the state itself, as a maximum at a tie does


def ending_of(recursion: Any, state: np.ndarray) -> Ending:
    """What a step of no length does after a step from a state (S,), and from one beside it."""
    found = {name: np.asarray(value) for name, value in bind(_ending, recursion)(state).items()}
    rounding = 8 * np.finfo(float).eps * np.abs(state).max(initial=0.0)
    is_kept = bool((found["again"] <= KEPT * found["moved"] + rounding).all())  # not so where it is not finite
    return Ending(is_kept, found["apart"] > KINKED * found["aside"] + rounding)


def _ending(recursion: Any, state: jax.Array) -> dict[str, jax.Array]:
    """How far a step of no length moves the ends of two steps, and how it differs on two sides of the state."""
    h = recursion.time_step

    def of_no_length(z: jax.Array) -> jax.Array:
        return recursion.step_at(NOTHING * h, 1 / NOTHING, z)

    size = jnp.max(jnp.abs(state))  # beside a state of zeros a step of no size would say nothing
    shift = ASIDE * jnp.where(size > 0, size, 1.0) * jnp.cos(1.0 + jnp.arange(state.size))
    starts = jnp.stack([state, state + shift])
    ends = jax.vmap(lambda z: recursion.step_at(h, 1.0, z))(starts)
    again = jnp.max(jnp.abs(jax.vmap(of_no_length)(ends) - ends), axis=1)
    small = ASIDE * shift  # a smooth step's second difference is of the order of its square
    here, up, down = of_no_length(state), of_no_length(state + small), of_no_length(state - small)
    return {
        "again": again,
        "moved": jnp.max(jnp.abs(ends - starts), axis=1),
        "apart": jnp.abs(up + down - 2 * here),
        "aside": jnp.max(jnp.abs(small)),
    }
