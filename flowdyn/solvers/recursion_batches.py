"""Many recursions side by side:  state_{b,k+1} = step_b(k, state_{b,k}),  b = 0 .. B - 1,  in one compiled loop.

The step numbers to save may differ from run to run (a sweep over eta up to one time): then the loop goes on until the
last of them is there, so runs are sorted into those that take about as many steps.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check
from flowdyn._tools.stacked import Stack, bind_stack, padded_batch, stack
from flowdyn.solvers.base import Result, Status, Task, failure_status, is_bad
from flowdyn.solvers.recursion_loops import advance, advance_until, first_bad
from flowdyn.solvers.recursion_run import RecursionRun

PIECE_NUMBERS = 2**26  # numbers that one call steps over: some tenths of a second
ROWS = 64  # saves that one call returns at most
FOREVER = np.iinfo(np.int64).max


def has_fixed_end(task: Task) -> bool:
    """Whether nothing but a stop rule, or its own failure, ends a run before its last save."""
    return task.k is not None and task.max_steps is None


def run_together(tasks: Sequence[Task]) -> "list[Result | _check.FlowdynError]":
    """Results of runs with a :func:`fixed end <has_fixed_end>`, in their order."""
    alike: dict[tuple, list[int]] = {}
    for i, task in enumerate(tasks):
        assert task.k is not None
        steps = int(task.k[-1]) - task.k0
        key = (len(task.k), steps.bit_length(), task.stop and (task.stop.spec, len(task.stop.thresholds)))
        alike.setdefault(key, []).append(i)
    found: dict[int, Result] = {}
    for done, members in enumerate(alike.values()):
        found |= zip(members, _run_alike([tasks[i] for i in members]), strict=True)
        tasks[0].progress((done + 1) / len(alike))
    return [found[i] for i in range(len(tasks))]


def run_in_pieces(tasks: Sequence[Task]) -> "list[Result | _check.FlowdynError]":
    """Results of runs to an open end, or with a budget of steps: each says how far it goes next, until all are done.

    Runs that are done are left out when they are most of what is run.
    """
    runs = [RecursionRun(task) for task in tasks]
    pieces = [run.pieces() for run in runs]
    targets = {i: next(piece) for i, piece in enumerate(pieces)}
    found: dict[int, Result] = {}
    filled: list[int] = []
    call: Any = None
    while targets:
        if 4 * len(targets) < len(filled) or call is None:
            filled = padded_batch(list(targets))
            call = _caller(stack([tasks[i].system for i in filled]), [tasks[i] for i in filled], in_step=False)
        k, states = np.array([runs[i].k for i in filled]), np.stack([runs[i].state for i in filled])
        here = [targets.get(i, np.full(runs[i].block, runs[i].k)) for i in filled]  # who is done stays where it is
        at, rows = call(_Reached(k, states, np.zeros(len(filled), bool)), np.stack(here))
        for place in [filled.index(i) for i in targets]:
            i = filled[place]
            try:
                targets[i] = pieces[i].send((at.k[place], at.states[place], rows[place], at.hit[place]))
            except StopIteration as end:
                found[i] = end.value
                del targets[i]
    return [found[i] for i in range(len(tasks))]


class _Reached(NamedTuple):
    """Where the runs are: step numbers (B,), states (B, S), and whether a stop rule held (B,)."""

    k: np.ndarray
    states: np.ndarray
    hit: np.ndarray


def _run_alike(tasks: Sequence[Task]) -> list[Result]:
    count = len(tasks)
    filled = padded_batch(tasks)
    stacked = stack([task.system for task in filled])
    saves = np.stack([task.k for task in filled])
    at = _Reached(
        np.array([task.k0 for task in filled]), np.stack([task.state0 for task in filled]), np.zeros(len(filled), bool)
    )
    targets, is_save = _with_pieces(at.k, saves, at.states.shape[1])
    call = _caller(stacked, filled, bool((targets == targets[0]).all() and (at.k == at.k[0]).all()))
    rows = np.full((len(filled), saves.shape[1], at.states.shape[1]), np.nan)
    done, block = 0, min(ROWS, targets.shape[1])
    for first in range(0, targets.shape[1], block):
        part, kept = targets[:, first : first + block], is_save[first : first + block]
        padded = np.concatenate([part, np.repeat(part[:, -1:], block - part.shape[1], axis=1)], axis=1)
        at, states = call(at, padded)
        rows[:, done : done + kept.sum()] = states[:, : len(kept)][:, kept]
        done += int(kept.sum())
        if is_bad(states[:, len(kept) - 1]).all():
            break
    return _results(tasks, rows[:count], _Reached(*(part[:count] for part in at)))


def _with_pieces(k0: np.ndarray, saves: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets (B, R) with stations between saves that are far apart, for Ctrl-C; and which targets are saves (R,)."""
    piece = max(PIECE_NUMBERS // (len(saves) * size), 1)
    edges = np.concatenate([k0[:, None], saves], axis=1)
    columns, is_save = [], []
    for low, high in zip(edges.T[:-1], edges.T[1:], strict=True):
        parts = int(-(-int((high - low).max()) // piece)) or 1
        columns += [low + (high - low) * j // parts for j in range(1, parts + 1)]
        is_save += [False] * (parts - 1) + [True]
    return np.stack(columns, axis=1), np.array(is_save)


def _caller(stacked: Stack, tasks: Sequence[Task], in_step: bool) -> Any:
    """The compiled call ``(reached, targets (B, R)) -> (reached, states (B, R, S))``."""
    each = None if in_step else 0  # equal step numbers are one loop, without a mask
    stop = tasks[0].stop
    if stop is None:
        bound = bind_stack(advance, stacked, (each, 0, each))
    else:
        limits = np.stack([task.stop.thresholds for task in tasks])  # type: ignore[union-attr]
        inner = bind_stack(advance_until, stacked, (0, 0, each, 0), stop.traced, stop.spec)

        def bound(k: Any, states: Any, targets: Any) -> Any:
            return inner(k, states, targets, limits)

    def call(at: _Reached, targets: np.ndarray) -> tuple[_Reached, np.ndarray]:
        k = at.k if stop is not None or not in_step else at.k[0]
        k, states, rows, hit = bound(k, at.states, targets[0] if in_step else targets)
        return _Reached(*map(np.asarray, (k, states, hit))), np.asarray(rows)

    return call


def _results(tasks: Sequence[Task], rows: np.ndarray, at: _Reached) -> list[Result]:
    """One result a run: its rows up to its end, its stop, or the last good one."""
    bad = is_bad(rows)
    broken = _broken(tasks, rows, bad)
    results = []
    for b, task in enumerate(tasks):
        assert task.k is not None
        if b in broken:
            good = int(np.argmax(bad[b]))
            results.append(_result(task, task.k[:good], rows[b, :good], *broken[b]))
        elif at.hit[b]:
            end = int(at.k[b])
            kept = task.k <= end
            ks, states = task.k[kept], rows[b][kept]
            if not len(ks) or ks[-1] != end:
                ks, states = np.append(ks, end), np.concatenate([states, at.states[b][None]])
            results.append(_result(task, ks, states, "stopped", end))
        else:
            results.append(_result(task, task.k, rows[b], "reached_end"))
    return results


def _broken(tasks: Sequence[Task], rows: np.ndarray, bad: np.ndarray) -> dict[int, tuple[Status, int]]:
    """How the runs with a bad row ended, and at which step: run once more from the last good save."""
    which = np.flatnonzero(bad.any(axis=1)).tolist()
    if not which:
        return {}
    ks, states = [], []
    for b in which:
        task, first = tasks[b], int(np.argmax(bad[b]))
        ks.append(int(task.k[first - 1]) if first else task.k0)  # type: ignore[index]
        states.append(rows[b, first - 1] if first else task.state0)
    filled = padded_batch(list(range(len(which))))
    again = stack([tasks[which[i]].system for i in filled])
    call = bind_stack(first_bad, again, (0, 0, None))
    k, ended, before = map(np.asarray, call(np.array(ks)[filled], np.stack(states)[filled], FOREVER))
    return {b: (failure_status(ended[i], before[i]), int(k[i])) for i, b in enumerate(which)}


def _result(task: Task, k: np.ndarray, states: np.ndarray, status: Status, k_stop: int | None = None) -> Result:
    system: Any = task.system
    last = int(task.k[-1]) if k_stop is None else k_stop  # type: ignore[index]
    return Result(
        t=system.clock(k) if len(k) else np.empty(0),
        states=states,
        status=status,
        k=np.asarray(k, dtype=np.int64),
        stats={"n_steps": last - task.k0},
        t_stop=np.nan if k_stop is None else float(system.clock(k_stop)),
    )
