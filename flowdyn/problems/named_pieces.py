"""Parameters by the names of their pieces:  {name: array}, or a Dataset at one time  ->  (P,)

A Dataset is a Mapping that is one leaf of a pytree, where a dict is a node of it: so it is told without xarray.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import is_traced
from flowdyn.problems.inputs import labels_of, same_labels

if TYPE_CHECKING:
    from flowdyn.problems.base import Variable, Vector

ENDS = ("_last", "_first")  # what a run that kept its observables alone holds of a parameter


def shown_layout(variables: "tuple[Variable, ...]") -> str:
    """Names and shapes in one line: ``a[3], b[2, 2]``."""
    return ", ".join(f"{v.name}{list(v.shape)}" for v in variables)


def is_dataset(value: Any) -> bool:
    """Whether `value` is a Dataset, fresh or loaded."""
    return isinstance(value, Mapping) and jax.tree_util.all_leaves([value])


def ravel_variables(
    argument: str, value: Any, variables: "tuple[Variable, ...]", coords: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Flatten `value` (flat array, mapping from name to array, or Dataset) by the layout `variables`."""
    if is_dataset(value):
        return ravel_dataset(argument, value, variables, coords)
    size = sum(v.size for v in variables)
    if isinstance(value, dict):
        names = [v.name for v in variables]
        if sorted(map(str, value)) != sorted(names):
            raise _check.fail(argument, f"must have exactly the keys {names}", sorted(map(str, value)))
        parts = {v: _by_name(f"{argument}[{v.name!r}]", value[v.name], v, coords) for v in variables}
        return np.concatenate(
            [_check.real_array(f"{argument}[{v.name!r}]", part, shape=v.shape).ravel() for v, part in parts.items()]
        )
    array = _check.real_array(argument, _by_name(argument, value, *variables, coords) if len(variables) == 1 else value)
    if array.shape != (size,) and not (len(variables) == 1 and array.shape == variables[0].shape):
        raise _check.fail(
            argument,
            f"must have shape ({size},), the parameters {shown_layout(variables)}",
            _check.Words(f"shape {array.shape}"),
            "give one start" if array.shape[1:] == (size,) else "make one by problem.init(...)",
        )
    return array.ravel()


def _by_name(argument: str, value: Any, v: "Variable", coords: Mapping[str, np.ndarray]) -> Any:
    """An array of pandas or xarray in the order of a variable's dimensions, if its labels are the problem's."""
    dims = getattr(value, "dims", ())
    if dims != v.dims and sorted(map(str, dims)) == sorted(v.dims):
        value = value.transpose(*v.dims)
    if getattr(value, "ndim", None) == len(v.dims):
        for axis, dim in enumerate(v.dims):
            same_labels(argument, labels_of(value, axis), f"the problem's {dim}s", coords.get(dim))
    return value


def ravel_dataset(
    argument: str, ds: Mapping, variables: "tuple[Variable, ...]", coords: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Flat parameters (P,) of a Dataset at one time and of one member, whose labels must be those of `coords`."""
    parts = []
    for v in variables:
        if v.name not in ds:
            end = next((v.name + end for end in ENDS if v.name + end in ds), "")
            way_out = f"it kept its ends alone: ds.rename({end}={v.name!r}, ...)" if end else "select them too"
            rule = f"must hold the parameters {shown_layout(variables)}"
            raise _check.fail(argument, rule, sorted(map(str, ds)), way_out)
        parts.append(_piece(argument, ds[v.name], v, coords).ravel())
    return np.concatenate(parts)


def _piece(argument: str, array: Any, v: "Variable", coords: Mapping[str, np.ndarray]) -> np.ndarray:
    """Numbers of one variable, its dimensions in the order of the layout."""
    more = [str(dim) for dim in array.dims if dim not in v.dims]
    if more:
        one = ", ".join(f"{dim}={-1 if dim == 't' else 0}" for dim in more)
        rule = f"must hold one value of {v.name!r}, over {list(v.dims)} alone"
        found = _check.Words(f"the dimensions {[str(dim) for dim in array.dims]}")
        raise _check.fail(argument, rule, found, f"select one, e.g. run.isel({one})")
    if set(v.dims) != set(array.dims):
        rule = f"must hold {v.name!r} over {list(v.dims)}"
        raise _check.fail(argument, rule, _check.Words(f"the dimensions {list(map(str, array.dims))}"))
    ordered = array.transpose(*v.dims)
    for dim in v.dims:
        if dim in ordered.coords:
            same_labels(f"{argument}.{v.name}", ordered.coords[dim].values, f"the problem's {dim}s", coords.get(dim))
    return _check.real_array(f"{argument}.{v.name}", ordered.values, shape=v.shape)


def flat_parameters(
    argument: str, value: Any, variables: "tuple[Variable, ...]", coords: Mapping[str, np.ndarray]
) -> "Vector":
    """`value` as a flat vector (P,): itself, perhaps traced, or what a Dataset at one time holds."""
    if is_dataset(value):
        return ravel_dataset(argument, value, variables, coords)
    array = (
        value if is_traced(value) or isinstance(value, np.ndarray | jax.Array) else _check.real_array(argument, value)
    )
    size = sum(v.size for v in variables)
    if array.shape != (size,):
        raise _check.fail(
            argument,
            f"must have shape ({size},), the parameters {shown_layout(variables)}",
            _check.Words(f"shape {array.shape}"),
            "select one, e.g. w[-1]" if array.shape[-1:] == (size,) else "problem.ravel(...) makes one",
        )
    return array
