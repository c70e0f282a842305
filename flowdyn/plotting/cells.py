"""What a Dataset of runs holds: its cells (starts, runs that were joined, a sweep), and what was recorded of each.

The dimensions of `status` are those of the runs: what a variable has beside them and t is its own.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import xarray as xr

from flowdyn.results import schema
from flowdyn.results.schema import SAVE

MEMBERS = "realization"
OWN_TIMES = "t_of_run"
NUMBERS = 2  # coordinates that a label names where the dimension has no values of its own


class Scalar(NamedTuple):
    """One number of a variable: its name and flat index, and how it is written."""

    name: str
    place: int
    label: str


def over_time(ds: xr.Dataset) -> xr.Dataset:
    """The runs over a dimension `t`: those of a sweep with times of their own are numbered by `save`.

    Then their times stand in the variable ``t_of_run``, with NaN behind the end of a run.
    """
    ds = schema.over_time(ds)  # where one run was selected
    if SAVE not in ds.dims or "t" not in ds.variables or "t" in ds.dims:
        return ds
    return ds.rename_vars({"t": OWN_TIMES}).rename_dims({SAVE: "t"})


def times(ds: xr.Dataset) -> np.ndarray:
    """Times (T,) of all runs, or of each, (C, T)."""
    return rows(ds, Scalar(OWN_TIMES, 0, "")) if OWN_TIMES in ds.variables else ds["t"].values


def clock(ds: xr.Dataset) -> str:
    """What time is called: the long name of t, without what stands in brackets."""
    t = ds.variables.get(OWN_TIMES, ds.variables.get("t"))
    return str(t.attrs.get("long_name", "t") if t is not None else "t").partition(" (")[0]


def cell_dims(ds: xr.Dataset) -> list[str]:
    """Dimensions of the runs, members of an ensemble aside; those of one entry too."""
    known = next((ds[name].dims for name in ("status", "recipe_id") if name in ds.variables), ("start",))
    return [str(dim) for dim in known if dim not in ("t", MEMBERS) and dim in ds.dims]


def parameters(ds: xr.Dataset) -> list[str]:
    """Names of the parameters that the Dataset has over t."""
    names = str(ds.attrs.get("flowdyn_parameters", "")).split()
    return [name for name in names if name in ds and "t" in ds[name].dims]


def observed(ds: xr.Dataset) -> list[str]:
    """Names of what `observe=` recorded, as the recipe has them."""
    if "recipe" not in ds.variables:
        return []
    texts = [text for text in np.ravel(ds["recipe"].values) if isinstance(text, str)]
    try:
        names = json.loads(texts[0])["options"].get("observe") if texts else None
    except (ValueError, TypeError, KeyError, AttributeError):  # a picture asks for no sound recipe
        return []
    found = [str(name) for name in names] if isinstance(names, list) else []
    return [name for name in found if name in ds.data_vars and "t" in ds[name].dims]


def own_dims(ds: xr.Dataset, name: str) -> list[str]:
    """Dimensions of a variable beside those of the runs, the members and t."""
    return [str(dim) for dim in ds[name].dims if dim not in ("t", MEMBERS, *cell_dims(ds))]


def scalars(ds: xr.Dataset, name: str) -> list[Scalar]:
    """The numbers of a variable, each with its label: by the coordinate where there is one."""
    dims = own_dims(ds, name)
    shape = tuple(ds.sizes[dim] for dim in dims)
    if int(np.prod(shape)) == 1:
        return [Scalar(name, 0, name)]
    if len(dims) == 1 and dims[0] in ds.coords:
        return [Scalar(name, i, f"{name} [{value}]") for i, value in enumerate(ds[dims[0]].values)]
    places = np.indices(shape).reshape(len(shape), -1).T
    return [Scalar(name, i, f"{name}[{', '.join(map(str, place))}]") for i, place in enumerate(places)]


def values(ds: xr.Dataset, name: str, *lead: str) -> np.ndarray:
    """Values (..., T, S) of a variable: the dimensions `lead`, t, and its own numbers in one axis."""
    own = own_dims(ds, name)
    array = ds[name].transpose(*lead, "t", *own).values
    return np.asarray(array, dtype=float).reshape(*array.shape[: len(lead) + 1], -1)


def rows(ds: xr.Dataset, scalar: Scalar) -> np.ndarray:
    """Values (C, T) of one number in every cell, those of the first member where there are several."""
    dims = cell_dims(ds)
    one = ds.isel({MEMBERS: 0}, missing_dims="ignore")
    full = one[scalar.name]
    for dim in dims:  # of what the runs share
        full = full if dim in full.dims else full.expand_dims({dim: ds.sizes[dim]})
    found = values(one.assign({scalar.name: full}), scalar.name, *dims)[..., scalar.place]
    return found.reshape(-1, found.shape[-1])


def labels(ds: xr.Dataset) -> tuple[list[str], str]:
    """A label of each cell, in the order of :func:`rows`, and what they are labels of."""
    dims = cell_dims(ds)
    if not dims:
        return [""], ""
    per_dim = [_along(ds, dim) for dim in dims]
    if len(dims) == 1:
        return per_dim[0]
    grid = np.indices([ds.sizes[dim] for dim in dims]).reshape(len(dims), -1).T
    names = [[f"{what} = {label}" for label in found] for found, what in per_dim]
    return [", ".join(names[d][i] for d, i in enumerate(place)) for place in grid], ""


def _along(ds: xr.Dataset, dim: str) -> tuple[list[str], str]:
    """Labels along one dimension: its coordinate, or numbers of the systems that differ along it, or places."""
    if dim in ds.coords:
        return all_shown(ds[dim].values), dim
    numbers = [
        str(name)
        for name, coord in ds.coords.items()
        if coord.dims == (dim,) and coord.dtype.kind in "iuf" and len(np.unique(coord.values)) > 1
    ][:NUMBERS]
    if not numbers:
        return [str(i) for i in range(ds.sizes[dim])], dim
    columns = [all_shown(ds[name].values) for name in numbers]
    return [", ".join(row) for row in zip(*columns, strict=True)], ", ".join(numbers)


def shown(value: object, digits: int = 3) -> str:
    """A coordinate in a few letters."""
    return f"{value:.{digits}g}" if isinstance(value, float | np.floating) else str(value)


def all_shown(values: Iterable[object]) -> list[str]:
    """Values of one axis in a few letters: all with a power of ten where some need one, but for 0.

    With three digits, or as many as it takes to tell them apart.
    """
    found = list(values)
    digits = next((n for n in range(3, 17) if len({shown(value, n) for value in found}) == len(set(found))), 17)
    texts = [shown(value, digits) for value in found]
    numbers = [value for value in found if isinstance(value, float | np.floating)]
    if len(numbers) < len(found) or not any("e" in text for text in texts):
        return texts
    return [
        np.format_float_scientific(value, digits - 1, trim="-", exp_digits=2) if value and np.isfinite(value) else text
        for value, text in zip(numbers, texts, strict=True)
    ]
