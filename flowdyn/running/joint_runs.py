"""Many runs at once, with the dimension `cell` over them: what they have in common is prepared and labelled once.

    run b = solve(system_b, w0_b, **options_b),    b = 0 .. B - 1

Deterministic runs to a fixed end whose systems have one form (they differ in the numbers of their arrays) are handed to
their solver together; every other run, random ones among them, is a Dataset of its own.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.results import dataset
from flowdyn.results.dataset import LabelledArray, Parts
from flowdyn.results.schema import SAVE
from flowdyn.results.sealed_recipe import RECIPE, SEAL, SEAL_OF_TIMES, written
from flowdyn.running.cell_runs import Joint
from flowdyn.running.observer import rows_of_many
from flowdyn.running.outcome import (
    GOOD,
    Ending,
    choices,
    ending,
    mark_outside_domain,
    observables,
    sum_stats,
)
from flowdyn.running.preparation import PreparedRun
from flowdyn.running.run_dataset import attributes, recipe_of_run
from flowdyn.solvers.base import STATUSES, Result

CELL = "cell"


def run_joint(runs: Sequence[PreparedRun]) -> Joint:
    """Runs of one :func:`joint_form`."""
    results = runs[0].solver.run_many([run.task(lambda share: None) for run in runs])
    rows = _Rows.of(runs, results)
    failures = {b: str(result) for b, result in enumerate(results) if not isinstance(result, Result)}
    for b, result in enumerate(results):
        if b not in failures and STATUSES[rows.codes[b]] not in GOOD and runs[b].options.on_divergence != "keep":
            failures[b] = rows.ending(b, runs[b], result).text + _check.KEEP  # type: ignore[arg-type]
    for b in failures:
        for values in (rows.states, *rows.values.values()):
            values[b] = np.nan
    return Joint(_labelled(runs, rows, results, set(failures)), failures)


@dataclasses.dataclass
class _Rows:
    """Arrays over (cell, save); what a run does not have is NaN."""

    t: np.ndarray  # (B, T)
    k: np.ndarray | None  # (B, T)
    states: np.ndarray  # (B, T, S)
    values: dict[str, np.ndarray]  # (B, T, ...)
    codes: np.ndarray  # (B,)
    t_stop: np.ndarray  # (B,)
    choices: list[str]  # of solvers that choose on the way
    outside: dict[int, int]  # cells that left the domain of their loss, at which save

    @classmethod
    def of(cls, runs: Sequence[PreparedRun], results: Sequence[Any]) -> "_Rows":
        count, size = len(runs), runs[0].first.size
        axes = [_axis(run, result) for run, result in zip(runs, results, strict=True)]
        saves = max(len(t) for t, _ in axes)
        t, k = np.full((count, saves), np.nan), np.full((count, saves), np.nan)
        states = np.full((count, saves, size), np.nan)
        codes, t_stop = np.full(count, -1, dtype=np.int8), np.full(count, np.nan)
        for b, (result, (own, steps)) in enumerate(zip(results, axes, strict=True)):
            t[b, : len(own)] = own
            if steps is not None:
                k[b, : len(steps)] = steps
            if isinstance(result, Result):
                states[b, : len(result.t)] = result.states
                codes[b], t_stop[b] = STATUSES.index(result.status), result.t_stop
        values = _observed(runs, states)
        made = [result.choice if isinstance(result, Result) else "" for result in results]
        outside = dict(mark_outside_domain(runs[0].observer, t, states, values, codes, t_stop))
        has_k = any(steps is not None for _, steps in axes)
        return cls(t, k if has_k else None, states, values, codes, t_stop, made, outside)

    def ending(self, b: int, run: PreparedRun, result: Result) -> Ending:
        """How a cell ended, in words."""
        if b in self.outside:
            text, kept = "the loss is not a number there", result.t[: self.outside[b]]
            status = STATUSES[self.codes[b]]
            result = dataclasses.replace(result, t=kept, status=status, t_stop=self.t_stop[b], message=text)
        return ending(result, run.system, run.stop)


def _axis(run: PreparedRun, result: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Times and step numbers of one run: its own where it was stopped or has no end, else those asked for."""
    if isinstance(result, Result) and (run.times.t is None or result.status == "stopped"):
        return result.t, result.k
    if run.times.t is None:
        return np.empty(0), None
    return run.times.t, run.times.k


def _observed(runs: Sequence[PreparedRun], states: np.ndarray) -> dict[str, np.ndarray]:
    good = np.asarray(np.isfinite(states).all(axis=2))
    if len(runs) == 1:
        return observables(runs[0].observer, states)
    found = rows_of_many([run.observer for run in runs], np.where(good[..., None], states, runs[0].first))
    for values in found.values():
        values[~good] = np.nan
    return found


