"""Ensembles with fixed steps: one compiled loop for a block of members, whatever the step is.

    state_{n+1} = step(n, t_n, h, state_n, draw(seed, member, n))        n = first .. last - 1 on each leg

A leg ends at a save time. Blocks bound the memory; their size does not depend on the number of members where the step
holds contractions (a matrix product's last bit changes with the size of the batch), so that a member is the same bits
in any ensemble.
"""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools import randomness
from flowdyn._tools.compiled import bind
from flowdyn.methods.systems import Recursion
from flowdyn.solvers.base import HUGE, STATUSES, Task, blame, is_bad
from flowdyn.solvers.step_program import Legs, Plan, When, block_size

# Words of a few steps are made in one loop over 32-bit integers: inside the step's loop over doubles, XLA would make
# them at half the width and once for each place where they are used.
AHEAD, LONG = 8, 32  # half as many where a step takes more than two numbers: they must stay in the cache
PIECE_SECONDS = 0.5
FIRST_PIECE = 512  # steps of the first call, whose time is mostly compilation


@dataclasses.dataclass
class Block:
    """Members first, first + 1, ...: rows after an early end are NaN."""

    first: int
    states: np.ndarray  # (b, T, S)
    final: np.ndarray  # (b, S), where each member was left
    codes: np.ndarray  # (b,), indices into STATUSES
    t_stop: np.ndarray  # (b,), time of a stop or of the first bad state, NaN if none


