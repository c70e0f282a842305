"""Calls of compiled programs side by side: a call of JAX releases the interpreter's lock.

An accelerator runs one program after the other, and each pays when it is wide: there one call takes everything.
"""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax


def is_accelerated() -> bool:
    """Whether programs run on something else than the processor."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
    return (getattr(chosen, "platform", chosen) or jax.default_backend()) != "cpu"


def cores() -> int:
    """Calls that pay side by side: one for each core that this process may run on, a single one on an accelerator."""
    if is_accelerated():
        return 1
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def side_by_side(call: Callable, parts: Sequence[tuple]) -> list[Any]:
    """``call(*part)`` for each part, at the same time, in their order."""
    if len(parts) == 1:
        return [call(*parts[0])]
    with ThreadPoolExecutor(len(parts)) as threads:
        return list(threads.map(lambda part: jax.block_until_ready(call(*part)), parts))
