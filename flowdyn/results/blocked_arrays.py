"""Arrays over a grid whose rows lie in blocks:  value[i_1, ..., i_g, ...] = block[cell - first, ...],  read when asked.

cell = i_1 n_2 ... n_g + ... + i_g. A block is a file, or a Dataset in memory. Rows that a block does not have, and
entries beyond its own sizes, are filled.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from flowdyn._tools.hdf5_lock import LOCK
from flowdyn.results.schema import SAVE

KEPT_BYTES = 256 << 20  # of blocks that have been read, for the variables that are read next


class Block(NamedTuple):
    """Cells first .. first + cells - 1: a path, a Dataset, or None where there are none."""

    first: int
    cells: int
    source: Any


class Blocks:
    """All blocks of a grid, opened when they are first read and kept while there is room."""

    def __init__(self, blocks: Sequence[Block], shape: tuple[int, ...], load: Callable[[Any], Any]) -> None:
        self.blocks, self.shape, self._load = list(blocks), shape, load
        self._open: OrderedDict[int, xr.Dataset] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": OrderedDict()}

    def dataset(self, number: int) -> xr.Dataset:
        """One block."""
        source = self.blocks[number].source
        if isinstance(source, xr.Dataset):
            return source
        with LOCK:
            if number not in self._open:
                self._open[number] = self._load(source)
                while len(self._open) > 1 and sum(ds.nbytes for ds in self._open.values()) > KEPT_BYTES:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(number)
            return self._open[number]

    def rows(self, name: str, cells: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, fill: Any) -> np.ndarray:
        """Values (n, *shape) of a variable at cells (n,)."""
        out = np.full((len(cells), *shape), fill, dtype=dtype)
        firsts = np.array([block.first for block in self.blocks])
        numbers = np.searchsorted(firsts, cells, side="right") - 1
        for number in np.unique(numbers).tolist():
            block = self.blocks[number]
            if block.source is None:
                continue
            ds = self.dataset(number)
            if name not in ds.variables:
                continue
            chosen = np.flatnonzero(numbers == number)
            variable = ds.variables[name]
            lead = "cell" in variable.dims
            part = variable.isel(cell=cells[chosen] - block.first).values if lead else variable.values[None]
            where: Any = (chosen, *(slice(0, size) for size in part.shape[1:]))
            out[where] = part
        return out


class Rows(NamedTuple):
    """What a coordinate keeps of the grid: the dimensions along which it varies, and a cell for each place there."""

    dims: tuple[str, ...]
    cells: np.ndarray  # over `dims`; its row is that of all cells at the place


class BlockedArray(BackendArray):
    """One variable over the grid, or over the given cells of it."""

    def __init__(
        self,
        blocks: Blocks,
        name: str,
        own: tuple[int, ...],
        dtype: np.dtype,
        fill: Any,
        cells: np.ndarray | None = None,
    ) -> None:
        self._lead = blocks.shape if cells is None else cells.shape
        self.shape, self.dtype = (*self._lead, *own), dtype
        self._blocks, self._name, self._own, self._fill, self._cells = blocks, name, own, fill, cells

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        lead = self._lead
        axes = [np.arange(size)[k] for size, k in zip(lead, key, strict=False)]
        places = np.ix_(*map(np.atleast_1d, axes))
        wanted = np.ravel_multi_index(places, lead) if self._cells is None else self._cells[places]
        rows = self._blocks.rows(self._name, np.ravel(wanted), self._own, self.dtype, self._fill)
        shape = tuple(axis.size for axis in axes if axis.ndim)
        full = rows.reshape((*shape, *self._own))
        for axis, k in reversed(list(enumerate(key[len(lead) :], start=len(shape)))):
            full = full[(*([slice(None)] * axis), k)]
        return full


class Shape(NamedTuple):
    """What is known of a variable without reading it: of one block, or of all."""

    dims: tuple[str, ...]  # without `cell`
    sizes: tuple[int, ...]
    dtype: str  # "text" for texts
    is_coord: bool
    shared: str  # checksum, where it is the same in all cells of the block; "" where it is not


def merged_shapes(found: Sequence[Mapping[str, Shape]], count: int) -> dict[str, Shape]:
    """Of some of `count` blocks, from those of each; sizes are the largest ones.

    Whole numbers that are not there in every row become floats, which have NaN; flags are bytes and have -1.
    """
    merged: dict[str, Shape] = {}
    every = [(shape.dims, shape.sizes) for shapes in found for shape in shapes.values()]
    saves = max((sizes[dims.index(SAVE)] for dims, sizes in every if SAVE in dims), default=0)
    for name in dict.fromkeys(name for shapes in found for name in shapes):
        own = [shapes[name] for shapes in found if name in shapes]
        first = own[0]
        sizes = tuple(saves if dim == SAVE else size for dim, size in zip(first.dims, first.sizes, strict=True))
        texts = any(shape.dtype == "text" for shape in own)
        dtype = "text" if texts else np.result_type(*(np.dtype(shape.dtype) for shape in own)).str
        is_filled = len(own) < count or any(shape.sizes != sizes for shape in own)
        shared = first.shared if len(own) == len(found) and len({shape.shared for shape in own}) == 1 else ""
        is_coord = all(shape.is_coord for shape in own)
        if not shared and is_filled and not texts and dtype != "|i1":
            dtype = with_gaps(np.dtype(dtype)).str
        merged[name] = Shape(first.dims, sizes, dtype, is_coord, shared)
    return merged


def with_gaps(dtype: np.dtype) -> np.dtype:
    """The type of numbers some of which are not there, NaN or NaT: that of xarray's ``reindex``."""
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype


