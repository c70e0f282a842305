"""Compiled loops of recursions:  state_{k+1} = step(k, state_k),  from one save to the next."""

from typing import Any

import jax
import jax.numpy as jnp

from flowdyn.methods.base import DiscreteSystem
from flowdyn.solvers.base import HUGE


def advance(system: DiscreteSystem, k: jax.Array, state: jax.Array, targets: jax.Array) -> tuple:
    """Run to each of the step numbers `targets`; where it ends, the states there, and no stop."""

    def save(carry: tuple, target: jax.Array) -> tuple:
        start, state = carry
        state = jax.lax.fori_loop(start, target, lambda k, s: system.step(k, s), state)
        return (target, state), state

    out: Any = jax.lax.scan(save, (k, state), targets)
    (k, state), rows = out
    return k, state, rows, False


def advance_until(
    system: DiscreteSystem, traced, spec: tuple, k: jax.Array, state: jax.Array, targets: jax.Array, limits: jax.Array
) -> tuple:
    """As :func:`advance`, but stays where it is from the first step at which a stop rule holds."""

    def save(carry: tuple, target: jax.Array) -> tuple:
        def going(inner: tuple) -> jax.Array:
            return (inner[0] < target) & ~inner[2]

        def step(inner: tuple) -> tuple:
            k, state, _ = inner
            state = system.step(k, state)
            return k + 1, state, traced(system, spec, state, limits) >= 0

        carry = jax.lax.while_loop(going, step, carry)
        return carry, carry[1]

    carry = (k, state, traced(system, spec, state, limits) >= 0)
    out: Any = jax.lax.scan(save, carry, targets)
    (k, state, hit), rows = out
    return k, state, rows, hit


def first_bad(system: DiscreteSystem, k: jax.Array, state: jax.Array, end: jax.Array) -> tuple:
    """First step after which the state is not finite or beyond HUGE, with that state and the one before."""

    def going(carry: tuple) -> jax.Array:
        return (carry[0] < end) & (jnp.max(jnp.abs(carry[1])) <= HUGE)

    def step(carry: tuple) -> tuple:
        return carry[0] + 1, system.step(carry[0], carry[1]), carry[1]

    return jax.lax.while_loop(going, step, (k, state, state))
