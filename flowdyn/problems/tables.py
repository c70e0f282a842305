"""Tables in: a .csv or .nc file, or an xarray Dataset, as a matrix X (n, d) and targets y (n,) with names."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check
from flowdyn.problems.csv_tables import Columns, read_csv


class Table(NamedTuple):
    """Features X of shape (n, d) with their names, and targets y of shape (n,) with theirs; labels of the samples."""

    X: np.ndarray
    y: np.ndarray
    features: list[str]
    target: str
    samples: np.ndarray | None = None


def from_dataset(ds: Any, X: str, y: str) -> tuple[Any, Any]:
    """Return the variables `X` (2-d) and `y` (1-d) of an xarray Dataset, X with the samples first."""
    for argument, name in (("X", X), ("y", y)):
        if name not in ds:
            raise _check.fail(argument, f"must name a variable of the Dataset, one of {sorted(map(str, ds))}", name)
    matrix, targets = ds[X], ds[y]
    if matrix.ndim != 2 or targets.ndim != 1:
        raise _check.fail(
            "X", "must be 2-dimensional and `y` 1-dimensional", _check.Words(f"dims {matrix.dims} and {targets.dims}")
        )
    if targets.dims[0] not in matrix.dims:
        raise _check.fail("y", f"must share a dimension with `X` {matrix.dims}", targets.dims)
    return matrix.transpose(targets.dims[0], ...), targets


INTERCEPT = "intercept"  # name of the column of ones


def read_table(
    path: Any,
    target: str | None,
    standardize: bool = False,
    *,
    center: bool = False,
    intercept: bool = False,
    index: str | bool | None = None,
) -> Table:
    """Read columns of numbers; `target` is y, every other column a feature, but for the `index`: labels of the samples.

    A .nc file may hold either 1-dimensional variables over one dimension (columns), or a matrix ``X`` and ``y``.
    `center` gives each column, the target too, mean 0; `standardize` standard deviation 1 as well; `intercept` puts a
    column of ones in front. A first column that numbers the rows is asked about unless `index` says what it is.
    """
    for name, value in (("standardize", standardize), ("center", center), ("intercept", intercept)):
        _check.flag(name, value)
    if index is not None and index is not False and not isinstance(index, str):
        raise _check.fail("index", "must name a column, or be False where none is one", index)
    if target is not None and not isinstance(target, str):
        raise _check.fail("target", "must be the name of one column", target)
    if not isinstance(path, str | os.PathLike):
        raise _check.fail("path", "must name a .csv or .nc file", path)
    path = Path(os.path.expanduser(os.fspath(path)))
    if not os.path.isfile(path):  # of a name that is too long, too
        raise _check.FileError(
            f"`data` must be an existing .csv or .nc file, got {_check.short(str(path))}; check the path"
        )
    if path.suffix.lower() == ".csv":
        data = _table(read_csv(path, index), target, path)
    elif path.suffix.lower() == ".nc":
        data = _read_netcdf(path, target, index)
    else:
        raise _check.FileError(f"`data` must end in .csv or .nc, got {str(path)!r}; convert it first")
    if center or standardize:
        data = data._replace(X=data.X - data.X.mean(axis=0), y=data.y - data.y.mean())
    if standardize:
        data = _of_unit_spread(data)
    return _with_intercept(data) if intercept else data


def _of_unit_spread(data: Table) -> Table:
    """Centred columns over their standard deviations."""
    spread = np.sqrt((data.X**2).mean(axis=0))
    flat = [name for name, s in zip(data.features, spread, strict=True) if s == 0]
    if flat or not data.y.any():
        raise _check.ArgumentError(
            f"`standardize` needs columns that vary, got constant {flat or [data.target]}; drop them from the table"
        )
    return data._replace(X=data.X / spread, y=data.y / np.sqrt((data.y**2).mean()))


def _with_intercept(data: Table) -> Table:
    if INTERCEPT in data.features:
        raise _check.ArgumentError(f"`intercept` needs that name free, got a column {INTERCEPT!r}; rename it")
    ones = np.ones((len(data.y), 1))
    return data._replace(X=np.hstack([ones, data.X]), features=[INTERCEPT, *data.features])


def _read_netcdf(path: Path, target: str | None, index: str | bool | None) -> Table:
    import xarray as xr

    from flowdyn._tools.files import open_netcdf

    with open_netcdf(path, verify=True) as found:
        ds = (found if isinstance(found, xr.Dataset) else found.to_dataset()).load()
    if target is None and "X" in ds and "y" in ds:
        X, y = from_dataset(ds, "X", "y")
        dim = X.dims[1]
        labels = X.coords[dim].values if dim in X.coords else np.arange(X.shape[1])
        samples = _labels(ds, index, y.dims[0])
        return Table(np.asarray(X.values), np.asarray(y.values), [str(label) for label in labels], "y", samples)
    columns = {str(name): v.values for name, v in ds.data_vars.items() if v.ndim == 1 and name != index}
    dims = {v.dims[0] for v in ds.data_vars.values() if v.ndim == 1}
    return _table(Columns(columns, _labels(ds, index, *dims)), target, path)


def _labels(ds: Any, index: str | bool | None, *dims: Any) -> np.ndarray | None:
    """Values of the variable `index` along the samples."""
    if not isinstance(index, str):
        return None
    along = [str(name) for name, v in ds.variables.items() if len(dims) == 1 and v.dims == dims]
    return np.asarray(ds[_check.choice("index", index, along)].values)


def _table(found: Columns, target: str | None, path: Path) -> Table:
    columns = found.columns
    if target is None:
        raise _check.fail("target", f"must name the column to predict, one of {list(columns)}", _check.Words("none"))
    if target not in columns:
        _check.choice("target", target, columns)
    if len(columns) < 2:
        raise _check.FileError(f"`data` must have at least two columns, got {list(columns)} in {str(path)!r}")
    if len({len(values) for values in columns.values()}) > 1:
        raise _check.FileError(f"`data` must have columns of one length, got several in {str(path)!r}")
    if len(columns[target]) == 0:
        raise _check.FileError(f"`data` must have at least one row, got none in {str(path)!r}")
    checked = {}
    for name, values in columns.items():
        try:
            checked[name] = _check.real_array(f"column {name}", values, ndim=1)
        except _check.ArgumentError as error:  # the argument is right, the file is not
            is_label = name != target and found.labels is None and len(set(map(str, values))) == len(values)
            way_out = f"; `index={name!r}` makes it labels of the samples" if is_label else ""
            raise _check.FileError(f"{error} (in {str(path)!r}){way_out}") from None
    features = [name for name in columns if name != target]
    X = np.column_stack([checked[name] for name in features])
    return Table(X, checked[target], features, target, found.labels)
