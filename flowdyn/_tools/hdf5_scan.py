"""What an HDF5 file may hold before xarray is let near it: no links, no data elsewhere, no size that is not stored."""

from os import PathLike
from pathlib import Path

import h5py

# netCDF4 before h5py: they bring two HDF5 libraries, and this order is the tested one
import netCDF4  # noqa: F401
import numpy as np
from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue]

from flowdyn import _check

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_BYTES = 4 << 30
MAX_RATIO = 1000  # declared over stored bytes; constant data compress about that well
MAX_OBJECTS = 10_000


def scan(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Refuse HDF5 features that no flowdyn file uses. Read-only, follows no link."""
    with open(path, "rb") as file:
        if file.read(8) != HDF5_SIGNATURE:
            raise _check.FileError(f"cannot read {path}: it is not a NetCDF-4 file")
    with h5py.File(path, "r", locking=False) as file:
        groups: list[h5py.Group] = [file]
        seen, total = {h5o.get_info(file.id).addr}, 0
        while groups:
            group = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise _check.FileError(f"cannot trust {path}: {name!r} is a soft or external link")
                item = group[name]
                address = h5o.get_info(item.id).addr
                if address in seen:  # netCDF would follow a cycle for ever
                    raise _check.FileError(f"cannot trust {path}: {name!r} is a second link to the same object")
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


def group_names(path: str | PathLike[str]) -> list[str]:
    """Names of the groups below the root of a file that has been scanned."""
    with h5py.File(path, "r", locking=False) as file:
        return [str(name) for name in file if isinstance(file[name], h5py.Group)]


def _declared_bytes(path: Path, item: h5py.Dataset) -> int:
    if item.external or item.is_virtual:
        raise _check.FileError(f"cannot trust {path}: {item.name} keeps its data outside the file")
    declared = (item.size or 0) * item.dtype.itemsize
    stored = item.id.get_storage_size()
    # dimension scales without values and small constant arrays store nothing; a bomb declares far more
    if declared > max(MAX_RATIO * max(stored, 1), 64 << 20) and not np.issubdtype(item.dtype, np.void):
        raise _check.FileError(f"cannot trust {path}: {item.name} declares {declared:,} bytes and stores {stored:,}")
    return declared
