"""One thread at a time in HDF5 and netCDF: their libraries are not thread-safe.

xarray's lazy reads take its own locks, which do not nest; `LOCK` takes the same ones and nests, so that a file can be
opened, read and closed under it as a whole. It takes them once :mod:`flowdyn._tools.checked_arrays`, through which all
that xarray reads of ours goes, has joined them to it: xarray need not be loaded to look into a file. h5py has an HDF5
library and a lock of its own; it is called under `LOCK` too, for where the two packages share one library.
"""

import threading
from types import TracebackType
from typing import Any


class NestingLock:
    """Reentrant lock that holds the locks joined to it while any thread holds it; as threading.Lock in its use."""

    def __init__(self, inner: Any = None) -> None:
        self._inner, self._own, self._depth = inner or threading.Lock(), threading.RLock(), 0

    def join(self, inner: Any) -> None:
        """Hold `inner` from now on; the thread that joins it may be inside."""
        with self._own:
            if self._depth:
                inner.acquire()
                self._inner.release()
            self._inner = inner

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


LOCK = NestingLock()
