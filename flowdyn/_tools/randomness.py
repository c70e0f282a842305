"""Random numbers by counter: seed, member and step in, numbers out, whatever runs beside them.

    bits = Threefry-2x32-20(key = seed, counter = (member, step))        Salmon, Moraes, Dror and Shaw (2011)

A member's noise depends on nothing but seed, member and step: not on the number of members, nor on how they are cut
into blocks. One call gives 64 bits; where a step needs fewer, G = floor(64 / bits) steps share a call (counter
step // G); where it needs more, further calls take further keys (lanes) derived from the seed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.quantiles import normal_quantile
from flowdyn._tools.single_quantiles import normal_quantile32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
BITS = {"float64": 64, "float32": 32, "three-point": 32, "rademacher": 1}  # bits that one number takes
MAX_COUNTER = 2**32


class RandomInputs(NamedTuple):
    """What one step needs: 32-bit words, and numbers of mean 0 and variance 1 of one kind.

    Kinds: normals from 64 bits ("float64": 52 of them, tails to 8.1) or 32 ("float32": 24 of them, tails to 5.4 and a
    variance right to 1e-7); the weak increments "three-point" (+-sqrt(3) with probability 1/6 each, else 0) and
    "rademacher" (+-1).
    """

    words: int = 0
    numbers: int = 0
    kind: str = "float64"

    @property
    def shared(self) -> int:
        """Steps G that share one call."""
        bits = self.numbers * BITS[self.kind]
        return 1 if self.words or not 0 < bits < 64 else 64 // bits

    @property
    def calls(self) -> int:
        """Calls a group of G steps takes."""
        return -(-self.words // 2) + -(-self.numbers * BITS[self.kind] * self.shared // 64)


class Draw(NamedTuple):
    """What one step gets: uint32 words (W,) and numbers (m,)."""

    words: Any
    numbers: Any


def threefry(key0: Any, key1: Any, counter0: Any, counter1: Any) -> tuple[Any, Any]:
    """Two uint32 words from a key and a counter of two words each; arrays of numpy or JAX, which broadcast."""
    keys = (key0, key1, key0 ^ key1 ^ np.uint32(0x1BD11BDA))
    x, y = counter0 + keys[0], counter1 + keys[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation)))
        x = x + keys[(block + 1) % 3]
        y = y + keys[(block + 2) % 3] + np.uint32(block + 1)
    return x, y


def lane_keys(seed: int, count: int, stream: int = 0) -> np.ndarray:
    """Keys (count, 2) of the lanes; lane 0 of stream 0 is the seed itself, as ``jax.random.key(seed)`` holds it."""
    key = np.array([(seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF], dtype=np.uint32)
    lanes = np.arange(max(count, 1), dtype=np.uint32)
    keys = np.stack(threefry(key[:1], key[1:], np.full_like(lanes, 0xFFFFFFFF - stream), lanes), axis=1)
    if stream == 0:
        keys[0] = key
    return keys


def lanes_at(keys: Any, members: Any, counter: Any) -> tuple[jax.Array, jax.Array]:
    """Both words of the C lanes at one counter, (C, members) each; keys (C, 2), or those of :func:`beside`."""
    half = keys.shape[1] // 2
    return threefry(keys[:, :half], keys[:, half:], members[None, :], jnp.asarray(counter).astype(jnp.uint32))


def beside(keys: np.ndarray) -> np.ndarray:
    """Keys (C, 2 members) of members of seeds of their own, from theirs, (members, C, 2)."""
    return np.concatenate([keys[..., 0].T, keys[..., 1].T], axis=1)


def _in_turn(lanes: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Words (2 C, members) of the lanes, both of the first lane first."""
    x, y = lanes
    return jnp.stack([x, y], axis=1).reshape(2 * x.shape[0], x.shape[1])


def words_at(keys: Any, members: Any, counter: Any) -> jax.Array:
    """Words (2 C, members) of the C lanes at one counter."""
    return _in_turn(lanes_at(keys, members, counter))


