"""What a run leaves, whichever solver made it: rows over (member, time), values of the observables, how each ended."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import System
from flowdyn.running.observer import Observer
from flowdyn.running.save_times import SaveTimes
from flowdyn.solvers.base import SPENT, STATUSES, Result, Status, Stop, Task, failure_status
from flowdyn.solvers.ensembles import MemberBlock

LOSS = "loss"
GOOD: tuple[Status, ...] = ("reached_end", "stopped")
LOST: tuple[Status, ...] = ("diverged", "nonfinite")
OWN_TIMES = (re.compile(r"from t = (\S+) on"), re.compile(r"stiff at t = ([^\s)]+)"))  # of each run that chooses


class Ending(NamedTuple):
    """One way in which members ended early, and a line that says so."""

    status: Status
    text: str


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
    endings: list[Ending]
    choice: str = ""  # of a solver that chooses on the way: what it took, and why

    @classmethod
    def from_results(
        cls, results: list[Result], times: SaveTimes, observer: Observer, task: Task, observe_only: bool
    ) -> "Outcome":
        """Outcome of deterministic runs, one a start."""
        t, k, states = times.align(results, task.state0.size)
        values = observables(observer, states)
        codes = np.array([STATUSES.index(result.status) for result in results], dtype=np.int8)
        t_stop = np.array([result.t_stop for result in results])
        for i, first in mark_outside_domain(observer, t, states, values, codes, t_stop):
            status, text = STATUSES[codes[i]], f"the {LOSS} is not a number there"
            results[i] = dataclasses.replace(results[i], t=t[:first], status=status, t_stop=t_stop[i], message=text)
        endings = endings_of_starts(results, task)
        kept = first_and_last(states) if observe_only else states
        stats = sum_stats([result.stats for result in results])
        return cls(t, k, kept, values, codes, t_stop, stats, endings, choices([r.choice for r in results]))

    @classmethod
    def from_blocks(
        cls, blocks: Iterable[MemberBlock], times: SaveTimes, observer: Observer, task: Task, observe_only: bool
    ) -> "Outcome":
        """Outcome of a random system; a block of states at a time is held where observables alone are kept."""
        assert times.t is not None
        count, size, saves = task.members, task.state0.size, len(times.t)
        states: np.ndarray | None = None
        values = {v.name: np.full((count, saves, *v.shape), np.nan) for v in observer.variables}
        codes, t_stop = np.zeros(count, dtype=np.int8), np.full(count, np.nan)
        final = np.zeros((1, size))
        for block in blocks:
            chosen = slice(block.first, block.first + len(block.states))
            observed = observables(observer, block.states)
            mark_outside_domain(observer, times.t, block.states, observed, block.codes, block.t_stop)
            for name, part in observed.items():
                values[name][chosen] = part
            codes[chosen], final = block.codes, block.final
            t_stop[chosen] = block.t_stop
            kept = first_and_last(block.states) if observe_only else block.states
            if len(kept) == count:  # one block is all of them: it is not copied
                states = kept
                continue
            if states is None:
                states = np.full((count, min(saves, 2) if observe_only else saves, size), np.nan)
            states[chosen] = kept
        assert states is not None
        endings = endings_of_members(codes, t_stop, task)
        outcome = cls(times.t, times.k, states, values, codes, t_stop, {"members": count}, endings)
        if count == 1 and codes[0] == STATUSES.index("stopped") and not observe_only:
            return outcome.end_at_stop(final, observer, task)
        return outcome

    def end_at_stop(self, final: np.ndarray, observer: Observer, task: Task) -> "Outcome":
        """A single run that was stopped ends at its stop, as a deterministic one does."""
        end = self.t_stop[0]
        kept = self.t < end
        states = np.concatenate([self.states[:, kept], final[None]], axis=1)
        k = None
        if self.k is not None and isinstance(task.system, RecursionSystem):
            k = np.append(self.k[kept], task.system.increments.nearest(np.array([end]))).astype(np.int64)
        values = observables(observer, states)
        return dataclasses.replace(self, t=np.append(self.t[kept], end), k=k, states=states, values=values)

    def refuse_bad_ends(self, on_divergence: str) -> None:
        """Raise for a run that ended badly, unless its good part is to be kept."""
        bad = [end for end in self.endings if end.status not in GOOD]
        if bad and on_divergence != "keep":
            kind = _check.BudgetError if all(end.status in SPENT for end in bad) else _check.RunError
            kind = _check.DivergenceError if all(end.status in LOST for end in bad) else kind
            raise kind("; ".join(end.text for end in bad) + _check.KEEP)


def mark_outside_domain(
    observer: Observer,
    t: np.ndarray,
    states: np.ndarray,
    values: dict[str, np.ndarray],
    codes: np.ndarray,
    t_stop: np.ndarray,
) -> list[tuple[int, int]]:
    """End members where their loss is not a number, in place: a gradient may be finite outside of the loss's domain.

    Returns the members that end so, each with its first save outside (log w and its gradient 1/w, at w < 0). The times
    are those of all, (T,), or of each, (B, T).
    """
    if LOSS not in {v.name for v in observer.variables} - set(observer.functions):
        return []
    outside = np.isnan(values[LOSS])
    if not outside.any():
        return []
    ended_well = np.isin(codes, [STATUSES.index(status) for status in GOOD])
    outside = outside & np.isfinite(states).all(axis=-1) & ended_well[:, None]
    ended = [(int(i), int(np.argmax(outside[i]))) for i in np.flatnonzero(outside.any(axis=1))]
    for i, first in ended:
        codes[i] = STATUSES.index(failure_status(np.full(1, np.nan), states[i, max(first - 1, 0)]))
        t_stop[i] = t[first] if t.ndim == 1 else t[i, first]
        states[i, first:] = np.nan
        for part in values.values():
            part[i, first:] = np.nan
    return ended


def first_and_last(states: np.ndarray) -> np.ndarray:
    """States (B, 2, S) of (B, T, S)."""
    return states[:, [0, -1]] if states.shape[1] > 1 else states


def observables(observer: Observer, states: np.ndarray) -> dict[str, np.ndarray]:
    """Observables (B, T, ...) of states (B, T, S); NaN where the states are."""
    flat = states.reshape(-1, states.shape[-1])
    good = np.isfinite(flat).all(axis=1)
    everywhere = bool(good.all())
    computed = observer.rows(flat if everywhere else flat[good])
    out = {}
    for variable in observer.variables:
        if everywhere:
            own = np.require(computed[variable.name], np.float64, ["W"])
            out[variable.name] = own.reshape(*states.shape[:2], *variable.shape)
            continue
        full = np.full((len(flat), *variable.shape), np.nan)
        full[good] = computed[variable.name]
        out[variable.name] = full.reshape(*states.shape[:2], *variable.shape)
    return out


def choices(made: list[str]) -> str:
    """What was chosen on the way; of many runs how many chose alike, told by the first of them and all their times."""
    if len(made) == 1:
        return made[0]
    alike: dict[str, list[str]] = {}
    for text in filter(None, made):
        alike.setdefault(text.partition(" from t = ")[0], []).append(text)
    return "; ".join(f"{len(texts)} of {len(made)}: {_with_times(texts)}" for _, texts in sorted(alike.items()))


def _with_times(texts: list[str]) -> str:
    """The first of them, with the times of all where they have as many."""
    said = texts[0]
    for pattern in OWN_TIMES:
        times = [pattern.findall(text) for text in texts]
        if len({len(found) for found in times}) == 1:
            spans = iter([_span(list(map(float, each)), each[0]) for each in zip(*times, strict=True)])
            said = pattern.sub(lambda found, spans=spans: found[0].replace(found[1], next(spans)), said)  # type: ignore[misc]
    return said


def _span(times: list[float], first: str) -> str:
    return first if len(set(times)) == 1 else f"{min(times):.6g} to {max(times):.6g}"


def sum_stats(stats: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Counters summed over the members of a batch."""
    return {name: sum(int(s.get(name, 0)) for s in stats) for name in sorted({key for s in stats for key in s})}


