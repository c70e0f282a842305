r"""The stochastic equations that a random recursion follows, from nothing but its step.

    M_h = E S_h,   b = dM_h/dh,   phi_j the columns of the fluctuation,   G = dphi/dh,   G2 = d^2 phi/2dh^2,  at h = 0

    dX = b dt + sqrt(h) G dW                                                        order 1
    dX = F_1 dt + sqrt(h) G dW,         F_1 = b + h (b2 - b'b/2), b2 = d^2 M/2dh^2  order 2
    dX = F_1 dt + sqrt(h) G_h dW,       G_h = G + h G2 - (h/2)(b'G + G'[b])         order 2, matched
    dX = (F_2 - (h^2/4) sum_ij C_ij d_ij b) dt + sqrt(h) G_h dW,   C = G G^T        order 3, matched

F_2 is the flow of M_h of order 2. Order 3 needs steps affine in h and noise without third moments. At order 2 the plain
equation has the means right to h^2 and the stationary law to h only, farther off than order 1 has it; matched,
covariances are right to h^2 too.
"""

from typing import Any, ClassVar, Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn._tools.leaves import shown_call
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn._tools.registry import look_up
from flowdyn.methods.equation_checks import check_equation, check_noise, finite, whole_state
from flowdyn.methods.following import log_series, slope_of
from flowdyn.methods.of_recursion import OfRecursion
from flowdyn.methods.sample_jumps import check_samples
from flowdyn.methods.scatter_of_steps import Scatter
from flowdyn.methods.systems import Moments, SDESystem
from flowdyn.problems.base import Time, Vector
from flowdyn.theory.linear_moments import LinearNoise, linear_sde_mean_cov
from flowdyn.theory.moments_work import Size, sde_route

Covariance = Literal["plain", "matched"]
COVARIANCES = ("plain", "matched")
ORDERS = "must be 1, 2, or 3 with covariance='matched'"
MAX_ENTRIES = 5_000_000  # of the derivatives of all columns, 40 MB


