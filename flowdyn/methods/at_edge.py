r"""How critical curvature holds a flow at the edge of stability.

C = 2 - A on the critical eigenvectors z_a of A = P^{-1/2} H P^{-1/2}, H the Hessian and P what a step divides the
gradient by (1/eta for gradient descent, so that A = eta H). With u_a = P^{-1/2} z_a, in time of steps,

Sigma = sum_ab X_ab u_a u_b^T,   T_ab = grad (u_a^T H u_b),   w' = -c P^{-1} (grad L + 1/2 sum_ab X_ab T_ab)
d/dt C_ab = 2 u_a^T P' u_b - T_ab . w'  =  alpha_ab + beta_ab[X]
"""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn._tools.lanczos import generic_rows, largest_eigenpairs, warm_start
from flowdyn._tools.leaves import is_traced
from flowdyn._tools.semidefinite import complementary, coordinates, matrix_of, pairs
from flowdyn.methods.projected import INSIDE, Look, ProjectedSystem, begin
from flowdyn.methods.systems import OnProblem
from flowdyn.problems.base import Time, Variable, Vector

WHOLE_UP_TO = 64  # parameters, below which all of A is cheaper than an iteration of products
NEAR = 1.0  # of 2 - A: farther from the edge no third derivative is taken
EXACT = 1e-11  # of an eigenvalue, relative: its vector is then right to about 1e-5
THRESHOLD = 2.0  # of A
AT_EDGE = 1e-4  # distance below which a saved state counts as being on the edge
MOST_MODES = 16
SMALLEST = 1e-100  # size of a state whose square does not underflow


