"""Files: atomic writes, and reads that trust nothing.

A file is written beside its target under another name, read back, synced and moved into place: a crash leaves the old
file or the new one. Before xarray opens a file, its HDF5 structure is scanned for features that no flowdyn file uses
(external and soft links, data in other files, sizes declared but not stored).
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from flowdyn import _check
from flowdyn._tools.hdf5_scan import MAX_BYTES, scan
from flowdyn.results.dataset import SCHEMA

Result = xr.Dataset | xr.DataTree


def save(ds: Result, path: Any, *, overwrite: bool = False) -> Path:
    """Write a result to a NetCDF-4 file, atomically, and return its path.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataTree
        A run or a ladder, or a tree of them.
    path : path-like
        Ends in .nc.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileError
        If the file exists, the folder does not, the disk is full, or what was read back differs.

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
    target = writable(path, ".nc", overwrite)
    with replacing(target) as temporary:
        try:
            same = _write(ds, temporary)
        except RuntimeError as error:  # netCDF4 says "HDF error" when the disk is full
            raise _write_error(target, ds.nbytes, error) from None
        if not same:
            raise _write_error(target, ds.nbytes, RuntimeError("what was read back differs"))
    return target


def _write(ds: Result, path: Path) -> bool:
    """Write, and say whether what is read back is the same."""
    if isinstance(ds, xr.Dataset):
        ds = _labels_out(ds)
        ds.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=_encoding(ds))
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as written:
            return written.load().equals(ds)
    tree = xr.map_over_datasets(_labels_out, ds)
    encoding = {node.path: _encoding(node.to_dataset()) for node in tree.subtree}
    tree.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)
    with xr.open_datatree(path, engine="netcdf4", decode_times=False) as found:
        return found.load().equals(tree)


LABEL = "_label"


def _labels_out(ds: xr.Dataset) -> xr.Dataset:
    """Text along a dimension under a name of its own: CF wants coordinate variables to be numbers."""
    text = [dim for dim in ds.indexes if ds[dim].dtype.kind not in "iuf"]
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


def _text(path: Any) -> str:
    if not isinstance(path, str | os.PathLike):
        raise _check.fail("path", "must be a path", path)
    return str(os.fspath(path))


def writable(path: Any, suffix: str | None, overwrite: bool) -> Path:
    """Absolute path of a file that may be written, or an error that says why not."""
    target = Path(_text(path)).absolute()
    if suffix is not None and target.suffix != suffix:
        raise _check.fail("path", f"must end in {suffix}", str(path))
    if not target.parent.is_dir():
        raise _check.FileError(
            f"`path` must lie in an existing folder, got {str(path)!r}; create {target.parent} first"
        )
    if target.is_dir():
        raise _check.FileError(f"`path` must be a file, got the folder {str(path)!r}")
    if target.exists() and not overwrite:
        raise _check.FileError(
            f"`path` must not exist yet, got {str(path)!r}; pass overwrite=True (--overwrite) to replace it"
        )
    if not os.access(target.parent, os.W_OK):
        raise _check.FileError(f"`path` must lie in a writable folder, got {str(path)!r}")
    return target


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; it becomes the target when the block ends well."""
    _sweep(target)
    prefix, suffix = f".{target.name}.{os.getpid()}.", f".tmp{target.suffix}"
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp made it private
        temporary.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Remove what writers that were killed have left for this target."""
    for stale in target.parent.glob(f".{target.name}.*.tmp{target.suffix}"):
        owner = stale.name.removeprefix(f".{target.name}.").split(".")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            stale.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def load(path: Any, *, max_bytes: int = MAX_BYTES) -> Any:
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
    """
    ds = open_netcdf(path, max_bytes)
    schema = ds.attrs.get("flowdyn_schema")
    if schema != SCHEMA:
        ds.close()
        reason = f"it has schema {schema!r}" if schema else "it was not written by flowdyn"
        raise _check.FileError(f"cannot load {path}: {reason}, this flowdyn reads {SCHEMA!r}")
    if ds.attrs.get("flowdyn_kind") == "study":
        ds.close()
        tree = xr.open_datatree(Path(path).resolve(), engine="netcdf4", decode_times=False)
        return xr.map_over_datasets(_labels_in, tree)
    return _labels_in(ds)


def open_netcdf(path: Any, max_bytes: int = MAX_BYTES) -> xr.Dataset:
    """Open any local NetCDF-4 file lazily after the scan."""
    text = _text(path)
    if "://" in text or text.startswith("[") or "#mode" in text:
        raise _check.FileError(f"`path` must be a local file, got {text!r}; download it first")
    place = Path(text)
    if not place.is_file():
        raise _check.FileError(f"`path` must be an existing file, got {text!r}; check the path")
    try:
        scan(place, max_bytes)
        return xr.open_dataset(place.resolve(), engine="netcdf4", decode_times=False)
    except _check.FileError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise _check.FileError(f"cannot read {text}: the file is damaged or truncated ({reason})") from None
