"""What a run leaves, whichever solver made it: rows over (member, time), values of the observables, how each ended."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.methods.systems import Recursion, System
from flowdyn.running.observer import Observer
from flowdyn.running.save_times import Grid
from flowdyn.solvers.base import STATUSES, Result, Stop, Task, blame
from flowdyn.solvers.ensembles import Block

LOSS = "loss"


@dataclasses.dataclass
class Outcome:
    """Arrays of one or many members; rows after an early end are NaN."""

    t: np.ndarray  # (T,)
    k: np.ndarray | None  # (T,)
    states: np.ndarray  # (B, T, S), or (B, 2, S): first and last, where observables alone are kept
    values: dict[str, np.ndarray]  # observables (B, T, ...)
    codes: np.ndarray  # (B,), indices into STATUSES
    t_stop: np.ndarray  # (B,)
    stats: Mapping[str, Any]
    endings: list[str]  # one line for each way in which members ended early


def of_results(results: list[Result], grid: Grid, observer: Observer, task: Task, observe_only: bool) -> Outcome:
    """Deterministic runs."""
    t, k, states = grid.align(results, task.state0.size)
    values = observables(observer, states)
    codes = np.array([STATUSES.index(result.status) for result in results], dtype=np.int8)
    t_stop = np.array([result.t_stop for result in results])
    for i, first in _cut_undefined(observer, t, states, values, codes, t_stop):
        status, text = STATUSES[codes[i]], f"the {LOSS} is not a number there"
        results[i] = dataclasses.replace(results[i], t=t[:first], status=status, t_stop=t_stop[i], message=text)
    return Outcome(
        t,
        k,
        _ends(states) if observe_only else states,
        values,
        codes,
        t_stop,
        _total([result.stats for result in results]),
        sorted({ending(result, task.system, task.stop) for result in results} - {""}),
    )


def _cut_undefined(
    observer: Observer,
    t: np.ndarray,
    states: np.ndarray,
    values: dict[str, np.ndarray],
    codes: np.ndarray,
    t_stop: np.ndarray,
) -> list[tuple[int, int]]:
    """End members where their loss is not a number, in place: a gradient may be finite outside of the loss's domain.

    Returns the members cut, each with its first save outside (log w and its gradient 1/w, at w < 0).
    """
    if LOSS not in {v.name for v in observer.variables} - set(observer.functions):
        return []
    ended_well = np.isin(codes, [STATUSES.index("reached_end"), STATUSES.index("stopped")])
    outside = np.isnan(values[LOSS]) & np.isfinite(states).all(axis=-1) & ended_well[:, None]
    cut = [(int(i), int(np.argmax(outside[i]))) for i in np.flatnonzero(outside.any(axis=1))]
    for i, first in cut:
        codes[i] = STATUSES.index(blame(np.full(1, np.nan), states[i, max(first - 1, 0)]))
        t_stop[i] = t[first]
        states[i, first:] = np.nan
        for part in values.values():
            part[i, first:] = np.nan
    return cut


def of_blocks(blocks: Iterable[Block], grid: Grid, observer: Observer, task: Task, observe_only: bool) -> Outcome:
    """Members of a random system; only a block of states is held at a time where observables alone are kept."""
    assert grid.t is not None
    count, size, saves = task.members, task.state0.size, len(grid.t)
    states = np.full((count, min(saves, 2) if observe_only else saves, size), np.nan)
    values = {v.name: np.full((count, saves, *v.shape), np.nan) for v in observer.variables}
    codes, t_stop = np.zeros(count, dtype=np.int8), np.full(count, np.nan)
    final = np.zeros((1, size))
    for block in blocks:
        chosen = slice(block.first, block.first + len(block.states))
        observed = observables(observer, block.states)
        _cut_undefined(observer, grid.t, block.states, observed, block.codes, block.t_stop)
        states[chosen] = _ends(block.states) if observe_only else block.states
        for name, part in observed.items():
            values[name][chosen] = part
        codes[chosen], final = block.codes, block.final
        t_stop[chosen] = block.t_stop
    outcome = Outcome(grid.t, grid.k, states, values, codes, t_stop, {"members": count}, _endings(codes, t_stop, task))
    if count == 1 and codes[0] == STATUSES.index("stopped") and not observe_only:
        return _cut(outcome, final, observer, task)
    return outcome


def _cut(outcome: Outcome, final: np.ndarray, observer: Observer, task: Task) -> Outcome:
    """A single run that was stopped ends at its stop, as a deterministic one does."""
    end = outcome.t_stop[0]
    kept = outcome.t < end
    states = np.concatenate([outcome.states[:, kept], final[None]], axis=1)
    k = None
    if outcome.k is not None and isinstance(task.system, Recursion):
        k = np.append(outcome.k[kept], task.system.increments.nearest(np.array([end]))).astype(np.int64)
    return dataclasses.replace(
        outcome, t=np.append(outcome.t[kept], end), k=k, states=states, values=observables(observer, states)
    )


def _endings(codes: np.ndarray, t_stop: np.ndarray, task: Task) -> list[str]:
    lines = []
    for code in np.unique(codes[codes > 0]):
        members = np.flatnonzero(codes == code)
        first = members[np.argmin(np.nan_to_num(t_stop[members], nan=np.inf))]
        shown = Result(np.empty(0), np.empty((0, 0)), STATUSES[code], t_stop=t_stop[first])
        who = f"{len(members)} of {task.members} members: " if task.members > 1 else ""
        lines.append(f"{who}{ending(shown, task.system, task.stop)}" + (" (the first)" if len(members) > 1 else ""))
    return lines


def _ends(states: np.ndarray) -> np.ndarray:
    return states[:, [0, -1]] if states.shape[1] > 1 else states


def observables(observer: Observer, states: np.ndarray) -> dict[str, np.ndarray]:
    """Observables (B, T, ...) of states (B, T, S); NaN where the states are."""
    flat = states.reshape(-1, states.shape[-1])
    good = np.isfinite(flat).all(axis=1)
    computed = observer.rows(flat[good])
    out = {}
    for variable in observer.variables:
        full = np.full((len(flat), *variable.shape), np.nan)
        full[good] = computed[variable.name]
        out[variable.name] = full.reshape(*states.shape[:2], *variable.shape)
    return out


def _total(stats: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Counters summed over the members of a batch."""
    return {name: sum(int(s.get(name, 0)) for s in stats) for name in sorted({key for s in stats for key in s})}