class RecursionEquation(OfRecursion, SDESystem):
    r"""The stochastic equation that a random recursion follows, of weak order 1, 2 or 3 in its time step h.

    .. math:: dX = F(X)\,dt + \sqrt{h}\,G_h(X)\,dW, \qquad h^2 G G^\top = \mathrm{Cov}\,S_h + O(h^3)

    Parameters
    ----------
    recursion : RandomRecursionSystem
        What is followed: its state is the equation's state. One Brownian motion an outcome, or a normal, drives all
        parts of it.
    order : int
        1, 2 or, with the matched covariance, 3.
    covariance : {"plain", "matched"}
        Whether the diffusion is that of h = 0, or has the correction of order h that makes covariances, stationary
        ones among them, right to h^2.

    Raises
    ------
    ArgumentError
        If the order is none of these; by :func:`flowdyn.solve`, if a coefficient is not finite at the start, or for
        order 3 if a step is not affine in h or its noise has third moments, or beyond order 1 if the step of a sample
        jumps on the way, as a sign does.

    Notes
    -----
    Ito. A recursion makes it by ``recursion.limit(order, covariance)``. Source: Li, Tai and E (2017, 2019) for orders 1
    and 2; the matched covariance and order 3 by the same expansion of the generator, of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> coin = fd.RandomRecursion(lambda z, h, x: z - h * (z - x), 0.1, samples=[[-1.0], [1.0]])
    >>> plain, matched = coin.limit(2), coin.limit(2, "matched")
    >>> both = [float((e.diffusion(0.0, [0.0]) ** 2).sum()) for e in (plain, matched)]
    >>> [round(value, 6) for value in both]  # h and h (1 + h/2)^2
    [0.1, 0.11025]
    """

    recursion: Scatter
    order: int = eqx.field(static=True)
    covariance: Covariance = eqx.field(static=True)
    calculus: ClassVar[str] = "ito"  # type: ignore[misc]
    noise: ClassVar[str] = "general"  # type: ignore[misc]
    summary: ClassVar[str] = "stochastic equation that a random recursion follows"
    references: ClassVar[str] = "Li, Tai and E (2017, 2019)"

    def __init__(self, recursion: Scatter, order: int = 1, covariance: Covariance = "plain"):
        if not isinstance(recursion, Scatter):
            raise _check.fail("recursion", "must be a random recursion", recursion, "e.g. fd.RandomRecursion(...)")
        self.recursion = recursion
        self.covariance = checked_covariance(covariance)
        self.order = _check.integer("order", order, minimum=1)
        if self.order > (3 if self.covariance == "matched" else 2):
            raise _check.fail("order", ORDERS, order)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Of steps towards one of two points."""
        names = {"RandomRecursion": "random_recursion"}
        recursion, w0 = look_up("recursion", "RandomRecursion", "flowdyn.methods", names).example()
        return cls(recursion, order=2, covariance="matched"), w0

    def __repr__(self) -> str:
        return shown_call(type(self).__name__, self.config(), unnamed=1)

    @property
    def numbers(self) -> dict[str, Any]:
        """Those of the recursion, and the order."""
        return self.recursion.numbers | {"order": self.order}

    def _b(self, state: Vector) -> Vector:
        return jax.jvp(lambda h: self.recursion.mean_at(h, state), (jnp.zeros(()),), (jnp.ones(()),))[1]

    def _b2(self, state: Vector) -> Vector:
        """``d^2 M / 2 dh^2`` at h = 0."""
        rate = lambda h: jax.jvp(lambda s: self.recursion.mean_at(s, state), (h,), (jnp.ones(()),))[1]  # noqa: E731
        return 0.5 * jax.jvp(rate, (jnp.zeros(()),), (jnp.ones(()),))[1]

    def _slope(self, state: Vector) -> Vector:
        return slope_of(lambda h, k, z: self.recursion.mean_at(h, z), self.recursion.time_step, jnp.zeros(()), state)

    def columns(self, state: Vector) -> jax.Array:
        """Columns G at h = 0, as rows (m, S)."""
        return jax.jvp(lambda h: self.recursion.fluctuations(h, state), (jnp.zeros(()),), (jnp.ones(()),))[1]

    def drift(self, t: Time, state: Vector) -> Vector:
        """``b``, with ``h (b2 - b'b/2)``; for order 3 the flow of the means of order 2 with the term of C."""
        start, h = jnp.asarray(self.recursion.within(jnp.asarray(state))), self.recursion.time_step
        if self.order < 3:
            b = self._b(start)
            return finite(
                b if self.order == 1 else b + h * (self._b2(start) - 0.5 * jax.jvp(self._b, (start,), (b,))[1])
            )
        slopes, z = [], start
        for _ in range(3):
            slopes.append(self._slope(z))
            z = z + h * slopes[-1]
        total = log_series(jnp.stack(slopes))

        def curved(column: jax.Array) -> jax.Array:
            along = lambda x: jax.jvp(self._b, (x,), (column,))[1]  # noqa: E731
            return jax.jvp(along, (start,), (column,))[1]

        return total - h**2 / 4 * jnp.sum(jax.vmap(curved)(self.columns(start)), axis=0)

    def _factors(self, state: Vector) -> jax.Array:
        """Columns of G_h, as rows (m, S)."""
        z, h = jnp.asarray(self.recursion.within(jnp.asarray(state))), self.recursion.time_step
        G = self.columns(z)
        if self.covariance == "plain":
            return G
        slope = lambda s: jax.jvp(lambda x: self.recursion.fluctuations(x, z), (s,), (jnp.ones(()),))[1]  # noqa: E731
        G2 = 0.5 * jax.jvp(slope, (jnp.zeros(()),), (jnp.ones(()),))[1]
        turned = jax.vmap(lambda column: jax.jvp(self._b, (z,), (column,))[1])(G)
        moved = jax.jvp(self.columns, (z,), (self._b(z),))[1]
        return G + h * G2 - h / 2 * (turned + moved)

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """``sqrt(h) G_h``, one column a Brownian motion."""
        return finite(jnp.sqrt(self.recursion.time_step) * self._factors(state).T)

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """``sqrt(h) G_h dW``."""
        return jnp.sqrt(self.recursion.time_step) * (increment @ self._factors(state))

    def noise_dim(self, state: np.ndarray) -> int:
        """One Brownian motion an outcome, or a normal."""
        return self.recursion.noise_size

    def default_dt(self, span: float) -> float:
        """At most h / 2: a step as long as the recursion's own would repeat it."""
        return min(span / 1000, float(self.recursion.time_step) / 2)

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse coefficients that are not finite, and an order 3 that does not exist."""
        self.recursion.check_start(state0)
        check_equation(self, np.asarray(state0, dtype=float))

    def check_path(self, state0: np.ndarray, span: float) -> None:
        """Refuse an order beyond 1 whose samples' steps jump on the way."""
        check_samples(self, state0, span)

    def is_affine(self, size: int) -> bool:
        """Whether drift and diffusion are affine in the state, and their derivatives are not too many."""
        return self.recursion.noise_size * size**2 <= MAX_ENTRIES and by_structure(_degree, self, size) <= 1

    def moments_work(self, size: int, when: np.ndarray) -> float:
        """Of the moments of a linear equation; 0 where none are known."""
        if not self.is_affine(size):
            return 0.0
        shape = Size(self.recursion.noise_size, size, rank_one=False)
        return sde_route(shape, np.diff(when, prepend=0.0), float(self.recursion.time_step)).work

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance where drift and diffusion are affine in the state."""
        start = whole_state(self, w0)
        if not self.is_affine(len(start)):
            return None
        check_noise(self.recursion, start)
        check_equation(self, start)
        return affine_moments(self, start, when)


def checked_covariance(covariance: Any) -> Covariance:
    """Check the name of an equation's covariance."""
    return _check.choice("covariance", covariance, COVARIANCES)  # type: ignore[return-value]


def linear_noise_of(A: np.ndarray, b: np.ndarray, P: np.ndarray, q: np.ndarray) -> LinearNoise:
    """Affine drift b - A z and columns P_j z + q_j as the sample gradients of one step of length 1."""
    root = np.sqrt(len(q))
    return LinearNoise(A, b, root * P, -root * q, np.zeros_like(A))


def affine_moments(equation: SDESystem, w0: np.ndarray, when: np.ndarray) -> Moments:
    """Mean and covariance of an equation whose drift and diffusion are affine in the state and free of time."""
    A, b, P, q = map(np.asarray, bind(_affine, equation)(np.zeros(len(w0))))
    return linear_sde_mean_cov(linear_noise_of(-A, b, P, q), 1.0, 1.0, 1, w0, when)


def _degree(equation: "RecursionEquation", size: int) -> float:
    """Degree of drift and diffusion in the state."""
    flat = jax.ShapeDtypeStruct((size,), jnp.float64)
    parts = (lambda z: equation.drift(0.0, z)), (lambda z: equation._factors(z))
    return max(degree_of(part, flat) for part in parts)


def _affine(equation: SDESystem, zero: jax.Array) -> tuple:
    drift = lambda z: equation.drift(0.0, z)  # noqa: E731
    columns = lambda z: equation.diffusion(0.0, z).T  # noqa: E731
    return jax.jacfwd(drift)(zero), drift(zero), jax.jacfwd(columns)(zero), columns(zero)
