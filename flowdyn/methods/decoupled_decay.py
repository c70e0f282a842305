"""Decoupled weight decay around any recursion:  w_{k+1} = step(w_k) - h lambda w_k,  h the step of the clock."""

from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.leaves import Scalar, nonnegative_leaf
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.gradient_descent import GradientDescent
from flowdyn.methods.wrapping import AroundRecursion, checked_recursion, places_of_parameters
from flowdyn.problems.base import Time, Vector
from flowdyn.problems.quadratic import Quadratic


class DecoupledDecay(AroundRecursion):
    r"""A method with weight decay outside of its gradients, as in AdamW.

    .. math:: w_{k+1} = \mathrm{step}(w_k) - h \lambda w_k

    Parameters
    ----------
    method : DiscreteSystem
        A deterministic recursion whose state holds its parameters.
    decay : float
        lambda, not negative, per unit of training time: h is the step of the clock, eta or sqrt(eta).

    Raises
    ------
    ArgumentError
        If `method` is not a deterministic recursion or the decay is negative; by :func:`flowdyn.solve`, if its
        parameters are not pieces of its state.

    Notes
    -----
    Limits are the flows of :class:`RecursionFlow`. Source: Loshchilov and Hutter (2019).

    Examples
    --------
    >>> import flowdyn as fd
    >>> gd = fd.GradientDescent(fd.problems.Quadratic(1.0), eta=0.1)  # the same as a loss of curvature 3
    >>> fd.solve(fd.DecoupledDecay(gd, 2.0), [1.0], steps=2).w.values.ravel().round(12).tolist()
    [1.0, 0.7, 0.49]
    """

    method: DiscreteSystem
    decay: jax.Array
    summary: ClassVar[str] = "a recursion with decoupled weight decay"
    references: ClassVar[str] = "Loshchilov and Hutter (2019)"

    def __init__(self, method: DiscreteSystem, decay: Scalar):
        self.method, self.decay = checked_recursion(method), nonnegative_leaf("decay", decay)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Gradient descent on a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(GradientDescent(problem, eta=0.01), 0.5), w0

    def _shrinking(self, state: Vector) -> jax.Array:
        places = places_of_parameters(self.method, state.shape[0])
        return jnp.zeros_like(state).at[places].set(-self.decay * jnp.asarray(state)[places])

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """Step of the method, minus the share h lambda of the parameters before it."""
        return self.method.step(k, state) + self.increments(k) * self._shrinking(state)

    def slope(self, k: Time, state: Vector) -> Vector:
        """Slope of the method, minus lambda times the parameters."""
        return self.method.slope(k, state) + self._shrinking(state)

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a method whose parameters are computed from its state."""
        super().check_start(state0)
        places_of_parameters(self.method, len(state0))
