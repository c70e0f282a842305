"""What an HDF5 file may hold before xarray is let near it: no links, no data elsewhere, no size that is not stored."""

import math
import mmap
import time
from dataclasses import dataclass, field
from pathlib import Path

# netCDF4 before h5py: they bring two HDF5 libraries, and this order is the tested one
import h5py
import netCDF4  # noqa: F401
import numpy as np
from h5py import h5a, h5o, h5t  # pyright: ignore[reportAttributeAccessIssue]

from flowdyn import _check
from flowdyn._tools.hdf5_lock import LOCK
from flowdyn._tools.hdf5_text import Heaps, heaps_of, references
from flowdyn._tools.netcdf_files import MAX_BYTES

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_RATIO = 1000  # declared over stored bytes; constant data compress about that well
FREE_BYTES = 64 << 20  # dimension scales without values and small constant arrays store nothing; a bomb declares more
MAX_OBJECTS = 10_000
MAX_SECONDS = 60.0  # looked at between calls of HDF5; of 15,000 mutated files none took 3 seconds in all
# attributes by which netCDF ties dimensions together: references, in variable-length and compound types
NETCDF_OWN = {"DIMENSION_LIST": h5t.VLEN, "REFERENCE_LIST": h5t.COMPOUND}
NETCDF_NUMBERS = ("_Netcdf4Dimid", "_Netcdf4Coordinates")


def scan(path: Path, max_bytes: int = MAX_BYTES) -> int:
    """Refuse HDF5 features that no flowdyn file uses, and count the bytes declared. Read-only, follows no link."""
    with open(path, "rb") as file:
        if file.read(8) != HDF5_SIGNATURE:
            raise _check.FileError(f"cannot read {path}: it is not a NetCDF-4 file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            heaps = heaps_of(raw)
            if heaps is None:
                raise _check.FileError(f"cannot trust {path}: a heap of text in it is damaged")
    with LOCK, h5py.File(path, "r", locking=False) as file:
        return _Scan(path, max_bytes, path.stat().st_size, heaps).walk(file)


@dataclass
class _Scan:
    """Counts of one walk over a file, by the addresses of its objects."""

    path: Path
    max_bytes: int
    size: int
    heaps: Heaps
    declared: int = 0  # content and attributes
    data: int = 0  # content
    stored: int = 0
    seen: set[int] = field(default_factory=set)
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def walk(self, file: h5py.File) -> int:
        groups: list[h5py.Group] = [file]
        self.seen.add(h5o.get_info(file.id).addr)
        while groups:
            group = groups.pop()
            self._attributes(group)
            for name in group:
                item = self._item(group, str(name))
                if isinstance(item, h5py.Group):
                    groups.append(item)
                else:
                    self._attributes(item)
                    self._data(item)
        self._ratio("the file", self.data, self.stored)
        return self.declared

    def _refuse(self, what: str) -> _check.FileError:
        return _check.FileError(f"cannot trust {self.path}: {what}")

    def _item(self, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
        self._in_time()
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise self._refuse(f"{name!r} is a soft or external link")
        item = group[name]
        address = h5o.get_info(item.id).addr
        if address in self.seen:  # netCDF would follow a cycle for ever
            raise self._refuse(f"{name!r} is a second link to the same object")
        self.seen.add(address)
        if len(self.seen) > MAX_OBJECTS:
            raise self._refuse(f"more than {MAX_OBJECTS} objects")
        if not isinstance(item, h5py.Group | h5py.Dataset):
            raise self._refuse(f"{name!r} is a named type")
        return item

    def _attributes(self, item: h5py.Group | h5py.Dataset) -> None:
        """Attributes are numbers, text, or netCDF's own; many strings must not be one long string again and again."""
        for index in range(h5a.get_num_attrs(item.id)):
            attribute = h5a.open(item.id, index=index)
            name, kind = attribute.name.decode("utf-8", "replace"), attribute.get_type()
            rank = len(attribute.shape or ())
            if name in NETCDF_OWN:
                if kind.get_class() != NETCDF_OWN[name] or rank != 1:
                    raise self._refuse(f"attribute {name} of {item.name} is not netCDF's")
                continue
            if name in NETCDF_NUMBERS:
                self._dimension_numbers(item, attribute, name)
            if rank > 1:
                raise self._refuse(f"attribute {name!r} of {item.name} is no list")
            if kind.get_class() not in (h5t.INTEGER, h5t.FLOAT, h5t.STRING):
                raise self._refuse(f"attribute {name!r} of {item.name} is neither numbers nor text")
            count = math.prod(attribute.shape or ())
            if count > 1 and kind.get_class() == h5t.STRING and kind.is_variable_str():
                count *= self.size // kind.get_size() + 1
            self._count(count * kind.get_size())

    def _dimension_numbers(self, item: h5py.Group | h5py.Dataset, attribute: h5a.AttrID, name: str) -> None:
        """NetCDF's numbers of dimensions: it makes room up to the largest, and ends the process if it cannot."""
        shape = () if name == "_Netcdf4Dimid" else (item.ndim if isinstance(item, h5py.Dataset) else 0,)
        numbers = item.attrs[name] if attribute.get_type().get_class() == h5t.INTEGER else -1
        if attribute.shape != shape or (np.asarray(numbers) < 0).any() or (np.asarray(numbers) > MAX_OBJECTS).any():
            raise self._refuse(f"attribute {name} of {item.name} is not netCDF's")

    def _data(self, item: h5py.Dataset) -> None:
        if item.external or item.is_virtual:
            raise self._refuse(f"{item.name} keeps its data outside the file")
        text = h5py.check_string_dtype(item.dtype)
        if item.dtype.kind not in "biufS" and text is None:
            raise self._refuse(f"{item.name} holds neither numbers nor text")
        chunk = math.prod(item.chunks or ())  # a chunk is read as a whole
        declared = max(item.size or 0, chunk) * item.dtype.itemsize
        stored = item.id.get_storage_size()
        self.stored += stored
        self.data += declared
        self._count(declared)
        self._ratio(str(item.name), declared, stored)
        if text is not None and text.length is None and item.size:
            self._text(item)

    def _text(self, item: h5py.Dataset) -> None:
        """Count strings, one by one, before anybody reads them: a thousand may be the same long one."""
        total = 0
        for piece in references(item, self.path, self.size):
            if piece is None:
                raise self._refuse(f"the text of {item.name} is damaged")
            for length, heap, index in piece.tolist():
                if heap and self.heaps.get(heap, {}).get(index, -1) < length:
                    raise self._refuse(f"the text of {item.name} is damaged")
                total += length if heap else 0
            if total > max(self.size, FREE_BYTES):
                raise self._refuse(f"{item.name} asks for more text than the file can hold")
            self._in_time()
        self._count(total)

    def _in_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise self._refuse(f"its structure takes more than {MAX_SECONDS:g} seconds to read")

    def _count(self, size: int) -> None:
        self.declared += size
        if self.declared > self.max_bytes:
            raise _check.FileError(
                f"cannot load {self.path}: it declares {self.declared:,} bytes or more, more than max_bytes = "
                f"{self.max_bytes:,}; raise max_bytes if you trust it"
            )

    def _ratio(self, name: str, declared: int, stored: int) -> None:
        if declared > max(MAX_RATIO * stored, FREE_BYTES):
            raise self._refuse(f"{name} declares {declared:,} bytes and stores {stored:,}")
