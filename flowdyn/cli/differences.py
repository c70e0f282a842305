"""How two results differ: what their recipes say, and the largest difference of each variable.

max |a - b|,    and the same over  max |a|   (numbers that are NaN in both are equal)
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.cli.printing import Output
from flowdyn.results.schema import FAILURE, one_cell, over_time
from flowdyn.results.sealed_recipe import recipe_of

SHOWN = 12  # lines of each kind
OF_RECIPE = ("recipe", "recipe_id", "recipe_id_t")


@dataclasses.dataclass
class Difference:
    """What two results do not share."""

    recipe: dict[str, tuple[Any, Any]]  # by the place in the recipe
    numbers: dict[str, dict[str, Any]]  # by variable
    compared: int  # variables


def compare(a: Any, b: Any, rtol: float = 0.0) -> Difference:
    """Compare Datasets, or trees of them node by node; differences of at most `rtol` times max |a| count as none."""
    _check.real("--rtol", rtol, nonnegative=True)
    nodes = [_nodes(ds) for ds in (a, b)]
    if set(nodes[0]).isdisjoint(nodes[1]):  # a result beside a file of several
        held = [list(filter(None, places)) or "one result" for places in nodes]
        raise _check.fail("FILE", "and the other must hold results of the same places", held, "name one: FILE:/NODE")
    found = Difference({}, {}, 0)
    for place in [*nodes[0], *(place for place in nodes[1] if place not in nodes[0])]:
        lead = f"{place}/" if place else ""
        first, second = (as_a_run(part.get(place)) for part in nodes)
        if first is None or second is None:
            found.numbers[lead] = {"missing_in": "B" if second is None else "A"}
            continue
        recipes = [_flat(_recipe(ds)) for ds in (first, second)]
        changed = [key for key in {**recipes[0], **recipes[1]} if recipes[0].get(key) != recipes[1].get(key)]
        found.recipe |= {lead + key: (recipes[0].get(key), recipes[1].get(key)) for key in changed}
        orders = _other_orders(first, second)
        second = second.sel({dim: first[dim] for dim in orders})  # by labels, not by places
        found.numbers |= {f"{lead}{dim}": {"order": "another"} for dim in orders}
        names = [name for name in {**first.variables, **second.variables} if name not in OF_RECIPE]
        found.compared += len(names)
        for name in names:
            difference = _of_variables(first.variables.get(name), second.variables.get(name), rtol)
            if difference is not None:
                found.numbers[f"{lead}{name}"] = difference
    return found


def tell(found: Difference, output: Output) -> bool:
    """Print what differs, largest differences first, and return whether anything does."""
    output.say("recipe: differs" if found.recipe else "recipe: the same", same_recipe=not found.recipe)
    for key, (first, second) in list(found.recipe.items())[:SHOWN]:
        output.say(f"  {key}: {_check.short(first, 40)} | {_check.short(second, 40)}")
    count = len(found.numbers)
    text = f"numbers: differ in {count} of {found.compared} variables" if count else "numbers: the same"
    output.say(text, same_numbers=not count)
    largest = sorted(found.numbers.items(), key=lambda item: -item[1].get("relative", np.inf))
    if largest:
        output.say(f"  {'variable':<24} {'largest':>12} {'relative':>12}")
    for name, difference in largest[:SHOWN]:
        if "largest" in difference:
            output.say(f"  {name:<24} {difference['largest']:12.4e} {difference['relative']:12.4e}")
        else:
            output.say(f"  {name:<24} {_spelled(difference)}")
    if count > SHOWN:
        output.say(f"  and {count - SHOWN} more")
    output.note(recipe=found.recipe, differences=dict(largest))
    return bool(found.recipe or found.numbers)


def _spelled(difference: dict[str, Any]) -> str:
    """A difference that is none of numbers, in words."""
    [(kind, found)] = difference.items()
    if kind == "shapes":
        return " | ".join(", ".join(f"{dim} {size}" for dim, size in sizes.items()) or "a number" for sizes in found)
    if kind == "missing_values":
        return f"{found[0]} | {found[1]} values are missing"
    return {"missing_in": f"missing in {found}", "texts": f"{found} texts", "order": f"in {found} order"}[kind]


def as_a_run(ds: Any) -> Any:
    """A cell of a sweep as the run that it is: over t, without the sides of its grid and what they say."""
    if ds is None or FAILURE not in ds.coords or ds[FAILURE].size != 1:
        return ds
    return over_time(one_cell(ds)).drop_vars(FAILURE)


def _nodes(ds: Any) -> dict[str, Any]:
    """Datasets by place: one, or those of a tree that hold something."""
    if not hasattr(ds, "subtree"):
        return {"": ds}
    own = {node.path.strip("/"): node.to_dataset(inherit=False) for node in ds.subtree}
    return {place: node for place, node in own.items() if node.variables}


def _recipe(ds: Any) -> Mapping[str, Any]:
    try:
        return recipe_of(ds)
    except _check.FlowdynError:  # a join of several, or a result without one
        return {"recipe": sorted({str(text) for text in ds["recipe"].values.ravel()})} if "recipe" in ds else {}


def _other_orders(a: Any, b: Any) -> list[str]:
    """Dimensions along which two have the same labels, each once, in another order."""
    shared = [dim for dim in a.indexes if dim in a.dims and dim in b.indexes and len(a[dim]) == len(b[dim])]
    known = [dim for dim in shared if a.indexes[dim].is_unique and not a.indexes[dim].equals(b.indexes[dim])]
    return [str(dim) for dim in known if set(a.indexes[dim]) == set(b.indexes[dim])]


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    return dict(_leaves(value, place))


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def _of_variables(a: Any, b: Any, rtol: float) -> dict[str, Any] | None:
    """How two variables differ; None if they do not."""
    if a is None or b is None:
        return {"missing_in": "A" if a is None else "B"}
    b = b.transpose(*a.dims) if set(a.dims) == set(b.dims) else b
    if a.dims != b.dims or a.shape != b.shape:
        return {"shapes": [dict(a.sizes), dict(b.sizes)]}
    x, y = a.values, b.values
    if x.dtype.kind not in "biuf" or y.dtype.kind not in "biuf":
        changed = int((x.astype(str) != y.astype(str)).sum())
        return {"texts": changed} if changed else None
    x, y = x.astype(float), y.astype(float)
    if (np.isnan(x) != np.isnan(y)).any():
        return {"missing_values": [int(np.isnan(x).sum()), int(np.isnan(y).sum())]}
    with np.errstate(invalid="ignore"):
        gap = np.where((x == y) | np.isnan(x), 0.0, np.abs(x - y))
    size = float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
    largest = float(gap.max(initial=0.0))
    if largest <= rtol * size:
        return None
    at = np.unravel_index(int(gap.argmax()), gap.shape)
    where = {str(dim): int(i) for dim, i in zip(a.dims, at, strict=True)}
    return {"largest": largest, "relative": largest / size if size else np.inf, "where": where}
