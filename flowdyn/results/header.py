"""What a file holds and how it was made, without loading it: a fifth of a second where xarray and JAX take a whole one.

The same checks come before it as before :func:`flowdyn.load`: the scan, the schema, the checksums of attributes, and of
content where there is little of it. Whatever is not as :func:`flowdyn.save` writes it is left to `load`, which knows
more and says what is wrong.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import netCDF4
import numpy as np

from flowdyn import _check
from flowdyn._tools import checksums
from flowdyn._tools.files import local_file
from flowdyn._tools.hdf5_lock import LOCK
from flowdyn._tools.hdf5_scan import scan
from flowdyn._tools.netcdf_files import EAGER_BYTES, opened
from flowdyn.results.schema import LABEL, check_attributes, check_schemas


class Field(NamedTuple):
    """One variable: its dimensions, what it is, and whether it is a coordinate."""

    dims: tuple[str, ...]
    long_name: str
    is_coordinate: bool


class Header(NamedTuple):
    """What a result says of itself; `groups` are the titles of the nodes of a tree."""

    attrs: dict[str, Any]
    sizes: dict[str, int]
    fields: dict[str, Field]
    groups: dict[str, str]


def read_header(path: Any) -> Header | None:
    """Header of a checked file; None where `load` must look at it."""
    place = local_file(path)
    try:
        is_small = scan(place) <= EAGER_BYTES
        with LOCK, contextlib.closing(_opened(place, is_small)) as file:
            return _header(file, place, is_small)
    except _check.FileError:
        raise
    except Exception:  # damaged bytes raise what they like in three libraries
        return None


def _opened(path: Path, is_small: bool) -> netCDF4.Dataset:
    return opened("memory.nc", mode="r", memory=path.read_bytes()) if is_small else opened(path, mode="r")


def _header(file: netCDF4.Dataset, path: Path, whole: bool) -> Header | None:
    nodes: dict[str, Header] = {}
    for group in _groups(file):
        node = _node(group, path, whole)
        if node is None:
            return None
        check_attributes(node.attrs, path)
        nodes[group.path] = node
    schemas = {place: node.attrs.get("flowdyn_schema") for place, node in nodes.items() if node.fields}
    check_schemas(schemas or {"/": nodes["/"].attrs.get("flowdyn_schema")}, path)
    titles = {name: str(nodes[group.path].attrs.get("title", "")) for name, group in file.groups.items()}
    return nodes["/"]._replace(groups=titles)


def _groups(group: Any) -> Iterator[Any]:
    yield group
    for child in group.groups.values():
        yield from _groups(child)


def _node(group: Any, path: Path, whole: bool) -> Header | None:
    """One group; None unless its checksums are those of what stands there as it stands there."""
    attrs = _attributes(group)
    text, listed = attrs.pop(checksums.ATTRIBUTE, None), set(str(attrs.pop("coordinates", "")).split())
    if text is None:
        return None
    records, sums = checksums.parsed(text, path)
    variables = dict(group.variables)
    own = {name: _attributes(variable) for name, variable in variables.items()}
    for kept in own.values():
        listed |= set(str(kept.pop("coordinates", "")).split())
    coords = sorted(name for name, v in variables.items() if name in listed or v.dimensions == (name,))
    found = {"": checksums.of_values({**attrs, "": coords})} | {n: checksums.of_values(a) for n, a in own.items()}
    if sums != found or set(records) != set(variables):
        return None
    if whole and not all(_is_whole(variable, records[name]) for name, variable in variables.items()):
        return None
    fields: dict[str, Field] = {}
    sizes: dict[str, int] = {}
    for name, variable in variables.items():
        dims = tuple(map(str, variable.dimensions))
        sizes |= dict(zip(dims, variable.shape, strict=True))
        is_label = name == f"{dims[0]}{LABEL}" if len(dims) == 1 else False
        shown = dims[0] if is_label else str(name)
        fields[shown] = Field(dims, str(own[name].get("long_name", "")), is_label or name in coords)
    return Header(attrs, sizes, fields, {})


def _attributes(holder: Any) -> dict[str, Any]:
    return {str(name): holder.getncattr(name) for name in holder.ncattrs()}


def _is_whole(variable: Any, record: Mapping[str, Any]) -> bool:
    """Whether the content of a variable has the checksums of its record."""
    variable.set_auto_maskandscale(False)
    return bool(checksums.record(variable.dimensions, np.asarray(variable[...])) == record)
