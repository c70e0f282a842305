"""Descent along the signs of the gradient, and the flow that slides where a sign changes.

    w_{k+1} = w_k - eta sign(grad L(w_k))                                            SignDescent
    w' = -s,  s_i = sign(g_i),  or where g_i = 0 the s_i in [-1, 1] that keeps g_i there       (Filippov)
    w' = -tanh(grad L / delta)                                                       SignFlow, off by O(delta)

The recursion goes to and fro across a surface g_i = 0 that the flow slides along: the gap is O(eta), at every time, and
no flow of higher order follows it there.
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.systems import ODESystem, OnProblem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Schedule, StepSize, as_schedule

WIDTH = 1e-6  # of a gradient, over which a sign changes
STIFF = 1e4  # widths of time that explicit methods can take: their steps are about one width long
_SOURCE = "Filippov (1988); Bernstein, Wang, Azizzadenesheli and Anandkumar (2018)"


class SignFlow(OnProblem, ODESystem):
    r"""Flow along the signs of the gradient, which slides where one changes.

    .. math:: w' = -\tanh(\nabla L(w) / \delta)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    width : float
        delta, positive, in units of the gradient.

    Raises
    ------
    ArgumentError
        If the width is not positive.

    Notes
    -----
    As delta -> 0 it is Filippov's solution of w' = -sign(grad L): on a surface g_i = 0 the i-th speed is what keeps the
    path on it. It is off by O(delta), and stiff while it slides. Source: Filippov (1988).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.SignFlow(fd.problems.Quadratic(2.0))
    >>> run = fd.solve(flow, [1.0], t=2.0, saves=3)  # 1 - t, then at rest
    >>> abs(run.w.values.ravel()).round(5).tolist()
    [1.0, 0.0, 0.0]
    """

    problem: Problem = eqx.field(converter=checked_problem)
    width: jax.Array
    summary: ClassVar[str] = "flow along the signs of the gradient w' = -sign(grad L)"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Problem, width: Scalar = WIDTH):
        self.problem = problem
        if not is_traced(width):
            _check.real("width", width, positive=True)
        self.width = leaf("width", width, ndim=0)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss, with a wide sign."""
        problem, w0 = Quadratic.example()
        return cls(problem, width=0.5), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-tanh(grad L / delta)``."""
        return -jnp.tanh(self.problem.grad(state) / self.width)

    @property
    def explicit_until(self) -> float:
        """Steps of explicit methods are as short as the width while the path slides."""
        return STIFF * float(self.width)


class SignDescent(OnProblem, DiscreteSystem):
    r"""Descent along the signs of the exact gradient, at training time t = eta k.

    .. math:: w_{k+1} = w_k - \eta_k \operatorname{sign} \nabla L(w_k)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float or Schedule
        Step size, positive.

    Raises
    ------
    ArgumentError
        If eta is not positive; by `limit`, for an order above 0.

    Notes
    -----
    The limit is the :class:`SignFlow`, with a gap O(eta): where a sign changes the iterates go to and fro and the flow
    slides. Source: Bernstein et al. (2018); Filippov (1988).

    Examples
    --------
    >>> import flowdyn as fd
    >>> method = fd.SignDescent(fd.problems.Quadratic(2.0), eta=0.3)
    >>> fd.solve(method, [1.0], steps=5).w.values.ravel().round(6).tolist()
    [1.0, 0.7, 0.4, 0.1, -0.2, 0.1]
    """

    problem: Problem = eqx.field(converter=checked_problem)
    eta: Schedule
    summary: ClassVar[str] = "descent along signs w_{k+1} = w_k - eta sign(grad L(w_k))"
    references: ClassVar[str] = _SOURCE

    def __init__(self, problem: Problem, eta: StepSize):
        self.problem, self.eta = problem, as_schedule("eta", eta)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01), w0

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """``w - eta_k sign(grad L)``."""
        return state - self.eta(k) * jnp.sign(self.problem.grad(state))

    def limit(self, order: int = 0) -> ODESystem:
        """:class:`SignFlow` for order 0; no flow of higher order follows the recursion where the flow slides."""
        if _check.integer("order", order, minimum=0):
            raise _check.fail(
                "order",
                "must be 0 for SignDescent: where a sign changes the flow slides and the iterates go to and fro",
                order,
                "with noise in the gradient the signs are smooth in w and higher orders exist",
            )
        return SignFlow(self.problem)
