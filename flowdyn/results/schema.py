"""What every result says of its form: the attribute ``flowdyn_schema``, and names that the file writes otherwise."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from flowdyn import _check

SCHEMA = "flowdyn/1"
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
