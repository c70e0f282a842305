"""RMSProp and its equation, with the memory of v a fixed training time: 1 - beta = c eta.

    v_{k+1} = v_k + c eta (g_k^2 - v_k),   w_{k+1} = w_k - eta g_k / (sqrt(v) + eps)        RMSProp
    w' = -grad L / (sqrt(v) + eps),   v' = c (grad L^2 - v)                                RMSPropFlow, gap O(eta)

v in the step is v_{k+1} or v_k: that, and eps inside or outside the root, moves the term of order eta.
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, nonnegative_leaf
from flowdyn.methods import moment_estimates
from flowdyn.methods.moment_estimates import MomentRecursion, Used, WithMoments, step_direction
from flowdyn.methods.systems import ODESystem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Schedule, as_schedule

_SOURCE = "Tieleman and Hinton, Lecture 6.5, RMSProp (2012); Malladi, Lyu, Panigrahi and Arora (2022)"


class RMSPropFlow(WithMoments, ODESystem):
    r"""Flow along gradients divided by the root of their second moment, the limit of RMSProp as eta -> 0.

    .. math:: w' = -\frac{\nabla L}{\sqrt v + \epsilon}, \qquad v' = c\,(\nabla L^2 - v)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    rate : float
        c, not negative, one over the memory of v in training time.
    eps : float
        Floor of the denominator, not negative.
    v0 : float or array_like of float, shape (P,)
        Second moment at the start, positive.
    eps_inside : bool
        Whether the denominator is sqrt(v + eps).

    Raises
    ------
    ArgumentError
        If `rate` or `eps` is negative, or `v0` is not positive.

    Notes
    -----
    Squares and roots are taken entry by entry. Source: Malladi et al. (2022); Ma, Wu and E (2022).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.RMSPropFlow(fd.problems.Quadratic(1.0), rate=0.0, eps=0.0, v0=4.0)  # w' = -w/2
    >>> round(float(fd.solve(flow, [1.0], t=1.0).w.isel(t=-1).item()), 6)
    0.606531
    """

    problem: Problem
    rate: jax.Array
    eps: jax.Array
    v0: jax.Array
    eps_inside: bool = eqx.field(static=True)
    summary: ClassVar[str] = "flow of RMSProp w' = -grad L / (sqrt(v) + eps)"
    references: ClassVar[str] = _SOURCE

    def __init__(
        self, problem: Problem, rate: Scalar, eps: Scalar = 1e-8, v0: ArrayLike = 1.0, eps_inside: bool = False
    ):
        self.problem = checked_problem(problem)
        self.rate = moment_estimates.checked_rates("rate", rate, "beta", None, 1)[0]
        self.eps, self.eps_inside = nonnegative_leaf("eps", eps), _check.flag("eps_inside", eps_inside)
        self.v0 = moment_estimates.checked_moment("v0", v0, problem.size, nonnegative=True)
        moment_estimates.check_warm(self.v0)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, rate=1.0, eps=0.1, v0=0.5), w0

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """The second moment v0."""
        return {"second_moment": self.v0}

    def drift(self, t: Time, state: Vector) -> Vector:
        """``[-grad L / (sqrt(v) + eps), c (grad L^2 - v)]``."""
        w, v = jnp.split(jnp.asarray(state), 2)
        gradient = self.problem.grad(w)
        return jnp.concatenate([-step_direction(gradient, v, self.eps, self.eps_inside), self.rate * (gradient**2 - v)])


class RMSProp(MomentRecursion):
    r"""RMSProp at training time t = eta k, its second moment remembered over a fixed training time.

    .. math:: v_{k+1} = v_k + c\,\eta\,(g_k^2 - v_k), \qquad w_{k+1} = w_k - \eta \frac{g_k}{\sqrt v + \epsilon}

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float
        Step size, positive.
    rate : float, optional
        c, not negative: beta = 1 - c eta.
    eps : float
        Floor of the denominator, not negative.
    v0 : float or array_like of float, shape (P,)
        Second moment at the start; a limit needs a positive one.
    v_used : {"after", "before"}
        Whether v in the step is v_{k+1} or v_k.
    eps_inside : bool
        Whether the denominator is sqrt(v + eps).
    beta : float, optional
        In place of `rate`, the same at every step size: the recursion runs, its limits are refused.

    Raises
    ------
    ArgumentError
        If both or none of `rate` and `beta` are given, c eta > 1, a number has the wrong sign, or eta is a changing
        schedule; by `limit`, if `beta` is fixed or v0 is 0.

    Notes
    -----
    Squares and roots are taken entry by entry. Limits: order 0 the :class:`RMSPropFlow`, order p the flow of that
    order. Source: Tieleman and Hinton (2012); Malladi et al. (2022) for the scaling.

    Examples
    --------
    >>> import flowdyn as fd
    >>> method = fd.RMSProp(fd.problems.Quadratic(1.0), eta=0.02, rate=2.0, eps=0.05, v0=0.3)
    >>> round(float(fd.eta_limit(method, [1.0], t=1.0, order=1).order), 1)
    2.0
    """

    problem: Problem
    eta: Schedule
    rate: jax.Array | None
    eps: jax.Array
    v0: jax.Array
    v_used: Used = eqx.field(static=True)
    eps_inside: bool = eqx.field(static=True)
    beta: jax.Array | None
    summary: ClassVar[str] = "RMSProp, beta = 1 - c eta"
    references: ClassVar[str] = _SOURCE

    def __init__(
        self,
        problem: Problem,
        eta: Scalar,
        rate: Scalar | None = None,
        eps: Scalar = 1e-8,
        v0: ArrayLike = 0.0,
        *,
        v_used: Used = "after",
        eps_inside: bool = False,
        beta: Scalar | None = None,
    ):
        self.problem, self.eta = checked_problem(problem), as_schedule("eta", eta)
        self.rate, self.beta = moment_estimates.checked_rates("rate", rate, "beta", beta, 1)
        self.eps, self.eps_inside = nonnegative_leaf("eps", eps), _check.flag("eps_inside", eps_inside)
        self.v0 = moment_estimates.checked_moment("v0", v0, problem.size, nonnegative=True)
        self.v_used = _check.choice("v_used", v_used, ("after", "before"))  # type: ignore[assignment]
        if not is_traced(self.time_step):
            moment_estimates.check_rate_fits("rate", self.rate, self.constant_eta("RMSProp"))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss, from a warm start."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01, rate=1.0, eps=0.1, v0=0.5), w0

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """The second moment v0."""
        return {"second_moment": self.v0}

    def slope_along(self, k: Time, state: Vector, gradient: Vector) -> Vector:
        """``[-g / (sqrt(v) + eps), c (g^2 - v)]``, v after or before its update."""
        h, v = self.time_step, jnp.asarray(state)[self.problem.size :]
        rate = (1 - self.beta) / h if self.rate is None else self.rate  # type: ignore[operator]
        change = rate * (gradient**2 - v)
        used = v + h * change if self.v_used == "after" else v
        return jnp.concatenate([-step_direction(gradient, used, self.eps, self.eps_inside), change])

    def limit(self, order: int = 0) -> ODESystem:
        """:class:`RMSPropFlow` for order 0, else the flow of that order in eta; a fixed beta and v0 = 0 are refused."""
        moment_estimates.check_has_limit("beta", self.beta, self.time_step)
        moment_estimates.check_warm(self.v0)
        if order or self.rate is None:
            return super().limit(order)
        return RMSPropFlow(self.problem, self.rate, self.eps, self.v0, self.eps_inside)
