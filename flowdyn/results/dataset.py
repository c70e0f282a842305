"""Arrays in, labelled xarray Datasets out: the one door to xarray for results.

Rules (CF-1.11): dims have one meaning each (`t`, `feature`, `sample`, `param`, `eta`, `start`); every variable has a
long name and units; how a result was made is a coordinate, as text that can be read back (``sealed_recipe.py``).
"""

import datetime
import functools
import importlib.metadata
import json
import os
import platform
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import System
from flowdyn.problems.base import Variable
from flowdyn.results.schema import SCHEMA
from flowdyn.schedules import Constant
from flowdyn.solvers.base import STATUSES

VOLATILE = ("date_created", "wall_seconds", "history")  # differ between two equal runs
_PACKAGES = ("flowdyn", "numpy", "scipy", "xarray", "netCDF4", "jax", "jaxlib", "diffrax", "equinox")
_LONG_NAMES = {
    "k": "step number k of the recursion",
    "eta": "step size eta",
    "start": "index of the initial condition",
    "realization": "member of the ensemble",
    "feature": "feature of the data",
    "sample": "sample of the data",
    "param": "parameter index",
}


class LabelledArray(NamedTuple):
    """One variable: dims, values, and attributes (long_name at least)."""

    name: str
    dims: tuple[str, ...]
    values: Any
    attrs: Mapping[str, Any]


def labelled_arrays(
    variables: Sequence[Variable], values: Mapping[str, np.ndarray], lead: tuple[str, ...]
) -> list[LabelledArray]:
    """Variables whose values carry the leading dims `lead` before their own."""
    return [LabelledArray(v.name, lead + v.dims, values[v.name], {"long_name": v.long_name}) for v in variables]


def split_state(variables: Sequence[Variable], states: np.ndarray) -> dict[str, np.ndarray]:
    """Named pieces of flat states (..., S)."""
    edges = np.cumsum([v.size for v in variables])[:-1]
    parts = np.split(states, edges, axis=-1)
    return {v.name: p.reshape((*states.shape[:-1], *v.shape)) for v, p in zip(variables, parts, strict=True)}


def status_array(statuses: Any, dims: tuple[str, ...] = ()) -> LabelledArray:
    """CF flag variable that says how each run ended, from names or their numbers."""
    array = np.asarray(statuses)
    codes = array.astype(np.int8) if array.dtype.kind == "i" else np.vectorize(STATUSES.index, otypes=[np.int8])(array)
    attrs = {
        "long_name": "how the run ended",
        "standard_name": "status_flag",
        "flag_values": np.arange(len(STATUSES), dtype=np.int8),
        "flag_meanings": " ".join(STATUSES),
    }
    return LabelledArray("status", dims, codes, attrs)


class Parts(NamedTuple):
    """What a Dataset is made of. A sweep joins those of its cells: to make a Dataset of each takes a millisecond."""

    data: dict[str, xr.Variable]
    coords: dict[str, xr.Variable]
    attrs: dict[str, Any]

    def with_coordinate(self, name: str) -> "Parts":
        """With a variable among the coordinates, where there is one of that name."""
        data = {other: variable for other, variable in self.data.items() if other != name}
        moved = {name: self.data[name]} if name in self.data else {}
        return Parts(data, self.coords | moved, self.attrs)

    def dataset(self) -> xr.Dataset:
        """All of it as one Dataset."""
        return xr.Dataset(self.data, self.coords, self.attrs)


