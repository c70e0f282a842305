r"""A small complementarity problem over symmetric matrices, by Newton steps with projections to fall back on.

0 <= X  ⟂  D + M[X] >= 0,     X, D symmetric (K, K),  M symmetric and positive semidefinite
X = P(Z),   G(Z) = P(Z) - R (2 P(Z) - Z - tau D) = 0,     R = (1 + tau M)^-1,  P the projection onto X >= 0

Matrices are vectors of coordinates in an orthonormal basis (diagonal entries, and sqrt(2) times the others), so that
M is a matrix (q, q), q = K (K + 1)/2. Z - G(Z) is the step of Douglas and Rachford's splitting, which never lets G
grow: it is taken where a semismooth Newton step does not shrink G.
"""

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 500
CONVERGED = 1e-13
FLOOR = 1e-12  # of M, relative: makes the solution unique
WIDEST = 1e-4  # smallest rate of M, relative, that is looked at


def pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows a <= b of the coordinates' entries, the diagonal first."""
    a, b = np.triu_indices(count, 1)
    return np.r_[np.arange(count), a], np.r_[np.arange(count), b]


def basis(count: int) -> np.ndarray:
    """Orthonormal symmetric matrices E (q, K, K) that the coordinates belong to."""
    a, b = pairs(count)
    E = np.zeros((len(a), count, count))
    p = np.arange(len(a))
    E[p, a, b] = E[p, b, a] = np.where(a == b, 1.0, np.sqrt(0.5))
    return E


def coordinates(X: jax.Array) -> jax.Array:
    """Coordinates (q,) of a symmetric matrix (K, K)."""
    return jnp.einsum("pab,ab->p", basis(X.shape[0]), X)


def matrix_of(x: jax.Array, count: int) -> jax.Array:
    """Symmetric matrix (K, K) of coordinates (q,)."""
    return jnp.einsum("p,pab->ab", x, basis(count))


def _projected(z: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """P(Z), and the derivative of P there as a matrix (q, q)."""
    values, Q = jnp.linalg.eigh(matrix_of(z, count))
    above, E = jnp.maximum(values, 0.0), basis(count)
    gap = values[:, None] - values[None, :]
    same = jnp.abs(gap) <= 1e-14 * jnp.abs(values).max()
    slope = jnp.where(same, (values[:, None] > 0) * 1.0, (above[:, None] - above[None, :]) / jnp.where(same, 1.0, gap))
    turned = jnp.einsum("pab,ai,bj->pij", E, Q, Q)  # Q^T E_p Q
    return coordinates((Q * above) @ Q.T), jnp.einsum("pij,ij,qij->pq", turned, slope, turned)


def complementary(D: jax.Array, M: jax.Array, count: int) -> jax.Array:
    """Coordinates (q,) of the solution X, for D (q,) and M (q, q)."""
    q = D.shape[0]
    a, b = pairs(count)
    M = (M + M.T) / 2
    largest = jnp.where(jnp.trace(M) > 0, jnp.trace(M), 1.0)
    own = jnp.maximum(jnp.diagonal(M)[:count], WIDEST * largest) ** -0.25
    unit = own[a] * own[b]  # X = C Y C with C diagonal keeps the cone: all modes are made of one size
    D, M = unit * D, unit[:, None] * M * unit
    M = M + FLOOR * jnp.maximum(jnp.trace(M), 1.0) * jnp.eye(q)
    rates, V = jnp.linalg.eigh(M)
    tau = 1 / jnp.sqrt(rates[-1] * jnp.maximum(rates[0], WIDEST * rates[-1]))
    R = (V / (1 + tau * rates)) @ V.T

    def residual(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        y, slope = _projected(z, count)
        return y - R @ (2 * y - z - tau * D), slope, y

    def step(carry: tuple) -> tuple:
        z, G, slope, y, trial, forced, number = carry
        found = residual(trial)
        better = forced | (jnp.linalg.norm(found[0]) <= 0.9 * jnp.linalg.norm(G))
        z, G, slope, y = (
            jnp.where(better, new, old) for new, old in zip((trial, *found), (z, G, slope, y), strict=True)
        )
        newton = z - jnp.linalg.solve(slope - R @ (2 * slope - jnp.eye(q)), G)
        return z, G, slope, y, jnp.where(better, newton, z - G), ~better, number + 1

    def goes_on(carry: tuple) -> jax.Array:
        z, G, *_, number = carry
        small = jnp.linalg.norm(G) <= CONVERGED * (jnp.linalg.norm(z) + tau * jnp.linalg.norm(D))
        return ((number == 0) | ~small) & (number < STEPS)

    nothing = jnp.zeros(q)
    start = (nothing, nothing, jnp.zeros((q, q)), nothing, -tau * D, jnp.asarray(True), 0)
    found = jax.lax.while_loop(goes_on, step, start)
    rests = jnp.linalg.eigvalsh(matrix_of(D, count))[0] >= 0
    return jnp.where(rests, 0.0, unit * found[3])
