r"""The flow that a recursion follows, from nothing but its step.

    z_{k+1} = S_h(z_k, k),   S_0 = id,   t = h k,   u(z) = (S_h(z) - z) / h

    F_0(z) = dS_h(z)/dh  at h = 0                            gap O(h)
    F_p(z) = sum_{j=0..p} (-1)^j / (j+1)  Δ^j u(z)           gap O(h^{p+1})

Δ is the forward difference along the recursion from z: F_p is the series of log(1 + Δ)/h cut after p + 1 terms, since
one step is exp(h D_F) = 1 + Δ. Differences of the slopes u and not of states: where u is had without subtracting z no
digit is lost as h -> 0. Where S_h depends on k, k = t/h is carried as a real number.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn._tools.leaves import shown_call
from flowdyn._tools.polynomial_degree import degree_of, length_of
from flowdyn._tools.registry import look_up
from flowdyn.methods.jumps import check_path
from flowdyn.methods.of_recursion import OfRecursion
from flowdyn.methods.sliding import check_sliding
from flowdyn.methods.step_checks import check_step
from flowdyn.methods.step_probes import StepProbes
from flowdyn.methods.systems import ODESystem, System
from flowdyn.problems.base import Time, Vector

MAX_ORDER = 20  # differences of order p lose p bits
MOST_NODES = 8  # of a quadrature that is exact for polynomials of twice the degree
SMOOTH_NODES = 4  # of one for other steps, whose error is of the order (h lambda)^8 / 8!
LOSS = 1e-11  # share of a slope that rounding of a difference may be
AGREES = 8.0  # times the rounding of a difference that a quadrature may differ from it by
_EPS = float(np.finfo(float).eps)
LONG = 500  # operations of a step whose derivative takes long to compile
EXTRAPOLATED = 8  # time steps, each half of the last, from which one is extrapolated to 0
SOURCE = "Hairer, Lubich and Wanner, Geometric Numerical Integration (2006), section IX.1"
StepAt = Callable[[Any, Any, Vector], Vector]  # (h, k, state) -> next state
_NUMBER = jax.ShapeDtypeStruct((), jnp.float64)


def slope_of(step_at: StepAt, h: Any, k: Any, state: Vector, difference: Vector | None = None) -> Vector:
    """``(S_h(z) - z) / h``, without cancellation where the step allows.

    Then it is ``(S_0(z) - z) / h`` plus the mean of dS/dh over (0, h) by Gauss quadrature: exact where the step is a
    polynomial in h, else taken where h is so small that a `difference` of states has lost digits, and agrees with it.
    """
    degree = degree_of(lambda step: step_at(step, k, state), _NUMBER)
    if degree <= 2 * MOST_NODES:
        return _mean_slope(step_at, h, k, state, max(1, -(-int(degree) // 2)))
    plain = (step_at(h, k, state) - state) / h if difference is None else difference
    rounding = _EPS * jnp.max(jnp.abs(state)) / h

    def averaged(plain: Vector) -> Vector:
        mean = _mean_slope(step_at, h, k, state, SMOOTH_NODES)
        return jnp.where(jnp.max(jnp.abs(mean - plain)) <= AGREES * rounding, mean, plain)

    return jax.lax.cond(rounding > LOSS * jnp.max(jnp.abs(plain)), averaged, lambda plain: plain, plain)


def _mean_slope(step_at: StepAt, h: Any, k: Any, state: Vector, count: int) -> Vector:
    nodes, weights = np.polynomial.legendre.leggauss(count)

    def with_derivative(x: jax.Array) -> tuple[Vector, Vector]:
        return jax.jvp(lambda step: step_at(step, k, state), (0.5 * h * (1 + x),), (jnp.ones(()),))

    if length_of(lambda step: step_at(step, k, state), _NUMBER) > LONG:  # one program for all of them and for S_0
        states, slopes = jax.lax.map(with_derivative, jnp.asarray([-1.0, *nodes]))
        return (states[0] - state) / h + 0.5 * jnp.asarray(weights) @ slopes[1:]
    slopes = jax.vmap(lambda x: with_derivative(x)[1])(jnp.asarray(nodes))
    mean = 0.5 * jnp.asarray(weights) @ slopes
    return (step_at(jnp.zeros_like(h), k, state) - state) / h + mean


def rate_of(step_at: StepAt, h: Any, t: Time, state: Vector) -> Vector:
    """``dS_h(z)/dh`` at h = 0 and time t; extrapolated where S_h has none at 0 itself (a root of eta) or depends on k.

    The derivatives at h, h/2, h/4, ... are a power series in h: n of them leave an error of order h^n 2^{-n(n-1)/2}.
    """
    moves = depends_on_k(step_at, h, state)

    def at(step: Any) -> Vector:
        return step_at(step, t / step if moves else jnp.zeros(()), state)

    def derivative(step: Any) -> Vector:
        return jax.jvp(at, (step,), (jnp.ones(()),))[1]

    def extrapolated() -> Vector:
        return _extrapolated(jax.vmap(derivative)(steps))

    steps = h * 0.5 ** jnp.arange(EXTRAPOLATED)
    if moves:
        return extrapolated()
    if length_of(at, _NUMBER) > LONG:
        return _rate_in_turn(derivative, steps, state)
    rate = derivative(jnp.zeros_like(h))
    return jax.lax.cond(jnp.all(jnp.isfinite(rate)), lambda: rate, extrapolated)


def _extrapolated(rows: Vector) -> Vector:
    """The value at 0 of a power series whose values (n, S) at h, h/2, h/4, ... are given."""
    for level in range(1, len(rows)):
        rows = rows[1:] + (rows[1:] - rows[:-1]) / (2**level - 1)
    return rows[0]


def _rate_in_turn(derivative: Callable, steps: jax.Array, state: Vector) -> Vector:
    """The derivative at 0, else what those at the `steps` tend to, by a program that holds the derivative once."""

    def follow(is_wanted: jax.Array, step: jax.Array) -> tuple[jax.Array, Vector]:
        row = jax.lax.cond(is_wanted, derivative, lambda _: jnp.zeros_like(state), step)
        return is_wanted & ((step > 0) | ~jnp.all(jnp.isfinite(row))), row

    rows = jax.lax.scan(follow, jnp.array(True), jnp.concatenate([jnp.zeros(1), steps]))[1]
    return jnp.where(jnp.all(jnp.isfinite(rows[0])), rows[0], _extrapolated(rows[1:]))


def log_series(slopes: Vector) -> Vector:
    """``sum_j (-1)^j / (j + 1) Δ^j u``  of slopes u (p + 1, S) along p + 1 steps."""
    differences, total = jnp.asarray(slopes), slopes[0]
    for j in range(1, len(slopes)):
        differences = jnp.diff(differences, axis=0)
        total = total + (-1) ** j / (j + 1) * differences[0]
    return total


def depends_on_k(step_at: StepAt, h: Any, state: Vector) -> bool:
    """Whether the step number enters a step."""
    return degree_of(lambda k: step_at(h, k, state), _NUMBER) > 0


class Followed(System):
    """A recursion  z -> S_h(z, k)  at a time step h of its own, as the flow that follows it needs it."""

    is_users: ClassVar[bool] = False  # whether its step is a user's own, which may do anything
    of_time: ClassVar[str] = (  # how what changes with the number of a step follows training time
        "write eta*k for k; hand in a round of steps (k % n) as one; for samples in turn or at random use "
        "fd.RandomRecursion(..., samples=...)"
    )
    is_mean: ClassVar[bool] = False  # of random steps, which have equations beside the flow of order 0

    @property
    @abc.abstractmethod
    def time_step(self) -> jax.Array:
        """The constant h."""

    @abc.abstractmethod
    def step_at(self, h: Time, k: Time, state: Vector) -> Vector:
        """State after step k if the time step were h; k may be a real number."""

    def slope(self, k: Time, state: Vector) -> Vector:
        """``(S_h(z) - z) / h``; a subclass may know it without a difference of states."""
        return slope_of(self.step_at, self.time_step, k, state)

    def slope_rounding(self, state: np.ndarray) -> float:
        """Rounding error of :meth:`slope` at states of this size; 0 where no state is subtracted."""
        return 0.0 if type(self).slope is not Followed.slope else self.difference_rounding(state)

    def difference_rounding(self, state: np.ndarray) -> float:
        """Rounding error of :func:`slope_of` at states of this size."""
        if by_structure(_has_exact_slope, self, np.size(state)):
            return 0.0
        h = float(self.time_step)
        plain = (StepProbes(self).along(h, 1.0, state, np.zeros_like(state))[0] - state) / h
        rounding = float(_EPS * np.abs(state).max(initial=0.0) / h)
        if not rounding > LOSS * np.abs(plain).max():
            return rounding
        mean = np.asarray(bind(_smooth_slope, self)(np.asarray(state)))
        return 0.0 if np.abs(mean - plain).max() <= AGREES * rounding else rounding


def _has_exact_slope(recursion: Followed, size: int) -> bool:
    """Whether a quadrature of the slope is exact."""
    state = jnp.zeros(size)
    return degree_of(lambda step: recursion.step_at(step, jnp.ones(()), state), _NUMBER) <= 2 * MOST_NODES


def _smooth_slope(recursion: Followed, state: jax.Array) -> Vector:
    """The slope by quadrature."""
    return _mean_slope(recursion.step_at, recursion.time_step, jnp.ones(()), state, SMOOTH_NODES)


class RecursionFlow(OfRecursion, ODESystem):
    r"""The flow that a deterministic recursion follows to order h^(order + 1), h its time step.

    .. math:: z' = \sum_{j=0}^{p} \frac{(-1)^j}{j+1} \Delta^j u(z), \qquad u(z) = \frac{S_h(z) - z}{h}

    Parameters
    ----------
    recursion : DiscreteSystem
        What is followed: its state is the flow's state.
    order : int
        p >= 0. The flow of order 0 is :math:`z' = dS_h(z)/dh` at h = 0; the right-hand side of order p takes p + 1
        steps and no derivative.

    Raises
    ------
    ArgumentError
        If `recursion` is not a deterministic recursion or the order is negative; by :func:`flowdyn.solve`, if a step
        does not tend to the identity as h -> 0 (a fixed momentum), is not finite or not smooth there, if its slope is
        rounding at this h, or for orders p >= 1 if a user's step jumps on the way, as a sign does.

    Notes
    -----
    Backward error analysis in difference form. A recursion makes it by ``recursion.limit(order)``. Source: Hairer,
    Lubich and Wanner (2006), section IX.1.

    Examples
    --------
    >>> import flowdyn as fd
    >>> hb = fd.HeavyBall(fd.problems.Quadratic(1.0), eta=0.01, friction=2.0)
    >>> flow = fd.RecursionFlow(hb, order=2)
    >>> gap = fd.comparison.sup_error(fd.solve(hb, [1.0], t=2.0), fd.solve(flow, [1.0], t=2.0, saves=21))
    >>> bool(gap < 1e-3)
    True
    """

    recursion: Followed
    order: int = eqx.field(static=True)
    summary: ClassVar[str] = "flow that a recursion follows, in difference form"
    references: ClassVar[str] = SOURCE

    def __init__(self, recursion: Followed, order: int = 1):
        if not isinstance(recursion, Followed):
            raise _check.fail("recursion", "must be a deterministic recursion", recursion, "e.g. fd.HeavyBall(...)")
        self.recursion = recursion
        self.order = _check.integer("order", order, minimum=0, maximum=MAX_ORDER)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Of the heavy ball on a quadratic loss."""
        recursion, w0 = look_up("recursion", "HeavyBall", "flowdyn.methods", {"HeavyBall": "heavy_ball"}).example()
        return cls(recursion, order=1), w0

    def drift(self, t: Time, state: Vector) -> Vector:
        """Derivative of a step at h = 0, or differences of slopes along p + 1 steps from the state."""
        own, h = self.recursion, self.recursion.time_step
        if self.order == 0:
            return rate_of(own.step_at, h, t, jnp.asarray(state))

        def follow(carry: tuple, _: None) -> tuple[tuple, Vector]:
            k, z = carry
            slope = own.slope(k, z)
            return (k + 1, z + h * slope), slope

        return log_series(jax.lax.scan(follow, (t / h, jnp.asarray(state)), None, length=self.order + 1)[1])

    def drift_rounding(self, state: np.ndarray) -> float:
        """Rounding of the right-hand side at states of this size: that of the slopes, grown by the differences."""
        if self.order == 0:
            return 0.0
        grown = sum(2.0**j / (j + 1) for j in range(self.order + 1))
        return grown * self.recursion.slope_rounding(state)

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a step that has no flow at this state."""
        self.recursion.check_start(state0)
        check_step(self, np.asarray(state0, dtype=float))

    def check_path(self, state0: np.ndarray, span: float) -> None:
        """Refuse a flow of order beyond 0 that comes to a sign of the recursion, and one of order 0 that slides."""
        (check_path if self.order else check_sliding)(self, state0, span)

    @property
    def numbers(self) -> dict[str, Any]:
        """Those of the recursion, and the order."""
        return self.recursion.numbers | {"order": self.order}

    def __repr__(self) -> str:
        return shown_call(type(self).__name__, self.config(), unnamed=1)
