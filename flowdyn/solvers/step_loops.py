"""The loop over the steps of one segment, in four forms that differ in when the random words are made.

state_{n+1} = one(n, state_n, draw_n)        n = first .. last - 1
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from flowdyn._tools import randomness
from flowdyn.solvers.segments import Segments
from flowdyn.solvers.step_program import StepProgram

# Words of a few steps are made in one loop over 32-bit integers: inside the step's loop over doubles, XLA would make
# them at half the width and once for each place where they are used.
PREFETCH, LONG = 8, 32  # half as many where a step takes more than two numbers: they must stay in the cache


def prefetch_of(program: StepProgram, segments: Segments) -> int:
    """Steps whose words are made together; 1 where that does not pay."""
    numbers = program.random_inputs.numbers
    # a single segment always, so that the rungs of a ladder share one program
    is_long = len(segments.last) == 1 or (segments.last - segments.first).min(initial=LONG) >= LONG
    if not numbers or not is_long:
        return 1
    return PREFETCH if numbers <= 2 else PREFETCH // 2


def loop_of(program: StepProgram) -> Callable:
    """How the steps of a segment are run: by themselves, or in groups whose random words are made together."""
    if program.refine > 1:
        return _step_by_step
    if program.random_inputs.kind == "float32" and not program.random_inputs.words and program.prefetch > 1:
        return _singles_first
    if program.random_inputs.shared > 1:
        return _in_groups
    return _prefetched if program.prefetch > 1 else _step_by_step


def _step_by_step(
    program: StepProgram, keys: jax.Array, members: jax.Array, segment: Segments, one: Callable, carry: tuple
) -> tuple:
    def step(n: jax.Array, carry: tuple) -> tuple:
        draw = randomness.summed_increments(program.random_inputs, keys, members, n, program.refine)
        return one(n, carry, draw)

    return jax.lax.fori_loop(segment.first, segment.last, step, carry)


def _in_groups(
    program: StepProgram, keys: jax.Array, members: jax.Array, segment: Segments, one: Callable, carry: tuple
) -> tuple:
    """Steps that share the 64 bits of one call."""
    inputs, size = program.random_inputs, program.random_inputs.shared

    def group(g: jax.Array, carry: tuple) -> tuple:
        lanes = randomness.lanes_at(keys, members, g)
        low, high = jnp.maximum(segment.first, g * size), jnp.minimum(segment.last, (g + 1) * size)
        return jax.lax.fori_loop(low, high, lambda n, c: one(n, c, randomness.pick(inputs, lanes, n - g * size)), carry)

    return jax.lax.fori_loop(segment.first // size, (segment.last - 1) // size + 1, group, carry)


def _prefetched(
    program: StepProgram, keys: jax.Array, members: jax.Array, segment: Segments, one: Callable, carry: tuple
) -> tuple:
    """Words of a few steps are made in a loop of their own."""
    size = program.prefetch

    def group(g: jax.Array, carry: tuple) -> tuple:
        first = g * size
        x, y = jax.vmap(lambda n: randomness.lanes_at(keys, members, n))(first + jnp.arange(size))
        low, high = jnp.maximum(segment.first, first), jnp.minimum(segment.last, first + size)
        return jax.lax.fori_loop(
            low,
            high,
            lambda n, c: one(n, c, randomness.pick(program.random_inputs, (x[n - first], y[n - first]), 0)),
            carry,
        )

    return jax.lax.fori_loop(segment.first // size, (segment.last - 1) // size + 1, group, carry)


def _singles_first(
    program: StepProgram, keys: jax.Array, members: jax.Array, segment: Segments, one: Callable, carry: tuple
) -> tuple:
    """Words of a few steps and their numbers in single precision are made first, at the full width of 32 bits."""
    inputs = program.random_inputs
    calls = max(program.prefetch // inputs.shared, 1)
    size = calls * inputs.shared

    def group(g: jax.Array, carry: tuple) -> tuple:
        first = g * size

        def make(j: jax.Array, words: tuple) -> tuple:
            made = randomness.lanes_at(keys, members, g * calls + j)
            return tuple(rows.at[j].set(row) for rows, row in zip(words, made, strict=True))

        empty = jnp.zeros((calls, inputs.calls, members.shape[0]), jnp.uint32)
        numbers = randomness.singles_of(inputs, jax.lax.fori_loop(0, calls, make, (empty, empty)))
        none = jnp.zeros((0, members.shape[0]), jnp.uint32)
        return jax.lax.fori_loop(
            jnp.maximum(segment.first, first),
            jnp.minimum(segment.last, first + size),
            lambda n, c: one(n, c, randomness.Draw(none, numbers[n - first].astype(jnp.float64))),
            carry,
        )

    return jax.lax.fori_loop(segment.first // size, (segment.last - 1) // size + 1, group, carry)