def endings_of_starts(results: list[Result], task: Task) -> list[Ending]:
    """One ending for each status but the good end, with the start that ended so first."""
    by_status: dict[Status, list[int]] = {}
    for i, result in enumerate(results):
        if result.status != "reached_end":
            by_status.setdefault(result.status, []).append(i)
    endings = []
    for status, starts in sorted(by_status.items()):
        first = min(starts, key=lambda i: np.nan_to_num(results[i].t_stop, nan=np.inf))
        text = ending(results[first], task.system, task.stop).text
        if len(results) > 1:
            who = f"start {first}" + (", the first" if len(starts) > 1 else "")
            text = f"{len(starts)} of {len(results)} starts: {text} ({who})"
        endings.append(Ending(status, text))
    return endings


def endings_of_members(codes: np.ndarray, t_stop: np.ndarray, task: Task) -> list[Ending]:
    """One ending for each status but the good end, with the first member that ended so."""
    endings = []
    for code in np.unique(codes[codes > 0]):
        members = np.flatnonzero(codes == code)
        first = members[np.argmin(np.nan_to_num(t_stop[members], nan=np.inf))]
        shown = Result(np.empty(0), np.empty((0, 0)), STATUSES[code], t_stop=float(t_stop[first]))
        who = f"{len(members)} of {task.members} members: " if task.members > 1 else ""
        text = f"{who}{ending(shown, task.system, task.stop).text}" + (" (the first)" if len(members) > 1 else "")
        endings.append(Ending(STATUSES[code], text))
    return endings


def ending(result: Result, system: System, stop: Stop | None) -> Ending:
    """How a run ended, with the time and the step."""
    where = f"t = {result.t_stop:.6g}"
    if isinstance(system, RecursionSystem) and np.isfinite(result.t_stop):
        where += f" (step {system.increments.steps_until(result.t_stop, 10**12)})"
    last = f"; the last good save is t = {result.t[-1]:.6g}" if len(result.t) else ""
    words = {
        "reached_end": "",
        "stopped": f"{stop.describe if stop else ''} at {where}",
        "diverged": f"the run diverged at {where}{last}",
        "nonfinite": f"the run stopped being finite at {where}{last}",
        "stuck": f"the run got stuck at {where}{last}",
        "max_steps": f"the run used up `max_steps` at {where}{last}",
        "max_seconds": f"the run used up `max_seconds` at {where}{last}",
        "at_rest": f"`stop` is never met: {stop.describe if stop else ''} does not hold by {where}, "
        "where the system is at rest up to rounding",
    }
    detail = f" ({' '.join(result.message.split())})" if result.message else ""
    return Ending(result.status, words[result.status] + detail)
