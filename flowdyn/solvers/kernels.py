"""Right-hand sides as functions of (system, t, state), for :func:`flowdyn._tools.compiled.bind`."""

import jax

from flowdyn.methods.step_probes import drift as drift
from flowdyn.methods.systems import ODESystem, SDESystem
from flowdyn.problems.base import Vector


def diffusion(system: SDESystem, t: jax.Array, state: jax.Array) -> Vector:
    """Diffusion (S, m)."""
    return system.diffusion(t, state)


def slope(system: ODESystem, t: jax.Array, state: jax.Array, direction: jax.Array) -> jax.Array:
    """Derivative of the drift along a direction."""
    return jax.jvp(lambda s: system.drift(t, s), (state,), (direction,))[1]


def jacobian(system: ODESystem, t: jax.Array, state: jax.Array) -> jax.Array:
    """Derivative (S, S) of the drift in the state."""
    return jax.jacfwd(lambda y: system.drift(t, y))(state)
