"""Results in NetCDF-4 files: written atomically and read back, loaded lazily after a scan that trusts nothing."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import xarray as xr

from flowdyn import _check
from flowdyn._tools.files import open_netcdf, replacing, writable
from flowdyn._tools.hdf5_scan import MAX_BYTES, group_names
from flowdyn.results.dataset import SCHEMA

Saved = xr.Dataset | xr.DataTree


def save(ds: Saved, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a result to a NetCDF-4 file, atomically, and return its path.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataTree
        A run or a ladder, or a tree of them.
    path : path-like
        Where it is written; ends in .nc.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    pathlib.Path
        The absolute path of the file.

    Raises
    ------
    ArgumentError
        If `ds` is no Dataset or DataTree, or the path does not end in .nc.
    FileError
        If the file exists, the folder does not, the disk is full, or what was read back differs.

    Notes
    -----
    The file is written beside its target, read back, synced and moved into place. Source: of our own; the format is
    NetCDF-4 by the conventions CF-1.11 (2023).

    Examples
    --------
    >>> import flowdyn as fd, tempfile, pathlib
    >>> run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    >>> path = fd.save(run, pathlib.Path(tempfile.mkdtemp()) / "run.nc")
    >>> fd.load(path).identical(run)
    True
    """
    if not isinstance(ds, xr.Dataset | xr.DataTree):
        raise _check.fail("ds", "must be an xarray Dataset or DataTree made by flowdyn", type(ds).__name__)
    for place, schema in _schemas(ds).items():
        if schema != SCHEMA:
            rule = f"must hold results with the attribute flowdyn_schema = {SCHEMA!r}"
            raise _check.fail(
                "ds", rule, f"{schema!r} at {place!r}", "keep the attributes of a result, or use to_netcdf"
            )
    target = writable(path, ".nc", overwrite)
    with replacing(target) as temporary:
        try:
            same = _write(ds, temporary)
        except RuntimeError as error:  # netCDF4 says "HDF error" when the disk is full
            raise _write_error(target, ds.nbytes, error) from None
        if not same:
            raise _write_error(target, ds.nbytes, RuntimeError("what was read back differs"))
    return target


def _write(ds: Saved, path: Path) -> bool:
    """Write, and say whether what is read back is the same."""
    if isinstance(ds, xr.Dataset):
        ds = _labels_out(ds)
        ds.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=_encoding(ds))
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as written:
            return written.load().equals(ds)
    tree = xr.map_over_datasets(_labels_out, ds)
    encoding = {node.path: _encoding(node.to_dataset(inherit=False)) for node in tree.subtree}
    tree.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)
    with xr.open_datatree(path, engine="netcdf4", decode_times=False) as found:
        return found.load().equals(tree)


LABEL = "_label"


def _labels_out(ds: xr.Dataset) -> xr.Dataset:
    """Text along a dimension under a name of its own: CF wants coordinate variables to be numbers."""
    text: Any = [dim for dim in ds.indexes if ds[dim].dtype.kind not in "iuf"]
    return ds.reset_index(text).rename_vars({dim: f"{dim}{LABEL}" for dim in text}) if text else ds


def _labels_in(ds: xr.Dataset) -> xr.Dataset:
    """Inverse of `_labels_out`, so that ``sel(feature="age")`` works."""
    text = {name: dim for dim in ds.dims if (name := f"{dim}{LABEL}") in ds.coords}
    ds = ds.rename_vars(text)
    for dim in text.values():
        ds = ds.set_xindex(str(dim))
    return ds


def _encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Compression with checksums for numbers; no fill value, which CF forbids on coordinates."""
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        options: dict[str, Any] = {"_FillValue": None} if variable.dtype.kind in "iuf" else {}
        if variable.ndim and variable.size and variable.dtype.kind in "iuf":
            options |= {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
        encoding[str(name)] = options
    return encoding


def _write_error(target: Path, size: int, error: Exception) -> _check.FileError:
    free = shutil.disk_usage(target.parent).free
    if free < size:
        return _check.FileError(
            errno.ENOSPC, f"no space to write {target}: about {size:,} bytes are needed, {free:,} are free"
        )
    return _check.FileError(f"cannot write {target}: {error}")


def load(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Saved:
    """Open a result lazily after scanning the file; nothing in it is ever executed.

    Parameters
    ----------
    path : path-like
        A local file that :func:`save` wrote.
    max_bytes : int
        Most bytes that the file may declare.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        What was saved.

    Raises
    ------
    FileError
        If the file is missing, damaged, foreign, hostile, or written by a newer schema.

    Notes
    -----
    Source: of our own; what a file may hold is told in :mod:`flowdyn._tools.hdf5_scan`.

    Examples
    --------
    >>> import flowdyn as fd, tempfile, pathlib
    >>> run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    >>> path = fd.save(run, pathlib.Path(tempfile.mkdtemp()) / "run.nc")
    >>> round(float(fd.load(path).w[-1, 0]), 6)  # exp(-1)
    0.367879
    """
    _check.integer("max_bytes", max_bytes, minimum=1)
    found: Saved = open_netcdf(path, max_bytes)
    if group_names(path):
        found.close()
        found = xr.open_datatree(Path(path).resolve(), engine="netcdf4", decode_times=False)
    for place, schema in _schemas(found).items():
        if schema != SCHEMA:
            found.close()
            reason = f"it has schema {schema!r}" if schema else "it was not written by flowdyn"
            where = f" at {place!r}" if place != "/" else ""
            raise _check.FileError(f"cannot load {path}: {reason}{where}, this flowdyn reads {SCHEMA!r}")
    return _labels_in(found) if isinstance(found, xr.Dataset) else xr.map_over_datasets(_labels_in, found)


def _schemas(result: Saved) -> dict[str, str | None]:
    """Schema of a Dataset, or of every node of a tree that holds variables; a tree's empty nodes need none."""
    if isinstance(result, xr.Dataset):
        return {"/": result.attrs.get("flowdyn_schema")}
    full = {node.path: node.attrs.get("flowdyn_schema") for node in result.subtree if node.variables}
    return full or {"/": result.attrs.get("flowdyn_schema")}
