r"""Flows that are held inside a set by a force: what they declare to the solver that steps and projects them.

state' = f(state) + sum_p x_p B_p(state),    0 <= X  ⟂  C(state) >= 0         X = sum_p x_p E_p, C symmetric (K, K)
d/dt C = alpha + beta[X]
"""

import abc
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from flowdyn._tools.quick_compilation import compiles_quickly
from flowdyn.methods.systems import System
from flowdyn.problems.base import Time, Vector

INSIDE = 1e-9  # excess over the edge that is rounding
ROUNDS = 8  # Newton steps of a projection


class Look(NamedTuple):
    """What holds a state: rates of the distances from the edge, and the forces that change them."""

    distance: jax.Array  # (K,), from the edge, in ascending order
    beyond: jax.Array  # excess over the edge of the first direction that is not followed
    free: jax.Array  # (S,), velocity without force
    forces: jax.Array  # (q, S), velocity for each coordinate of X
    alpha: jax.Array  # (q,), rates without force
    beta: jax.Array  # (q, q), rates for each coordinate of X
    modes: jax.Array  # (K, P), critical directions u_a
    memory: jax.Array  # eigenvectors to start from at a state nearby


class ProjectedSystem(System):
    """A system that is held inside a set; its solver projects back onto it after each step."""

    kind: ClassVar[str] = "a flow that is projected at each step"
    one_at_a_time: ClassVar[bool] = True

    @abc.abstractmethod
    def look(self, state: Vector, memory: jax.Array | None = None) -> Look:
        """What a step needs to know of a state."""

    @abc.abstractmethod
    def room(self, look: Look, horizon: Time) -> jax.Array:
        """The D (q,) of the force that keeps the state inside for a time to come."""

    @abc.abstractmethod
    def excess(self, look: Look) -> jax.Array:
        """The D (q,) of the force that takes a state outside back onto the edge in a unit of its own time."""

    @abc.abstractmethod
    def force(self, look: Look, D: jax.Array) -> jax.Array:
        """Coordinates (q,) of X with  0 <= X  ⟂  D + beta[X] >= 0."""

    @property
    @abc.abstractmethod
    def unit(self) -> jax.Array:
        """Unit of time of the rates alpha and beta, on the clock."""

    @property
    @abc.abstractmethod
    def stiffness(self) -> jax.Array:
        """Largest rate of decay that the velocity can have inside the set."""

    @abc.abstractmethod
    def lost(self) -> str:
        """Why a run cannot go on when more directions are critical than are followed, and the way out."""

    @abc.abstractmethod
    def sizes(self, state: Vector) -> Vector:
        """What errors (S,) of the state are relative to."""

    def velocity(self, look: Look, horizon: Time) -> Vector:
        """Velocity (S,) that keeps the state inside for a time `horizon`."""
        return look.free + self.force(look, self.room(look, horizon)) @ look.forces


class Projection(NamedTuple):
    """How far a projection has come."""

    state: jax.Array
    look: Look
    inside: jax.Array  # distance of the start from the edge, negative beyond it
    number: jax.Array


def blank_look(system: ProjectedSystem, state: Vector) -> Look:
    """A look of zeros, from which nothing is remembered."""
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(system.look, state))


@compiles_quickly
def begin(system: ProjectedSystem, state: jax.Array) -> Projection:
    """A start taken back onto the edge where it is beyond."""

    def correct(at: Projection) -> Projection:
        seen = system.look(at.state, at.look.memory)
        nearest = seen.distance.min()
        outside = (nearest < -INSIDE) & (at.number < ROUNDS)
        x = system.force(seen, jnp.where(outside, system.excess(seen), 0.0))
        moved = jnp.where(outside, at.state + system.unit * (x @ seen.forces), at.state)
        first = jnp.where(at.number == 0, nearest, at.inside)
        return Projection(moved, seen, first, jnp.where(outside, at.number + 1, ROUNDS + 1))

    at = Projection(state, blank_look(system, state), jnp.zeros(()), jnp.asarray(0))
    return jax.lax.while_loop(lambda at: at.number <= ROUNDS, correct, at)
