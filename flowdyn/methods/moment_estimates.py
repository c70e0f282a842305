"""What methods with moments of gradients share:  v_{k+1} = v_k + (1 - b) (g_k^2 - v_k),   1 - b = c h.

The state is [w, moments]. A step is a function of the gradient that it is given, exact or an estimate.
"""

import abc
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import is_traced
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.systems import OnProblem
from flowdyn.problems.base import Time, Variable, Vector

Used = Literal["after", "before"]
CLOSED = (
    "a memory of a fixed number of steps keeps a law of its own as eta -> 0 (with noise the drift is off by about "
    "1 + 3/4 (1-beta)/(1+beta)), and no equation of the moments closes it"
)


class WithMoments(OnProblem):
    """State [w, first moment, second moment], or the latter alone beside w."""

    @property
    @abc.abstractmethod
    def at_start(self) -> dict[str, jax.Array]:
        """Name of each moment, and the number or vector (P,) that it starts from."""

    def layout(self, size: int) -> tuple[Variable, ...]:
        """The problem's variables, then one of each moment for each of them."""
        own = self.problem.variables
        found = list(own)
        for moment in self.at_start:
            text = moment.replace("_", " ")
            found += [
                v._replace(name=moment if len(own) == 1 else f"{v.name}_{moment}", long_name=f"{text} of grad {v.name}")
                for v in own
            ]
        return tuple(found)

    def lift(self, w0: Vector) -> Vector:
        """The parameters with the moments that the method starts from."""
        w = jnp.asarray(w0)
        return jnp.concatenate([w, *(jnp.broadcast_to(x, w.shape) for x in self.at_start.values())])

    def project(self, state: Vector) -> Vector:
        """The parameters: the head of the state."""
        return state[: self.problem.size]


class MomentRecursion(WithMoments, DiscreteSystem):
    """A recursion whose step is a function of one gradient, exact or estimated."""

    @abc.abstractmethod
    def slope_along(self, k: Time, state: Vector, gradient: Vector) -> Vector:
        """``(S(z) - z) / h`` of the step that is given this gradient at w."""

    def slope(self, k: Time, state: Vector) -> Vector:
        """Slope along the exact gradient: no state is subtracted."""
        return self.slope_along(k, state, self.problem.grad(self.project(state)))

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """``z + h u``, u the slope along the exact gradient."""
        return state + self.time_step * self.slope(k, state)


def step_direction(m: Vector, v: Vector, eps: jax.Array, eps_inside: bool) -> jax.Array:
    """``m / (sqrt(v) + eps)``, or ``m / sqrt(v + eps)``."""
    root = jnp.sqrt(v + eps) if eps_inside else jnp.sqrt(v) + eps
    return jnp.asarray(m) / root


def checked_moment(name: str, value: Any, size: int, nonnegative: bool = False) -> jax.Array:
    """Start of a moment: one number, or one for each parameter."""
    if is_traced(value):
        return jnp.asarray(value)
    array = _check.real_array(name, value)
    if array.shape not in ((), (size,)):
        raise _check.fail(name, f"must be a number or have shape ({size},)", _check.Words(f"shape {array.shape}"))
    if nonnegative and (array < 0).any():
        raise _check.fail(name, "must not be negative", value)
    return jnp.asarray(array)


def checked_rates(name: str, rates: Any, fixed_name: str, fixed: Any, count: int) -> tuple[Any, Any]:
    """Rates c of moments, 1 - b = c h; or b itself, the same at every step size. One of the two is given."""
    if (rates is None) == (fixed is None):
        raise _check.fail(
            name, f"must be given, or `{fixed_name}` in its place", rates, f"c = (1 - {fixed_name})/eta follows eta"
        )
    given = [(name, rates), (fixed_name, fixed)][rates is None]
    array = given[1]
    if not is_traced(array):
        shape = () if count == 1 else (count,)
        array = _check.real_array(given[0], array, shape=shape)
        if (array < 0).any() or (rates is None and (array >= 1).any()):
            rule = "must not be negative" if rates is not None else "must be from 0 to below 1"
            raise _check.fail(given[0], rule, given[1])
    return (jnp.asarray(array), None) if rates is not None else (None, jnp.asarray(array))


def check_rate_fits(name: str, rates: Any, eta: Any) -> None:
    """Refuse a rate that forgets more than all in one step."""
    if rates is None or is_traced(rates) or is_traced(eta):
        return
    if np.asarray(rates).max() * float(eta) > 1:
        raise _check.fail("eta", f"must keep 1 - {name}*eta >= 0", float(eta), "use a smaller eta")


def check_has_limit(fixed_name: str, fixed: Any, eta: Any) -> None:
    """Refuse the limit of a method whose memory is a fixed number of steps."""
    if fixed is not None:
        rates = (1 - np.asarray(fixed)) / float(eta)
        way_out = f"give rates c = (1 - {fixed_name})/eta, {np.array2string(rates, precision=6)} here"
        raise _check.fail(fixed_name, f"must follow eta for a limit: {CLOSED}", np.asarray(fixed), way_out)


def check_warm(v0: Any) -> None:
    """Refuse a limit from a second moment of 0, whose root is not smooth."""
    if not is_traced(v0) and not (np.asarray(v0) > 0).all():
        raise _check.fail("v0", "must be positive for a limit: sqrt(v) is not smooth at 0", v0, "start warm, e.g. v0=1")
