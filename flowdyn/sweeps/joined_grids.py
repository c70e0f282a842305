"""Sweeps, and runs beside them, joined into the sweep over all of their values:

part -> its cells -> their places in the grid of all -> what a sweep makes of one block

So rows of other lengths are filled up, and times stand over what they vary with, as if one call had run all cells.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from flowdyn import _check
from flowdyn.results.blocked_arrays import is_of_grid
from flowdyn.results.dataset import Parts
from flowdyn.results.schema import FAILURE, SAVE
from flowdyn.results.sealed_recipe import INITIAL, RECIPE
from flowdyn.running.joint_runs import CELL
from flowdyn.sweeps.blocks import report_of
from flowdyn.sweeps.common_times import mark_of
from flowdyn.sweeps.grid import Axis, Grid
from flowdyn.sweeps.joining_cells import Piece, join_cells, odd_pieces, parts_of, piece_of
from flowdyn.sweeps.sweeping import result_of

NOT_THERE = "no such cell in the results that were joined"


def grid_dims(part: xr.Dataset) -> tuple[str, ...]:
    """Dimensions along which a result has cells: what each cell says of itself stands over them."""
    return tuple(map(str, part[FAILURE if FAILURE in part.coords else RECIPE].dims))


def are_cells(parts: Sequence[xr.Dataset], dim: str) -> bool:
    """Whether some part is of a sweep, and `dim` a dimension of its grid, not of each cell."""
    every = {dim} | {own for part in parts for own in grid_dims(part)}
    stacked = any(isinstance(part.indexes.get(own), pd.MultiIndex) for part in parts for own in every)
    is_grid = all(every & set(part.dims) <= set(grid_dims(part)) for part in parts)
    return is_grid and not stacked and any(FAILURE in part.coords for part in parts)


@dataclasses.dataclass(frozen=True)
class _Along:
    """The values along one dimension of the grid of all parts."""

    dim: str
    values: dict[str, np.ndarray]  # by name; places where it has no values
    attrs: dict[str, Any]
    places: list[np.ndarray]  # of the values of each part
    has_values: bool


def join_grids(parts: Sequence[xr.Dataset], dim: str, given: xr.Variable | None) -> xr.Dataset:
    """One sweep of all cells; `given` are the values along `dim`, unless the parts have them."""
    dims = list(dict.fromkeys(own for part in parts for own in grid_dims(part)))
    dims = dims if dim in dims else [dim, *dims]
    if dim in {CELL, SAVE, FAILURE, RECIPE}.union(*(part.data_vars for part in parts)):
        raise _check.fail("dim", "must not name something else in the results", dim, 'e.g. "run"')
    parts = [_trimmed(part) for part in parts]
    along = [_along(parts, own, is_joined=own == dim, given=given if own == dim else None) for own in dims]
    grid = Grid(tuple(Axis(one.dim, one.values) for one in along))
    places = [_cells(grid, [one.places[i] for one in along]) for i in range(len(parts))]
    there = [own[_reasons(part, dims).ravel() != NOT_THERE] for part, own in zip(parts, places, strict=True)]
    _check_once(grid, np.concatenate(there))
    failures = dict.fromkeys(sorted(set(range(grid.count)) - set(np.concatenate(there).tolist())), NOT_THERE)
    pieces: list[Piece] = []
    for part, own in zip(parts, places, strict=True):
        pieces += _pieces(part, grid, own, failures)
    pieces = _like_first(pieces)
    if odd := odd_pieces(pieces, failures):
        reason = _check.Words(next(iter(odd.values())))
        raise _check.fail("runs", "must have cells of the same variables and sizes", reason, "join each size by itself")
    ds = join_cells(pieces, failures, grid.values(np.arange(grid.count)))
    report = report_of(0, ds, ds)
    report.marks.update(_marks_of_some(parts, ds.drop_dims(SAVE, errors="ignore").drop_vars(grid.names)))
    joined = result_of([report], grid, None)
    for one in along:
        if one.attrs:
            joined[one.dim].attrs = one.attrs
    return joined.drop_vars([one.dim for one in along if not one.has_values])


def _trimmed(part: xr.Dataset) -> xr.Dataset:
    """Without the last rows that none of its cells has: they were filled up to the longest run of another grid."""
    if SAVE not in part.dims or "t" not in part.coords or SAVE not in part["t"].dims:
        return part
    there = part["t"].notnull().any([dim for dim in part["t"].dims if dim != SAVE]).values
    return part.isel({SAVE: slice(0, int(np.flatnonzero(there)[-1]) + 1)}) if there.any() and not there[-1] else part


def _like_first(pieces: Sequence[Piece]) -> list[Piece]:
    """Variables in the order of dimensions that they have in the first piece."""
    known: dict[str, tuple] = {}
    ordered = []
    for piece in pieces:
        variables = {}
        for name, variable in piece.variables.items():
            own = tuple(dim for dim in variable.dims if dim != CELL)
            order = known.setdefault(name, own)
            is_same = own == order or {*own} != {*order}
            variables[name] = variable if is_same else variable.transpose(CELL, *order, missing_dims="ignore")
        ordered.append(piece._replace(variables=variables))
    return ordered


def _marks_of_some(parts: Sequence[xr.Dataset], ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Marks of coordinates that stand over some dimensions of the grid of all alone.

    They are those that a part had over some dimensions of its grid, or of which each part had one value.
    """
    marks = {}
    grids = [(part.coords.variables, set(grid)) for part in parts if (grid := grid_dims(part))]
    for name, held in ds.coords.items():
        having = [(coords[name], grid) for coords, grid in grids if name in coords]
        over = [(len(grid & {*variable.dims}), len(grid)) for variable, grid in having]
        is_way_back = str(name) == RECIPE or str(name).endswith(INITIAL)  # these are of a cell
        is_single = over and not is_way_back and all(variable.ndim == 0 for variable, _ in having)
        if CELL in held.dims and (is_single or any(0 < some < every for some, every in over)):
            rows = held.values.reshape(len(held), -1).tolist()
            marks[str(name)] = np.array([mark_of(repr(row).encode()) for row in rows], np.uint64)
    return marks