def build(
    variables: Sequence[LabelledArray],
    coords: Sequence[LabelledArray],
    labels: Mapping[str, np.ndarray],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Assemble a Dataset; labels (feature names) are kept where their dimension occurs."""
    return parts(variables, coords, labels, attrs).dataset()


def parts(
    variables: Sequence[LabelledArray],
    coords: Sequence[LabelledArray],
    labels: Mapping[str, np.ndarray],
    attrs: Mapping[str, Any],
) -> Parts:
    """As :func:`build`, what the Dataset is made of."""
    names = [array.name for array in (*variables, *coords)]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise _check.ArgumentError(
            f"parameters and observables must not have the names of other variables of this Dataset, got {twice}; "
            "rename them"
        )
    built = {p.name: _variable(p) for p in variables}
    axes = {p.name: _variable(p) for p in coords}
    dims = {dim for v in (*built.values(), *axes.values()) for dim in v.dims}
    for dim, values in labels.items():
        if dim in dims and dim not in axes:
            axes[dim] = xr.Variable((dim,), _label_values(values), {"long_name": _LONG_NAMES.get(dim, dim)})
    return Parts(built, axes, dict(attrs))


def _variable(array: LabelledArray) -> xr.Variable:
    values = np.asarray(array.values)
    units = {} if values.dtype.kind in "OU" or "flag_values" in array.attrs else {"units": "1"}
    # looked at by xarray, a first number would import dask where there is one: half a second
    return xr.Variable(array.dims, values, {**units, **array.attrs}, fastpath=True)


def _label_values(values: np.ndarray) -> np.ndarray:
    """Labels as numbers or text: NetCDF has no objects."""
    return values if values.dtype.kind in "iuf" else np.array([str(value) for value in values])


def axis(name: str, values: Any, dim: str | None = None, **attrs: Any) -> LabelledArray:
    """Coordinate with its standard long name."""
    return LabelledArray(name, (dim or name,), values, {"long_name": _LONG_NAMES.get(name, name), **attrs})


def time_axis(system: System, t: np.ndarray, **attrs: Any) -> LabelledArray:
    """The dimension `t` of what a system did."""
    return axis("t", t, long_name=system.time_name, **attrs)


def run_coords(system: System, t: np.ndarray, k: np.ndarray | None, clock: str = "") -> list[LabelledArray]:
    """`t`, with the step number `k` beside it for recursions."""
    axes = [time_axis(system, t, **({"comment": clock} if clock else {}))]
    if k is None:
        return axes
    own = {} if isinstance(system, RecursionSystem) else {"long_name": "step number k of the solver"}
    return [*axes, LabelledArray("k", ("t",), k, {"long_name": _LONG_NAMES["k"], **own})]


def input_arrays(arrays: Mapping[str, tuple[tuple[str, ...], np.ndarray, str]]) -> list[LabelledArray]:
    """Data that travel with the result, so that it can be run again."""
    return [LabelledArray(name, dims, values, {"long_name": text}) for name, (dims, values, text) in arrays.items()]


def number_coords(system: System, arrays: Sequence[LabelledArray], more: Mapping[str, float]) -> list[LabelledArray]:
    """Numbers of a system as scalar coordinates to select by, under names that the `arrays` leave free."""
    args = (system.on_problem.config() if system.on_problem else {}) | system.numbers | dict(more)
    taken = {name for array in arrays for name in (array.name, *array.dims)}
    kept = {}
    for name, value in args.items():
        number = value.eta if isinstance(value, Constant) else value
        if isinstance(number, bool) or name in taken or not hasattr(number, "__float__") or np.ndim(number):
            continue
        kept[name] = number if isinstance(number, int) else float(number)
    long_names = {"seed": "seed of the random numbers"} | _LONG_NAMES
    return [LabelledArray(n, (), v, {"long_name": long_names.get(n, f"{n} of the system")}) for n, v in kept.items()]


def initial_arrays(variables: Sequence[Variable], state0: np.ndarray, lead: tuple[str, ...]) -> list[LabelledArray]:
    """State that the run started from, one variable a piece."""
    named = split_state(variables, state0)
    return [
        LabelledArray(f"{v.name}_initial", lead + v.dims, named[v.name], {"long_name": f"{v.long_name}, at the start"})
        for v in variables
    ]


@functools.cache
def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES} | {"python": platform.python_version()}


def history(made: str) -> dict[str, str]:
    """When and by what a Dataset was made."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"history": f"{now} flowdyn {_versions()['flowdyn']} {made}", "date_created": now}


def provenance(kind: str, title: str, summary: str, references: str, **texts: Any) -> dict[str, Any]:
    """Global attributes; values that are not text or numbers are written as JSON."""
    versions = _versions()
    attrs = {
        "Conventions": "CF-1.11",
        "title": title,
        "summary": summary,
        "source": f"flowdyn {versions['flowdyn']}",
        "references": references,
        **history(kind),
        "flowdyn_schema": SCHEMA,
        "flowdyn_kind": kind,
        "flowdyn_versions": versions,
        **texts,
    }
    return {key: _attribute(value) for key, value in attrs.items() if value is not None}


def _attribute(value: Any) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return json.dumps(value, sort_keys=True, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else np.asarray(value).tolist()


def check_kind(ds: Any, allowed: Collection[str], way_out: str) -> str:
    """Which of the `allowed` kinds of result `ds` is; anything else is refused."""
    if isinstance(ds, str | os.PathLike):
        raise _check.fail("ds", "must be a result of flowdyn", ds, "load it first: fd.load(path)")
    kind = getattr(ds, "attrs", {}).get("flowdyn_kind")
    if isinstance(ds, xr.DataTree) and kind is None:
        places = [node.path.strip("/") for node in ds.subtree if "flowdyn_kind" in node.attrs]
        one = f"take one of its nodes, e.g. tree[{places[0]!r}].to_dataset()" if places else ""
        raise _check.fail("ds", "must be one result", _check.Words(f"a DataTree of {places}"), one)
    if kind not in allowed:
        found = _check.Words(f"a {kind}" if kind else f"a {type(ds).__name__} that flowdyn did not make")
        raise _check.fail("ds", f"must be a {' or '.join(allowed)} made by flowdyn", found, way_out if kind else "")
    return str(kind)


def flat_states(run: xr.Dataset, system: System) -> np.ndarray:
    """Flat states (T, S) of a run of a system."""
    names = [v.name for v in system.layout(flat_parameters(run).shape[-1])]
    return np.concatenate([run[name].transpose("t", ...).values.reshape(run.sizes["t"], -1) for name in names], axis=-1)


def flat_parameters(run: xr.Dataset) -> np.ndarray:
    """Flat parameters (..., T, P) of a run; members or starts, where there are any, lead."""
    names = run.attrs["flowdyn_parameters"].split()
    lead = [dim for dim in ("realization", "start", "t") if dim in run[names[0]].dims]
    arrays = [run[name].transpose(*lead, ...) for name in names]
    return np.concatenate([array.values.reshape(*array.shape[: len(lead)], -1) for array in arrays], axis=-1)
