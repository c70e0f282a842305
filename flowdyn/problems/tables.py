"""Tables in: a .csv or .nc file, or an xarray Dataset, as a matrix X (n, d) and targets y (n,) with names."""

import csv
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check


class Table(NamedTuple):
    """Features X of shape (n, d) with their names, and targets y of shape (n,) with theirs."""

    X: np.ndarray
    y: np.ndarray
    features: list[str]
    target: str


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


def read_table(path: Any, target: str | None, standardize: bool = False) -> Table:
    """Read columns of numbers; `target` is y, every other column a feature.

    A .nc file may hold either 1-dimensional variables over one dimension (columns), or a matrix ``X`` and ``y``.
    `standardize` gives each column, the target too, mean 0 and standard deviation 1.
    """
    _check.flag("standardize", standardize)
    path = Path(os.fspath(path))
    if not path.is_file():
        raise _check.FileError(f"`data` must be an existing .csv or .nc file, got {str(path)!r}; check the path")
    if path.suffix.lower() == ".csv":
        data = _read_csv(path, target)
    elif path.suffix.lower() == ".nc":
        data = _read_netcdf(path, target)
    else:
        raise _check.FileError(f"`data` must end in .csv or .nc, got {str(path)!r}; convert it first")
    return _standardized(data) if standardize else data


def _standardized(data: Table) -> Table:
    spread = data.X.std(axis=0)
    flat = [name for name, s in zip(data.features, spread, strict=True) if s == 0]
    if flat or data.y.std() == 0:
        raise _check.ArgumentError(
            f"`standardize` needs columns that vary, got constant {flat or [data.target]}; drop them from the table"
        )
    return data._replace(X=(data.X - data.X.mean(axis=0)) / spread, y=(data.y - data.y.mean()) / data.y.std())


def _read_csv(path: Path, target: str | None) -> Table:
    import pandas as pd

    _check_cells(path)
    try:
        frame = pd.read_csv(path, index_col=False)
    except (ValueError, OSError) as error:  # parser errors and bad encodings are ValueErrors
        reason = " ".join(str(error).split())[:120]
        raise _check.FileError(f"`data` must be a readable .csv table, got {str(path)!r}: {reason}") from None
    return _columns({str(name): frame[name].to_numpy() for name in frame.columns}, target, path)


def _check_cells(path: Path) -> None:
    """Refuse headers that are empty or stand twice, and rows whose cells are not as many as the header's.

    A longer row would be read as one with an index, and every column would shift by one without a word.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            _check_header(header, path)
            for row in rows:
                if row and len(row) != len(header):
                    raise _check.FileError(
                        f"`data` must have {len(header)} cells in each row, got {len(row)} in line {rows.line_num} of "
                        f"{str(path)!r}; mend the row, or give every column a name"
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise _check.FileError(f"`data` must be a readable .csv table, got {str(path)!r}: {error}") from None


def _check_header(header: list[str], path: Path) -> None:
    for separator in (";", "\t", "|"):
        if len(header) == 1 and separator in header[0]:
            raise _check.FileError(
                f"`data` must be separated by commas, got {separator!r} in {str(path)!r}; save it with commas"
            )
    if "" in header:
        raise _check.FileError(
            f"`data` must have a name for each column, got none for column {header.index('') + 1} of {str(path)!r}; "
            "if it is an index, save without it: df.to_csv(path, index=False)"
        )
    index = [name for name in header if re.fullmatch(r"Unnamed: \d+", name)]
    if index:
        raise _check.FileError(
            f"`data` must have columns of data only, got {index[0]!r} in {str(path)!r}, as pandas names an index; save "
            "without it: df.to_csv(path, index=False)"
        )
    twice = sorted({n for n in header if header.count(n) > 1 or re.sub(r"\.\d+$", "", n) in set(header) - {n}})
    if twice:
        raise _check.FileError(f"`data` must have each column once, got {twice} twice in {str(path)!r}; rename them")


def _read_netcdf(path: Path, target: str | None) -> Table:
    import xarray as xr

    from flowdyn._tools.files import open_netcdf

    with open_netcdf(path, verify=True) as found:
        ds = (found if isinstance(found, xr.Dataset) else found.to_dataset()).load()
    if target is None and "X" in ds and "y" in ds:
        X, y = from_dataset(ds, "X", "y")
        dim = X.dims[1]
        labels = X.coords[dim].values if dim in X.coords else np.arange(X.shape[1])
        return Table(np.asarray(X.values), np.asarray(y.values), [str(label) for label in labels], "y")
    return _columns({str(name): v.values for name, v in ds.data_vars.items() if v.ndim == 1}, target, path)


def _columns(columns: dict[str, np.ndarray], target: str | None, path: Path) -> Table:
    if target is None:
        raise _check.fail("target", f"must name the column to predict, one of {list(columns)}", None)
    if target not in columns:
        _check.choice("target", target, columns)
    if len(columns) < 2:
        raise _check.FileError(f"`data` must have at least two columns, got {list(columns)} in {str(path)!r}")
    if len({len(values) for values in columns.values()}) > 1:
        raise _check.FileError(f"`data` must have columns of one length, got several in {str(path)!r}")
    if len(columns[target]) == 0:
        raise _check.FileError(f"`data` must have at least one row, got none in {str(path)!r}")
    try:
        checked = {name: _check.real_array(f"column {name}", values, ndim=1) for name, values in columns.items()}
    except _check.ArgumentError as error:  # the argument is right, the file is not
        raise _check.FileError(f"{error} (in {str(path)!r})") from None
    features = [name for name in columns if name != target]
    return Table(np.column_stack([checked[name] for name in features]), checked[target], features, target)