def _begin(system: Any, keys: jax.Array, members: jax.Array, n: jax.Array) -> Any:
    return _memory(system, keys, members, n // max(system.epoch, 1))


def _memory(system: Any, keys: jax.Array, members: jax.Array, epoch: Any) -> Any:
    return jax.vmap(system.begin, in_axes=1)(randomness.words_at(keys, members, epoch))


def _margins(system: Any, stop: tuple, state: jax.Array, limits: jax.Array) -> jax.Array:
    traced, spec = stop
    return jax.vmap(lambda s: traced(system, spec, s, limits))(state)


def _badness(system: Any, spec: tuple, state: jax.Array, limits: jax.Array) -> jax.Array:
    """Nonnegative where a state is not finite or beyond HUGE."""
    return jnp.where(jnp.max(jnp.abs(state)) <= HUGE, -1.0, 1.0)


def _advance(
    system: Any, plan: Plan, epoch: int, keys: tuple, members: jax.Array, carry: tuple, legs: Legs, limits: jax.Array
) -> tuple:
    ask, shared = plan.ask, plan.ask.shared

    def save(carry: tuple, leg: Legs) -> tuple:
        def one(n: jax.Array, carry: tuple, draw: randomness.Draw) -> tuple:
            state, memory, stopped = carry
            if epoch:
                memory = jax.lax.cond(
                    n % epoch == 0, lambda: _memory(system, keys[1], members, n // epoch), lambda: memory
                )
            when = When(n, leg.t + (n - leg.first) * leg.h, leg.h)
            new = jax.vmap(lambda s, m, d: plan.step(system, when, leg.extra, s, m, d), in_axes=(0, 0, -1))(
                state, memory, draw
            )
            if plan.stop is not None:
                new = jnp.where((stopped < 0)[:, None], new, state)
                held = _margins(system, plan.stop, new, limits) >= 0
                stopped = jnp.where((stopped < 0) & held, n + 1, stopped)
            return new, memory, stopped

        def group(g: jax.Array, carry: tuple) -> tuple:
            lanes = randomness.lanes_at(keys[0], members, g)
            low, high = jnp.maximum(leg.first, g * shared), jnp.minimum(leg.last, (g + 1) * shared)
            return jax.lax.fori_loop(
                low, high, lambda n, c: one(n, c, randomness.pick(ask, lanes, n - g * shared)), carry
            )

        def ahead(g: jax.Array, carry: tuple) -> tuple:
            first = g * plan.ahead
            x, y = jax.vmap(lambda n: randomness.lanes_at(keys[0], members, n))(first + jnp.arange(plan.ahead))
            low, high = jnp.maximum(leg.first, first), jnp.minimum(leg.last, first + plan.ahead)
            return jax.lax.fori_loop(
                low, high, lambda n, c: one(n, c, randomness.pick(ask, (x[n - first], y[n - first]), 0)), carry
            )

        if shared == 1 and plan.ahead > 1 and plan.refine == 1:
            carry = jax.lax.fori_loop(leg.first // plan.ahead, (leg.last - 1) // plan.ahead + 1, ahead, carry)
        elif shared > 1 and plan.refine == 1:
            carry = jax.lax.fori_loop(leg.first // shared, (leg.last - 1) // shared + 1, group, carry)
        else:
            carry = jax.lax.fori_loop(
                leg.first,
                leg.last,
                lambda n, c: one(n, c, randomness.coarse(ask, keys[0], members, n, plan.refine)),
                carry,
            )
        return carry, carry[0]

    return jax.lax.scan(save, carry, legs)


def run_ensemble(task: Task, plan: Plan, legs: Legs, epoch: int = 0, epoch_words: int = 0) -> Iterator[Block]:
    """Run all members, a block at a time."""
    if len(legs.last) and int(legs.last[-1]) * plan.refine >= randomness.MAX_COUNTER:
        raise _check.fail("t", f"must need fewer than {randomness.MAX_COUNTER:,} steps of noise", int(legs.last[-1]))
    if task.stop is not None:
        plan = plan._replace(stop=(task.stop.traced, task.stop.spec))
    size = block_size(task, plan, legs, epoch, epoch_words)
    # a single leg always, so that the rungs of a ladder share one program
    if plan.ask.numbers and (len(legs.last) == 1 or (legs.last - legs.first).min(initial=LONG) >= LONG):
        plan = plan._replace(ahead=AHEAD if plan.ask.numbers <= 2 else AHEAD // 2)
    keys = (
        jnp.asarray(randomness.lane_keys(task.seed, plan.ask.calls)),
        jnp.asarray(randomness.lane_keys(task.seed, -(-epoch_words // 2), stream=1)),
    )
    drive = _Drive(task, plan, legs, epoch, keys, size)
    for first in range(0, task.members, size):
        yield drive.block(first)


class _Drive:
    """Runs blocks piece by piece, for progress, budgets and Ctrl-C."""

    def __init__(self, task: Task, plan: Plan, legs: Legs, epoch: int, keys: tuple, size: int):
        self.task, self.plan, self.legs, self.epoch, self.keys, self.size = task, plan, legs, epoch, keys, size
        fits = int(np.clip(2**21 // (size * max(task.state0.size, 1)), 1, 64))
        self.rows = min(fits, 1 << (len(legs.last) - 1).bit_length())  # few shapes, and no room for rows never saved
        self.limits = np.zeros(0) if task.stop is None else task.stop.thresholds
        self.piece = FIRST_PIECE
        self.end = int(legs.last[-1]) if task.max_steps is None else task.k0 + task.max_steps

    def start(self, first: int, stop: tuple | None) -> tuple:
        """Carry of a block before its first step."""
        task = self.task
        members = jnp.arange(task.first + first, task.first + first + self.size, dtype=jnp.uint32)
        if task.states0 is None:
            state = np.tile(task.state0, (self.size, 1))
        else:
            state = task.states0[np.minimum(np.arange(first, first + self.size), len(task.states0) - 1)]
        k0 = int(self.legs.first[0])
        memory = bind(_begin, task.system)(self.keys[1], members, k0) if self.epoch else ()
        stopped = np.full(self.size, -1, dtype=np.int64)
        if stop is not None:
            stopped[np.asarray(bind(_margins, task.system, stop)(state, self.limits)) >= 0] = k0
        return members, (jnp.asarray(state), memory, jnp.asarray(stopped))

    def pieces(self, first: int, plan: Plan) -> Iterator[tuple[np.ndarray, np.ndarray, tuple]]:
        """Run one block; yield the saves reached, their rows and the carry after each call."""
        members, carry = self.start(first, plan.stop)
        call = bind(_advance, self.task.system, plan, self.epoch)
        legs, j, n = self.legs, 0, int(self.legs.first[0])
        while j < len(legs.last) and n <= self.end:
            index: list[int] = []
            low: list[int] = []
            high: list[int] = []
            budget = min(self.piece, self.end - n)
            begun, before = time.monotonic(), n
            while len(index) < self.rows and j < len(legs.last) and (budget > 0 or legs.last[j] == n):
                take = min(int(legs.last[j]) - n, budget)
                index.append(j)
                low.append(n)
                high.append(n + take)
                n, budget = n + take, budget - take
                j += int(n == legs.last[j])
            if not index:
                return
            pad = self.rows - len(index)
            chosen = np.array(index + index[-1:] * pad)
            low_, high_ = np.array(low + high[-1:] * pad), np.array(high + high[-1:] * pad)
            t = legs.t[chosen] + (low_ - legs.first[chosen]) * legs.h[chosen]
            part = Legs(low_, high_, t, legs.h[chosen], jax.tree.map(lambda a: a[chosen], legs.extra))  # noqa: B023
            carry, rows = call(self.keys, members, carry, part, self.limits)
            done = high_[: len(index)] == legs.last[index]
            yield np.array(index)[done], np.asarray(rows)[: len(index)][done], carry
            spent = max(time.monotonic() - begun, 1e-6)
            self.piece = int(np.clip((n - before) * PIECE_SECONDS / spent, max(self.piece // 2, 1), 8 * self.piece))

    def block(self, first: int) -> Block:
        """All saves of one block."""
        count = min(self.size, self.task.members - first)
        states = np.full((count, len(self.legs.last), self.task.state0.size), np.nan)
        carry: tuple = ()
        out_of_time, reached = False, 0
        for saves, rows, carry in self.pieces(first, self.plan):  # noqa: B007
            states[:, saves] = np.swapaxes(rows[:, :count], 0, 1)
            reached = max(reached, int(saves[-1]) + 1 if len(saves) else 0)
            share = reached / len(self.legs.last)
            self.task.progress((first + share * count) / self.task.members)
            out_of_time = self.task.out_of_time()
            if out_of_time or (reached and is_bad(states[:, reached - 1]).all()):
                break
        stopped = np.asarray(carry[2])[:count].copy()
        codes = np.zeros(count, dtype=np.int8)
        if reached < len(self.legs.last):
            codes[:] = STATUSES.index("max_seconds" if out_of_time else "max_steps")
            spent = self.legs.last[reached - 1] if out_of_time and reached else self.end
            ended = np.where(stopped < 0, spent, stopped)
        else:
            ended = stopped
        codes[stopped >= 0] = STATUSES.index("stopped")
        after = (stopped >= 0)[:, None] & (self.legs.last[None] > stopped[:, None])
        states[after] = np.nan
        bad = is_bad(states) & ~after & (np.arange(states.shape[1]) < reached)
        if bad.any():
            self._blame(first, states, bad, codes, ended)
        return Block(first, states, np.asarray(carry[0])[:count], codes, self._clock(ended))

    def _clock(self, n: np.ndarray) -> np.ndarray:
        """Time of the steps `n`, NaN where they are -1."""
        t = np.full(len(n), np.nan)
        known = n >= 0
        if isinstance(self.task.system, Recursion):
            t[known] = self.task.system.clock(n[known])
        else:
            leg = np.searchsorted(self.legs.last, n[known])
            t[known] = self.legs.t[leg] + (n[known] - self.legs.first[leg]) * self.legs.h[leg]
        return t

    def _blame(self, first: int, states: np.ndarray, bad: np.ndarray, codes: np.ndarray, stopped: np.ndarray) -> None:
        """Run the block once more to find the step at which each lost member went wrong; empty its later rows."""
        carry: tuple = ()
        for _, _, carry in self.pieces(first, self.plan._replace(stop=(_badness, ()))):  # noqa: B007
            pass
        where = np.asarray(carry[2])
        for member in np.flatnonzero(bad.any(axis=1)):
            save = int(np.argmax(bad[member]))
            last_good = states[member, save - 1] if save else self.task.state0
            codes[member] = STATUSES.index(blame(states[member, save], last_good))
            stopped[member] = where[member]
            states[member, save:] = np.nan
