"""The compiled loop of steps: Tsitouras' pair or Rodas5P, dense output, tolerances that follow the state.

    |error of a step|_rms <= 1,   h+ = 0.9 h e^(-0.17) e_old^0.04,   stiff where  h |k7 - k6| / |y7 - y6| > 1 to 3

in root mean squares, those of the watch too in units of the tolerances: what is stiff may be small beside the rest. A
call goes on until something needs a look from outside (`WHY`), or for as many steps as it may take. Nothing that a run
returns depends on how many calls it took. Source: Hairer and Wanner (1996), section IV.2, for the step sizes and the
watch, as in their DOPRI5, whose norm has no weights.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools.one_kernel import in_one_kernel
from flowdyn._tools.quick_compilation import compiles_as_a_whole
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers.base import HUGE
from flowdyn.solvers.crawling import TAKEN, counted
from flowdyn.solvers.explicit_state import Carry, Explicit, Method, Numbers, Why
from flowdyn.solvers.stopping import POINTS
from flowdyn.solvers.tolerances import TINY
from flowdyn.solvers.trial_steps import TRIALS, Trial, inside, weighted

# Of h times the estimate of the largest rate. The stable interval of the pair ends at 3.5; before that the order is
# lost where rates are large and forced, and steps are short though the solution is smooth.
LEAST_STIFF, MOST_STIFF, SMOOTH = 1.0, 3.0, 10.0
CALM = 6  # steps in a row that are not stiff, after which the count begins again
SAFETY, SLOWEST, FASTEST = 0.9, 0.2, 10.0
# After a rejection, until a step is as long again: what was met there may come once more (a right-hand side that jumps
# every .1 and is constant in between has no error to see), and steps that double meet it within one or two of them.
DOUBLE = 2.0
HIGH_STIFF, HIGH_SMOOTH = (3.0, 6.1), 30.0  # the same of DOP853, whose stable interval ends at 6.1
NOW, BEFORE = 0.17, 0.04  # exponents of this step's error and of the last one's
HIGH_NOW, HIGH_BEFORE = 1 / 8, 0.0


def _sizes(scale: jax.Array, *vectors: jax.Array) -> list[jax.Array]:
    """Root mean squares of vectors (S,) in units of a scale, inf where one is not finite; all in one pass.

    One sum of several, which XLA leaves to no library of its own, takes half the time of sums one by one.
    """
    share = 1 / jnp.maximum(scale, TINY)
    squares, zero = [(x * share) ** 2 for x in vectors], np.float64(0.0)
    sums = jax.lax.reduce(squares, [zero] * len(squares), lambda a, b: [x + y for x, y in zip(a, b, strict=True)], (0,))
    sizes = [jnp.sqrt(total / scale.size) for total in sums]
    return [jnp.where(jnp.isfinite(size), size, jnp.inf) for size in sizes]


def _atol(carry: Carry, program: Explicit, numbers: Numbers) -> jax.Array:
    return carry.path.atol(numbers.rtol, carry.relative, jnp) if program.follows else numbers.atol


def _begun(system: ODESystem, program: Explicit, numbers: Numbers, carry: Carry) -> Carry:
    """The run with its right-hand side and a first step, where they are still to be found.

    That step moves the state by a hundredth, as in Hairer, Norsett and Wanner (1993), section II.4.
    """

    def found() -> tuple:
        # outside of the loop: inside, each step would pay for what the first needs
        k = jnp.asarray(system.drift(carry.t, carry.y))
        scale = _atol(carry, program, numbers) + numbers.rtol * jnp.abs(carry.y)
        size, speed = _sizes(scale, carry.y, k)
        h = jnp.where((size < 1e-5) | (speed < 1e-5) | jnp.isinf(speed), 1e-6, 0.01 * size / speed)
        # of a state near 0 it may be below the spacing of times
        return k, jnp.maximum(h, 16 * np.finfo(float).eps * jnp.abs(carry.t))

    k, h = jax.lax.cond(carry.fresh, found, lambda: (carry.k, carry.h))
    return carry._replace(k=k, h=h, fresh=jnp.zeros((), bool))


def _may_hold(margins: jax.Array) -> jax.Array:
    """Whether a rule holds at one of the samples (R, rules) of a step, or may between them, as in stopping.py."""
    padded = jnp.pad(margins, ((2, 2), (0, 0)), constant_values=jnp.nan)
    near = jnp.stack([padded[i : i + len(margins)] for i in range(5)])
    finite = jnp.isfinite(near)
    low, high = jnp.where(finite, near, jnp.inf).min(axis=0), jnp.where(finite, near, -jnp.inf).max(axis=0)
    tops = jnp.where(jnp.isnan(near[1:4]), -jnp.inf, near[1:4]).max(axis=0) <= margins
    return ((margins >= 0) | (tops & (margins + (high - low) >= 0))).any()


def _error(high: jax.Array, *low: jax.Array) -> jax.Array:
    """Size of the error in units of the tolerances; of two estimates as in the formula of ``dormand_prince.py``."""
    if not low:
        return high
    size = high / jnp.sqrt(1 + 0.01 * (low[0] / jnp.maximum(high, 1e-300)) ** 2)
    return jnp.where(jnp.isfinite(high) & jnp.isfinite(low[0]), size, jnp.inf)


def _next_step(program: Explicit, carry: Carry, h: jax.Array, error: jax.Array, accept: jax.Array) -> jax.Array:
    now, before = (HIGH_NOW, HIGH_BEFORE) if program.method is Method.DOP853 else (NOW, BEFORE)
    least = jnp.maximum(error, 1e-10)
    most = jnp.where(carry.refused, 1.0, jnp.where(carry.short_of > h, DOUBLE, FASTEST))
    grown = jnp.clip(SAFETY * least**-now * carry.error**before, SLOWEST, most)
    return h * jnp.where(accept, grown, jnp.clip(SAFETY * least ** (-1 / program.method.order), SLOWEST, 0.9))


def _after(carry: Carry, program: Explicit, numbers: Numbers, trial: Trial, step: tuple) -> Carry:
    """The run after a step that was accepted, without a look at what needs one."""
    y, (t, h, following, (error, shift, moved), stages) = trial.y, step
    path = carry.path
    if program.follows:
        path = path.after(y, numbers.rtol, carry.relative, jnp)
        path = path._replace(back=path.back | trial.grown)
    (low, high), smooth = (LEAST_STIFF, MOST_STIFF), SMOOTH
    if program.method is Method.DOP853:
        (low, high), smooth = HIGH_STIFF, HIGH_SMOOTH
    limit = jnp.clip(smooth * numbers.rtol ** (1 / program.method.order), low, high)
    stiff = h * shift > limit * moved
    calm = jnp.where(stiff, 0, carry.calm + 1)
    count = jnp.where(calm >= CALM, 0, carry.stiff + stiff)
    dense, is_short = carry.dense, h < carry.short_of
    if program.stop is not None:
        times = jnp.full((2, len(y)), jnp.stack([carry.t, h])[:, None])
        dense = jnp.concatenate([times, carry.y[None], jnp.stack(stages)])
    return carry._replace(
        t=t, y=y, k=trial.k, h=following, error=jnp.maximum(error, 1e-4), path=path, accepted=carry.accepted + 1,
        refused=jnp.zeros((), bool), short_of=jnp.where(is_short, carry.short_of, 0.0), stiff=count, calm=calm,
        # steps on the way back to a size that was refused say nothing against a crawl
        crawl=jnp.where(is_short, carry.crawl, counted(carry.crawl, False, TAKEN, jnp)), dense=dense,
    )  # fmt: skip


def _not_taken(carry: Carry, h: jax.Array, following: jax.Array, flags: tuple) -> Carry:
    """The run after a try that was no step: rejected, or without room for its saves."""
    accept, huge = flags
    stuck = following <= 4 * np.finfo(float).eps * jnp.abs(carry.t) + 1e-300
    failed = jnp.where(huge, int(Why.HUGE), jnp.where(stuck, int(Why.STUCK), 0))
    return carry._replace(
        h=jnp.where(accept, carry.h, following),
        rejected=carry.rejected + ~accept,
        crawl=jnp.where(accept, carry.crawl, counted(carry.crawl, True, TAKEN, jnp)),
        refused=carry.refused | ~accept,
        short_of=jnp.where(accept | (h < carry.short_of), carry.short_of, h),
        why=jnp.where(accept, int(Why.FULL), failed).astype(jnp.int64),
    )


def _reasons(
    system: ODESystem, program: Explicit, numbers: Numbers, before: Carry, carry: Carry, last: Any
) -> jax.Array:
    """What needs a look after an accepted step."""
    held = {
        Why.END: carry.t >= numbers.bound,
        Why.BACK: numbers.heeds & carry.path.back.any(),
        Why.STIFF: carry.stiff >= numbers.patience,
        Why.LOOK: carry.t >= numbers.look,
        Why.SPENT: carry.accepted >= numbers.most_steps,
        Why.STUCK: carry.t <= before.t,
    }
    if program.follows:
        held[Why.WOKE] = (before.path.asleep & ~carry.path.asleep).any()
        held[Why.CRAWL] = carry.crawl >= numbers.most_refused
    if program.each_step:
        held[Why.FULL] = last >= program.rows
    if program.stop is not None:
        kernel, spec = program.stop
        stages = list(carry.dense[3:])
        shares = jnp.linspace(0, 1, POINTS + 1)
        states = jax.vmap(
            lambda share: before.y + (carry.dense[1, 0] * weighted(inside(share, program.method), stages))
        )(shares)
        held[Why.ALARM] = _may_hold(jax.vmap(lambda s: kernel(system, spec, s, numbers.limits))(states))
    return sum((jnp.where(holds, int(why), 0) for why, holds in held.items()), jnp.zeros((), jnp.int64))


def _lies_here(program: Explicit, numbers: Numbers, due: jax.Array, row: jax.Array) -> jax.Array:
    """Whether the next save lies in the step."""
    if program.each_step:
        return jnp.zeros((), bool)
    return (row < program.rows) & (numbers.ts[jnp.minimum(row, program.rows - 1)] <= due)


def _save(
    program: Explicit, numbers: Numbers, carry: Carry, record: tuple, step: tuple, stages: list
) -> tuple[tuple, Any]:
    """Write the saves that lie in the step; with the record comes whether they all found room."""
    (row, rows, times), (t_new, y_new, h, accept, due) = record, step
    if program.each_step:
        at = jnp.where(accept, row, program.rows)  # beyond the end nothing is written
        rows, times = rows.at[at].set(y_new, mode="drop"), times.at[at].set(t_new, mode="drop")
        return (row + accept, rows, times), jnp.ones((), bool)

    def write(saved: tuple) -> tuple:
        i, rows = saved
        weights = inside((numbers.ts[i] - carry.t) / h, program.method)
        return i + 1, rows.at[i].set(carry.y + h * weighted(weights, stages))

    last, rows = jax.lax.while_loop(lambda saved: _lies_here(program, numbers, due, saved[0]), write, (row, rows))
    return (last, rows, times), numbers.next_save > due


@compiles_as_a_whole
def advance(system: ODESystem, program: Explicit, carry: Carry, numbers: Numbers) -> tuple:
    """Go on with a run; (carry, number of saves, saves (rows, S), their times)."""
    return in_one_kernel(functools.partial(_steps, program), system, carry, numbers)


def _steps(program: Explicit, system: ODESystem, carry: Carry, numbers: Numbers) -> tuple:
    def attempt(loop: tuple) -> tuple:
        tries, carry, record = loop
        h = jnp.minimum(carry.h, numbers.max_step)
        room = numbers.bound - carry.t
        is_last = h * 1.01 >= room
        h = jnp.where(is_last, room, h)
        t_new = jnp.where(is_last, numbers.bound, carry.t + h)
        trial = TRIALS[program.method](system, carry, h, t_new)
        y = trial.y
        scale = _atol(carry, program, numbers) + numbers.rtol * jnp.maximum(jnp.abs(carry.y), jnp.abs(y))
        *errors, shift, moved = _sizes(scale, *trial.errors, trial.shift, trial.moved)
        error = _error(*errors)
        huge = (error <= 1) & ~(jnp.abs(y).max() <= HUGE)
        accept = (error <= 1) & ~huge
        until = jnp.where(t_new >= numbers.bound, numbers.covered, t_new)
        due = jnp.where(accept, until, -jnp.inf)  # saves up to here lie in the step
        stages = trial.stages(accept if program.stop is not None else _lies_here(program, numbers, due, record[0]))
        record, has_room = _save(program, numbers, carry, record, (t_new, y, h, accept, due), stages)
        following = _next_step(program, carry, h, error, accept)
        done = _after(carry, program, numbers, trial, (t_new, h, following, (error, shift, moved), stages))
        done = done._replace(why=_reasons(system, program, numbers, carry, done, record[0]))
        carry = jax.tree.map(
            lambda taken, left: jnp.where(accept & has_room, taken, left),
            done,
            _not_taken(carry, h, following, (accept, huge)),
        )
        return tries + 1, carry, record

    carry, numbers = jax.tree.map(jnp.asarray, (carry, numbers))  # they are of numpy where nothing is compiled
    carry = _begun(system, program, numbers, carry)._replace(why=jnp.zeros((), jnp.int64))
    record = jnp.zeros((), jnp.int64), jnp.zeros((program.rows, len(carry.y))), jnp.zeros(program.rows)
    more = lambda loop: (loop[1].why == 0) & (loop[0] < numbers.most_tries)  # noqa: E731
    _, carry, record = jax.lax.while_loop(more, attempt, (jnp.zeros((), jnp.int64), carry, record))
    return carry, *record
