"""Python's search for garbage in cycles, spared where a process of the shell has none: as it starts, and as it ends.

Of the half million objects that imports make none is garbage, yet all are gone through again and again while more are
made, and several times more as the interpreter ends: 0.1 and 0.28 s of a process that imports jax, equinox and xarray.
What is frozen is left alone; whatever a command itself makes is looked through as ever. All else that Python does at an
end (handlers, threads that are waited for, open files) is done.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """Look for none at the start, until :func:`look_again`, nor after the end of the block."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if before:
            gc.enable()


def look_again() -> None:
    """Look from now on, but not at what is there already."""
    gc.freeze()
    gc.enable()