def _reasons(part: xr.Dataset, dims: Sequence[str]) -> np.ndarray:
    """Why each cell of a part failed, over the grid of all; "" where it did not."""
    reasons = part.variables[FAILURE] if FAILURE in part.coords else xr.Variable((), "")
    return reasons.set_dims({dim: part.sizes.get(dim, 1) for dim in dims}).transpose(*dims).values


def _check_once(grid: Grid, cells: np.ndarray) -> None:
    """Refuse a cell that two parts have, or one part twice."""
    found, counts = np.unique(cells, return_counts=True)
    if (counts > 1).any():
        first = int(found[counts > 1][0])
        (point,) = grid.points(first, first + 1)
        raise _check.fail(
            "runs", "must have each cell of the grid once", point, "keep it in one of them, e.g. by drop_sel"
        )


def _cells(grid: Grid, places: list[np.ndarray]) -> np.ndarray:
    return np.ravel_multi_index(np.ix_(*places), grid.shape).ravel()


def _along(parts: Sequence[xr.Dataset], dim: str, is_joined: bool, given: xr.Variable | None) -> _Along:
    """Values of all parts, one after the other where they are joined, else each once."""
    sizes = [part.sizes[dim] if dim in grid_dims(part) else 1 for part in parts]
    names = _names(parts, dim) if given is None else (dim,)
    if not names and not is_joined and len(set(sizes)) > 1:
        raise _check.fail("runs", f"must have one size along {dim!r}, which has no values", sizes, "give it values")
    if given is not None and len(given) != sum(sizes):
        raise _check.fail("dim", f"must have the {sum(sizes)} values of the runs", given.values)
    if not names or given is not None:
        edges = np.cumsum([0, *sizes]) if is_joined else np.zeros(len(sizes) + 1, dtype=int)
        places = [np.arange(begin, begin + size) for begin, size in zip(edges, sizes, strict=False)]
        if given is not None:
            return _Along(dim, {dim: given.values}, dict(given.attrs), places, has_values=True)
        return _Along(dim, {dim: np.arange(places[-1][-1] + 1)}, {}, places, has_values=False)
    columns = [_columns(f"runs[{i}]", part, dim, names, is_joined) for i, part in enumerate(parts)]
    found = {name: np.concatenate([own[name] for own in columns]) for name in names}
    rows = list(zip(*(values.tolist() for values in found.values()), strict=True))
    counts = dict.fromkeys(rows)
    numbers = dict(zip(counts, range(len(counts)), strict=True))
    places = np.split(np.array([numbers[row] for row in rows]), np.cumsum(sizes)[:-1])
    having = next((part[dim].attrs for part in parts if dim in part.dims and dim in part.coords), {})
    pairs = zip(found.items(), zip(*counts, strict=True), strict=True)
    each = {name: np.array(column, dtype=values.dtype) for (name, values), column in pairs}
    return _Along(dim, each, dict(having), places, has_values=True)


