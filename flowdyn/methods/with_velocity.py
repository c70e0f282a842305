"""States of parameters and their velocity:  z = [w, v],  at the start  [w0, 0]"""

import jax.numpy as jnp

from flowdyn.methods.systems import OnProblem
from flowdyn.problems.base import Variable, Vector


class WithVelocity(OnProblem):
    """State [w, v]: parameters and their velocity."""

    def layout(self, size: int) -> tuple[Variable, ...]:
        """The problem's variables, then one velocity each."""
        own = self.problem.variables
        name = "velocity" if len(own) == 1 else "{}_velocity"
        speed = [v._replace(name=name.format(v.name), long_name=f"velocity of {v.name}") for v in own]
        return (*own, *speed)

    def lift(self, w0: Vector) -> Vector:
        """The parameters at rest, velocity 0."""
        return jnp.concatenate([w0, jnp.zeros_like(w0)])

    def project(self, state: Vector) -> Vector:
        """The parameters: the first half of the state."""
        return state[: self.problem.size]
