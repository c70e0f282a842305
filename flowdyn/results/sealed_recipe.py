"""The recipe that travels with a result, and its seal:  recipe_id = hash(recipe, the arrays that it names).

xarray joins Datasets by rules of its own: of attributes it keeps the first's, of coordinates too under its new
defaults, of a number among the data one a run. So the recipe is a coordinate, its seal a number among the data, and
where the two have parted, no run is made from the wrong recipe. Many starts have a seal each, so that one of them can
be selected; members of an ensemble have one each too, so that ensembles can be joined; and each time has it once more,
so that a row of runs that were joined along t is known for what it is.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.results.dataset import LabelledArray
from flowdyn.results.recipes import read_json
from flowdyn.results.schema import FAILURE, refuse_empty

RECIPE, SEAL, SEAL_OF_TIMES = "recipe", "recipe_id", "recipe_id_t"
INITIAL = "_initial"  # ends the names of the arrays that a run started from
BITS = 32  # of a seal: the sum of a million of them is exact in float64, so that a mean over members keeps it
JOIN = "data_vars='all', coords='different', compat='equals'"
_OLD = ("system", "solver", "options")  # what a recipe was before it was one: attributes of their own


def sealed(
    recipe: Mapping[str, Any], arrays: Sequence[LabelledArray], times: int, lead: str = "", members: int = 1
) -> list[LabelledArray]:
    """The recipe as a coordinate; as variables its seal, over the members along `lead` if there are any, and at times.

    Members that differ in nothing but their noise share the seals of their times. `times` is 0 where there is no `t`.
    """
    text, each = written(recipe, arrays, times)
    seals = np.array(each, dtype=np.int64)
    values = np.resize(seals, members) if lead else seals[0]
    over: tuple[str, ...] = (lead,) if lead else ()
    what = "checksum of recipe, data and start"
    found = [
        LabelledArray(RECIPE, (), np.array(text, dtype=object), {"long_name": "how the result was made, as JSON"}),
        LabelledArray(SEAL, over, values, {"long_name": what}),
    ]
    if times:
        starts = seals if len(seals) > 1 else seals[0]
        at_times = np.repeat(starts[..., None], times, axis=-1)
        dims = (*over, "t") if len(seals) > 1 else ("t",)
        found.append(LabelledArray(SEAL_OF_TIMES, dims, at_times, {"long_name": f"{what}, at each time"}))
    return found


def written(recipe: Mapping[str, Any], arrays: Sequence[LabelledArray], times: int) -> tuple[str, list[int]]:
    """The recipe as text, and its seal, or one for each of many starts."""
    named = {array.name: (array.dims, array.values) for array in arrays}
    full = {key: part for key, part in recipe.items() if part is not None}
    full |= {"arrays": sorted(named), "at_times": times > 0}
    text = json.dumps(full, sort_keys=True, allow_nan=False, default=_plain)
    return text, list(_seals(text, named))


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()


def _seals(text: str, arrays: Mapping[str, tuple[tuple[str, ...], Any]]) -> Iterator[int]:
    """The seal, or one for each of many starts."""
    shared = hashlib.blake2b(text.encode(), digest_size=BITS // 8)
    starts = []
    for name in sorted(arrays, key=lambda name: (name.endswith(INITIAL), name)):
        dims, values = arrays[name]
        array = np.asarray(values)
        array = np.ascontiguousarray(array, dtype="<f8") if array.dtype.kind in "biuf" else array.astype("S")
        if "start" in dims:
            starts.append((name, np.moveaxis(array, dims.index("start"), 0)))
        else:
            _add(shared, name, array)
    for i in range(len(starts[0][1]) if starts else 1):
        own = shared.copy()
        for name, rows in starts:
            _add(own, name, np.atleast_1d(rows[i]))  # a number has the shape that it has in a run of one start
        yield int.from_bytes(own.digest(), "big")


def _add(digest: Any, name: str, array: np.ndarray) -> None:
    digest.update(f"{name}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array))  # its buffer: data are not copied


def recipe_of(ds: Any) -> dict[str, Any]:
    """The recipe of a result, after a look at its seal; files from before there were seals have it in attributes."""
    if RECIPE not in ds.variables and "flowdyn_system" in ds.attrs:
        old = {key: read_json(ds.attrs.get(f"flowdyn_{key}"), f"attribute flowdyn_{key}") for key in _OLD}
        noise = ds.attrs.get("flowdyn_noise")
        more = {key: ds.attrs[key] for key in ("t_initial", "k_initial", "target") if key in ds.attrs}
        return old | more | ({"noise": read_json(noise, "attribute flowdyn_noise")} if noise else {})
    refuse_empty("ds", ds, "rebuilt")
    text = _the_one(ds, RECIPE)
    refuse_failed("ds", ds, text)
    recipe = read_json(text, "its recipe")
    names = recipe.get("arrays") if isinstance(recipe, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _check.FileError("its recipe must name its arrays; the file is damaged")
    _the_one(ds, SEAL, along="start")
    seals = (SEAL, SEAL_OF_TIMES) if recipe.get("at_times") else (SEAL,)
    gone = [name for name in (*seals, *names) if name not in ds.variables]
    if gone:
        keep = ", ".join(map(repr, (*seals, *names)))
        raise _check.fail(
            "ds", "must hold the arrays of its recipe", _check.Words(f"none of {gone}"), f"select them too: {keep}"
        )
    own = list(_seals(str(_the_one(ds, RECIPE)), {name: (ds[name].dims, ds[name].values) for name in names}))
    if own != _by_start(ds) or (SEAL_OF_TIMES in seals and not _fits_times(ds, own)):
        raise _check.fail(
            "ds",
            "must hold a run with its own recipe",
            _check.Words("a recipe that does not belong to its data or start"),
            f"join runs by fd.concat, or xr.concat(..., {JOIN}); cut data and starts after it is rebuilt",
        )
    _check_span(ds, recipe.get("span"))
    return recipe


def _by_start(ds: Any) -> list[float]:
    """The one seal of each start, or the one seal."""
    values = np.asarray(ds[SEAL].transpose("start", ..., missing_dims="ignore").values, dtype=float)
    rows = values.reshape(values.shape[0], -1) if "start" in ds[SEAL].dims else values.reshape(1, -1)
    return [float(np.unique(row[~np.isnan(row)])[0]) for row in rows]


def _fits_times(ds: Any, own: list[int]) -> bool:
    """Whether every time has the seal of its start; times that `where` or a join left without values have none."""
    values = np.asarray(ds[SEAL_OF_TIMES].transpose("start", ..., missing_dims="ignore").values, dtype=float)
    rows = values.reshape(len(own), -1) if len(own) > 1 else values.reshape(1, -1)
    return bool((np.isnan(rows) | (rows == np.array(own, dtype=float)[:, None])).all())


def refuse_failed(name: str, ds: Any, text: Any) -> None:
    """Refuse a cell of a sweep that has no run, and so no recipe, with what it says of itself."""
    if text == "":
        reason = str(np.ravel(ds[FAILURE].values)[0]) if FAILURE in ds.variables else "no reason is left"
        raise _check.fail(name, "must hold a run", _check.Words(f"a cell that failed: {reason}"))


def _the_one(ds: Any, name: str, along: str = "") -> Any:
    """The one value of a variable, which may be repeated; one for each entry `along` a dimension."""
    if name not in ds.variables:
        rule = f"must carry its recipe, the variables {RECIPE!r} and {SEAL!r}"
        raise _check.fail("ds", rule, _check.Words(f"no {name!r}"), f"select variables together with {SEAL!r}")
    array = ds[name].transpose(along, ..., missing_dims="ignore") if along else ds[name]
    rows = array.values.reshape(array.shape[0], -1) if along in array.dims else array.values.reshape(1, -1)
    for row in rows:
        values = set(row[row == row].tolist())  # `where` leaves NaN
        if len(values) != 1:
            dims = [str(dim) for dim in array.dims if dim != along]
            found = _check.Words(f"{len(values)} recipes along {dims}" if values else f"no value of {name!r}")
            one = ", ".join(f"{dim}=0" for dim in dims)
            raise _check.fail("ds", "must hold one run", found, f"select one, e.g. ds.isel({one})" if dims else "")
    return rows[0][0]


def own_times(ds: Any) -> np.ndarray:
    """Times of a run, without those that a join with a run of other times gave it: they have no seal.

    The rows of a run in a sweep may be filled up to the longest run's: there the time itself is NaN.
    """
    t = np.asarray(ds["t"].values, dtype=float).ravel()
    dim = ds["t"].dims[0] if ds["t"].dims else "t"
    kept = ~np.isnan(t)
    if SEAL_OF_TIMES in ds.variables and dim in ds[SEAL_OF_TIMES].dims:
        seals = np.asarray(ds[SEAL_OF_TIMES].transpose(dim, ...).values, dtype=float).reshape(len(t), -1)
        kept &= ~np.isnan(seals).all(axis=1)
    return t[kept]


def _check_span(ds: Any, span: Any) -> None:
    """Refuse times that the recipe does not reach: runs that were joined along t have the first's recipe."""
    if span is None or "t" not in ds.variables:
        return
    if not (isinstance(span, list) and len(span) == 3 and all(isinstance(n, int | float) for n in span)):
        raise _check.FileError("the span of its recipe must be three numbers; the file is damaged")
    t = own_times(ds)
    first, last, count = span
    if len(t) > count or (t < first).any() or (t > last).any():
        found = _check.Words(f"{len(t)} times from {t.min(initial=np.inf):g} to {t.max(initial=-np.inf):g}")
        rule = f"must hold times of its own recipe, {count} from {first:g} to {last:g}"
        raise _check.fail("ds", rule, found, "rebuild each run before they are joined along t, or use fd.concat")
