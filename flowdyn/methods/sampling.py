"""Batches of B samples out of n: with replacement, without, or along a reshuffled order of the data.

Cov(batch mean) = Cov(sample) / B * s,    s = 1 with replacement,  (n - B)/(n - 1) without
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from flowdyn import _check
from flowdyn._tools.randomness import below

Sampling = Literal["with", "without", "reshuffle"]
SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)


def check_batch(batch_size: int, n: int | None, sampling: Sampling) -> tuple[int, Sampling]:
    """Check batch size and sampling against the number of samples (None: Gaussian noise, no samples)."""
    _check.choice("sampling", sampling, SAMPLINGS)
    size = _check.integer("batch_size", batch_size, minimum=1)
    if n is None and sampling != "with":
        raise _check.fail("sampling", 'must be "with" for Gaussian gradient noise and fresh samples', sampling)
    if n is not None and sampling != "with" and size > n:
        raise _check.fail("batch_size", f"must be at most n = {n} without replacement", size, 'use sampling="with"')
    return size, sampling


def batch_noise_scale(batch_size: int, n: int | None, sampling: Sampling) -> float:
    """Share of one sample's covariance that a batch's mean has."""
    if sampling == "with" or n is None:
        return 1.0 / batch_size
    return (n - batch_size) / (batch_size * (n - 1)) if n > 1 else 0.0


def distinct(words: jax.Array, n: int) -> jax.Array:
    """B distinct integers below n, every subset equally likely (Floyd's algorithm), from B words."""
    size = words.shape[0]

    def add(j: jax.Array, chosen: jax.Array) -> jax.Array:
        top = n - size + j
        candidate = below(words[j], top + 1)
        return chosen.at[j].set(jnp.where((chosen == candidate).any(), top, candidate))

    return jax.lax.fori_loop(0, size, add, jnp.full(size, -1, dtype=jnp.int32))


def order_of(words: jax.Array, n: int) -> jax.Array:
    """Random order of 0 .. n - 1 from 2n words: the order of n random 64-bit keys."""
    keys = (words[0::2].astype(jnp.uint64) << jnp.uint64(32)) | words[1::2].astype(jnp.uint64)
    return jnp.argsort(keys[:n]).astype(jnp.int32)
