"""Along which dimensions of a grid the times of its cells differ, told from a mark of each cell:

mark = hash of the row of a coordinate along `save`, without what fills it up;      0 where a cell failed: it has none

A dimension along which all marks agree is none of the coordinate's: a mean over it keeps the coordinate then. Marks go
with the report of a block, so that no times are read again, whatever the number of cells.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from flowdyn.results.blocked_arrays import Rows
from flowdyn.results.schema import SAVE
from flowdyn.running.joint_runs import CELL
from flowdyn.sweeps.grid import Grid

NONE = 0


def marks_of(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Marks (n,) of the cells of a block, for each coordinate of numbers along `save`."""
    return {
        str(name): _marks(variable.variable, ds.sizes[CELL])
        for name, variable in ds.coords.items()
        if SAVE in variable.dims and variable.dtype.kind in "biuf"
    }


def _marks(variable: xr.Variable, count: int) -> np.ndarray:
    rows = variable.transpose(CELL, SAVE, ..., missing_dims="ignore").values.astype(float)
    saves = variable.sizes[SAVE]
    rows = rows.reshape(count if CELL in variable.dims else 1, saves, -1 if rows.size else 0) + 0.0  # one zero
    rows[np.isnan(rows)] = np.nan  # and one NaN: marks are of bytes
    there = ~np.isnan(rows).all(axis=2)
    ends = (there * np.arange(1, saves + 1)).max(axis=1, initial=0)  # a block with a longer run has more NaN behind
    marks = [mark_of(row[:end].tobytes()) for row, end in zip(rows, ends.tolist(), strict=True)]
    return np.resize(np.array(marks, dtype=np.uint64), count)


def mark_of(raw: bytes) -> int:
    """Mark of one cell, from the bytes of its row."""
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big") or 1


ABSENT = mark_of(b"")  # of a run that does not have the coordinate


def rows_of(
    marks: Mapping[int, Mapping[str, np.ndarray]], names: Sequence[str], failed: np.ndarray, grid: Grid
) -> dict[str, Rows]:
    """The coordinates that do not vary along every dimension; `marks` are by the first cell of a block."""
    found = {}
    for name in names:
        if not any(name in own for own in marks.values()):
            continue
        whole = np.full(grid.count, ABSENT, dtype=np.uint64)
        for first, own in marks.items():
            if name in own:
                whole[first : first + len(own[name])] = own[name]
        whole[failed] = NONE
        rows = _common(whole.reshape(grid.shape), grid.dims)
        if len(rows.dims) < len(grid.dims):
            found[name] = rows
    return found


def _common(marks: np.ndarray, dims: Sequence[str]) -> Rows:
    """Without the dimensions along which the marks agree, first that which most of them say so of.

    Where failed cells leave one cell in each line of a dimension, nothing says whether times vary along it or along
    another: then all such dimensions go, or none.
    """
    cells, kept = np.arange(marks.size).reshape(marks.shape), list(dims)
    while kept:
        found = {axis: _agreeing(_lines(marks, (axis,))) for axis in range(len(kept))}
        axes: tuple[int, ...] = (max(found, key=found.__getitem__),)
        if found[axes[0]] <= 0:
            axes = tuple(axis for axis, agreeing in found.items() if agreeing == 0)
            if _agreeing(_lines(marks, axes)) < 0 or not axes:
                break
        lines = _lines(marks, axes)
        first = (lines != NONE).argmax(axis=-1)[..., None]
        marks = np.take_along_axis(lines, first, -1)[..., 0]
        cells = np.take_along_axis(_lines(cells, axes), first, -1)[..., 0]
        kept = [dim for axis, dim in enumerate(kept) if axis not in axes]
    return Rows(tuple(kept), cells)


def _lines(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Values (..., n) along some axes together."""
    rest = [values.shape[axis] for axis in range(values.ndim) if axis not in axes]
    return np.moveaxis(values, axes, range(-len(axes), 0)).reshape(*rest, -1)


def _agreeing(lines: np.ndarray) -> int:
    """How many marks are that of another in their line; -1 where two differ."""
    known = lines != NONE
    first = np.take_along_axis(lines, known.argmax(axis=-1)[..., None], -1)
    if ((lines != first) & known).any():
        return -1
    return int(np.maximum(known.sum(axis=-1) - 1, 0).sum())
