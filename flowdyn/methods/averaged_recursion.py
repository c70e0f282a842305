"""Flows and deterministic recursions with the average of their parameters.

s_{k+1} = s_k + h w_{k+1},  s' = w,  wbar = s/t          e_{k+1} = e_k + kappa h (w_{k+1} - e_k),  e' = kappa (w - e)
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.leaves import Scalar
from flowdyn.methods.averaging import Averaging, Kind, check_length, check_rate, checked_average, checked_kind
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.following import RecursionFlow
from flowdyn.methods.gradient_descent import GradientDescent, GradientFlow
from flowdyn.methods.systems import ODESystem
from flowdyn.methods.wrapping import AroundSteps
from flowdyn.problems.base import Time, Vector


class AveragedFlow(Averaging, ODESystem):
    r"""A flow with the average of its parameters.

    .. math:: \bar w(t) = \frac1t \int_0^t w\,ds \quad\text{or}\quad e' = \kappa (w - e), \ e(0) = w(0)

    Parameters
    ----------
    method : ODESystem
        The flow.
    average : {"polyak", "ema"}
        The mean over time, or an exponential average.
    rate : float, optional
        kappa, positive, of the exponential average.

    Raises
    ------
    ArgumentError
        If `method` is not a flow, or the rate does not fit the average.

    Notes
    -----
    Gaps, the loss of a ladder and functions that observe take the average. Source: Polyak and Juditsky (1992).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.averaged(fd.GradientFlow(fd.problems.Quadratic(1.0)), "polyak")
    >>> round(float(fd.solve(flow, [1.0], t=2.0).w_mean[-1].item()), 6)  # (1 - exp(-2))/2
    0.432332
    """

    method: ODESystem
    average: Kind = eqx.field(static=True)
    rate: jax.Array | None
    summary: ClassVar[str] = "a flow with the average of its parameters"

    def __init__(self, method: ODESystem, average: Kind = "polyak", rate: Scalar | None = None):
        self.method, (self.average, self.rate) = checked_kind(method, ODESystem), checked_average(average, rate)
        check_length(method, self.average)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Gradient flow on a quadratic loss, with its mean."""
        method, w0 = GradientFlow.example()
        return cls(method), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """The flow's own, then that of the average."""
        own, average = self.split(jnp.asarray(state))
        return jnp.concatenate([self.method.drift(t, own), self.slope_of_average(self.method.project(own), average)])

    @property
    def explicit_until(self) -> float:
        """Stiffness of the flow itself."""
        return self.method.explicit_until

    def drift_rounding(self, state: np.ndarray) -> float:
        """Rounding of the flow itself."""
        return self.method.drift_rounding(np.asarray(self.split(state)[0]))


class AveragedRecursion(Averaging, AroundSteps, DiscreteSystem):  # type: ignore[override]
    r"""A recursion with the average of its iterates.

    .. math:: \bar w_k = \frac1{t_k} \sum_{j=1}^k h\,w_j \quad\text{or}\quad e_{k+1} = e_k + \kappa h\,(w_{k+1} - e_k)

    Parameters
    ----------
    method : DiscreteSystem
        The recursion.
    average : {"polyak", "ema"}
        The mean of all iterates after the start, or an exponential average.
    rate : float, optional
        kappa, positive, of the exponential average, per unit of training time.

    Raises
    ------
    ArgumentError
        If `method` is not a deterministic recursion, or the rate does not fit the average or the step.

    Notes
    -----
    Limits: order 0 the :class:`AveragedFlow` of the method's limit, order p the flow of that order. Source: Polyak and
    Juditsky (1992).

    Examples
    --------
    >>> import flowdyn as fd
    >>> gd = fd.GradientDescent(fd.problems.Quadratic(1.0), eta=0.5)
    >>> run = fd.solve(fd.averaged(gd, "polyak"), [1.0], steps=2)
    >>> run.w.values.ravel().tolist(), run.w_mean.values.ravel().tolist()
    ([1.0, 0.5, 0.25], [1.0, 0.5, 0.375])
    """

    method: DiscreteSystem
    average: Kind = eqx.field(static=True)
    rate: jax.Array | None
    summary: ClassVar[str] = "a recursion with the average of its iterates"

    def __init__(self, method: DiscreteSystem, average: Kind = "polyak", rate: Scalar | None = None):
        self.method, (self.average, self.rate) = checked_kind(method, DiscreteSystem), checked_average(average, rate)
        check_length(method, self.average)
        check_rate(self.rate, self.increments(jnp.asarray(0)))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Gradient descent on a quadratic loss, with its mean."""
        method, w0 = GradientDescent.example()
        return cls(method), w0

    def slope(self, k: Time, state: Vector) -> Vector:
        """The recursion's own, then that of the average of the next iterate."""
        own, average = self.split(jnp.asarray(state))
        slope = self.method.slope(k, own)
        after = self.method.project(own + self.increments(jnp.asarray(k)) * slope)
        return jnp.concatenate([slope, self.slope_of_average(after, average)])

    def slope_rounding(self, state: np.ndarray) -> float:
        """Rounding of the recursion's own slope."""
        return self.method.slope_rounding(np.asarray(self.split(state)[0]))

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """Step of the recursion, whose outcome is averaged."""
        own, _ = self.split(jnp.asarray(state))
        after = self.method.step(k, own)
        return jnp.concatenate([after, self.averaged_on(self.increments(k), after, state)])

    def limit(self, order: int = 0) -> ODESystem:
        """The average around the method's limit for order 0, else the flow of that order."""
        inner = self.method.limit(order)
        return RecursionFlow(self, order) if order else AveragedFlow(inner, self.average, self.rate)