def gap_of(dtype: np.dtype) -> Any:
    """What stands where a number is not there: NaN, NaT, -1 in flags."""
    return {"f": np.nan, "c": np.nan, "m": np.timedelta64("NaT"), "M": np.datetime64("NaT"), "i": -1}.get(dtype.kind, 0)


def of_grid(name: str, dim: str, values: np.ndarray) -> xr.Variable:
    """Values of a name of a grid, along a dimension."""
    units = {} if values.dtype.kind in "OUT" else {"units": "1"}
    return xr.Variable((dim,), values, {"long_name": f"{name} of the grid", **units})


def is_of_grid(name: Any, variable: Any) -> bool:
    """Whether a coordinate holds what :func:`of_grid` does."""
    return variable.attrs.get("long_name") == f"{name} of the grid"


def on_grid(
    blocks: Blocks,
    shapes: Mapping[str, Shape],
    grid: Mapping[str, Mapping[str, np.ndarray]],
    template: xr.Dataset,
    rows: Mapping[str, Rows],
) -> xr.Dataset:
    """The Dataset over a grid (dimension -> name -> values), lazily; what all cells share is the template's.

    Coordinates in `rows` stand over their dimensions of the grid alone; where t has none it is a dimension, as in a
    run.
    """
    is_common = "t" in shapes and (not rows["t"].dims if "t" in rows else shapes["t"].shared)
    renamed = {SAVE: "t"} if is_common else {}
    data: dict[str, xr.Variable] = {}
    coords: dict[str, xr.Variable] = {}
    for dim, columns in grid.items():
        for name, values in columns.items():
            coords[name] = of_grid(name, dim, values)
    for name, shape in shapes.items():
        if name in coords:
            continue
        attrs = template.variables[name].attrs if name in template.variables else {}
        dims = tuple(renamed.get(dim, dim) for dim in shape.dims)
        if shape.shared and shape.is_coord:
            variable = xr.Variable(dims, template.variables[name].values, attrs)
        else:
            dtype = np.dtype(object) if shape.dtype == "text" else np.dtype(shape.dtype)
            fill = "" if shape.dtype == "text" else gap_of(dtype)
            lead, cells = rows.get(name, (tuple(grid), None))
            array = BlockedArray(blocks, name, shape.sizes, dtype, fill, cells)
            variable = xr.Variable((*lead, *dims), indexing.LazilyIndexedArray(array), attrs)
        (coords if shape.is_coord else data)[name] = variable
    return xr.Dataset(data, coords, dict(template.attrs))
