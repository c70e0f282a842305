"""Array leaves of modules: numbers of whatever a user hands in (numpy, pandas, xarray, lists), or a JAX tracer."""

import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from flowdyn import _check
from flowdyn._tools.compiled import float64_is_on, refuse_fork

FEW = 4  # numbers of an array that a repr shows
Scalar = float | jax.Array  # a number, or the leaf that holds one


def is_traced(value: Any) -> bool:
    """Whether `value` stands for numbers that are not known yet: checks of values do not apply to it."""
    return isinstance(value, Tracer)


def leaf(name: str, value: Any, *, ndim: int, positive: bool = False, limit: float = np.inf) -> jax.Array:
    """Return `value` as a float64 array leaf; values are checked unless they are being traced."""
    if is_traced(value):
        return jnp.asarray(value)
    refuse_fork()
    if type(value) is float and ndim == 0 and 0 < value <= limit and value != np.inf:  # a sweep makes 1e5 of them
        return _number(value, float64_is_on(), jax.config.jax_default_device)  # type: ignore[attr-defined]
    array = _check.real_array(name, value, ndim=ndim)
    if positive and (array <= 0).any():
        raise _check.fail(name, "must be positive", value)
    if np.abs(array).max(initial=0.0) > limit:
        raise _check.fail(name, f"must be at most {limit:g} in size", float(np.abs(array).max()), "use other units")
    return on_device(array)


@functools.lru_cache(maxsize=256)
def _number(value: float, _precision: bool, _device: Any) -> jax.Array:
    """One leaf for equal numbers: the second is there a hundred times as fast, and is seen to be the same."""
    return on_device(np.asarray(value))


def on_device(array: np.ndarray) -> jax.Array:
    """A copy as a JAX array: `jnp.asarray` compiles a program for each shape."""
    return jax.device_put(np.asarray(array), may_alias=False)


def nonnegative_leaf(name: str, value: Any) -> jax.Array:
    """Return a number that is not negative as a float64 leaf; it is checked unless it is being traced."""
    if not is_traced(value):
        _check.real(name, value, nonnegative=True)
    return leaf(name, value, ndim=0)


def own_copy(state: Any) -> Any:
    """`state` for a user's function: a numpy array is copied, so that a function may write into what it is given."""
    return state.copy() if isinstance(state, np.ndarray) else state


def flat_vector(name: str, value: Any) -> np.ndarray:
    """Return `value` as a vector of float64; a number is a vector of one entry."""
    array = np.atleast_1d(_check.real_array(name, value))
    if array.ndim != 1 or array.size == 0:
        raise _check.fail(name, "must be a number or a 1-dimensional array", _check.Words(f"shape {array.shape}"))
    return array


def cast_tree(name: str, tree: Any) -> Any:
    """Return `tree` with its inexact arrays (and Python floats) as float64 JAX arrays; the rest is left as it is."""
    refuse_fork()

    def cast(part: Any) -> Any:
        if is_traced(part) or callable(part):
            return part
        if not isinstance(part, np.ndarray | jax.Array) and hasattr(part, "__array__"):  # pandas, xarray
            part = np.asarray(part)
        if eqx.is_inexact_array_like(part):
            if np.iscomplexobj(part):
                raise _check.fail(name, "must hold real numbers", _check.Words(f"dtype {np.asarray(part).dtype}"))
            return on_device(_check.real_array(name, part))
        return part

    return jax.tree.map(cast, tree)


def shown_call(name: str, arguments: Mapping[str, Any], unnamed: int = 0) -> str:
    """``name(a, key=b)`` on one line: numbers as they are, longer arrays by their shape, functions by their name."""
    parts = [
        _shown(value) if i < unnamed else f"{key}={_shown(value)}" for i, (key, value) in enumerate(arguments.items())
    ]
    return f"{name}({', '.join(parts)})"


def _shown(value: Any) -> str:
    if isinstance(value, jax.Array | np.ndarray) and not is_traced(value):
        if value.size > FEW:
            return f"<{'x'.join(map(str, value.shape))}>"
        value = value.tolist()
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        inner = ", ".join(map(_shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float):
        return f"{value:.12g}"
    if callable(value) and not isinstance(value, eqx.Module):
        return getattr(value, "__qualname__", type(value).__name__)
    return _check.short(value)
