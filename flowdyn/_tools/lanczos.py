r"""Largest eigenvalues of a symmetric matrix that is known by its products: block Lanczos with thick restarts.

    A V = V T + Q R E^T,     T s = theta s,   x = V s,     ||A x - theta x|| = ||R s_last||

V is orthogonal to rounding (each block is orthogonalised against all of it, twice and once more after its own QR). An
eigenvalue is off by the residual r at most, and by about r^2 / gap where it lies apart from the rest: with the first j
Ritz values taken together,  0 <= lambda_i - theta_i <= sum_{l <= j} r_l^2 / (theta_j - theta_{j+1}).

A start that holds the eigenvectors of a matrix nearby saves products. It must hold something of every other direction
too, or one that has risen above them since is never seen: :func:`warm_start` mixes it in, and by the time that this
part has been damped to the tolerance, whatever lies above has grown out of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

STEPS = 4  # block steps from one look at the Ritz values to the next
KEPT = 16  # Ritz vectors that outlive a restart, at least
CYCLES = 32
DEAD = 1e-13  # a direction that is smaller beside the matrix is rounding
MIXED = 0.1  # share of other directions in a warm start


class Ritz(NamedTuple):
    """The largest eigenvalues found, in descending order."""

    values: jax.Array  # (count,)
    errors: jax.Array  # (count,), estimates
    vectors: jax.Array  # (b, S), rows; the first `count` belong to the values
    products: jax.Array  # number of products with the matrix


def generic_rows(count: int, size: int) -> jax.Array:
    """Rows (count, S) that are orthogonal to no direction of note: chirps cos(2 pi a i^2), each a irrational."""
    slopes = jnp.sqrt(2.0 + 5.0 * jnp.arange(count))[:, None]  # 2, 7, 12, ... are no squares modulo 5
    phase = slopes * jnp.arange(1.0, size + 1) ** 2
    return jnp.sqrt(2.0) * jnp.cos(2 * jnp.pi * (phase - jnp.floor(phase)))


def warm_start(remembered: jax.Array, other: jax.Array) -> jax.Array:
    """Rows (b, S) to start from: those remembered with a share of the `other` ones, which alone serve if none are."""
    usable = jnp.isfinite(remembered).all() & (jnp.abs(remembered).max() > 0)
    share = MIXED / jnp.sqrt(other.shape[1])
    return jnp.where(usable, jnp.where(usable, remembered, 0.0) + share * other, other)


def largest_eigenpairs(product: Callable, start: jax.Array, count: int, *, tol: float, cycles: int = CYCLES) -> Ritz:
    """The `count` largest eigenvalues to a relative tolerance, or as well as `cycles` restarts find them.

    `product` maps rows (b, S) to rows A v; `start` has b >= count rows. Eigenvalues of a multiplicity above b are
    found b times.
    """
    b, size = start.shape
    kept = max(KEPT, 2 * b)
    full = kept + STEPS * b

    def extend(j: jax.Array, carry: tuple) -> tuple:
        V, T, alive, _ = carry
        at = kept + j * b
        W = product(jax.lax.dynamic_slice(V, (at, 0), (b, size)))
        W, first = _off(V, W)
        W, second = _off(V, W)
        h = (first + second)[:full]
        T = jax.lax.dynamic_update_slice(T, h, (0, at))
        T = jax.lax.dynamic_update_slice(T, h.T, (at, 0))
        rows, R, fine = _orthonormal(V, W, DEAD * jnp.abs(T).max())
        V = jax.lax.dynamic_update_slice(V, rows, (at + b, 0))
        return V, T, jax.lax.dynamic_update_slice(alive, fine, (at + b,)), R

    def cycle(carry: tuple) -> tuple:
        V, T, alive, _, _, number = carry
        V, T, alive, R = jax.lax.fori_loop(0, STEPS, extend, (V, T, alive, jnp.zeros((b, b))))
        theta, s = _ritz(T, alive[:full])
        residuals = jnp.linalg.norm(R @ s[-b:], axis=0)
        size_of_T = jnp.abs(jnp.where(jnp.arange(full) < alive[:full].sum(), theta, 0.0)).max()
        errors = _errors(theta, residuals)[:count] + jnp.finfo(theta.dtype).eps * size_of_T
        X = s[:, :kept].T @ V[:full]
        rest = jnp.zeros((full - kept, size))
        V = jnp.concatenate([X, V[full:], rest])
        T = jnp.zeros((full, full)).at[jnp.arange(kept), jnp.arange(kept)].set(theta[:kept])
        lives = jnp.concatenate([jnp.linalg.norm(X, axis=1) > 0.5, alive[full:], jnp.zeros(full - kept, bool)])
        return V, T, lives, theta[:count], errors, number + 1

    def goes_on(carry: tuple) -> jax.Array:
        *_, values, errors, number = carry
        return (number < cycles) & ((errors > tol * jnp.abs(values)).any() | (number == 0))

    rows, _, fine = _orthonormal(jnp.zeros((1, size)), start, 0.0)
    V = jnp.zeros((full + b, size)).at[kept : kept + b].set(rows)
    alive = jnp.zeros(full + b, bool).at[kept : kept + b].set(fine)
    state = (V, jnp.zeros((full, full)), alive, jnp.zeros(count), jnp.zeros(count), 0)
    V, _, _, values, errors, number = jax.lax.while_loop(goes_on, cycle, state)
    return Ritz(values, errors, V[:b], jnp.asarray(number) * (STEPS * b))


def _off(V: jax.Array, W: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows W without their part in the rows of V, and the coefficients of that part."""
    h = V @ W.T
    return W - h.T @ V, h


def _orthonormal(V: jax.Array, W: jax.Array, least: jax.Array | float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Orthonormal rows that span W, orthogonal to V: rows, R with W^T = rows^T R, and which are no rounding."""
    Q, R = jnp.linalg.qr(W.T)
    fine = jnp.abs(jnp.diagonal(R)) > least
    rows = _off(V, Q.T)[0]
    rows = rows / jnp.maximum(jnp.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    return jnp.where(fine[:, None], rows, 0.0), R, fine


def _ritz(T: jax.Array, alive: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues of T in descending order with their vectors; rows that are not alive come last."""
    both = alive[:, None] & alive[None, :]
    below = -2 * jnp.abs(jnp.where(both, T, 0.0)).sum(axis=1).max() - 1
    masked = jnp.where(both, (T + T.T) / 2, 0.0) + jnp.diag(jnp.where(alive, 0.0, below))
    sound = jnp.isfinite(masked).all()
    theta, s = jnp.linalg.eigh(jnp.where(sound, masked, 0.0))
    return jnp.where(sound, theta[::-1], jnp.nan), s[:, ::-1]


def _errors(theta: jax.Array, residuals: jax.Array) -> jax.Array:
    """Estimates for each Ritz value: its residual, or the squares of the first ones over the gap below them."""
    gaps = theta[:-1] - theta[1:]
    together = jnp.cumsum(residuals[:-1] ** 2) / jnp.maximum(gaps, 1e-300)
    best = jax.lax.cummin(together, reverse=True)
    return jnp.minimum(residuals[:-1], best)