def _names(parts: Sequence[xr.Dataset], dim: str) -> tuple[str, ...]:
    """Names of the numbers along a dimension that any part has: its own, or those that go together."""
    along = [part for part in parts if dim in grid_dims(part)]
    pairs = [(str(name), variable) for part in along for name, variable in part.coords.items()]
    found = [name for name, v in pairs if v.dims == (dim,) and (name == dim or is_of_grid(name, v))]
    own = [dim] if not found and any(dim in part.coords for part in parts) else []
    return tuple(dict.fromkeys(found + own))


def _columns(shown: str, part: xr.Dataset, dim: str, names: Sequence[str], is_joined: bool) -> dict[str, np.ndarray]:
    found = {name: part[name] for name in names if name in part.coords and part[name].dims in ((), (dim,))}
    if gone := [name for name in names if name not in found]:
        given = f", or pandas.Index([...], name={dim!r}) in place of {dim!r}" if is_joined else ""
        way_out = f"e.g. assign_coords({gone[0]}=...){given}"
        raise _check.fail(shown, f"must have values of {', '.join(names)}", _check.Words(f"none of {gone}"), way_out)
    return {name: np.atleast_1d(variable.values) for name, variable in found.items()}


def _pieces(part: xr.Dataset, grid: Grid, places: np.ndarray, failures: dict[int, str]) -> list[Piece]:
    """The cells of a part, without those that have nothing; why cells failed is added to `failures`."""
    found = parts_of(part.drop_vars([name for name in grid.names if name in part.coords]))
    data, coords = ({n: _by_cell(v, part, grid.dims) for n, v in held.items()} for held in (found.data, found.coords))
    coords.pop(FAILURE, None)
    reasons = _reasons(part, grid.dims).ravel()
    failures |= {int(places[i]): str(reasons[i]) for i in np.flatnonzero((reasons != "") & (reasons != NOT_THERE))}
    # a recipe that all cells share is that of the one which did not fail
    recipe, status = coords[RECIPE], data.get("status")
    lost = (reasons != "") & ((recipe.values == "") | (CELL not in recipe.dims))
    pieces = [(Parts(data, coords, found.attrs), ~lost)]
    if status is not None and lost.any():
        broke_off = (status.values.reshape(len(places), -1) >= 0).any(axis=1)  # they have their status alone
        pieces.append((Parts({"status": status}, {}, {}), lost & broke_off))
    return [piece_of(_at(own, rows), places[rows].tolist()) for own, rows in pieces if rows.any()]


def _at(found: Parts, rows: np.ndarray) -> Parts:
    if rows.all():  # no copy of each
        return found
    data, coords = (
        {name: variable[rows] if CELL in variable.dims else variable for name, variable in held.items()}
        for held in (found.data, found.coords)
    )
    return Parts(data, coords, found.attrs)


def _by_cell(variable: xr.Variable, part: xr.Dataset, dims: Sequence[str]) -> xr.Variable:
    """A variable along `cell`, unless it does not vary with the dimensions of the grid."""
    own = {str(dim): size for dim, size in variable.sizes.items() if dim not in dims}
    if len(own) == variable.ndim:
        return variable
    full = variable.set_dims({dim: part.sizes.get(dim, 1) for dim in dims} | own).transpose(*dims, *own)
    return xr.Variable((CELL, *own), full.values.reshape(-1, *own.values()), variable.attrs)
