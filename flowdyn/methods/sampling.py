"""Batches of B samples out of n: with replacement, without, or along a reshuffled order of the data.

Cov(batch mean) = Cov(sample) / B * s,    s = 1 with replacement,  (n - B)/(n - 1) without
"""

import itertools
import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.randomness import below

Sampling = Literal["with", "without", "reshuffle"]
SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)
MAX_BATCHES = 20_000  # that a mean is taken over, and the Brownian motions of an equation


def check_batch(batch_size: int, n: int | None, sampling: Sampling) -> tuple[int, Sampling]:
    """Check batch size and sampling against the number of samples (None: Gaussian noise, no samples)."""
    _check.choice("sampling", sampling, SAMPLINGS)
    size = _check.integer("batch_size", batch_size, minimum=1)
    if n is None and sampling != "with":
        raise _check.fail("sampling", 'must be "with" for Gaussian gradient noise and fresh samples', sampling)
    if n is not None and sampling != "with" and size > n:
        raise _check.fail("batch_size", f"must be at most n = {n} without replacement", size, "use `sampling='with'`")
    return size, sampling


def batch_noise_scale(batch_size: int, n: int | None, sampling: Sampling) -> float:
    """Share of one sample's covariance that a batch's mean has."""
    if sampling == "with" or n is None:
        return 1.0 / batch_size
    return (n - batch_size) / (batch_size * (n - 1)) if n > 1 else 0.0


def count_batches(n: int, batch_size: int, sampling: Sampling, pairs: bool = False) -> int:
    """Number of different batches of n samples, or of pairs of them; too many are refused."""
    single = math.comb(n, batch_size) if sampling == "without" else math.comb(n + batch_size - 1, batch_size)
    count = single**2 if pairs else single
    if count > MAX_BATCHES and (pairs or batch_size > 1):
        rule = f"must leave at most {MAX_BATCHES} different draws where a step is not affine in the gradient"
        raise _check.fail("batch_size", rule, _check.Words(f"{count} for {n} samples"), "use fewer samples, or B = 1")
    return count


def every_batch(n: int, batch_size: int, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """How often each sample is in each batch, shape (batches, n), and the probability of each batch."""
    if batch_size == 1:
        return np.eye(n), np.full(n, 1 / n)
    pick = itertools.combinations if sampling == "without" else itertools.combinations_with_replacement
    counts = np.array([np.bincount(batch, minlength=n) for batch in pick(range(n), batch_size)], dtype=float)
    if sampling == "without":
        return counts, np.full(len(counts), 1 / len(counts))
    orders = [math.factorial(batch_size) / math.prod(map(math.factorial, map(int, row))) for row in counts]
    return counts, np.array(orders) / float(n) ** batch_size


def count_nodes(numbers: int, nodes: int) -> int:
    """Number of nodes of a product rule over so many normals; too many are refused."""
    count = nodes**numbers
    if count > MAX_BATCHES:
        rule = f"must leave at most {MAX_BATCHES} nodes for squares of gradients on fresh samples"
        got = _check.Words(f"{nodes}^{numbers} for {numbers} normals a step")
        raise _check.fail("batch_size", rule, got, "use fewer inputs, or draw samples and give them")
    return count


def product_rule(numbers: int, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (count, numbers) and weights of a Gaussian quadrature over independent normals."""
    count_nodes(numbers, nodes)
    x, weights = np.polynomial.hermite_e.hermegauss(nodes)
    index = np.indices((nodes,) * numbers).reshape(numbers, -1).T
    return x[index], np.prod((weights / weights.sum())[index], axis=1)


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