def _labelled(runs: Sequence[PreparedRun], rows: _Rows, results: Sequence[Any], lost: set[int]) -> Parts:
    first = runs[0]
    variables = first.system.layout(first.first.size)
    lead = (CELL, SAVE)
    arrays = _states(variables, rows, bool(first.options.observe_only))
    arrays += dataset.labelled_arrays(first.observer.variables, rows.values, lead)
    arrays.append(dataset.status_array(rows.codes, (CELL,)))
    if np.isfinite(rows.t_stop).any():
        attrs = {"long_name": "time at which the run stopped or broke off"}
        arrays.append(LabelledArray("t_stop", (CELL,), rows.t_stop, attrs))
    clock = dataset.run_coords(first.system, rows.t, rows.k, first.times.note)
    coords = [_across(array.name, (SAVE,), list(array.values), array.attrs) for array in clock]
    made_from, seals, numbers = _recipes(runs, rows, variables, lost)
    taken = {name for array in (*arrays, *coords, *made_from, *seals) for name in (array.name, *array.dims)}
    coords += [*made_from, *(number for number in numbers if number.name not in taken)]
    stats = sum_stats([result.stats for result in results if isinstance(result, Result)])
    coords += [array for array in seals if array.name == RECIPE]
    arrays += [array for array in seals if array.name != RECIPE]
    attrs = attributes(first, stats, [], choices(rows.choices))
    return dataset.parts(arrays, coords, first.system.coords, attrs).with_coordinate("log_t")


def _states(variables: Any, rows: _Rows, observe_only: bool) -> list[LabelledArray]:
    if not observe_only:
        return dataset.labelled_arrays(variables, dataset.split_state(variables, rows.states), (CELL, SAVE))
    last = np.maximum(np.isfinite(rows.t).sum(axis=1) - 1, 0)
    arrays = []
    for name, states in (("first", rows.states[:, 0]), ("last", rows.states[np.arange(len(last)), last])):
        for array in dataset.labelled_arrays(variables, dataset.split_state(variables, states), (CELL,)):
            text = {"long_name": f"{array.attrs['long_name']}, {name} state"}
            arrays.append(array._replace(name=f"{array.name}_{name}", attrs=text))
    return arrays


def _recipes(
    runs: Sequence[PreparedRun], rows: _Rows, variables: Any, lost: set[int]
) -> tuple[list[LabelledArray], list[LabelledArray], list[LabelledArray]]:
    """What the runs were made from, their recipes with their seals, and the numbers of their systems."""
    made, texts, seals, numbers = [], [], [], []
    starts = dataset.initial_arrays(variables, np.stack([run.start.states for run in runs]), (CELL,))
    for b, run in enumerate(runs):
        t = rows.t[b][np.isfinite(rows.t[b])]
        spec, inputs = run.described
        own = dataset.input_arrays(inputs)
        own += [array._replace(dims=array.dims[1:], values=array.values[b]) for array in starts]
        requested = run.times.requested
        if requested is not None and len(requested) != len(t):
            own.append(LabelledArray("t_requested", ("t_request",), requested, {"long_name": "times asked for"}))
        text, (seal,) = written(recipe_of_run(run, t, rows.k is not None, spec, rows.choices[b]), own, len(t))
        made.append({array.name: array for array in own})
        texts.append(text)
        seals.append(np.nan if b in lost else float(seal))
        numbers.append({array.name: array for array in dataset.number_coords(run.system, (), {})})
    seal_text = {"long_name": "checksum of recipe, data and start"}
    at_times = np.where(np.isfinite(rows.t), np.array(seals)[:, None], np.nan)
    found = [
        LabelledArray(
            RECIPE, (CELL,), np.array(texts, dtype=object), {"long_name": "how the result was made, as JSON"}
        ),
        LabelledArray(SEAL, (CELL,), np.array(seals), seal_text),
        LabelledArray(SEAL_OF_TIMES, (CELL, SAVE), at_times, {"long_name": f"{seal_text['long_name']}, at each time"}),
    ]
    return _over_cells(made), found, _over_cells(numbers)


def _over_cells(made: list[dict[str, LabelledArray]]) -> list[LabelledArray]:
    """One array a name, over the cells unless all have the same; a cell without one has NaN."""
    first = {name: array for own in reversed(made) for name, array in own.items()}
    found = []
    for name, array in first.items():
        blank = np.full(np.shape(array.values), np.nan)
        values = [own[name].values if name in own else blank for own in made]
        found.append(_across(name, array.dims, values, array.attrs))
    return found


def _across(name: str, dims: tuple[str, ...], values: list[Any], attrs: Mapping[str, Any]) -> LabelledArray:
    """One array of all cells: without the dimension `cell` where every one has the same numbers."""
    if all(value is values[0] for value in values):
        return LabelledArray(name, dims, np.asarray(values[0]), attrs)
    rows = np.stack([np.asarray(value) for value in values])
    if (rows == rows[0]).all():
        return LabelledArray(name, dims, rows[0], attrs)
    return LabelledArray(name, (CELL, *dims), rows, attrs)
