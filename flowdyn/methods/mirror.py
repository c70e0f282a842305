"""Mirror descent and its flow: a gradient step in the dual variable y = grad phi(w).

    y_{k+1} = y_k - eta grad L(w_k),   grad phi(w_k) = y_k        MirrorDescent
    y' = -grad L(w),                   grad phi(w) = y            MirrorFlow, gap O(eta)

Entropy on the simplex gives exponentiated gradient. With hypentropy, b = 2 alpha^2, the flow at 4 times the speed is
that of the diagonal network from alpha: theta = w+^2 - w-^2; as recursions the two part at O(eta).
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.leaves import Scalar
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.potentials import POTENTIALS, PotentialName, check_domain, checked_potential
from flowdyn.methods.systems import ODESystem, OnProblem, checked_problem
from flowdyn.problems.base import Problem, Time, Variable, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Schedule, StepSize, as_schedule

_SOURCE = "Nemirovski and Yudin (1983); Beck and Teboulle (2003); Ghai, Hazan and Singer (2020) for the hypentropy"


class _InTheDual(OnProblem):
    """State y = grad phi(w); the parameters are observables."""

    problem: Problem
    potential: PotentialName
    parameter: jax.Array | None
    references: ClassVar[str] = _SOURCE

    def layout(self, size: int) -> tuple[Variable, ...]:
        """The dual variable of each of the problem's variables."""
        own = self.problem.variables
        name = "dual" if len(own) == 1 else "{}_dual"
        return tuple(v._replace(name=name.format(v.name), long_name=f"dual variable of {v.name}") for v in own)

    def parameters(self, size: int) -> tuple[Variable, ...]:
        """The problem's variables, kept beside the state."""
        return self.problem.variables

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat parameters, in the domain of the potential."""
        w = self.problem.ravel(w0)
        check_domain(self.potential, w)
        return w

    def lift(self, w0: Vector) -> Vector:
        """The dual variable ``grad phi(w0)``."""
        return POTENTIALS[self.potential].dual(w0, self.parameter)

    def project(self, state: Vector) -> Vector:
        """The parameters w with ``grad phi(w) = y``."""
        return POTENTIALS[self.potential].primal(state, self.parameter)

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Those of the problem, then the parameters."""
        return (*self.problem.observable_variables, *self.problem.variables)

    def observables(self, state: Vector) -> dict[str, Vector]:
        """The problem's observables and the parameters."""
        w = self.project(state)
        variables = self.problem.variables
        parts = jnp.split(w, np.cumsum([v.size for v in variables])[:-1])
        named = {v.name: part.reshape(v.shape) for v, part in zip(variables, parts, strict=True)}
        return self.problem.observables(w) | named

    def force(self, state: Vector) -> jax.Array:
        """``-grad L`` at the parameters of a dual variable."""
        return -self.problem.grad(self.project(state))


class MirrorFlow(_InTheDual, ODESystem):
    r"""Mirror flow, the limit of mirror descent as eta -> 0.

    .. math:: \frac{d}{dt} \nabla\varphi(w) = -\nabla L(w)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    potential : {"entropy", "simplex", "hypentropy", "norm"}
        phi: sum w log w - w on w > 0; sum w log w on the simplex; the hypentropy, phi' = arcsinh(w/b);
        ``sum |w|^p / p``.
    parameter : float, optional
        b > 0 of the hypentropy, p > 1 of the norm.

    Raises
    ------
    ArgumentError
        If the parameter does not fit the potential; by :func:`flowdyn.solve`, if the start is not in its domain.

    Notes
    -----
    The state is the dual variable, and the Dataset holds the parameters beside it. For a linear model the end minimises
    the Bregman divergence of phi from the start among interpolants. Source: Nemirovski and Yudin (1983); Gunasekar,
    Lee, Soudry and Srebro (2018).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.MirrorFlow(fd.problems.LinearRegression([[1.0, 2.0]], [1.0]), "entropy")
    >>> run = fd.solve(flow, [0.1, 0.1], t=30.0)
    >>> y = [float(value) for value in run.dual[-1] - run.dual[0]]  # in the row space of the data
    >>> round(y[1] / y[0], 9)
    2.0
    """

    problem: Problem
    potential: PotentialName = eqx.field(static=True)
    parameter: jax.Array | None
    summary: ClassVar[str] = "mirror flow (grad phi(w))' = -grad L(w)"

    def __init__(self, problem: Problem, potential: PotentialName, parameter: Scalar | None = None):
        self.problem = checked_problem(problem)
        self.potential, self.parameter = checked_potential(potential, parameter)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Entropy, on a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, "entropy"), np.abs(w0)

    def drift(self, t: Time, state: Vector) -> Vector:
        """``-grad L(w)``."""
        return self.force(state)


class MirrorDescent(_InTheDual, DiscreteSystem):
    r"""Mirror descent, at training time t = eta k.

    .. math:: \nabla\varphi(w_{k+1}) = \nabla\varphi(w_k) - \eta_k \nabla L(w_k)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float or Schedule
        Step size, positive.
    potential : {"entropy", "simplex", "hypentropy", "norm"}
        phi: sum w log w - w on w > 0; sum w log w on the simplex (exponentiated gradient); the hypentropy, phi' =
        arcsinh(w/b); ``sum |w|^p / p``.
    parameter : float, optional
        b > 0 of the hypentropy, p > 1 of the norm.

    Raises
    ------
    ArgumentError
        If eta is not positive or the parameter does not fit the potential; by :func:`flowdyn.solve`, if the start is
        not in its domain.

    Notes
    -----
    Limits: order 0 the :class:`MirrorFlow`, order p the flow of that order in the dual variable. Source: Nemirovski and
    Yudin (1983); Kivinen and Warmuth (1997) for exponentiated gradient.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic([[2.0, 0.0], [0.0, 1.0]])
    >>> run = fd.solve(fd.MirrorDescent(p, eta=0.1, potential="simplex"), [0.5, 0.5], steps=2000)
    >>> run.w.isel(t=-1).values.round(6).tolist()  # least loss on the simplex
    [0.333333, 0.666667]
    """

    problem: Problem
    eta: Schedule
    potential: PotentialName = eqx.field(static=True)
    parameter: jax.Array | None
    summary: ClassVar[str] = "mirror descent grad phi(w_{k+1}) = grad phi(w_k) - eta grad L(w_k)"

    def __init__(self, problem: Problem, eta: StepSize, potential: PotentialName, parameter: Scalar | None = None):
        self.problem, self.eta = checked_problem(problem), as_schedule("eta", eta)
        self.potential, self.parameter = checked_potential(potential, parameter)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Entropy, on a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, 0.01, "entropy"), np.abs(w0)

    def slope(self, k: Time, state: Vector) -> Vector:
        """``-grad L(w)``."""
        return self.force(state)

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """``y - eta_k grad L(w)``."""
        return state + self.eta(k) * self.force(state)

    def limit(self, order: int = 0) -> ODESystem:
        """:class:`MirrorFlow` for order 0, else the flow of that order."""
        return MirrorFlow(self.problem, self.potential, self.parameter) if order == 0 else super().limit(order)
