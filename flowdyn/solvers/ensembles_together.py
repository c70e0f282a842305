"""Ensembles of many systems of one form in one compiled program, one after the other in each thread of its own.

    for b = 0 .. B - 1:  for all members m:  state_{b,m,n+1} = step_b(n, t_n, h_b, state_{b,m,n}, draw(seed_b, m, n))

What runs for a system is the loop that it runs alone, over blocks of the same size, for its own number of steps: its
members are the same bits as alone, whatever stands beside it. Runs of few members that differ in start and seed alone
share a block. What is saved is what surrounds a run, and what would fill a block.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from flowdyn._tools import randomness
from flowdyn._tools.compiled import split
from flowdyn._tools.stacked import bind_turns, stack
from flowdyn._tools.threads import cores, side_by_side
from flowdyn.solvers.base import is_bad
from flowdyn.solvers.ensembles import MemberBlock, advance_members, blocks_at_end, margins, start_epoch
from flowdyn.solvers.member_runs import MemberRun, Parts

CHEAP = 2**26  # numbers stepped over by a run that is worth no program of its own: about a tenth of a second
PER_CALL = 2**27  # numbers that a core steps over in one call, between which an interruption is heard
HELD = 2**22  # numbers of states that one call returns
ARRAYS = 2**18  # numbers in the arrays of a system, each of which is copied for its turn
SEEN = 16  # numbers of a system's arrays that a step may look at in the time that it takes for one of its state


def is_cheap(run: MemberRun) -> bool:
    """Whether a run is so short that what surrounds it counts, and needs no watch over its time."""
    task = run.task
    if task.max_seconds is not None or task.max_steps is not None or not len(run.segments.last):
        return False
    lanes = max(task.members, 64)
    held = lanes * task.state0.size * len(run.segments.last)
    return lanes * _work(run) <= CHEAP and held <= HELD and _arrays(run) <= ARRAYS


def _work(run: MemberRun) -> int:
    """Numbers that one member steps over, about."""
    steps = 1 + int(run.segments.last[-1] - run.segments.first[0]) * run.program.refine
    return steps * max(run.task.state0.size, run.program.random_inputs.numbers, _arrays(run) // SEEN)


def _arrays(run: MemberRun) -> int:
    """Numbers in the arrays of a system."""
    return sum(np.size(leaf) for leaf in split(run.task.system)[0])


class Piece(NamedTuple):
    """Members first .. first + size - 1 of a run, which lie beside one another in a block."""

    run: int
    first: int
    size: int


Turn = tuple[Piece, ...]  # what fills one block: runs that differ in start and seed alone


def run_together(runs: Sequence[MemberRun]) -> list[list[MemberBlock]]:
    """Members of each run, in its order; their systems have one form."""
    parts = [Parts(run) for run in runs]
    work = list(map(_work, runs))
    alike: dict[tuple, list[int]] = {}
    for i, part in enumerate(parts):
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(part.segments.extra))
        key = part.program, part.block, part.epoch, len(part.segments.last), shapes, part.limits.shape
        alike.setdefault(key, []).append(i)
    found: dict[int, list[MemberBlock]] = {}
    done = 0
    for places in alike.values():
        group = _Group([parts[i] for i in places], [work[i] for i in places])
        for turns in group.calls():
            rows = group.run(turns)
            broke = _steps_of_failures(group, {i: own[0] for i, own in rows.items()})
            for i, (states, final, stopped) in rows.items():
                found[places[i]] = list(blocks_at_end(group.parts[i], states, final, stopped, broke.get(i)))
            done += len({piece.run for turn in turns for piece in turn})
            runs[0].task.progress(done / len(runs))
    return [found[i] for i in range(len(runs))]


def _steps_of_failures(group: "_Group", states: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Steps at which the members of the runs with bad rows went wrong, -1 where they did not: run once more to see."""
    bad = [i for i, rows in states.items() if is_bad(rows).any()]
    if not bad:
        return {}
    watching = _Group([group.parts[i].until_bad() for i in bad], [group.work[i] for i in bad])
    return {bad[i]: own[2] for turns in watching.calls() for i, own in watching.run(turns).items()}


