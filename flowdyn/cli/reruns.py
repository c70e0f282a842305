"""The command that makes a result again: rerun."""

import argparse
from typing import Any

from flowdyn import _check
from flowdyn.cli.differences import compare, tell
from flowdyn.cli.inputs import fitting_observables
from flowdyn.cli.opening import opened_one
from flowdyn.cli.printing import Output
from flowdyn.cli.writing import check_outputs, write
from flowdyn.results.schema import FAILURE, over_time


def rerun(options: argparse.Namespace, output: Output) -> int:
    """Make a result again, compare it with what the file holds, write it where asked."""
    import flowdyn as fd

    check_outputs(options)
    with opened_one(options.file, options.node) as found:
        held = _alone(found.load())
    _check_one(held, options.file)
    again = fd.rerun(held, **_observed(held))
    differs = tell(compare(held, again), output)
    write(again, options, output)
    return int(differs)


def _alone(held: Any) -> Any:
    """A cell of a sweep as the run that it is: over t, without the sides of its grid and what they say."""
    if FAILURE not in held.coords or held[FAILURE].size != 1:
        return held
    one = over_time(held.isel(dict.fromkeys(held[FAILURE].dims, 0)))
    return one.drop_vars(FAILURE)


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
