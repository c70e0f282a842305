"""Checksums of content: CRC-32 of what a reader gets back, a block of leading rows at a time; and of attributes.

    {"w": {"type": "<f8", "dims": [["t", 51], ["param", 3]], "rows": 51, "crc32": ["0a1b2c3d"]},
     "": {"": "4e5f6071", "w": "8293a4b5"}}

Numbers count by their little-endian bytes (a NaN equals itself), text by the length and the UTF-8 bytes of each string,
however it is stored. Under the empty name stand the checksums of attributes: the group's own, with the names of its
coordinates, and each variable's. What xarray decodes content by (fill values, scales) shows in the content. One
attribute of each group holds all of it.
"""

import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flowdyn import _check

if TYPE_CHECKING:
    import xarray as xr

ATTRIBUTE = "flowdyn_checksums"
BLOCK = 4 << 20  # bytes of a block, and of a chunk of the file
WAY_OUT = "load an older copy, or pass verify=False to take it as it is"
_MAX_TEXT = 1 << 24
_KEYS = {"type", "dims", "rows", "crc32"}


def block_rows(shape: tuple[int, ...], itemsize: int) -> int:
    """Leading rows of a block: at least one, at most all of them."""
    row = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
    return max(1, min(shape[0] if shape else 1, BLOCK // max(row, 1)))


def digest(values: np.ndarray) -> str:
    """CRC-32 of an array's content, eight hexadecimal digits."""
    crc = 0
    if _type(values.dtype) in ("text", "bytes"):
        for item in values.ravel().tolist():
            raw = item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogatepass")
            crc = zlib.crc32(raw, zlib.crc32(len(raw).to_bytes(8, "little"), crc))
    else:
        plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        crc = zlib.crc32(plain.reshape(-1).view(np.uint8).data)
    return f"{crc:08x}"


def _type(dtype: np.dtype) -> str:
    if dtype.kind in "OUT":
        return "text"
    return "bytes" if dtype.kind == "S" else dtype.newbyteorder("<").str


def record(dims: tuple[Any, ...], values: np.ndarray) -> dict[str, Any]:
    """What is kept of one variable."""
    kind = _type(values.dtype)
    rows = max(1, len(values) if values.ndim else 1)
    if kind not in ("text", "bytes"):
        rows = block_rows(values.shape, values.dtype.itemsize)
    starts = range(0, len(values), rows) if values.ndim else (0,)
    blocks = [values[start : start + rows] if values.ndim else values for start in starts]
    sized = [[str(dim), size] for dim, size in zip(dims, values.shape, strict=True)]
    return {"type": kind, "dims": sized, "rows": rows, "crc32": [digest(block) for block in blocks]}


def of_attributes(ds: "xr.Dataset") -> dict[str, str]:
    """Checksum of the attributes of a group, under the empty name, and of each of its variables."""
    own = {"": {**ds.attrs, "": sorted(map(str, ds.coords))}}
    sets = own | {str(name): variable.attrs for name, variable in ds.variables.items()}
    return {name: of_values(attrs) for name, attrs in sets.items()}


def of_values(attrs: Mapping[Any, Any]) -> str:
    """Checksum of attributes, eight hexadecimal digits."""
    crc = 0
    for name in sorted(attrs, key=str):
        values = np.asarray(attrs[name])
        kind = f"{name}\0{_type(values.dtype)}{values.shape}"
        crc = zlib.crc32(f"{kind}{digest(np.atleast_1d(values))}".encode("utf-8", "surrogatepass"), crc)
    return f"{crc:08x}"


def written(records: Mapping[str, Any]) -> str:
    """Text of the attribute."""
    return json.dumps(records, separators=(",", ":"))


def parsed(text: Any, path: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Records of an attribute's text, each of the form that `record` gives, and the checksums of attributes."""
    try:
        if not isinstance(text, str) or len(text) > _MAX_TEXT:
            raise ValueError("not text, or too long")
        records = json.loads(text)
        attributes = records.pop("", {}) if isinstance(records, dict) else None  # earlier files have none
        if not isinstance(attributes, dict) or not all(_is_record(r) for r in records.values()):
            raise ValueError("not the checksums of variables")
    except (ValueError, RecursionError) as error:
        raise _check.FileError(f"cannot trust {path}: its checksums are damaged ({error}); {WAY_OUT}") from None
    return records, attributes


def _is_record(found: Any) -> bool:
    if not isinstance(found, dict) or set(found) != _KEYS:
        return False
    dims, rows = found["dims"], found["rows"]
    return (
        isinstance(dims, list)
        and all(isinstance(d, list) and len(d) == 2 and type(d[1]) is int for d in dims)
        and type(rows) is int
        and rows >= 1
        and isinstance(found["crc32"], list)
        and len(found["crc32"]) == (-(-dims[0][1] // rows) if dims else 1)
    )


def fits(found: Mapping[str, Any], dims: tuple[Any, ...], shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether a record is of a variable of these dims, shape and type."""
    sized = [[str(dim), size] for dim, size in zip(dims, shape, strict=True)]
    return bool(found["type"] == _type(dtype) and found["dims"] == sized)