def pick(inputs: RandomInputs, lanes: tuple[jax.Array, jax.Array], place: Any) -> Draw:
    """Numbers of the step at `place` (0 .. G - 1) of a group, from the group's lanes."""
    x, y = lanes
    head = -(-inputs.words // 2)
    return Draw(_in_turn((x[:head], y[:head]))[: inputs.words], _numbers(inputs, x[head:], y[head:], place))


def _numbers(inputs: RandomInputs, x: jax.Array, y: jax.Array, place: Any) -> jax.Array:
    # a concatenation of the lanes would be a branch for each element in the compiled loop: avoided where it can be
    m = inputs.numbers
    if m == 0:
        return jnp.zeros((0, *x.shape[1:]))
    if inputs.kind == "float64":
        return normal64(x[:m], y[:m])
    if inputs.kind == "rademacher":
        bit = place * m + jnp.arange(m)
        words = _in_turn((x, y))
        chosen = words[bit // 32] if inputs.shared == 1 else jnp.where((bit < 32)[:, None], x, y)
        sign = (chosen >> (bit % 32).astype(jnp.uint32)[:, None]) & jnp.uint32(1)
        return 2.0 * sign.astype(jnp.float64) - 1.0
    chosen = _in_turn((x, y))[:m] if inputs.shared == 1 else jnp.where(place == 0, x, y)
    return normal32(chosen).astype(jnp.float64) if inputs.kind == "float32" else three_point(chosen)


def singles_of(inputs: RandomInputs, lanes: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Numbers (P G, m, members) of P groups of steps, in single precision, from their lanes (P, C, members)."""
    groups, calls, members = lanes[0].shape
    words = jnp.stack([normal32(word) for word in lanes], axis=2).reshape(groups, 2 * calls, members)
    return words[:, : inputs.numbers * inputs.shared].reshape(-1, inputs.numbers, members)


def normal32(word: jax.Array) -> jax.Array:
    """Standard normals from 32 bits each, in single precision; the signed form never reaches +-1."""
    return normal_quantile32(
        ((word.astype(jnp.int32) >> 8).astype(jnp.float32) + jnp.float32(0.5)) * np.float32(2.0**-23)
    )


def normal64(high: jax.Array, low: jax.Array) -> jax.Array:
    """Standard normals from 64 bits each, in double precision."""
    bits = (high.astype(jnp.uint64) << jnp.uint64(32)) | low.astype(jnp.uint64)
    # (m + 1/2) 2^-52, m the upper 52 bits with their sign, by way of 1.5 + m 2^-52: conversions of integers are slow
    mantissa = ((bits ^ jnp.uint64(1 << 63)) >> jnp.uint64(12)) | jnp.uint64(0x3FF0000000000000)
    return normal_quantile((jax.lax.bitcast_convert_type(mantissa, jnp.float64) - 1.5) + 2.0**-53)


def three_point(word: jax.Array) -> jax.Array:
    """Values +-sqrt(3) with probability 1/6 each, else 0: the first five moments of a standard normal."""
    sixth = jnp.uint32(2**32 // 6)
    up, down = word < sixth, word >= jnp.uint32(2**32 - 2**32 // 6)
    return np.sqrt(3) * (up.astype(jnp.float64) - down.astype(jnp.float64))


def below(word: jax.Array, n: Any) -> jax.Array:
    """Uniform integers 0 .. n - 1 by the high half of a product; no probability is off by more than 2^-32."""
    return ((word.astype(jnp.uint64) * jnp.asarray(n).astype(jnp.uint64)) >> jnp.uint64(32)).astype(jnp.int32)


def fine_increments(inputs: RandomInputs, keys: Any, members: Any, n: Any) -> Draw:
    """Numbers of step n for all members, (W, members) and (m, members)."""
    group = inputs.shared
    return pick(inputs, lanes_at(keys, members, n // group), n % group)


def summed_increments(inputs: RandomInputs, keys: Any, members: Any, n: Any, refine: int) -> Draw:
    """Numbers of step n as normalised sums over `refine` finer cells: steps of any size then share one path."""
    if refine == 1:
        return fine_increments(inputs, keys, members, n)

    def add(j: jax.Array, total: jax.Array) -> jax.Array:
        return total + fine_increments(inputs, keys, members, n * refine + j).numbers

    total = jax.lax.fori_loop(0, refine, add, jnp.zeros((inputs.numbers, members.shape[0])))
    return Draw(jnp.zeros((0, members.shape[0]), jnp.uint32), total / np.sqrt(refine))
