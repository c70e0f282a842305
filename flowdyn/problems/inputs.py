"""Numbers and labels out of whatever a user hands in: numpy, pandas, xarray, or a JAX tracer."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check


class Labels:
    """Names along a problem's dimensions (feature names, sample ids): ``{dim: values}``.

    All Labels compare equal and hash alike, because they are carried in the static part of a module: two data sets
    that differ only in their labels share one compiled program.
    """

    def __init__(self, coords: Mapping[str, Any] | None = None, names: Mapping[str, str] | None = None):
        self.coords = {dim: np.asarray(values) for dim, values in (coords or {}).items() if values is not None}
        self.names = dict(names or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"Labels({', '.join(f'{dim}={len(values)}' for dim, values in self.coords.items())})"


def leaf(name: str, value: Any, *, ndim: int, positive: bool = False) -> jax.Array:
    """Return `value` as a float64 array leaf; values are checked unless they are being traced."""
    if isinstance(value, jax.core.Tracer):
        return jnp.asarray(value)
    array = _check.real_array(name, value, ndim=ndim)
    if positive and (array <= 0).any():
        raise _check.fail(name, "must be positive", value)
    return jnp.asarray(array)


def _axis_labels(value: Any, axis: int) -> np.ndarray | None:
    """Labels of one axis of a pandas or xarray object, found by its attributes; None where there are none."""
    if isinstance(value, np.ndarray | list | tuple | jax.Array):
        return None
    dims = getattr(value, "dims", None)
    if dims is not None:  # xarray
        return np.asarray(value.coords[dims[axis]].values) if dims[axis] in value.coords else None
    axes = getattr(value, "axes", None)
    if axes is not None and len(axes) > axis:  # pandas; a plain 0..n-1 index says nothing
        index = axes[axis]
        return None if type(index).__name__ == "RangeIndex" else np.asarray(index)
    return None


def axis_labels(value: Any, dim: str) -> Labels:
    """Labels of the last axis of a vector or square matrix, under the name `dim`."""
    return Labels({dim: _axis_labels(value, np.ndim(value) - 1) if np.ndim(value) else None})


def table(X: Any, y: Any, labels: Labels | None) -> tuple[jax.Array, jax.Array, Labels]:
    """Check a design matrix (n, d) against its targets (n,), and keep their labels."""
    X_leaf, y_leaf = leaf("X", X, ndim=2), leaf("y", y, ndim=1)
    if labels is None:
        features = _axis_labels(X, 1)
        samples = _axis_labels(y, 0)
        name = getattr(y, "name", None)
        labels = Labels({"feature": features, "sample": samples}, {} if name is None else {"target": str(name)})
    if X_leaf.shape[0] != y_leaf.shape[0]:
        raise _check.ArgumentError(
            f"`X` and `y` must have the same number of samples, got X of shape {X_leaf.shape} and y of shape "
            f"{y_leaf.shape}; X has one row per sample"
        )
    if 0 in X_leaf.shape:
        raise _check.fail("X", "must have at least one sample and one feature", f"shape {X_leaf.shape}")
    return X_leaf, y_leaf, labels


def cast_tree(name: str, tree: Any) -> Any:
    """Return `tree` with its inexact arrays (and Python floats) as float64 JAX arrays; the rest is left as it is."""

    def cast(part: Any) -> Any:
        if isinstance(part, jax.core.Tracer) or callable(part):
            return part
        if not isinstance(part, np.ndarray | jax.Array) and hasattr(part, "__array__"):  # pandas, xarray
            part = np.asarray(part)
        if eqx.is_inexact_array_like(part):
            if np.iscomplexobj(part):
                raise _check.fail(name, "must hold real numbers", f"dtype {np.asarray(part).dtype}")
            return jnp.asarray(_check.real_array(name, part))
        return part

    return jax.tree.map(cast, tree)