class _Group:
    """Runs of one program, block size and number of saves."""

    def __init__(self, parts: Sequence[Parts], work: Sequence[int]):
        self.parts, self.lead, self.work = parts, parts[0], work
        self.stacked = stack([part.task.system for part in parts])
        self.advance = bind_turns(advance_members, self.stacked, self.lead.program, self.lead.epoch)

    def turns(self) -> list[list[Turn]]:
        """The turns of each run, or of some small runs that share their blocks."""
        found: list[list[Turn]] = []
        open_turns: dict[bytes, int] = {}
        for i, part in enumerate(self.parts):
            count, block = part.task.members, part.block
            if count == 1 == block or count > block // 2:
                starts = range(0, count, block)
                found.append([(Piece(i, first, min(block, count - first)),) for first in starts])
                continue
            key = self._numbers_of(i)
            at = open_turns.get(key)
            if at is not None and sum(piece.size for piece in found[at][0]) + count <= block:
                found[at][0] = (*found[at][0], Piece(i, 0, count))
            else:
                open_turns[key] = len(found)
                found.append([(Piece(i, 0, count),)])
        return found

    def _numbers_of(self, i: int) -> bytes:
        """All that runs in one block must agree in."""
        part = self.parts[i]
        arrays = [own[i] for own in self.stacked.own] + jax.tree.leaves(part.segments) + [part.limits]
        return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)

    def calls(self) -> Iterator[list[Turn]]:
        """Turns of each call."""
        call: list[Turn] = []
        work = held = 0
        for turns in self.turns():
            lanes = len(turns) * self.lead.block
            own = lanes * self.work[turns[0][0].run]
            rows = lanes * self.lead.task.state0.size * len(self.lead.segments.last)
            if call and (work + own > PER_CALL * cores() or held + rows > HELD):
                yield call
                call, work, held = [], 0, 0
            call, work, held = call + turns, work + own, held + rows
        if call:
            yield call

    def run(self, turns: list[Turn]) -> dict[int, tuple[np.ndarray, ...]]:
        """Of the runs that these turns are all of: states (b, T, S), those left (b, S), steps of a stop (b,)."""
        threads = min(cores(), len(turns))
        shares = any(len(turn) > 1 for turn in turns)
        handed = [turns[thread::threads] for thread in range(threads)]
        each = 1 << (len(handed[0]) - 1).bit_length()  # few sizes are ever compiled

        def go(*own: Turn) -> tuple:
            filled = [*own, *own[-1:] * (each - len(own))]
            (state, _, stopped), rows = self.advance(_leads(filled), *self.arguments(filled, len(own), shares))
            return np.asarray(state), np.asarray(stopped), np.asarray(rows)

        done = side_by_side(go, [tuple(own) for own in handed])
        members: dict[int, list[tuple]] = {}
        for j, turn in enumerate(turns):
            state, stopped, rows = (part[j // threads] for part in done[j % threads])
            edge = 0
            for piece in turn:
                own = slice(edge, edge + piece.size)
                members.setdefault(piece.run, []).append((np.swapaxes(rows[:, own], 0, 1), state[own], stopped[own]))
                edge += piece.size
        return {i: tuple(map(np.concatenate, zip(*own, strict=True))) for i, own in members.items()}

    def arguments(self, turns: Sequence[Turn], count: int, shares: bool) -> tuple:
        """Keys, members, carry, segments and limits of each turn; those beyond `count` take no step."""
        leads = [self.parts[i] for i in _leads(turns)]
        lanes = [self._lanes(turn) for turn in turns]
        keys, k0 = self._keys(lanes, shares), np.array([part.segments.first[0] for part in leads])
        members = np.stack([
            [self.parts[i].task.first + member for i, member in own] for own in lanes
        ]).astype(np.uint32)  # fmt: skip
        state = np.stack([[self.parts[i].task.state0 for i, _ in own] for own in lanes])
        segments: Any = jax.tree.map(lambda *leaves: np.stack(leaves), *[part.segments.whole() for part in leads])
        is_run = np.arange(len(turns))[:, None] < count
        segments = segments._replace(last=np.where(is_run, segments.last, segments.first))
        limits = np.stack([part.limits for part in leads])
        epoch_state: Any = ()
        if self.lead.epoch:
            epoch_state = bind_turns(start_epoch, self.stacked)(_leads(turns), keys[1], members, k0)
        stopped = np.full(members.shape, -1, dtype=np.int64)
        if self.lead.program.stop is not None:
            rules = bind_turns(margins, self.stacked, self.lead.program.stop)
            held = np.asarray(rules(_leads(turns), state, limits)) >= 0
            stopped = np.where(held, k0[:, None], stopped)
        return keys, members, (state, epoch_state, stopped), segments, limits

    def _lanes(self, turn: Turn) -> list[tuple[int, int]]:
        """Run and member of each place in a block; the last run goes on where it is not full."""
        own = [(piece.run, piece.first + j) for piece in turn for j in range(piece.size)]
        run, member = own[-1]
        return own + [(run, member + 1 + j) for j in range(self.lead.block - len(own))]

    def _keys(self, lanes: list[list[tuple[int, int]]], shares: bool) -> tuple[np.ndarray, np.ndarray]:
        """Keys of the steps and of the epochs: one seed for a turn, or one for each of its lanes."""
        first, second = (
            [self.parts[own[0][0]].keys[n] for own in lanes]
            if not shares
            else [randomness.beside(np.stack([self.parts[i].keys[n] for i, _ in own])) for own in lanes]
            for n in (0, 1)
        )
        return np.stack(first), np.stack(second)


def _leads(turns: Sequence[Turn]) -> list[int]:
    """The run of each turn whose numbers it takes."""
    return [turn[0].run for turn in turns]
