"""Text in an HDF5 file: references of 16 bytes, in the data, to objects of heaps; read without following them.

HDF5 follows a reference wherever it leads, for ever if it leads into zeros, and reads the same long string as often as
it is referred to. So references and heaps are read as they stand in the file, and compared, before any is followed.
"""

import math
import mmap
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5z  # pyright: ignore[reportAttributeAccessIssue]

REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])
Heaps = dict[int, dict[int, int]]  # by address: size by index


def heaps_of(raw: mmap.mmap) -> Heaps | None:
    """Sizes of the objects of each global heap, which holds text; None if one of them does not come to its end.

    HDF5 has no checksum on these, and reads an object of no size for ever. Layout of version 1: signature and version
    (8 bytes), size (8), then objects of index (2), count (2), nothing (4), size (8) and content in units of 8; an
    object of index 0 is what is left free, and its size counts its header.
    """
    sizes = raw[9:11] if raw[8] >= 2 else raw[13:15]
    if sizes != b"\x08\x08":  # of addresses and lengths: netCDF has no others
        return None
    heaps: Heaps = {}
    for found in re.finditer(rb"GCOL\x01\0\0\0", raw):
        at = found.start()
        objects = heaps[at] = {}
        end = at + int.from_bytes(raw[at + 8 : at + 16], "little")
        at += 16
        while at + 16 <= end:
            index, size = int.from_bytes(raw[at : at + 2], "little"), int.from_bytes(raw[at + 8 : at + 16], "little")
            step = 16 + -(-size // 8) * 8 if index else size
            if step < 16 or step > end - at:
                return None
            if index:
                objects[index] = size
            at += step
    return heaps


def references(item: h5py.Dataset, path: Path, size: int) -> Iterator[np.ndarray | None]:
    """References of a variable of text, in pieces; None for a piece that is not what it must be.

    `size`: bytes of the file, which no piece can exceed.
    """
    plist = item.id.get_create_plist()
    layout = plist.get_layout()
    if layout == h5d.CONTIGUOUS:
        offset, wanted = item.id.get_offset(), math.prod(item.shape) * REFERENCE.itemsize
        if offset is not None:
            with open(path, "rb") as file:
                file.seek(offset)
                yield _as_references(file.read(min(wanted, size)), wanted)
    elif layout == h5d.CHUNKED:
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        wanted = math.prod(item.chunks or ()) * REFERENCE.itemsize
        for i in range(item.id.get_num_chunks()):
            chunk = item.id.get_chunk_info(i)
            if chunk.size > size:
                yield None
                return
            skipped, raw = item.id.read_direct_chunk(chunk.chunk_offset)
            yield _as_references(_unfiltered(raw, filters, skipped, wanted), wanted)
    else:
        yield None  # in the header: netCDF keeps no text there


def _as_references(raw: bytes | None, wanted: int) -> np.ndarray | None:
    return np.frombuffer(raw, REFERENCE) if raw is not None and len(raw) == wanted else None


def _unfiltered(raw: bytes, filters: list[int], skipped: int, wanted: int) -> bytes | None:
    """Undo the filters of a chunk, last first, but for those that its mask says were `skipped`."""
    for i, kind in reversed(list(enumerate(filters))):
        if skipped >> i & 1:
            continue
        if kind == h5z.FILTER_FLETCHER32:
            raw = raw[:-4]
        elif kind == h5z.FILTER_SHUFFLE:
            whole = len(raw) // REFERENCE.itemsize * REFERENCE.itemsize  # what is left over stays where it is
            raw = np.frombuffer(raw[:whole], np.uint8).reshape(REFERENCE.itemsize, -1).T.tobytes() + raw[whole:]
        elif kind == h5z.FILTER_DEFLATE:
            inflate: Any = zlib.decompressobj()
            try:
                raw = inflate.decompress(raw, wanted + 4)
            except zlib.error:
                return None
        else:
            return None
    return raw
