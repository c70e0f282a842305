"""Arrays in, labelled xarray Datasets out: the one door to xarray for results.

Rules (CF-1.11): dims have one meaning each (`t`, `feature`, `sample`, `param`, `eta`, `start`); every variable has a
long name and units; how a result was made stands in its attributes, as text that can be read back.
"""

import datetime
import functools
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.methods.systems import Recursion, System
from flowdyn.problems.base import Variable
from flowdyn.solvers.base import STATUSES

SCHEMA = "flowdyn/1"
VOLATILE = ("date_created", "wall_seconds", "history")  # differ between two equal runs
_PACKAGES = ("flowdyn", "numpy", "scipy", "xarray", "netCDF4", "jax", "jaxlib", "diffrax", "equinox")
_LONG_NAMES = {
    "t": "training time t (clock of the dynamics)",
    "k": "step number k of the recursion",
    "eta": "step size eta",
    "start": "index of the initial condition",
    "realization": "member of the ensemble",
    "feature": "feature of the data",
    "sample": "sample of the data",
    "param": "parameter index",
}


class Piece(NamedTuple):
    """One variable: dims, values, and attributes (long_name at least)."""

    name: str
    dims: tuple[str, ...]
    values: Any
    attrs: Mapping[str, Any]


def pieces(variables: Sequence[Variable], values: Mapping[str, np.ndarray], lead: tuple[str, ...]) -> list[Piece]:
    """Variables whose values carry the leading dims `lead` before their own."""
    return [Piece(v.name, lead + v.dims, values[v.name], {"long_name": v.long_name}) for v in variables]


def split_state(variables: Sequence[Variable], states: np.ndarray) -> dict[str, np.ndarray]:
    """Named pieces of flat states (..., S)."""
    edges = np.cumsum([v.size for v in variables])[:-1]
    parts = np.split(states, edges, axis=-1)
    return {v.name: p.reshape((*states.shape[:-1], *v.shape)) for v, p in zip(variables, parts, strict=True)}


def status_piece(statuses: Any, dims: tuple[str, ...] = ()) -> Piece:
    """CF flag variable that says how each run ended, from names or their numbers."""
    array = np.asarray(statuses)
    codes = array.astype(np.int8) if array.dtype.kind == "i" else np.vectorize(STATUSES.index, otypes=[np.int8])(array)
    attrs = {
        "long_name": "how the run ended",
        "standard_name": "status_flag",
        "flag_values": np.arange(len(STATUSES), dtype=np.int8),
        "flag_meanings": " ".join(STATUSES),
    }
    return Piece("status", dims, codes, attrs)


