"""Ensembles of many systems of one form in one compiled program, one after the other in each thread of its own.

    for b = 0 .. B - 1:  for all members m:  state_{b,m,n+1} = step_b(n, t_n, h_b, state_{b,m,n}, draw(seed_b, m, n))

What runs for a system is the loop that it runs alone, over blocks of the same size, for its own number of steps: its
members are the same bits as alone, whatever stands beside it. What is saved is what surrounds a run.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from flowdyn._tools.compiled import split
from flowdyn._tools.stacked import Stack, bind_turns, stack
from flowdyn._tools.threads import cores, side_by_side
from flowdyn.solvers.ensembles import MemberBlock, advance_members, blocks_at_end, margins, start_epoch
from flowdyn.solvers.member_runs import MemberRun, Parts

CHEAP = 2**26  # numbers stepped over by a run that is worth no program of its own: about a tenth of a second
PER_CALL = 2**27  # numbers that one call steps over, between which an interruption is heard
HELD = 2**22  # numbers of states that one call returns
ARRAYS = 2**18  # numbers in the arrays of a system, each of which is copied for its turn


def is_cheap(run: MemberRun) -> bool:
    """Whether a run is so short that what surrounds it counts, and needs no watch over its time."""
    task = run.task
    if task.max_seconds is not None or task.max_steps is not None or not len(run.segments.last):
        return False
    steps = int(run.segments.last[-1] - run.segments.first[0])
    lanes = max(task.members, 64) * max(task.state0.size, run.program.random_inputs.numbers, 1)
    held = lanes * len(run.segments.last)
    return max(steps * run.program.refine, 1) * lanes <= CHEAP and held <= HELD and _numbers(run) <= ARRAYS


def _numbers(run: MemberRun) -> int:
    return sum(np.size(leaf) for leaf in (*split(run.task.system)[0], *jax.tree.leaves(run.segments.extra)))


def run_together(runs: Sequence[MemberRun]) -> list[list[MemberBlock]]:
    """Members of each run, in its order; their systems have one form."""
    parts = [Parts(run) for run in runs]
    alike: dict[tuple, list[int]] = {}
    for i, part in enumerate(parts):
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(part.segments.extra))
        key = part.program, part.block, part.epoch, len(part.segments.last), shapes, part.limits.shape
        alike.setdefault(key, []).append(i)
    found: dict[int, list[MemberBlock]] = {}
    done = 0
    for places in alike.values():
        together = [parts[i] for i in places]
        stacked = stack([part.task.system for part in together])
        for first, stop in _chunks(together):
            blocks = _run_chunk(stacked, together, range(first, stop))
            found |= zip(places[first:stop], blocks, strict=True)
            done += stop - first
            runs[0].task.progress(done / len(runs))
    return [found[i] for i in range(len(runs))]


def _chunks(parts: Sequence[Parts]) -> list[tuple[int, int]]:
    """Runs first .. stop - 1 of each call."""
    edges, work, held = [0], 0, 0
    for i, part in enumerate(parts):
        lanes = part.turns * part.block * part.task.state0.size
        own = lanes * (1 + int(part.segments.last[-1] - part.segments.first[0]))
        rows = lanes * len(part.segments.last)
        if i > edges[-1] and (work + own > PER_CALL * cores() or held + rows > HELD):
            edges.append(i)
            work = held = 0
        work, held = work + own, held + rows
    return list(zip(edges, [*edges[1:], len(parts)], strict=True))


def _run_chunk(stacked: Stack, parts: Sequence[Parts], chosen: range) -> list[list[MemberBlock]]:
    turns = [(i, j * parts[i].block) for i in chosen for j in range(parts[i].turns)]
    lead = parts[chosen[0]]
    threads = min(cores(), len(turns))
    shared = [turns[thread::threads] for thread in range(threads)]
    each = 1 << (len(shared[0]) - 1).bit_length()  # few sizes are ever compiled
    advance = bind_turns(advance_members, stacked, lead.program, lead.epoch)

    def go(own: list[tuple[int, int]]) -> tuple:
        filled = own + own[-1:] * (each - len(own))
        given = _arguments(stacked, parts, filled, len(own))
        (state, _, stopped), rows = advance([i for i, _ in filled], *given)
        return np.asarray(state), np.asarray(stopped), np.asarray(rows)

    done = side_by_side(lambda *own: go(list(own)), [tuple(own) for own in shared])
    where = {turn: (thread, place) for thread, own in enumerate(shared) for place, turn in enumerate(own)}
    found = []
    for i in chosen:
        at = [where[i, j * parts[i].block] for j in range(parts[i].turns)]
        states = np.concatenate([np.swapaxes(done[thread][2][place], 0, 1) for thread, place in at])
        final, stopped = (np.concatenate([done[thread][n][place] for thread, place in at]) for n in (0, 1))
        found.append(list(blocks_at_end(parts[i], states, final, stopped)))
    return found


def _arguments(stacked: Stack, parts: Sequence[Parts], turns: list[tuple[int, int]], count: int) -> tuple:
    """Keys, members, carry, segments and limits of each turn; those beyond `count` take no step."""
    numbers = [i for i, _ in turns]
    lead = parts[numbers[0]]
    keys = tuple(np.stack([parts[i].keys[n] for i in numbers]) for n in (0, 1))
    members = np.stack([parts[i].task.first + first + np.arange(lead.block) for i, first in turns]).astype(np.uint32)
    state = np.stack([np.tile(parts[i].task.state0, (lead.block, 1)) for i in numbers])
    segments: Any = jax.tree.map(lambda *leaves: np.stack(leaves), *[parts[i].segments.whole() for i in numbers])
    segments = segments._replace(last=np.where(np.arange(len(turns))[:, None] < count, segments.last, segments.first))
    limits = np.stack([parts[i].limits for i in numbers])
    epoch_state: Any = ()
    if lead.epoch:
        epoch_state = bind_turns(start_epoch, stacked)(numbers, keys[1], members, segments.first[:, 0])
    stopped = np.full(members.shape, -1, dtype=np.int64)
    if lead.program.stop is not None:
        held = np.asarray(bind_turns(margins, stacked, lead.program.stop)(numbers, state, limits)) >= 0
        stopped = np.where(held, segments.first[:, :1], stopped)
    return keys, members, (state, epoch_state, stopped), segments, limits
