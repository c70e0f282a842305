"""How far a step is from the identity:  largest |lambda| of  dS(z)/dz - 1."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn.methods.ends_on_manifold import NOTHING

MATRIX_UP_TO = 64  # below this many entries of the state the whole Jacobian is cheaper than Arnoldi's iteration
SAME = 1e-6  # of a direction, what a step of no length changes of it that is none


def _of_no_length(recursion: Any, state: jax.Array, v: jax.Array) -> jax.Array:
    """``dS_0/dz v``."""
    part = lambda z: recursion.step_at(NOTHING * recursion.time_step, 1 / NOTHING, z)  # noqa: E731
    return jax.jvp(part, (state,), (v,))[1]


def _twice(recursion: Any, state: jax.Array) -> jax.Array:
    """A direction of no special place, and what one and two steps of no length make of it."""
    aside = jnp.cos(1.0 + jnp.arange(state.size))
    once = _of_no_length(recursion, state, aside)
    return jnp.stack([aside, once, _of_no_length(recursion, state, once)])


def _product(recursion: Any, projects: bool, k: jax.Array, state: jax.Array, v: jax.Array) -> jax.Array:
    v = _of_no_length(recursion, state, v) if projects else v
    return jax.jvp(lambda z: recursion.step(k, z), (state,), (v,))[1] - v


def _jacobian(recursion: Any, projects: bool, k: jax.Array, state: jax.Array) -> jax.Array:
    if projects:
        return jax.vmap(lambda v: _product(recursion, True, k, state, v), out_axes=1)(jnp.eye(state.size))
    return jax.jacfwd(lambda z: recursion.step(k, z))(state) - jnp.eye(state.size)


def largest_change(recursion: Any, k: int, state: np.ndarray) -> float:
    """Spectral radius of dS/dz - 1 at a state (S,) before step k; inf where it is not finite.

    That along the manifold alone where a step projects onto one: what leads off it is lost at any h, and not followed.
    """
    projects = recursion.is_users and _is_projection(recursion, state)
    if len(state) <= MATRIX_UP_TO:
        matrix = np.asarray(bind(_jacobian, recursion, projects)(k, state))
        return float(np.abs(np.linalg.eigvals(matrix)).max()) if np.isfinite(matrix).all() else np.inf
    product = bind(_product, recursion, projects)
    if not np.isfinite(np.asarray(product(k, state, state))).all():
        return np.inf

    def times(v: np.ndarray) -> np.ndarray:
        return np.asarray(product(k, state, v.ravel()))

    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs  # slow to import

    operator = LinearOperator((len(state),) * 2, matvec=times, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(len(state))
    try:
        found: Any = eigs(operator, k=1, which="LM", v0=start, tol=1e-3, return_eigenvectors=False)  # pyright: ignore
    except ArpackNoConvergence as partial:
        found = partial.eigenvalues
    return float(np.abs(found).max(initial=0.0))


def _is_projection(recursion: Any, state: np.ndarray) -> bool:
    """Whether ``dS_0/dz`` changes a direction, and changes it no more the second time."""
    aside, once, twice = np.asarray(bind(_twice, recursion)(state))
    return bool(np.abs(once - aside).max() > SAME and np.abs(twice - once).max() <= SAME)