def build(
    variables: Sequence[Piece], coords: Sequence[Piece], labels: Mapping[str, np.ndarray], attrs: Mapping[str, Any]
) -> xr.Dataset:
    """Assemble a Dataset; labels (feature names) are kept where their dimension occurs."""
    names = [piece.name for piece in (*variables, *coords)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _check.ArgumentError(
            f"parameters and observables must not have the names of other variables of this Dataset, got {twice}; "
            "rename them"
        )
    built = {p.name: _variable(p) for p in variables}
    dims = {dim for v in built.values() for dim in v.dims}
    axes = {p.name: _variable(p) for p in coords}
    for dim, values in labels.items():
        if dim in dims and dim not in axes:
            axes[dim] = xr.Variable((dim,), _label_values(values), {"long_name": _LONG_NAMES.get(dim, dim)})
    return xr.Dataset(built, axes, dict(attrs))


def _variable(piece: Piece) -> xr.Variable:
    units = {} if "flag_values" in piece.attrs else {"units": "1"}
    return xr.Variable(piece.dims, piece.values, {**units, **piece.attrs})


def _label_values(values: np.ndarray) -> np.ndarray:
    """Labels as numbers or text: NetCDF has no objects."""
    return values if values.dtype.kind in "iuf" else np.array([str(value) for value in values])


def axis(name: str, values: Any, dim: str | None = None, **attrs: Any) -> Piece:
    """Coordinate with its standard long name."""
    return Piece(name, (dim or name,), values, {"long_name": _LONG_NAMES.get(name, name), **attrs})


def run_coords(system: System, t: np.ndarray, k: np.ndarray | None, clock: str = "") -> list[Piece]:
    """`t`, with the step number `k` beside it for recursions."""
    axes = [axis("t", t, **({"comment": clock} if clock else {}))]
    if k is None:
        return axes
    own = {} if isinstance(system, Recursion) else {"long_name": "step number k of the solver"}
    return [*axes, Piece("k", ("t",), k, {"long_name": _LONG_NAMES["k"], **own})]


def input_pieces(arrays: Mapping[str, tuple[tuple[str, ...], np.ndarray, str]]) -> list[Piece]:
    """Data that travel with the result, so that it can be run again."""
    return [Piece(name, dims, values, {"long_name": text}) for name, (dims, values, text) in arrays.items()]


def initial_pieces(variables: Sequence[Variable], state0: np.ndarray, lead: tuple[str, ...]) -> list[Piece]:
    """State that the run started from, one variable a piece."""
    named = split_state(variables, state0)
    return [
        Piece(f"{v.name}_initial", lead + v.dims, named[v.name], {"long_name": f"{v.long_name}, at the start"})
        for v in variables
    ]


@functools.cache
def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES} | {"python": platform.python_version()}


def provenance(kind: str, title: str, summary: str, references: str, **texts: Any) -> dict[str, Any]:
    """Global attributes; values that are not text or numbers are written as JSON."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    versions = _versions()
    attrs = {
        "Conventions": "CF-1.11",
        "title": title,
        "summary": summary,
        "source": f"flowdyn {versions['flowdyn']}",
        "references": references,
        "history": f"{now} flowdyn {versions['flowdyn']} {kind}",
        "date_created": now,
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


def slice_of(w0: Any) -> xr.Dataset | None:
    """`w0` if it is a Dataset at one time (a restart), None if it is something else."""
    if not isinstance(w0, xr.Dataset):
        return None
    if w0.coords.get("t") is not None and w0.t.ndim:
        raise _check.fail("w0", "must be a Dataset at one time", dict(w0.sizes), "select one, e.g. run.isel(t=-1)")
    return w0


def restart(
    ds: xr.Dataset, variables: Sequence[Variable], needed: int
) -> tuple[dict[str, np.ndarray], float | None, int | None]:
    """Named pieces of the state in a slice, its time and its step number; the first `needed` pieces must be there."""
    found = {}
    for i, v in enumerate(variables):
        if v.name in ds:
            dims = [dim for dim in v.dims if dim in ds[v.name].dims]
            found[v.name] = np.asarray(ds[v.name].transpose(..., *dims).values)
        elif i < needed:
            raise _check.fail("w0", f"must hold the variable {v.name!r}", sorted(map(str, ds.data_vars)))
    t = float(ds.t) if "t" in ds.coords else None
    return found, t, int(ds.k) if "k" in ds.coords else None


def initial_of(ds: xr.Dataset, system: System) -> Any:
    """Initial condition stored in a run: flat parameters, or a slice where the run was itself a restart."""
    suffix = "_initial"
    named = {str(n).removesuffix(suffix): ds[n] for n in ds.data_vars if str(n).endswith(suffix)}
    if "t_initial" in ds.attrs:
        coords: dict[str, Any] = {"t": float(ds.attrs["t_initial"])}
        if "k_initial" in ds.attrs:
            coords["k"] = int(ds.attrs["k_initial"])
        return xr.Dataset(named).drop_vars("t", errors="ignore").assign_coords(coords)
    lead = 1 if "start" in ds.dims else 0
    flat = [np.asarray(v.values) for v in named.values()]
    state = np.concatenate([v.reshape(*v.shape[:lead], -1) for v in flat], axis=-1)
    return np.asarray([system.project(row) for row in state]) if lead else np.asarray(system.project(state))
