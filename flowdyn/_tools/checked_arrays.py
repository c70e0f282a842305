"""Arrays that prove themselves: content of a file that differs from its checksum is never handed out."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint, NetCDF4DataStore, StoreBackendEntrypoint
from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK, combine_locks
from xarray.core import indexing

from flowdyn import _check
from flowdyn._tools import checksums
from flowdyn._tools.hdf5_lock import LOCK

LOCK.join(combine_locks([NETCDFC_LOCK, HDF5_LOCK]))


class CheckedArray(BackendArray):
    """Lazy array of a file that compares blocks of rows with their checksums before it hands them out."""

    def __init__(self, variable: xr.Variable, record: Mapping[str, Any] | None, place: str) -> None:
        self.shape, self.dtype = variable.shape, variable.dtype
        self._variable, self._place = variable, place
        self._rows: int = record["rows"] if record else 1
        self._crcs: list[str] = record["crc32"] if record else []
        self._unchecked = set(range(len(self._crcs)))

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def check(self) -> None:
        """Stream over all blocks that nobody has read yet."""
        with LOCK:
            for block in sorted(self._unchecked):
                self._block(block)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        with LOCK:
            if self._unchecked and all(isinstance(k, slice) and k == slice(None) for k in key):
                return self._whole()
            for block in self._touched(key):
                self._block(block)
            return self._values(key)

    def _whole(self) -> np.ndarray:
        """Everything, read once: what is checked is what is handed out."""
        if len(self._crcs) == 1:
            return self._block(0)
        values = np.empty(self.shape, self.dtype)
        for block in range(len(self._crcs)):
            part = self._block(block)
            values[block * self._rows : block * self._rows + len(part)] = part
        return values

    def _touched(self, key: tuple[Any, ...]) -> list[int]:
        """Unchecked blocks that hold rows of `key`."""
        if not self._unchecked:
            return []
        rows = np.arange(self.shape[0])[key[0]] if key else np.zeros(1, int)
        return sorted(self._unchecked.intersection(np.unique(rows // self._rows).tolist()))

    def _block(self, block: int) -> np.ndarray:
        key = (slice(block * self._rows, (block + 1) * self._rows),) if self.shape else ()
        values = self._values(key)
        if checksums.digest(values) != self._crcs[block]:
            raise _check.FileError(
                f"cannot trust {self._place}: its content differs from its checksum; {checksums.WAY_OUT}"
            )
        self._unchecked.discard(block)
        return values

    def _values(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            return np.asarray(self._variable[key].values)
        except MemoryError:  # the scan has bounded what is asked for: the file is right, and the machine too small
            raise
        except Exception as error:  # damaged bytes raise what they like in three libraries
            reason = " ".join(str(error).split())[:160]
            raise _check.FileError(f"cannot read {self._place}: the file is damaged ({reason})") from None


class CheckedBackend(BackendEntrypoint):
    """Engine for :func:`xarray.open_dataset`: a store's variables as checked arrays."""

    description = "NetCDF-4 files of flowdyn, checked against their checksums"

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: NetCDF4DataStore,
        *,
        drop_variables: str | Iterable[str] | None = None,
        path: Path,
        verify: bool | None,
    ) -> xr.Dataset:
        """Dataset of one group; `verify` as in :func:`flowdyn._tools.checked_files.open_checked`."""
        ds = decoded(filename_or_obj, drop_variables)
        text = ds.attrs.pop(checksums.ATTRIBUTE, None)
        records, attributes = ({}, {}) if text is None or verify is False else checksums.parsed(text, path)
        other = sorted(set(records) ^ set(map(str, ds.variables)))
        if records and other:
            raise _check.FileError(
                f"cannot trust {path}: the variables {other} are missing or have come in; {checksums.WAY_OUT}"
            )
        if attributes and attributes != (found := checksums.of_attributes(ds)):
            changed = [name for name in found if found[name] != attributes.get(name)]
            whose = f"variable {changed[0]!r}" if changed and changed[0] else "a group"
            raise _check.FileError(
                f"cannot trust {path}: the attributes of {whose} differ from their checksum; {checksums.WAY_OUT}"
            )
        variables = {name: _checked(path, str(name), v, records, bool(verify)) for name, v in ds.variables.items()}
        coords = xr.Coordinates({name: variables.pop(name) for name in ds.coords}, indexes={})
        checked = xr.Dataset(variables, coords, ds.attrs)
        checked.encoding = ds.encoding | {"source": str(path)}
        return checked


def decoded(store: NetCDF4DataStore, drop_variables: str | Iterable[str] | None = None) -> xr.Dataset:
    """One group as xarray decodes it, but for times: theirs are numbers."""
    return StoreBackendEntrypoint().open_dataset(
        store, decode_times=False, drop_variables=drop_variables, decode_timedelta=False
    )


def _checked(path: Path, name: str, variable: xr.Variable, records: Mapping[str, Any], verify: bool) -> xr.Variable:
    record = records.get(name)
    place = f"variable {name!r} of {path}"
    if record is not None and not checksums.fits(record, variable.dims, variable.shape, variable.dtype):
        raise _check.FileError(f"cannot trust {place}: its type or shape differs from its record; {checksums.WAY_OUT}")
    array = CheckedArray(variable, record, place)
    if verify:
        array.check()
    return xr.Variable(variable.dims, indexing.LazilyIndexedArray(array), variable.attrs, variable.encoding)
