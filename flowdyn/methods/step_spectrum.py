"""How far a step is from the identity:  largest |lambda| of  dS(z)/dz - 1."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.compiled import bind

MATRIX_UP_TO = 64  # below this many entries of the state the whole Jacobian is cheaper than Arnoldi's iteration


def _jacobian(recursion: Any, k: jax.Array, state: jax.Array) -> jax.Array:
    return jax.jacfwd(lambda z: recursion.step(k, z))(state) - jnp.eye(state.size)


def _product(recursion: Any, k: jax.Array, state: jax.Array, v: jax.Array) -> jax.Array:
    return jax.jvp(lambda z: recursion.step(k, z), (state,), (v,))[1] - v


def largest_change(recursion: Any, k: int, state: np.ndarray) -> float:
    """Spectral radius of dS/dz - 1 at a state (S,) before step k; inf where it is not finite."""
    if len(state) <= MATRIX_UP_TO:
        matrix = np.asarray(bind(_jacobian, recursion)(k, state))
        return float(np.abs(np.linalg.eigvals(matrix)).max()) if np.isfinite(matrix).all() else np.inf
    product = bind(_product, recursion)
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
