"""Ensembles with fixed steps: one compiled loop for a block of members, whatever the step is.

    state_{n+1} = step(n, t_n, h, state_n, draw(seed, member, n))        n = first .. last - 1 on each segment

A segment ends at a save time. Blocks bound the memory; their size does not depend on the number of members where the
step holds contractions (a matrix product's last bit changes with the size of the batch), so that a member is the same
bits in any ensemble; alone it is so too, or the same to rounding where its state is large.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn._tools import randomness
from flowdyn._tools.compiled import bind
from flowdyn._tools.threads import cores, side_by_side
from flowdyn.methods.base import RecursionSystem
from flowdyn.solvers.base import STATUSES, failure_status, is_bad
from flowdyn.solvers.member_runs import MemberRun, Parts
from flowdyn.solvers.segments import Segments, next_stretch
from flowdyn.solvers.step_loops import loop_of
from flowdyn.solvers.step_program import StepProgram, StepTime

PIECE_SECONDS = 0.5
FIRST_PIECE = 512  # steps of the first call, whose time is mostly compilation


@dataclasses.dataclass
class MemberBlock:
    """Members first, first + 1, ...: rows after an early end are NaN."""

    first: int
    states: np.ndarray  # (b, T, S)
    final: np.ndarray  # (b, S), where each member was left
    codes: np.ndarray  # (b,), indices into STATUSES
    t_stop: np.ndarray  # (b,), time of a stop or of the first bad state, NaN if none


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def start_epoch(system: Any, keys: jax.Array, members: jax.Array, n: jax.Array) -> Any:
    """Epoch state of the members at step n."""
    return _epoch_state(system, keys, members, n // max(system.epoch, 1))


def _epoch_state(system: Any, keys: jax.Array, members: jax.Array, epoch: Any) -> Any:
    return jax.vmap(system.start_epoch, in_axes=1)(randomness.words_at(keys, members, epoch))


def margins(system: Any, stop: tuple, state: jax.Array, limits: jax.Array) -> jax.Array:
    """Margin of the stop rules for each member, not negative where one holds."""
    traced, spec = stop
    return jax.vmap(lambda s: traced(system, spec, s, limits))(state)


def advance_members(
    system: Any,
    program: StepProgram,
    epoch: int,
    keys: tuple,
    members: jax.Array,
    carry: tuple,
    segments: Segments,
    limits: jax.Array,
) -> tuple:
    """Run a block of members through the segments; the carry at their end, and the states at the end of each."""
    loop = loop_of(program)

    def save(carry: tuple, segment: Segments) -> tuple:
        def one(n: jax.Array, carry: tuple, draw: randomness.Draw) -> tuple:
            state, epoch_state, stopped = carry
            if epoch:
                epoch_state = jax.lax.cond(
                    n % epoch == 0, lambda: _epoch_state(system, keys[1], members, n // epoch), lambda: epoch_state
                )
            when = StepTime(n, segment.t + (n - segment.origin) * segment.h, segment.h)
            new = jax.vmap(lambda s, m, d: program.step(system, when, segment.extra, s, m, d), in_axes=(0, 0, -1))(
                state, epoch_state, draw
            )
            if program.stop is not None:
                new = jnp.where((stopped < 0)[:, None], new, state)
                held = margins(system, program.stop, new, limits) >= 0
                stopped = jnp.where((stopped < 0) & held, n + 1, stopped)
            return new, epoch_state, stopped

        carry = loop(program, keys[0], members, segment, one, carry)
        return carry, carry[0]

    return jax.lax.scan(save, carry, segments)


def run_ensemble(run: MemberRun) -> Iterator[MemberBlock]:
    """Run all members, a block at a time."""
    drive = _Drive(Parts(run))
    for first in range(0, run.task.members, drive.size):
        yield drive.block(first)


def blocks_at_end(
    run: Parts, states: np.ndarray, final: np.ndarray, stopped: np.ndarray, broke: np.ndarray | None
) -> Iterator[MemberBlock]:
    """Blocks of a run whose members are all at its end: states (b, T, S), those left (b, S), steps of a stop (b,).

    `broke` are the steps at which members went wrong, where any did.
    """
    drive = _Drive(run)
    for first in range(0, run.task.members, drive.size):
        own = slice(first, min(first + drive.size, run.task.members))
        where = None if broke is None else broke[own]
        yield drive.ended(first, states[own].copy(), final[own], stopped[own].copy(), broke=where)


class _Drive:
    """Runs blocks piece by piece, for progress, budgets and Ctrl-C; as many side by side as there are cores."""

    def __init__(self, run: Parts):
        self.run, self.task, self.program = run, run.task, run.program
        self.segments, self.epoch = run.segments, run.epoch
        task, segments = run.task, run.segments
        self.keys, self.limits = run.keys, run.limits
        self.parts = min(cores(), run.turns)
        self.size = run.block * self.parts
        fits = int(np.clip(2**21 // (self.size * max(task.state0.size, 1)), 1, 64))
        # few shapes, and no room for rows never saved
        self.rows = min(fits, 1 << (len(segments.last) - 1).bit_length())
        self.piece = FIRST_PIECE
        self.end = int(segments.last[-1]) if task.max_steps is None else task.k0 + task.max_steps

    def start(self, first: int, stop: tuple | None) -> tuple:
        """Carry of a block before its first step."""
        task = self.task
        members = jnp.arange(task.first + first, task.first + first + self.size, dtype=jnp.uint32)
        if task.states0 is None:
            state = np.tile(task.state0, (self.size, 1))
        else:
            state = task.states0[np.minimum(np.arange(first, first + self.size), len(task.states0) - 1)]
        k0 = int(self.segments.first[0])
        epoch_state = bind(start_epoch, task.system)(self.keys[1], members, k0) if self.epoch else ()
        stopped = np.full(self.size, -1, dtype=np.int64)
        if stop is not None:
            stopped[np.asarray(bind(margins, task.system, stop)(state, self.limits)) >= 0] = k0
        return members, (jnp.asarray(state), epoch_state, jnp.asarray(stopped))

    def calls(self, first: int, program: StepProgram) -> Iterator[tuple[np.ndarray, np.ndarray, tuple]]:
        """Run one block; yield the saves reached, their rows and the carry after each call."""
        members, carry = self.start(first, program.stop)
        call = bind(advance_members, self.task.system, program, self.epoch)
        segment, step = 0, int(self.segments.first[0])
        while segment < len(self.segments.last) and step <= self.end:
            stretch = next_stretch(self.segments, segment, step, min(self.piece, self.end - step), self.rows)
            if not len(stretch.number):
                return
            begun, before = time.monotonic(), step
            carry, rows = self.advance(call, members, carry, self.segments.part(stretch, self.rows))
            step, done = int(stretch.last[-1]), stretch.last == self.segments.last[stretch.number]
            segment = int(stretch.number[-1]) + int(done[-1])
            yield stretch.number[done], np.asarray(rows)[: len(done)][done], carry
            spent = max(time.monotonic() - begun, 1e-6)
            self.piece = int(np.clip((step - before) * PIECE_SECONDS / spent, max(self.piece // 2, 1), 8 * self.piece))

    def advance(self, call: Callable, members: jax.Array, carry: tuple, segments: Segments) -> tuple:
        """One call of the loop for each part of the block."""
        if self.parts == 1:
            return call(self.keys, members, carry, segments, self.limits)
        cut = jax.tree.map(lambda leaf: np.split(np.asarray(leaf), self.parts), (members, carry))
        given = [jax.tree.map(lambda leaf, i=i: leaf[i], cut, is_leaf=_is_list) for i in range(self.parts)]
        done = side_by_side(lambda own, at: call(self.keys, own, at, segments, self.limits), given)
        carries, rows = zip(*done, strict=True)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *carries), np.concatenate(rows, axis=1)

    def block(self, first: int) -> MemberBlock:
        """All saves of one block."""
        count = min(self.size, self.task.members - first)
        states = np.full((count, len(self.segments.last), self.task.state0.size), np.nan)
        carry: tuple = ()
        out_of_time, reached = False, 0
        for saves, rows, carry in self.calls(first, self.program):  # noqa: B007
            states[:, saves] = np.swapaxes(rows[:, :count], 0, 1)
            reached = max(reached, int(saves[-1]) + 1 if len(saves) else 0)
            share = reached / len(self.segments.last)
            self.task.progress((first + share * count) / self.task.members)
            out_of_time = self.task.out_of_time()
            if out_of_time or (reached and is_bad(states[:, reached - 1]).all()):
                break
        stopped = np.asarray(carry[2])[:count].copy()
        return self.ended(first, states, np.asarray(carry[0])[:count], stopped, (reached, out_of_time))

    def ended(
        self,
        first: int,
        states: np.ndarray,
        final: np.ndarray,
        stopped: np.ndarray,
        early: tuple[int, bool] | None = None,
        broke: np.ndarray | None = None,
    ) -> MemberBlock:
        """How each member of a block ended; rows after an early end are emptied.

        `early`: saves reached, and whether by the clock, where a budget ended the block; `broke` as found already.
        """
        reached, out_of_time = early or (len(self.segments.last), False)
        codes = np.zeros(len(states), dtype=np.int8)
        if reached < len(self.segments.last):
            codes[:] = STATUSES.index("max_seconds" if out_of_time else "max_steps")
            spent = self.segments.last[reached - 1] if out_of_time and reached else self.end
            ended = np.where(stopped < 0, spent, stopped)
        else:
            ended = stopped
        codes[stopped >= 0] = STATUSES.index("stopped")
        after = (stopped >= 0)[:, None] & (self.segments.last[None] > stopped[:, None])
        states[after] = np.nan
        bad = is_bad(states) & ~after & (np.arange(states.shape[1]) < reached)
        if bad.any():
            self._tell_failures(states, bad, codes, ended, self._failures(first) if broke is None else broke)
        return MemberBlock(first, states, final, codes, self._clock(ended))

    def _clock(self, n: np.ndarray) -> np.ndarray:
        """Time of the steps `n`, NaN where they are -1."""
        t = np.full(len(n), np.nan)
        known = n >= 0
        if isinstance(self.task.system, RecursionSystem):
            t[known] = self.task.system.clock(n[known])
        else:
            segment = np.searchsorted(self.segments.last, n[known])
            t[known] = self.segments.clock(segment, n[known])
        return t

    def _failures(self, first: int) -> np.ndarray:
        """Run the block once more to find the step at which each lost member went wrong."""
        carry: tuple = ()
        for _, _, carry in self.calls(first, self.run.until_bad().program):  # noqa: B007
            pass
        return np.asarray(carry[2])

    def _tell_failures(
        self, states: np.ndarray, bad: np.ndarray, codes: np.ndarray, stopped: np.ndarray, where: np.ndarray
    ) -> None:
        """Say how each lost member ended, and when; empty its later rows."""
        for member in np.flatnonzero(bad.any(axis=1)):
            save = int(np.argmax(bad[member]))
            last_good = states[member, save - 1] if save else self.task.state0
            codes[member] = STATUSES.index(failure_status(states[member, save], last_good))
            stopped[member] = where[member]
            states[member, save:] = np.nan
