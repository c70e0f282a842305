"""Results in NetCDF-4 files: written atomically and read back, loaded lazily after a scan that trusts nothing."""

import contextlib
import errno
import functools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from flowdyn import _check
from flowdyn._tools import checksums
from flowdyn._tools.calls import told
from flowdyn._tools.checked_files import open_checked, write_checked
from flowdyn._tools.files import open_netcdf, replacing, writable
from flowdyn._tools.netcdf_files import MAX_BYTES
from flowdyn.results.schema import LABEL, SCHEMA, check_attributes, check_holdable, check_schemas, refuse_empty
from flowdyn.results.sealed_recipe import RECIPE, SEAL, SEAL_OF_TIMES
from flowdyn.results.sweep_files import open_sweep

Saved = xr.Dataset | xr.DataTree


@told
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
        If `ds` is no Dataset or DataTree, or holds what would not come back as it is (a stacked index, dates, numbers
        encoded by attributes, a selection of no cells or times), or the path does not end in .nc.
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
    for node in _groups(ds).values():
        # netCDF takes numbers without an entry, but no text; a run without rows would have no way back
        lost = [
            v for name, v in node.variables.items() if name in (RECIPE, SEAL, SEAL_OF_TIMES) or v.dtype.kind in "OUT"
        ]
        if any(variable.size == 0 for variable in lost):
            refuse_empty("ds", node, "saved")
    return written(ds, path, overwrite)


def written(ds: Saved, path: str | os.PathLike[str], overwrite: bool) -> Path:
    """Write as :func:`save` does, also what has no entry along a dimension: cells that failed may have no rows."""
    target = writable(path, ".nc", overwrite)
    nodes = _nodes(ds)
    with _disk(target, ds.nbytes), replacing(target) as temporary:
        _write(temporary, nodes)
        _compare(temporary, nodes)
    return target


Nodes = dict[str, tuple[xr.Dataset, dict[str, dict[str, Any]]]]


def _groups(ds: Saved) -> dict[str, xr.Dataset]:
    if isinstance(ds, xr.Dataset):
        return {"/": ds}
    return {node.path: node.to_dataset(inherit=node is ds) for node in ds.subtree}


def _nodes(ds: Saved) -> Nodes:
    """Datasets by group, in memory and with the names and the encoding of the file."""
    found = _groups(ds)
    for node in found.values():
        check_holdable(node)
    # in memory before any lock is taken: what is lazy may wait for it in another thread
    out = {group: _labels_out(_unsigned(node.compute())) for group, node in found.items()}
    return {group: (node, _encoding(node)) for group, node in out.items()}


def _unsigned(ds: xr.Dataset) -> xr.Dataset:
    """Without the checksums of a file that plain xarray read it from: they are not those of this file."""
    holders: list[Any] = [ds, *ds.variables.values()]
    if not any(checksums.ATTRIBUTE in holder.attrs for holder in holders):
        return ds
    ds = ds.copy()
    holders = [ds, *ds.variables.values()]
    for holder in holders:
        holder.attrs.pop(checksums.ATTRIBUTE, None)
    return ds


