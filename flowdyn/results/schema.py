"""What every result says of its form, ``flowdyn_schema``; what a file writes under another name, or cannot hold."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from flowdyn import _check

SCHEMA = "flowdyn/1"
CODES = ("_FillValue", "missing_value", "scale_factor", "add_offset")  # by these attributes a file holds other numbers
NAME = re.compile(r"(?:\w|[^\x00-\x7f])(?:[^/\x00-\x1f\x7f]*[^/\x00-\x20\x7f])?")  # what NetCDF takes for one
SAVE = "save"  # numbers the rows of runs that do not share their times
FAILURE = "failure"  # why a cell of a sweep has no run; empty text where it has one
LABEL = "_label"  # text along a dimension stands in the file under the dimension's name with this


def check_schemas(schemas: Mapping[str, Any], path: Any) -> None:
    """Refuse a file in which a node has another schema; `schemas` are by place."""
    for place, schema in schemas.items():
        if not isinstance(schema, str) or schema != SCHEMA:
            reason = f"it has schema {_check.short(schema)}" if schema is not None else "it was not written by flowdyn"
            where = f" at {place!r}" if place != "/" else ""
            raise _check.FileError(f"cannot load {path}: {reason}{where}, this flowdyn reads {SCHEMA!r}")


def check_attributes(attrs: Mapping[Any, Any], path: Any) -> None:
    """Refuse attributes that flowdyn reads and that are neither text nor one number."""
    for name, value in attrs.items():
        if str(name).startswith("flowdyn_") and not isinstance(value, str | int | float | np.integer | np.floating):
            raise _check.FileError(
                f"cannot load {path}: attribute {name} must be text or a number, got {_check.short(value)}"
            )


def refuse_empty(name: str, ds: Any, purpose: str) -> None:
    """Refuse what holds no entry along a dimension."""
    if empty := [str(dim) for dim, size in ds.sizes.items() if size == 0]:
        raise _check.fail(name, f"must have an entry along {empty[0]} to be {purpose}", dict(ds.sizes), "select some")


def refuse_failures(ds: Any) -> None:
    """Refuse cells of a sweep of which none has a run to draw."""
    reasons = ds[FAILURE].values.ravel().astype(str) if FAILURE in ds.coords else np.array([""])
    if (reasons != "").all():
        raise _check.ArgumentError(f"`ds` must hold a cell that did not fail, got ones that did: {reasons[0]}")


def one_cell(ds: Any) -> Any:
    """A cell of a sweep that was selected by slices or lists, without the sides of its grid."""
    if FAILURE not in ds.coords or ds[FAILURE].size != 1:
        return ds
    return ds.isel(dict.fromkeys(ds[FAILURE].dims, 0))


def over_time(ds: Any) -> Any:
    """A run selected from a sweep whose rows are numbered by `save`: over t, the rows that it has."""
    if SAVE not in ds.dims or "t" not in ds.coords or ds["t"].dims != (SAVE,):
        return ds
    return ds.isel({SAVE: np.isfinite(ds["t"].values)}).swap_dims({SAVE: "t"})


def check_holdable(ds: Any) -> None:
    """Refuse a Dataset whose names, index or numbers would not come back from a file as they are."""
    _check_names([*ds.variables, *ds.dims, *ds.attrs, *(key for v in ds.variables.values() for key in v.attrs)])
    for name, variable in ds.variables.items():
        codes = [code for code in CODES if code in variable.attrs]
        if not isinstance(name, str):
            raise _check.fail("ds", "must have names that are text", name, f"ds.rename({{{name!r}: {str(name)!r}}})")
        if variable.dtype.kind in "mM":
            raise _check.fail(
                "ds", f"must hold times as numbers in {name!r}", variable.dtype.name, "give days or seconds as floats"
            )
        if codes:
            raise _check.fail(
                "ds", f"must not encode numbers by attributes of {name!r}", codes, "decode them or drop the attributes"
            )
    for name in ds.indexes:
        if len(parts := list(ds.indexes[name].names)) > 1:
            way_out = f"ds.unstack({str(ds[name].dims[0])!r})"
            raise _check.fail("ds", f"must not have an index of several parts, as {name!r} has", parts, way_out)


def _check_names(names: Iterable[Any]) -> None:
    """Refuse names that NetCDF does not take: its own error does not say which."""
    for name in names:
        if isinstance(name, str) and not NAME.fullmatch(name):
            rule = "must have names that begin with a letter, a digit or _ and hold no / and no control characters"
            raise _check.fail("ds", rule, name, "rename it")
