"""One thread of BLAS for small linear algebra, which several only slow down, 7 to 25 times.

To look through the libraries that a process has loaded takes one to three milliseconds, as long as 200 right-hand
sides: so it is done again only where something has been imported since.
"""

import contextlib
import functools
import sys

from threadpoolctl import ThreadpoolController


@functools.lru_cache(maxsize=1)
def _controller(imported: int) -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> contextlib.AbstractContextManager:
    """Context in which BLAS keeps to one thread."""
    return _controller(len(sys.modules)).limit(limits=1, user_api="blas")