class AtEdge(OnProblem, ProjectedSystem):
    """A central flow: a problem's parameters held where the effective Hessian A has no eigenvalue above 2."""

    modes: eqx.AbstractVar[int]
    no_order: ClassVar[str] = (
        "a central flow is a model without an order in eta: as eta -> 0 on a fixed loss the edge is never reached"
    )

    @property
    def followed(self) -> int:
        """Number K of directions that are followed."""
        return min(self.modes, self.problem.size)

    @property
    @abc.abstractmethod
    def step_time(self) -> jax.Array:
        """Time that a step takes on the clock."""

    @property
    @abc.abstractmethod
    def speed(self) -> jax.Array:
        """Factor c of the slow motion: 1 without momentum."""

    @abc.abstractmethod
    def divisor(self, state: Vector) -> jax.Array:
        """What a step divides the gradient by, (P,) or one number."""

    def memory_drift(self, state: Vector, grad: Vector) -> jax.Array | None:
        """Velocity without force, a step, of what the state holds beside w; None if nothing."""
        return None

    def memory_force(self, state: Vector, square: Vector) -> jax.Array | None:
        """The same for a force that adds `square` (P,) to the squares of the gradient."""
        return None

    def divisor_rate(self, state: Vector, velocity: Vector) -> jax.Array | None:
        """Rate (P,) of the divisor along a velocity (S,); None if it is constant."""
        return None

    def look(self, state: Vector, memory: jax.Array | None = None) -> Look:
        """Eigenvectors by Lanczos, third derivatives where they are near the edge."""
        w, count = self.project(state), self.followed
        P = self.divisor(state)
        grad, product = jax.linearize(self.problem.grad, w)
        values, rows = self._eigenpairs(w, 1 / jnp.sqrt(P), product, memory)
        U = rows[:count] / jnp.sqrt(P)
        distance = THRESHOLD - values[:count]

        def near() -> tuple[jax.Array, jax.Array]:
            T = self._third(w, U)
            return T, self._forces(state, P, U, T)

        a, _ = pairs(count)
        nothing = jnp.zeros((len(a), w.shape[0])), jnp.zeros((len(a), state.shape[0]))
        T, forces = jax.lax.cond(distance[0] < NEAR, near, lambda: nothing)
        free = self._state_velocity(-self.speed * grad / P, self.memory_drift(state, grad))

        def rates(velocity: jax.Array) -> jax.Array:
            change = -T @ self.project(velocity)
            moved = self.divisor_rate(state, velocity)
            return change if moved is None else change + 2 * coordinates((U * moved) @ U.T)

        alpha, beta = rates(free), jax.vmap(rates)(forces).T
        per_time = 1 / self.step_time
        return Look(distance, values[count] - THRESHOLD, free * per_time, forces * per_time, alpha, beta, U, rows)

    def _eigenpairs(
        self, w: Vector, root: jax.Array, product: Callable, memory: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """The modes + 1 largest eigenvalues of A, and its eigenvectors as rows."""
        size, count = w.shape[0], self.followed + 1
        if size <= WHOLE_UP_TO:
            values, vectors = jnp.linalg.eigh(self.problem.hessian(w) * root * jnp.reshape(root, (-1, 1)))
            padded = jnp.concatenate([values[::-1][:count], jnp.full(max(count - size, 0), -jnp.inf)])
            return padded, vectors.T[::-1][:count]
        first = generic_rows(count, size)
        start = first if memory is None else warm_start(memory, first)
        found = largest_eigenpairs(lambda rows: root * jax.vmap(product)(root * rows), start, count, tol=EXACT)
        return found.values, found.vectors

    def _third(self, w: Vector, U: jax.Array) -> jax.Array:
        """Coordinates (q, P) of grad (u_a^T H u_b)."""

        def along(u: jax.Array, v: jax.Array) -> jax.Array:
            return jax.jvp(lambda x: jax.jvp(self.problem.grad, (x,), (u,))[1], (w,), (v,))[1]

        a, b = pairs(self.followed)
        return jax.vmap(along)(U[a], U[b]) * np.where(a == b, 1.0, np.sqrt(2.0))[:, None]

    def _forces(self, state: Vector, P: jax.Array, U: jax.Array, T: jax.Array) -> jax.Array:
        """Velocity (q, S) for each coordinate; critical directions have H u = 2 P u."""
        a, b = pairs(self.followed)
        squares = (THRESHOLD * P) ** 2 * U[a] * U[b] * np.where(a == b, 1.0, np.sqrt(2.0))[:, None]
        push = -0.5 * self.speed * T / P
        return jax.vmap(lambda p, s: self._state_velocity(p, self.memory_force(state, s)))(push, squares)

    def _state_velocity(self, of_w: jax.Array, of_memory: jax.Array | None) -> jax.Array:
        return of_w if of_memory is None else jnp.concatenate([of_w, of_memory])

    @property
    def unit(self) -> jax.Array:
        """A step."""
        return self.step_time

    def room(self, look: Look, horizon: Time) -> jax.Array:
        """Nothing is to cross the edge within the horizon; a state beyond it is held where it is."""
        return coordinates(jnp.diag(jnp.maximum(look.distance, 0.0))) * (self.step_time / horizon) + look.alpha

    def excess(self, look: Look) -> jax.Array:
        """What the distances lack."""
        return coordinates(jnp.diag(look.distance))

    def force(self, look: Look, D: jax.Array) -> jax.Array:
        """X of the critical directions."""
        return complementary(D, look.beta, self.followed)

    def sizes(self, state: Vector) -> Vector:
        """Root mean square of w for all its entries."""
        return jnp.full(state.shape, jnp.maximum(jnp.sqrt(jnp.mean(state**2)), SMALLEST))

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a start beyond the edge from where no force leads back."""
        found = bind(begin, self)(state0)
        if not float(found.look.distance.min()) >= -10 * INSIDE:
            raise _check.ArgumentError(
                "`w0` must be where the step is stable, or where a force leads back to there, got an effective "
                f"sharpness of {THRESHOLD - float(found.inside):.6g}, above 2; let the recursion run until it is below "
                "and start there, or use a smaller eta"
            )

    def warn_before(self, w0: np.ndarray) -> str | None:
        """Doubt about a start beyond the edge."""
        found = THRESHOLD - float(bind(begin, self)(np.asarray(self.lift(w0))).inside)
        if found <= THRESHOLD * (1 + 1e-6):
            return None
        return (
            f"`w0` is beyond the edge of stability (effective sharpness {found:.6g}, above 2): the central flow starts "
            "from the edge nearby, and the recursion's first oscillations are not in it"
        )

    def lost(self) -> str:
        """More directions at the edge than `modes`."""
        return f"more than {self.modes} directions are at the edge of stability; give `modes={self.modes + 2}` or more"

    @property
    def stiffness(self) -> jax.Array:
        """Curvature at the edge, in the clock's units."""
        return THRESHOLD * self.speed / self.step_time

    def drift(self, t: Time, state: Vector) -> Vector:
        """Velocity at a state, held for the time of a step."""
        if not is_traced(state):
            return bind(_drift, self)(state)
        return _drift(self, state)

    def edge_observables(self, state: Vector) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Largest eigenvalue of A, trace of Sigma, and the loss averaged over the oscillation, L + tr X."""
        look = self.look(state)
        at_edge = look._replace(distance=jnp.where(look.distance < AT_EDGE, 0.0, look.distance))
        X = matrix_of(self.force(at_edge, self.room(at_edge, self.step_time)), self.followed)
        trace = jnp.sum((look.modes @ look.modes.T) * X)
        return THRESHOLD - look.distance[0], trace, self.problem.loss(self.project(state)) + jnp.trace(X)

    @property
    def edge_variables(self) -> tuple[Variable, ...]:
        """Layout of the last two of :meth:`edge_observables`."""
        return (
            Variable("sigma_trace", (), (), "trace of the covariance Sigma of the oscillation about the central flow"),
            Variable("predicted_loss", (), (), "loss L + tr X averaged over the oscillation; unsure where it sets in"),
        )


def _drift(system: AtEdge, state: Vector) -> Vector:
    return system.velocity(system.look(state), system.step_time)


def checked_modes(modes: int) -> int:
    """Number of critical directions that are followed."""
    return _check.integer("modes", modes, minimum=1, maximum=MOST_MODES)
