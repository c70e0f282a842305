"""A folder of blocks as one Dataset: what its index says, and how it is opened.

sweep.nc        the grid, which file holds which cells, and along which dimensions of the grid times differ
<hash>.nc       a block: its cells along `cell`, each with its own recipe; and the hash of all of them, its name
"""

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.results.blocked_arrays import Block, Blocks, Rows, Shape, of_grid, on_grid
from flowdyn.results.dataset import history, provenance

INDEX, KIND, LAYOUT = "sweep.nc", "sweep index", "flowdyn_layout"
NAME = "flowdyn_block"  # attribute of a block: its name
CELLS = "cells_of_"  # begins the names of what stands in `Rows.cells`
GridValues = Mapping[str, Mapping[str, np.ndarray]]  # dimension -> name -> values


def index_of(
    grid: GridValues, blocks: Sequence[Block], shapes: Mapping[str, Shape], rows: Mapping[str, Rows]
) -> xr.Dataset:
    """The index of a finished sweep, whose blocks are files of one folder."""
    files = np.array(["" if block.source is None else Path(block.source).name for block in blocks], dtype=object)
    firsts = np.array([block.first for block in blocks], dtype=np.int64)
    counts = np.array([block.cells for block in blocks], dtype=np.int64)
    data: dict[str, tuple[Any, ...]] = {
        "block_file": ("block", files, {"long_name": "file that holds the block"}),
        "block_first": ("block", firsts, {"long_name": "first cell of the block", "units": "1"}),
        "block_count": ("block", counts, {"long_name": "number of cells", "units": "1"}),
    }
    for name, (dims, cells) in rows.items():
        data[f"{CELLS}{name}"] = (dims, cells, {"long_name": f"cell whose {name} all have there", "units": "1"})
    coords = {name: of_grid(name, dim, values) for dim, columns in grid.items() for name, values in columns.items()}
    layout = {"grid": {dim: list(columns) for dim, columns in grid.items()}, "shapes": shapes, "rows": list(rows)}
    attrs = provenance(KIND, "index of a sweep", "which file holds which cells", "none")
    return xr.Dataset(data, coords, attrs | {LAYOUT: json.dumps(layout)})


def assembled(
    grid: GridValues,
    blocks: Sequence[Block],
    shapes: Mapping[str, Shape],
    rows: Mapping[str, Rows],
    load: Callable[[Any], Any],
) -> xr.Dataset:
    """One Dataset over the grid, lazily."""
    sizes = tuple(len(next(iter(columns.values()))) for columns in grid.values())
    all_blocks = Blocks(blocks, sizes, functools.partial(_own_block, load))
    first = next((number for number, block in enumerate(blocks) if block.source is not None), None)
    if first is None:
        raise _check.FileError("a sweep must have a block; every one is missing")
    templates = (all_blocks.dataset(number) for number, block in enumerate(blocks) if block.source is not None)
    template = next((ds for ds in templates if set(shapes) <= set(map(str, ds.variables))), all_blocks.dataset(first))
    ds = on_grid(all_blocks, shapes, grid, template, rows)
    ds.attrs.pop(NAME, None)
    return ds.assign_attrs(history(f"sweep of {int(np.prod(sizes)):,} cells"))


def stray(ds: xr.Dataset, path: Any) -> str:
    """The name of the block that a file holds, where that is another's; "" where it is its own or says nothing."""
    name = str(ds.attrs.get(NAME, Path(path).stem))
    return "" if name == Path(path).stem else name


def _own_block(load: Callable[[Any], xr.Dataset], path: Any) -> xr.Dataset:
    ds = load(path)
    if name := stray(ds, path):
        ds.close()
        raise _check.FileError(
            f"cannot load {path}: it holds another block, {_check.short(name)}; call sweep(make, grid, store) again, "
            "which makes it anew"
        )
    return ds


def open_sweep(folder: Any, load: Callable[..., Any]) -> xr.Dataset:
    """The result of a finished sweep, from its folder."""
    place = Path(os.fspath(folder))
    if not (place / INDEX).is_file():
        raise _check.FileError(
            f"`path` must be a file, or the folder of a finished sweep, got {str(folder)!r} without {INDEX}; call "
            "sweep(make, grid, store) again to finish it"
        )
    index = load(place / INDEX)
    try:
        layout = json.loads(index.attrs[LAYOUT])
        grid = {dim: {name: index[name].values for name in names} for dim, names in layout["grid"].items()}
        shapes = {
            name: Shape(tuple(dims), tuple(sizes), dtype, is_coord, shared)
            for name, (dims, sizes, dtype, is_coord, shared) in layout["shapes"].items()
        }
        files = zip(index.block_file.values, index.block_first.values, index.block_count.values, strict=True)
        blocks = [Block(int(first), int(count), _beside(place, str(name))) for name, first, count in files]
        # an index of before there were rows: times that are not the same in all cells stand over the whole grid
        rows = {name: _rows(index[f"{CELLS}{name}"], grid, shapes[name]) for name in layout.get("rows", [])}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _check.FileError(f"cannot load {place}: its index is damaged ({_check.short(str(error))})") from None
    return assembled(grid, blocks, shapes, rows, load)


def _rows(cells: xr.DataArray, grid: GridValues, shape: Shape) -> Rows:
    """The rows of a coordinate, of cells that there are."""
    dims, values = tuple(map(str, cells.dims)), cells.values
    count = int(np.prod([len(next(iter(columns.values()))) for columns in grid.values()]))
    if not shape.is_coord or set(dims) - set(grid) or values.dtype.kind != "i":
        raise ValueError(f"rows over {dims}")
    if ((values < 0) | (values >= count)).any():
        raise ValueError(f"rows of cells beyond {count:,}")
    return Rows(dims, values)


def _beside(folder: Path, name: str) -> Path | None:
    """A file of the folder itself, wherever its index points."""
    if name and Path(name).name != name:
        raise ValueError(f"a block outside of the folder: {name}")
    return folder / name if name else None
