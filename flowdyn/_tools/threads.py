"""Calls of compiled programs side by side: a call of JAX releases the interpreter's lock."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def side_by_side(call: Callable, parts: Sequence[tuple]) -> list[Any]:
    """``call(*part)`` for each part, at the same time, in their order."""
    if len(parts) == 1:
        return [call(*parts[0])]
    with ThreadPoolExecutor(len(parts)) as threads:
        return list(threads.map(lambda part: jax.block_until_ready(call(*part)), parts))
