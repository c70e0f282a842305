"""Right-hand sides as functions of (system, t, state), for :func:`flowdyn._tools.compiled.bind`."""

import jax
import jax.numpy as jnp

from flowdyn.methods.step_probes import drift as drift
from flowdyn.methods.systems import ODESystem, SDESystem
from flowdyn.problems.base import Vector


def diffusion(system: SDESystem, t: jax.Array, state: jax.Array) -> Vector:
    """Diffusion (S, m)."""
    return system.diffusion(t, state)


def slope(system: ODESystem, t: jax.Array, state: jax.Array, direction: jax.Array) -> jax.Array:
    """Derivative of the drift along a direction."""
    return jax.jvp(lambda s: system.drift(t, s), (state,), (direction,))[1]


def has_jacobian(system: ODESystem, size: int) -> bool:
    """Whether JAX can differentiate the drift forwards: not a call back to numpy, nor a rule of one's own backwards."""
    try:
        # along several directions: along one alone JAX refuses the latter no earlier than it compiles
        along = jax.vmap(lambda y, way: slope(system, jnp.zeros(()), y, way), in_axes=(None, 0))
        jax.eval_shape(along, jax.ShapeDtypeStruct((size,), float), jax.ShapeDtypeStruct((2, size), float))
    except (NotImplementedError, TypeError, ValueError):
        return False
    return True


def jacobian(system: ODESystem, t: jax.Array, state: jax.Array) -> jax.Array:
    """Derivative (S, S) of the drift in the state."""
    return jax.jacfwd(lambda y: system.drift(t, y))(state)
