"""The command that makes a result again: rerun."""

import argparse
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.cli.differences import as_a_run, compare, tell
from flowdyn.cli.inputs import fitting_observables
from flowdyn.cli.opening import opened_one
from flowdyn.cli.printing import Output
from flowdyn.cli.writing import check_outputs, write
from flowdyn.results.schema import one_cell
from flowdyn.results.sealed_recipe import own_times


def rerun(options: argparse.Namespace, output: Output) -> int:
    """Make a result again, compare it with what the file holds, write it where asked."""
    import flowdyn as fd

    check_outputs(options)
    with opened_one(options.file, options.node) as found:
        held = one_cell(found.load())
    _check_one(held, options.file)
    again = fd.rerun(held, **_observed(held))
    differs = tell(compare(*_held_of(held, again)), output)
    write(again, options, output)
    return int(differs)


def _held_of(held: Any, again: Any) -> tuple[Any, Any]:
    """What the file holds, as the run that it is, and the same of the run made again: its members, times and starts."""
    held = _own_rows(as_a_run(held))
    if "start" in held.coords and "start" in again.dims and held.sizes.get("start") == again.sizes["start"]:
        again = again.assign_coords(start=held["start"])  # a run numbers its own
    for dim, index in again.indexes.items():
        if dim in held.coords and index.is_unique and index.isin(np.atleast_1d(held[dim].values)).any():
            labels = held[dim].values
            again = again.sel({dim: labels}) if np.isin(labels, index).all() else again
    others = [name for name in held.variables if name not in again.variables]
    gone = [name for name in others if name in held.coords or bool(held[name].isnull().all())]
    return held.drop_vars(gone), again  # labels of what was selected, and what others have that it was joined with


def _own_rows(held: Any) -> Any:
    """A run without the times that a join with runs of other times gave it."""
    return held.isel(t=held["t"].isin(own_times(held)).values) if "t" in held.dims else held


def _check_one(held: Any, file: str) -> None:
    """Refuse several runs, a sweep above all, in the shell's terms."""
    texts = held["recipe"] if "recipe" in held.variables else None
    if texts is not None and len(set(texts.values.ravel().tolist())) > 1:
        found = _check.Words(f"one for each {' and '.join(map(str, texts.dims))}")
        one = ", ".join(f"{dim}=0" for dim in texts.dims)
        way_out = f"make one of them again from Python: fd.rerun(fd.load({file!r}).isel({one}))"
        raise _check.fail("FILE", "must hold one run", found, way_out)


def _observed(run: Any) -> dict[str, Any]:
    """The functions that a run recorded or a ladder compared, where they are of :mod:`flowdyn.observables`."""
    from flowdyn.results.recipes import build_system
    from flowdyn.results.sealed_recipe import recipe_of
    from flowdyn.running.initial_state import initial_of

    is_run = run.attrs.get("flowdyn_kind") == "run"
    recipe = recipe_of(run) if "recipe" in run.variables else {}
    argument = "observe" if is_run else "observable"
    names = (recipe.get("options") or {}).get(argument)
    if not names or not isinstance(names, list):
        return {}
    system = build_system(recipe, run, {})
    if system.on_problem is None:
        return {}
    start = initial_of(recipe, run, system, of_run=is_run)
    made = fitting_observables(system.on_problem, start, system.numbers.get("eta"))
    known = {name: function for functions in made.values() for name, function in functions.items()}
    missing = sorted(set(names) - set(known))
    if missing:
        raise _check.fail("ds", "must record no functions of your own", missing, "use fd.rerun from Python")
    return {argument: {name: known[name] for name in names}}