def _write(path: Path, nodes: Nodes) -> None:
    try:
        write_checked(path, nodes)
    except (TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise _check.fail(
            "ds", "must hold numbers and text that NetCDF-4 can hold", _check.Words(reason), "convert or drop them"
        ) from None


def _compare(path: Path, nodes: Nodes) -> None:
    """Read back: the content by its checksums, then which variables are coordinates of which group."""
    size = sum(node.nbytes for node, _ in nodes.values())
    with open_checked(path, True, size) as found:
        back = {"/": found} if isinstance(found, xr.Dataset) else {n.path: n.to_dataset(False) for n in found.subtree}
        same = {g: (set(n.data_vars), set(n.coords)) for g, n in back.items()}
    if same != {g: (set(n.data_vars), set(n.coords)) for g, (n, _) in nodes.items()}:
        raise _check.FileError(f"cannot write {path}: what was read back differs")


@contextlib.contextmanager
def _disk(target: Path, size: int) -> Iterator[None]:
    """One FileError for whatever the system or the libraries say of a disk."""
    try:
        yield
    except _check.FileError as error:
        raise _check.FileError(f"cannot write {target}: what was read back differs ({error})") from None
    except (OSError, RuntimeError, MemoryError) as error:  # HDF5 says "HDF error" when the disk is full
        free = shutil.disk_usage(target.parent).free
        if free < size or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
            raise _check.FileError(
                errno.ENOSPC, f"no space to write {target}: about {size:,} bytes are needed, {free:,} are free"
            ) from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _check.FileError(
            f"cannot write {target}: {reason}; if {target.parent} has a quota or a limit, make room"
        ) from None


def _labels_out(ds: xr.Dataset) -> xr.Dataset:
    """Text along a dimension under a name of its own: CF wants coordinate variables to be numbers."""
    text: Any = [dim for dim in ds.indexes if ds[dim].dtype.kind not in "iuf"]
    return ds.reset_index(text).rename_vars({dim: f"{dim}{LABEL}" for dim in text}) if text else ds


def _labels_in(ds: xr.Dataset) -> xr.Dataset:
    """Inverse of `_labels_out`, so that ``sel(feature="age")`` works."""
    # by its name, not as a coordinate: the attribute that says which variables are may be damaged
    text = {name: dim for dim in ds.dims if (name := f"{dim}{LABEL}") in ds.variables and ds[name].dims == (dim,)}
    ds = ds.set_coords(list(text)).rename_vars(text)
    for dim in text.values():
        ds = ds.set_xindex(str(dim))
    return ds


def _encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Compression and checksums for numbers, in blocks; no fill value, which CF forbids on coordinates."""
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        options: dict[str, Any] = {"_FillValue": None} if variable.dtype.kind in "iuf" else {}
        if variable.ndim and variable.size and variable.dtype.kind in "iuf":
            options |= {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
            if variable.nbytes > checksums.BLOCK >= variable[0].nbytes:  # a chunk is what one checksum covers
                rows = checksums.block_rows(variable.shape, variable.dtype.itemsize)
                options["chunksizes"] = (rows, *variable.shape[1:])
        encoding[str(name)] = options
    return encoding


@told
def load(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES, verify: bool | None = None) -> Saved:
    """Load a result after scanning its file, lazily if it is large; nothing in it is ever executed.

    Parameters
    ----------
    path : path-like
        A local file that :func:`save` wrote, or the folder of a finished :func:`flowdyn.sweep`.
    max_bytes : int
        Most bytes that the file may declare; raise it for large files that you trust.
    verify : bool, optional
        Compare the content with the checksums that :func:`save` kept: True all of it now, False none of it. By
        default all of it now if it is at most 16 MB, and of larger files attributes now and each block of 4 MB when
        it is first read.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        What was saved.

    Raises
    ------
    FileError
        If the file is missing, damaged, foreign, hostile, or written by a newer schema; of large files also when
        a damaged block is read.

    Notes
    -----
    Content of at most 16 MB is read whole and the file closed; what is larger is read from the file when it is asked
    for. Files without checksums (made by earlier versions, or by xarray itself) load as they are. The checksums are not
    among the attributes of what is loaded, so that a part of it can be written by any means. Several threads may load,
    save and read at once. Source: of our own; what a file may hold is told in :mod:`flowdyn._tools.hdf5_scan`, what a
    checksum covers in :mod:`flowdyn._tools.checksums`.

    Examples
    --------
    >>> import flowdyn as fd, tempfile, pathlib
    >>> run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    >>> path = fd.save(run, pathlib.Path(tempfile.mkdtemp()) / "run.nc")
    >>> round(float(fd.load(path).w[-1, 0]), 6)  # exp(-1)
    0.367879
    """
    _check.integer("max_bytes", max_bytes, minimum=1)
    if verify is not None:
        _check.flag("verify", verify)
    if isinstance(path, str | os.PathLike) and os.path.isdir(os.path.expanduser(path)):
        return open_sweep(os.path.expanduser(path), functools.partial(load, max_bytes=max_bytes, verify=verify))
    found = open_netcdf(path, max_bytes, verify)
    try:
        check_schemas(_schemas(found), path)
        for node in (found,) if isinstance(found, xr.Dataset) else found.subtree:
            check_attributes(node.attrs, path)
        labelled = _labels_in(found) if isinstance(found, xr.Dataset) else xr.map_over_datasets(_labels_in, found)
        labelled.set_close(found.close)
        return labelled
    except BaseException as error:
        found.close()
        if isinstance(error, _check.FileError) or not isinstance(error, Exception):
            raise
        raise _check.FileError(f"cannot load {path}: the file is damaged ({_check.short(str(error))})") from None


def _schemas(result: Saved) -> dict[str, str | None]:
    """Schema of a Dataset, or of every node of a tree that holds variables; a tree's empty nodes need none."""
    if isinstance(result, xr.Dataset):
        return {"/": result.attrs.get("flowdyn_schema")}
    own = {node.path: node.to_dataset(inherit=False) for node in result.subtree}
    full = {path: node.attrs.get("flowdyn_schema") for path, node in own.items() if node.variables}
    return full or {"/": result.attrs.get("flowdyn_schema")}