def refuse_bad_ends(outcome: Outcome, on_divergence: str) -> None:
    """Raise for a run that ended badly, unless its good part is to be kept."""
    ended_well = np.isin(outcome.codes, [STATUSES.index("reached_end"), STATUSES.index("stopped")])
    if ended_well.all() or on_divergence == "keep":
        return
    reasons = [line for line in outcome.endings if " at t" in line or "used up" in line or "run" in line]
    raise _check.RunError(f'{"; ".join(reasons)}; on_divergence="keep" keeps the part before it')


def ending(result: Result, system: System, stop: Stop | None) -> str:
    """One line that says how a run ended, with the time and the step."""
    where = f"t = {result.t_stop:.6g}"
    if isinstance(system, Recursion) and np.isfinite(result.t_stop):
        where += f" (step {system.increments.steps_until(result.t_stop, 10**12)})"
    last = f"; the last good save is t = {result.t[-1]:.6g}" if len(result.t) else ""
    words = {
        "reached_end": "",
        "stopped": f"{stop.describe if stop else ''} at {where}",
        "diverged": f"the run diverged at {where}{last}",
        "nonfinite": f"the run stopped being finite at {where}{last}",
        "max_steps": f"the run used up `max_steps` at {where}{last}",
        "max_seconds": f"the run used up `max_seconds` at {where}{last}",
    }
    detail = f" ({' '.join(result.message.split())})" if result.message else ""
    return words[result.status] + detail
