"""Clipping by the norm of the gradient, around any recursion:  grad L  ->  grad L min(1, c / ||grad L||)."""

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.gradient_descent import GradientDescent
from flowdyn.methods.wrapping import AroundRecursion, checked_recursion, on_another_problem
from flowdyn.problems.base import Problem, Time, Variable, Vector
from flowdyn.problems.quadratic import Quadratic


class _ClippedGradient(Problem):
    """A problem whose gradient is clipped: what a method sees, and nobody else."""

    problem: Problem
    threshold: jax.Array

    def loss(self, w: Vector) -> jax.Array:
        """The loss itself."""
        return self.problem.loss(w)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Layout of the parameters, unchanged."""
        return self.problem.variables

    def unravel(self, w: Any) -> Any:
        """Parameters as the problem's own functions see them."""
        return self.problem.unravel(w)

    def grad(self, w: Vector) -> jax.Array:
        """The gradient, shortened to the threshold where it is longer."""
        gradient = self.problem.grad(w)
        size = jnp.linalg.norm(gradient)
        return gradient * jnp.where(size > self.threshold, self.threshold / jnp.where(size > 0, size, 1.0), 1.0)


class Clipped(AroundRecursion):
    r"""A method whose gradients are clipped by their norm.

    .. math:: \nabla L \to \nabla L \, \min(1, c / \|\nabla L\|)

    Parameters
    ----------
    method : DiscreteSystem
        A deterministic recursion on a problem.
    threshold : float
        c, positive: the largest norm of a gradient that the method sees.

    Raises
    ------
    ArgumentError
        If `method` is not a deterministic recursion on a problem that enters by its gradient alone, or c is not
        positive.

    Notes
    -----
    Limits are the flows of :class:`RecursionFlow`. Where the path crosses the threshold the gradient has a kink: the
    gap is O(h^2) at best whatever the order, by a factor that depends on where between two steps it crosses. Every
    gradient of a step is clipped: SAM takes two. Source: Pascanu, Mikolov and Bengio (2013), algorithm 1.

    Examples
    --------
    >>> import flowdyn as fd
    >>> gd = fd.GradientDescent(fd.problems.Quadratic(1.0), eta=0.1)
    >>> fd.solve(fd.Clipped(gd, 0.5), [1.0], steps=2).w.values.ravel().round(12).tolist()
    [1.0, 0.95, 0.9]
    """

    method: DiscreteSystem
    threshold: jax.Array
    summary: ClassVar[str] = "a recursion with gradients clipped by their norm"
    references: ClassVar[str] = "Pascanu, Mikolov and Bengio (2013)"

    def __init__(self, method: DiscreteSystem, threshold: Scalar):
        self.method = checked_recursion(method)
        if method.on_problem is None:
            raise _check.fail("method", "must be on a problem", type(method).__name__, "clip in a step of your own")
        if not is_traced(threshold):
            _check.real("threshold", threshold, positive=True)
        self.threshold = leaf("threshold", threshold, ndim=0)
        if not is_traced(self.threshold) and not is_traced(method.time_step):
            self._check_gradient_alone(method)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Gradient descent on a quadratic loss, clipped at the start."""
        problem, w0 = Quadratic.example()
        return cls(GradientDescent(problem, eta=0.01), 0.9 * float(np.linalg.norm(problem.grad(w0)))), w0

    def _check_gradient_alone(self, method: DiscreteSystem) -> None:
        assert method.on_problem is not None
        size = sum(v.size for v in method.layout(method.on_problem.size))
        try:
            jax.eval_shape(lambda z: self.step(jnp.asarray(0), z), jax.ShapeDtypeStruct((size,), jnp.float64))
        except AttributeError as error:
            rule = "must take its problem by its gradient alone"
            raise _check.fail("method", rule, type(method).__name__, str(error)) from None

    def _clipped(self) -> DiscreteSystem:
        assert self.method.on_problem is not None
        return on_another_problem(self.method, _ClippedGradient(self.method.on_problem, self.threshold))

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """Step of the method along clipped gradients."""
        return self._clipped().step(k, state)

    def slope(self, k: Time, state: Vector) -> Vector:
        """Slope of the method along clipped gradients."""
        return self._clipped().slope(k, state)

    def expected_order(self, order: int = 0, error: str = "sup") -> float:
        """At most 2: the clipped gradient has a kink."""
        return min(self.method.expected_order(order, error), 2.0)
