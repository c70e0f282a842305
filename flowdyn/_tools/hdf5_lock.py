"""One thread at a time in HDF5 and netCDF: their libraries are not thread-safe.

xarray's lazy reads take its own locks, which do not nest; `LOCK` takes the same ones and nests, so that a file can be
opened, read and closed under it as a whole. h5py has an HDF5 library and a lock of its own; it is called under `LOCK`
too, for where the two packages share one library.
"""

import threading
from types import TracebackType
from typing import Any

from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK, combine_locks


class NestingLock:
    """Reentrant lock that holds `inner` while any thread holds it; the interface is that of threading.Lock."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._own, self._depth = inner, threading.RLock(), 0

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock; False if another thread has it and `blocking` is False."""
        if not self._own.acquire(blocking):
            return False
        held = False
        try:
            held = self._depth > 0 or self._inner.acquire(blocking) is not False
            self._depth += held
        finally:
            if not held:
                self._own.release()
        return held

    def release(self) -> None:
        """Give the lock back; the outermost release frees it."""
        self._depth -= 1
        if not self._depth:
            self._inner.release()
        self._own.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def __reduce__(self) -> str:
        return "LOCK"  # a lazily loaded Dataset can be pickled; in another process it takes the lock of that process


LOCK = NestingLock(combine_locks([NETCDFC_LOCK, HDF5_LOCK]))
