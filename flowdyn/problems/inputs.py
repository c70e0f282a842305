"""Tables and labels out of whatever a user hands in: numpy, pandas, xarray, or a JAX tracer."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import leaf


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


def labels_of(value: Any, axis: int) -> np.ndarray | None:
    """Labels of one axis of a pandas or xarray object, found by its attributes; None where there are none."""
    if isinstance(value, np.ndarray | list | tuple | jax.Array):
        return None
    dims = getattr(value, "dims", None)
    if dims is not None:  # xarray
        return np.asarray(value.coords[dims[axis]].values) if dims[axis] in value.coords else None
    axes = getattr(value, "axes", None)
    if axes is not None and len(axes) > axis:  # pandas; a plain 0..n-1 index says nothing
        index = axes[axis]
        plain = type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1
        return None if plain else np.asarray(index)
    return None


def axis_labels(name: str, value: Any, dim: str) -> Labels:
    """Labels of a vector or square matrix under the name `dim`; a matrix has the same ones on both axes."""
    ndim = np.ndim(value)
    found = [labels_of(value, axis) for axis in range(ndim)]
    for labels in found[:-1]:
        same_labels(name, found[-1], f"the rows of {name}", labels)
    return Labels({dim: next((labels for labels in reversed(found) if labels is not None), None)})


def same_labels(name: str, labels: np.ndarray | None, other_name: str, others: np.ndarray | None) -> None:
    """Refuse two sets of labels of one dimension that differ: numbers are matched by position, never by label."""
    if labels is None or others is None:
        return
    mine, theirs = list(map(str, labels)), list(map(str, others))
    if mine == theirs:
        return
    kind = "the same in another order" if sorted(mine) == sorted(theirs) else "others"
    raise _check.fail(
        name,
        f"must carry the labels of {other_name} in their order ({_check.short(np.asarray(others))})",
        f"{kind}: {_check.short(np.asarray(labels))}",
        "reindex one by the other, or hand in plain arrays",
    )


def _samples_first(X: Any, y: Any) -> Any:
    """X with the dimension of y first, where xarray names them."""
    dims, of_y = getattr(X, "dims", None), getattr(y, "dims", None)
    if dims is None or len(dims) != 2:
        return X
    if dims == ("feature", "sample") or (of_y and of_y[0] == dims[1]):
        return X.transpose()
    if of_y and of_y[0] != dims[0]:
        raise _check.fail("y", f"must share a dimension with `X` {tuple(dims)}", tuple(of_y), "rename one of them")
    return X


def _same_samples(X: Any, y: Any) -> None:
    """Refuse rows of X and entries of y that carry different labels; the default index of pandas is one too."""
    rows, entries = (getattr(part, "axes", None) for part in (X, y))
    if rows is not None and entries is not None:  # both of pandas
        same_labels("y", np.asarray(entries[0]), "X", np.asarray(rows[0]))
    else:
        same_labels("y", labels_of(y, 0), "X", labels_of(X, 0))


def table(X: Any, y: Any, labels: Labels | None) -> tuple[jax.Array, jax.Array, Labels]:
    """Check a design matrix (n, d) against its targets (n,), and keep their labels."""
    X = _samples_first(X, y)
    X_leaf, y_leaf = leaf("X", X, ndim=2, limit=_check.LARGE), leaf("y", y, ndim=1, limit=_check.LARGE)
    if labels is None:
        features = labels_of(X, 1)
        samples = labels_of(y, 0)
        if samples is None:
            samples = labels_of(X, 0)
        names = [] if features is None else list(map(str, features))
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise _check.fail("X", "must have each column once", _check.Words(f"{twice} twice"), "rename them")
        name = getattr(y, "name", None)
        labels = Labels({"feature": features, "sample": samples}, {} if name is None else {"target": str(name)})
    if X_leaf.shape[0] != y_leaf.shape[0]:
        raise _check.ArgumentError(
            f"`X` and `y` must have the same number of samples, got X of shape {X_leaf.shape} and y of shape "
            f"{y_leaf.shape}; X has one row per sample"
        )
    _same_samples(X, y)
    if 0 in X_leaf.shape:
        raise _check.fail("X", "must have at least one sample and one feature", _check.Words(f"shape {X_leaf.shape}"))
    return X_leaf, y_leaf, labels
