"""Results side by side along the dimension `cell`, rows of different length filled up along `save`.

A coordinate that is the same in all cells is kept once; everything else has the dimension `cell`. Times are a
coordinate (save,) or (cell, save). What a cell does not have is NaN, "" in texts, -1 in flags.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.results.blocked_arrays import gap_of, of_grid, with_gaps
from flowdyn.results.dataset import VOLATILE, Parts, provenance
from flowdyn.results.schema import FAILURE, SAVE
from flowdyn.results.sealed_recipe import INITIAL
from flowdyn.running.joint_runs import CELL

OF_ONE = (
    "flowdyn_stats",
    "flowdyn_choice",
    "stopped_by",
    "flowdyn_law",
    *VOLATILE,
)  # attributes of one run, not of many


class Piece(NamedTuple):
    """Results of some cells: variables with or without the dimension `cell`."""

    places: list[int]
    variables: dict[str, xr.Variable]
    coords: frozenset[str]
    attrs: Mapping[str, Any]


def piece_of(found: Parts, places: list[int]) -> Piece:
    """Results as a piece; their times are numbered by `save`."""
    variables = {name: _by_save(variable) for name, variable in (found.data | found.coords).items()}
    return Piece(places, variables, frozenset(found.coords), found.attrs)


def _by_save(variable: xr.Variable) -> xr.Variable:
    if "t" not in variable.dims:
        return variable
    dims = tuple(SAVE if dim == "t" else str(dim) for dim in variable.dims)
    return xr.Variable(dims, variable.values, variable.attrs, fastpath=True)


def parts_of(ds: xr.Dataset) -> Parts:
    """What a Dataset is made of, its values in memory."""
    found = {
        str(name): xr.Variable(variable.dims, variable.values, variable.attrs)
        for name, variable in ds.variables.items()
    }
    data = {str(name): found[str(name)] for name in ds.data_vars}
    return Parts(data, {str(name): found[str(name)] for name in ds.coords}, dict(ds.attrs))


def join_cells(pieces: Sequence[Piece], failures: Mapping[int, str], points: Mapping[str, np.ndarray]) -> xr.Dataset:
    """One Dataset of all cells, with the numbers of their points; those of other sizes than most are failures."""
    count = len(next(iter(points.values())))
    odd = odd_pieces(pieces, failures)
    odd_cells = {place: str(different(found)) for i, found in odd.items() for place in pieces[i].places}
    pieces, failures = [piece for i, piece in enumerate(pieces) if i not in odd], odd_cells | dict(failures)
    names = list(dict.fromkeys(name for piece in pieces for name in piece.variables))
    saves = max((v.sizes.get(SAVE, 0) for piece in pieces for v in piece.variables.values()), default=0)
    data: dict[str, xr.Variable] = {}
    coords: dict[str, xr.Variable] = {}
    for name in names:
        is_coord = all(name in piece.coords for piece in pieces if name in piece.variables)
        if name in points:
            dims = {dim for piece in pieces if name in piece.variables for dim in piece.variables[name].dims}
            if not is_coord or dims - {CELL}:
                raise taken(name)
            continue
        (coords if is_coord else data)[name] = _joined(name, pieces, {CELL: count, SAVE: saves}, is_coord)
    for name, values in points.items():
        coords[name] = of_grid(name, CELL, values)
    reasons = np.array([failures.get(i, "") for i in range(count)], dtype=object)
    coords[FAILURE] = xr.Variable((CELL,), reasons, {"long_name": "why the cell has no run, empty where it has one"})
    sizes: dict[Any, int] = {}
    for variable in (*data.values(), *coords.values()):
        sizes |= variable.sizes
    clash = sorted(set(points) & set(sizes))
    if clash:
        raise taken(clash[0])
    return xr.Dataset(data, xr.Coordinates(coords, indexes={}), _attributes(pieces))


def taken(name: str) -> _check.ArgumentError:
    """A name of the grid that the results use for something else."""
    return _check.fail("grid", "must not name variables or dimensions of the results", name, "rename it in `make`")


Sizes = dict[str, tuple]  # of each variable: its dimensions but for `cell`, with their sizes but for `save`


def sizes_of(dims: Sequence[str], sizes: Sequence[int]) -> tuple:
    """What variables must agree in to stand side by side."""
    return tuple((dim, None if dim == SAVE else size) for dim, size in zip(dims, sizes, strict=True) if dim != CELL)


def odd_ones(found: Sequence[Sizes], cells: Sequence[int]) -> dict[int, str]:
    """Which results cannot stand beside those of most cells, and why."""
    whole = [own for own in found if len(own) > 1]  # a run that broke off has its status alone
    common = sorted(set.intersection(*map(set, whole))) if whole else []
    counts: Counter[tuple] = Counter()
    for own, count in zip(found, cells, strict=True):
        if len(own) > 1:
            counts[tuple(own[name] for name in common)] += count
    most = max(counts, key=counts.__getitem__, default=())
    first = [i for i, own in enumerate(found) if len(own) > 1 and tuple(own[name] for name in common) == most]
    known: Sizes = {}
    odd = {}
    for i in [*first, *sorted(set(range(len(found))) - set(first))]:
        clash = next((name for name, own in found[i].items() if known.get(name, own) != own), None)
        if clash is None:
            known |= found[i]
        else:
            odd[i] = f"{clash} of {_said(found[i][clash])} where others have {_said(known[clash])}"
    return odd


def _said(sizes: tuple) -> str:
    return " x ".join(f"{name} {size}" if size is not None else str(name) for name, size in sizes) or "one number"


def odd_pieces(pieces: Sequence[Piece], failures: Collection[int]) -> dict[int, str]:
    """Which pieces cannot stand beside those of most cells, and why; cells in `failures` have no run."""
    found = []
    for piece in pieces:
        own = {name: sizes_of([str(d) for d in v.dims], v.shape) for name, v in piece.variables.items()}
        if set(piece.places) - set(failures):  # rebuilding a run reads every start in its Dataset
            own["starts"] = tuple((name, None) for name in sorted(piece.variables) if name.endswith(INITIAL))
        found.append(own)
    return odd_ones(found, [len(piece.places) for piece in pieces])


def different(found: str) -> _check.ArgumentError:
    """Results that cannot stand side by side."""
    return _check.fail(
        "make",
        "must return results of the same variables and sizes",
        _check.Words(found),
        "sweep each size by itself",
    )


def _joined(name: str, pieces: Sequence[Piece], room: Mapping[str, int], is_coord: bool) -> xr.Variable:
    """One variable over all cells, or as it is where it is a coordinate that all share; `room` is along cell, save."""
    having = [piece for piece in pieces if name in piece.variables]
    found = [piece.variables[name] for piece in having]
    first = found[0]
    own = tuple(dim for dim in first.dims if dim != CELL)
    if is_coord and len(having) == len(pieces) and all(_same(variable, first) for variable in found):
        return first
    sizes = dict(first.sizes) | dict(room)  # along other dimensions all have the same
    shape = (room[CELL], *(sizes[dim] for dim in own))
    covered = sum(len(piece.places) for piece in having) == room[CELL]
    full = covered and all(variable.sizes.get(SAVE, room[SAVE]) == room[SAVE] for variable in found)
    values = blank(shape, found, is_full=full)
    for piece, variable in zip(having, found, strict=True):
        rows = (
            variable.values
            if CELL in variable.dims
            else np.broadcast_to(variable.values, (len(piece.places), *variable.shape))
        )
        where: Any = (piece.places, *(slice(0, n) for n in rows.shape[1:]))
        values[where] = rows
    return xr.Variable((CELL, *own), values, _flags(first.attrs) if "flag_values" in first.attrs else first.attrs)


def blank(shape: tuple[int, ...], found: Sequence[xr.Variable], is_full: bool) -> np.ndarray:
    """Room for values; whole numbers that are not there in every cell become floats, which have NaN."""
    dtype = np.result_type(*(variable.dtype for variable in found))
    if dtype.kind in "OUT":
        return np.full(shape, "", dtype=object)
    if "flag_values" in found[0].attrs:
        return np.full(shape, -1, dtype=dtype)
    dtype = dtype if is_full else with_gaps(dtype)
    return np.full(shape, gap_of(dtype), dtype=dtype)


def _flags(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a flag variable with a flag for cells that have none."""
    values = np.asarray(attrs["flag_values"])
    if -1 in values:
        return dict(attrs)
    more = {
        "flag_values": np.append(values, values.dtype.type(-1)),
        "flag_meanings": f"{attrs['flag_meanings']} no_run",
    }
    return {**attrs, **more}


def _same(one: xr.Variable, other: xr.Variable) -> bool:
    return CELL not in one.dims and one.sizes == other.sizes and digest_of(one.values) == digest_of(other.values)


def digest_of(values: np.ndarray) -> str:
    """Checksum of an array of numbers or texts."""
    raw = "\0".join(map(str, values.ravel())).encode() if values.dtype.kind in "OUT" else values.tobytes()
    return hashlib.blake2b(raw, digest_size=12).hexdigest()


def _attributes(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Attributes that all pieces share; what CF asks for is the first's."""
    whole = [piece.attrs for piece in pieces if "flowdyn_schema" in piece.attrs]  # not those of runs that broke off
    if not whole:
        return provenance("sweep", "no run", "every cell failed", "none")
    kept = ("title", "summary", "references", "source", "Conventions")
    shared = {
        key: value
        for key, value in whole[0].items()
        if key in kept or all(key in attrs and np.array_equal(attrs[key], value) for attrs in whole)
    }
    return {key: value for key, value in shared.items() if key not in OF_ONE}
