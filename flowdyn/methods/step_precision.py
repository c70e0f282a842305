"""Whether a step is computed in float64:  a slope (S_h(z) - z) / h of a float32 step is its rounding, 6e-8 |z| / h."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from flowdyn import _check
from flowdyn._tools.compiled import by_structure
from flowdyn._tools.dependence import narrowed_to


def check_precision(recursion: Any, step: Callable, size: int) -> None:
    """Refuse a user's step that rounds the state, or what follows from it, to fewer digits on its way.

    `step` is a function of the recursion and a state of this size.
    """
    name = by_structure(_narrowed_to, recursion, step, size) if recursion.is_users else None
    if name:
        raise _check.fail(
            "step",
            "must compute in float64 for a limit, which is made of its slopes",
            _check.Words(f"numbers that it rounds to {name}"),
            "drop .astype and dtype= of fewer digits, in the loss and its data too (flax: dtype=jnp.float64)",
        )


def _narrowed_to(recursion: Any, step: Callable, size: int) -> str | None:
    return narrowed_to(lambda z: step(recursion, z), jax.ShapeDtypeStruct((size,), jnp.float64))
