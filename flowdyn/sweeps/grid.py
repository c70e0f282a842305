"""The grid of a sweep:  points = axis_1 x axis_2 x ...,  an axis being one name or several names that go together.

{"alpha": [0.1, 0.01], ("eta", "batch_size"): [(0.1, 1), (0.2, 4)]}      4 points; dims alpha, eta_batch_size
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from flowdyn import _check

MOST_CELLS = 10**9


@dataclasses.dataclass(frozen=True)
class Axis:
    """One dimension: its names, and the values (n,) of each."""

    dim: str
    values: dict[str, np.ndarray]

    @property
    def size(self) -> int:
        """Number of points along the dimension."""
        return len(next(iter(self.values.values())))


@dataclasses.dataclass(frozen=True)
class Grid:
    """Axes, crossed; the last one runs fastest."""

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return tuple(axis.size for axis in self.axes)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return tuple(axis.dim for axis in self.axes)

    @property
    def count(self) -> int:
        """Number of cells, the product of the sizes."""
        return math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """What `make` is called with."""
        return tuple(name for axis in self.axes for name in axis.values)

    def values(self, cells: np.ndarray) -> dict[str, np.ndarray]:
        """Numbers of the given cells (n,), by name."""
        places = np.unravel_index(cells, self.shape)
        pairs = zip(self.axes, places, strict=True)
        return {name: values[at] for axis, at in pairs for name, values in axis.values.items()}

    def points(self, first: int, stop: int) -> list[dict[str, int | float]]:
        """Arguments of `make` for the cells first .. stop - 1."""
        columns = {name: values.tolist() for name, values in self.values(np.arange(first, stop)).items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def grid_of(given: Any) -> Grid:
    """The grid that a user describes: names, or tuples of names, to values."""
    if not isinstance(given, Mapping) or not given:
        raise _check.fail("grid", "must map names to their values", given, 'e.g. {"eta": [0.1, 0.05]}')
    axes = tuple(_axis(key, values) for key, values in given.items())
    grid = Grid(axes)
    names = [*grid.names, *(axis.dim for axis in axes if len(axis.values) > 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _check.fail("grid", "must have each name once", twice)
    if grid.count > MOST_CELLS:
        raise _check.fail("grid", f"must have at most {MOST_CELLS:,} cells", grid.count, "sweep a part at a time")
    return grid


def _axis(key: Any, values: Any) -> Axis:
    names = key if isinstance(key, tuple) else (key,)
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise _check.fail("grid", "must have names (letters, digits, underscore), or tuples of them", key)
    if not names:
        raise _check.fail("grid", "must have names, or tuples of them", key)
    if len(names) == 1:
        column = _column(names[0], values)
        if len(np.unique(column)) < len(column):
            raise _check.fail(f"grid[{names[0]!r}]", "must not repeat a value", values)
        return Axis(names[0], {names[0]: column})
    shown = f"grid[{key!r}]"
    columns = _columns(shown, names, values)
    sizes = {len(column) for column in columns.values()}
    if len(sizes) > 1:
        raise _check.fail(shown, "must have as many values for each name", sorted(sizes))
    return Axis("_".join(names), columns)


def _columns(shown: str, names: tuple[str, ...], values: Any) -> dict[str, np.ndarray]:
    """A column for each name, of rows that have one value for each."""
    try:
        rows = [tuple(row) for row in values]
    except TypeError:
        raise _check.fail(shown, f"must hold tuples of {len(names)} values", values) from None
    wrong = [row for row in rows if len(row) != len(names)]
    if wrong or not rows:
        raise _check.fail(shown, f"must hold tuples of {len(names)} values", wrong[0] if wrong else values)
    columns = zip(*rows, strict=True)
    return {name: _column(name, list(column)) for name, column in zip(names, columns, strict=True)}


def _column(name: str, values: Any) -> np.ndarray:
    """Whole numbers stay whole: a seed or a batch size is no float."""
    if isinstance(values, list | tuple | np.ndarray) and any(isinstance(value, str) for value in values):
        way_out = f"number the choices, {{{name!r}: range({len(values)})}}, and let `make` look them up"
        raise _check.fail(f"grid[{name!r}]", "must hold numbers", values, way_out)
    array = _check.real_array(f"grid[{name!r}]", values, ndim=1)
    if not array.size:
        raise _check.fail(f"grid[{name!r}]", "must hold at least one value", values)
    raw = np.asarray(values)
    if raw.dtype.kind == "b":
        raise _check.fail(f"grid[{name!r}]", "must hold numbers", values)
    return raw.astype(np.int64) if raw.dtype.kind in "iu" else array
