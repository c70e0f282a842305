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

import h5py

# netCDF4 before h5py: they bring two HDF5 libraries, and this order is the tested one
import netCDF4  # noqa: F401
import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.dataset import SCHEMA

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_BYTES = 4 << 30
MAX_RATIO = 1000  # declared over stored bytes; constant data compress about that well
MAX_OBJECTS = 10_000


def save(ds: xr.Dataset, path: Any, *, overwrite: bool = False) -> Path:
    """Write a result to a NetCDF-4 file, atomically, and return its path.

    Parameters
    ----------
    ds : xarray.Dataset
        A run or a ladder.
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
    if not isinstance(ds, xr.Dataset):
        raise _check.fail("ds", "must be an xarray Dataset made by flowdyn", type(ds).__name__)
    target = writable(path, ".nc", overwrite)
    ds = _labels_out(ds)
    with replacing(target) as temporary:
        try:
            ds.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=_encoding(ds))
            with xr.open_dataset(temporary, engine="netcdf4", decode_times=False) as written:
                same = written.load().equals(ds)
        except RuntimeError as error:  # netCDF4 says "HDF error" when the disk is full
            raise _write_error(target, ds.nbytes, error) from None
        if not same:
            raise _write_error(target, ds.nbytes, RuntimeError("what was read back differs"))
    return target


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


def writable(path: Any, suffix: str | None, overwrite: bool) -> Path:
    """Absolute path of a file that may be written, or an error that says why not."""
    target = Path(os.fspath(path)).absolute()
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


def load(path: Any, *, max_bytes: int = MAX_BYTES) -> xr.Dataset:
    """Open a result lazily after scanning the file; nothing in it is ever executed.

    Parameters
    ----------
    path : path-like
        A local file that :func:`save` wrote.
    max_bytes : int
        Most bytes that the file may declare.

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
    return _labels_in(ds)


def open_netcdf(path: Any, max_bytes: int = MAX_BYTES) -> xr.Dataset:
    """Open any local NetCDF-4 file lazily after the scan."""
    text = os.fspath(path)
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


def scan(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Refuse HDF5 features that no flowdyn file uses. Read-only, follows no link."""
    with open(path, "rb") as file:
        if file.read(8) != HDF5_SIGNATURE:
            raise _check.FileError(f"cannot read {path}: it is not a NetCDF-4 file")
    with h5py.File(path, "r", locking=False) as file:
        groups, seen, total = [file["/"]], set(), 0
        while groups:
            group = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise _check.FileError(f"cannot trust {path}: {name!r} is a soft or external link")
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:  # a cycle of hard links
                    continue
                seen.add(address)
                if len(seen) > MAX_OBJECTS:
                    raise _check.FileError(f"cannot trust {path}: more than {MAX_OBJECTS} objects")
                if isinstance(item, h5py.Group):
                    groups.append(item)
                elif isinstance(item, h5py.Dataset):
                    total += _declared_bytes(path, item)
                else:
                    raise _check.FileError(f"cannot trust {path}: {name!r} is a named type")
        if total > max_bytes:
            raise _check.FileError(
                f"cannot load {path}: it declares {total:,} bytes, more than max_bytes = {max_bytes:,}"
            )


def _declared_bytes(path: Path, item: h5py.Dataset) -> int:
    if item.external or item.is_virtual:
        raise _check.FileError(f"cannot trust {path}: {item.name} keeps its data outside the file")
    declared = (item.size or 0) * item.dtype.itemsize
    stored = item.id.get_storage_size()
    # dimension scales without values and small constant arrays store nothing; a bomb declares far more
    if declared > max(MAX_RATIO * max(stored, 1), 64 << 20) and not np.issubdtype(item.dtype, np.void):
        raise _check.FileError(f"cannot trust {path}: {item.name} declares {declared:,} bytes and stores {stored:,}")
    return declared
