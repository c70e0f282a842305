"""What is made from a recursion, and has its state: a flow, an equation, the recursion of means."""

from typing import Any

import equinox as eqx
import numpy as np

from flowdyn.methods.systems import System
from flowdyn.problems.base import Problem, Variable, Vector


class OfRecursion(System):
    """A system whose state is that of a `recursion`."""

    recursion: eqx.AbstractVar[Any]

    def layout(self, size: int) -> tuple[Variable, ...]:
        """Named pieces of the recursion's state."""
        return self.recursion.layout(size)

    def parameters(self, size: int) -> tuple[Variable, ...]:
        """The recursion's parameters."""
        return self.recursion.parameters(size)

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat parameters, as the recursion reads them."""
        return self.recursion.ravel(w0)

    @property
    def on_problem(self) -> Problem | None:
        """The recursion's problem."""
        return self.recursion.on_problem

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Layout of the recursion's observables."""
        return self.recursion.observable_variables

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels along the recursion's dimensions."""
        return self.recursion.coords

    def observables(self, state: Vector) -> dict[str, Vector]:
        """The recursion's observables."""
        return self.recursion.observables(state)

    def as_user_sees(self, state: Vector) -> Any:
        """As the recursion shows its state."""
        return self.recursion.as_user_sees(state)

    def lift(self, w0: Vector) -> Vector:
        """The recursion's state that starts at w0."""
        return self.recursion.lift(w0)

    def project(self, state: Vector) -> Vector:
        """The parameters in the recursion's state."""
        return self.recursion.project(state)
