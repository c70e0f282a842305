"""NetCDF-4 files of checked arrays, opened and written.

Small files are read whole and closed. Of large ones a block of rows is read and checked when something in it is first
asked for; `verify=True` asks for every block at once. Every call of HDF5 and netCDF is under one lock, every way out of
an error closes the file, and a file is never open twice: HDF5 mixes up the text of two handles when one is closed.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import netCDF4
import xarray as xr
from xarray.backends import CachingFileManager, NetCDF4DataStore

from flowdyn import _check
from flowdyn._tools import checksums
from flowdyn._tools.checked_arrays import CheckedBackend, decoded
from flowdyn._tools.hdf5_lock import LOCK
from flowdyn._tools.netcdf_files import EAGER_BYTES, opened


def open_checked(path: Path, verify: bool | None, content: int) -> xr.Dataset | xr.DataTree:
    """Open a scanned file, a tree if it has groups; `content` is how many bytes it declares.

    `verify`: True compares all content with its checksums now, None does so if the content is small and else a block
    when it is first read, False never. Files without checksums are taken as they are.
    """
    with LOCK:
        if content > EAGER_BYTES:
            return _lazy(path, verify)
        file = opened("memory.nc", mode="r", memory=path.read_bytes())
        try:
            return _dataset(NetCDF4DataStore(file, mode="r", lock=LOCK), path, verify).load()
        finally:
            file.close()


class SharedFile(CachingFileManager[Any]):
    """The one handle of a file, for all that read it lazily."""

    users = 0

    def release(self) -> None:
        """One reader less; the last one closes the file."""
        with LOCK:
            self.users -= 1
            if not self.users:
                self.close()


_SHARED: WeakValueDictionary[Any, SharedFile] = WeakValueDictionary()


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _same_file(path: Path, identity: tuple[int, int, int], mode: str) -> netCDF4.Dataset:
    """Open a file, again where xarray has closed it meanwhile."""
    if _identity(path) != identity:
        raise _check.FileError(
            f"cannot read {path}: another file has taken its place since it was loaded; load it again"
        )
    return opened(path, mode=mode)


def _lazy(path: Path, verify: bool | None) -> xr.Dataset | xr.DataTree:
    key = path, _identity(path)
    shared = _SHARED.get(key)
    if shared is None:
        shared = _SHARED[key] = SharedFile(_same_file, *key, mode="r", lock=LOCK)
    shared.users += 1
    try:
        found = _dataset(NetCDF4DataStore(shared, mode="r", lock=LOCK), path, verify)
        found.set_close(shared.release)
        return found
    except BaseException:
        shared.release()
        raise


def _dataset(store: NetCDF4DataStore, path: Path, verify: bool | None) -> xr.Dataset | xr.DataTree:
    nodes = {
        group: xr.open_dataset(
            store if group == "/" else store.get_child_store(group),
            engine=CheckedBackend,
            path=path,
            verify=verify,
        )
        for group in ("/", *_group_paths(store.ds))
    }
    return nodes["/"] if len(nodes) == 1 else xr.DataTree.from_dict(nodes)


def _group_paths(group: Any) -> Iterable[str]:
    for child in group.groups.values():
        yield child.path
        yield from _group_paths(child)


METADATA_BYTES = 64 << 10  # of one Dataset, at most in practice
RESERVE_BYTES = 4 << 20


def write_checked(path: Path, nodes: Mapping[str, tuple[xr.Dataset, Mapping[str, Any]]]) -> None:
    """Write Datasets by group, each with its encoding and its checksums; the file is closed, whatever happens."""
    size = sum(ds.nbytes for ds, _ in nodes.values()) + len(nodes) * METADATA_BYTES
    path.write_bytes(bytes(min(size, RESERVE_BYTES)))  # a disk without room says so here, and HDF5 need not be given up
    with LOCK:
        file = netCDF4.Dataset(path, mode="w", format="NETCDF4")
        try:
            store = NetCDF4DataStore(file, lock=LOCK)
            for group, (ds, encoding) in nodes.items():
                records: dict[str, Any] = {str(n): checksums.record(v.dims, v.values) for n, v in ds.variables.items()}
                at = store if group == "/" else store.get_child_store(group)
                ds.dump_to_store(at, encoding=encoding)
                records[""] = checksums.of_attributes(decoded(at))  # as a reader will get them back
                at.ds.setncattr(checksums.ATTRIBUTE, checksums.written(records))
            file.sync()  # what cannot be flushed is known while the file can still be given up
            file.close()
        except BaseException:
            _give_up(file, path)
            raise


def _give_up(file: netCDF4.Dataset, path: Path) -> None:
    """Close a file that could not be written.

    On a full disk HDF5 fails to flush, and so to close, as often as it is asked, and keeps the descriptor. That is
    turned to the null device, which takes everything; the space of the file is free once its name is gone.
    """
    with contextlib.suppress(RuntimeError):
        file.close()
        return
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for name in os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else ():
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                if os.path.samestat(os.fstat(int(name)), os.stat(path)):
                    os.dup2(null, int(name), inheritable=False)
    finally:
        os.close(null)
    with contextlib.suppress(RuntimeError):
        file.close()
