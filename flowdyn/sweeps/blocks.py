"""One block of a sweep: make its cells, look whether its file is whole, else run and write it.

name = hash(version, key, the recipes and starts of its cells)

What a hash cannot hold (functions of a user's own, whatever made a Dataset) goes by the user's `key`. A block holds its
name too: a file that was copied over another is not taken for it.
"""

import dataclasses
import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.results.blocked_arrays import Shape
from flowdyn.results.schema import FAILURE, SCHEMA
from flowdyn.results.storage import load, written
from flowdyn.results.sweep_files import NAME, stray
from flowdyn.running.joint_runs import CELL
from flowdyn.running.preparation import PreparedRun
from flowdyn.sweeps.cells import Cell, Failure, all_made, ready, run_cells
from flowdyn.sweeps.common_times import marks_of
from flowdyn.sweeps.joining_cells import digest_of, join_cells

DOUBTS = 256  # runs of a block that are asked for theirs: each takes a tenth of a millisecond


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker is told about a block."""

    make: Callable
    points: list[dict[str, int | float]]
    first: int
    store: str | None = None
    key: str | None = None
    known: Any = None  # what `make` has returned for the first point, where that was dear


@dataclasses.dataclass(frozen=True)
class Report:
    """What a worker says of a block."""

    first: int
    count: int
    source: Any  # path of its file, or the Dataset itself; None where it was lost
    shapes: dict[str, Shape]
    failures: dict[int, str]  # by cell of the grid
    reused: bool = False
    doubt: str = ""  # of one of its runs
    doubts: int = 0
    looked_at: int = 0  # runs that were asked for theirs
    marks: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # of the times of its cells


def run_block(job: Job) -> Report:
    """Run a block, unless its file is there and whole."""
    cells = [ready(job.known)] if job.known is not None else []
    cells += all_made(job.make, job.points[len(cells) :])
    path = None
    if job.store is not None:  # a name costs as much as a tenth of a short cell
        name, custom = identity(cells, job)
        path = Path(job.store) / name
        whole = whole_block(path, len(cells)) if custom == "" or job.key is not None else None
        if whole is not None:
            return report_of(job.first, whole, path, reused=True)
    looked_at = cells[:: -(-len(cells) // DOUBTS)]
    doubts = [doubt for cell in looked_at if isinstance(cell, PreparedRun) for doubt in cell.doubts()]
    run = run_cells(cells)
    names = list(job.points[0])
    points = {name: np.array([point[name] for point in job.points]) for name in names}
    ds = join_cells(run.pieces, run.failures, points)
    if path is not None:
        ds.attrs[NAME] = path.stem
        with warnings.catch_warnings():
            written(ds, path, overwrite=True)
    report = report_of(job.first, ds, ds if path is None else path)
    return dataclasses.replace(report, doubt=doubts[0] if doubts else "", doubts=len(doubts), looked_at=len(looked_at))


def report_of(first: int, ds: xr.Dataset, source: Any, reused: bool = False) -> Report:
    """What is to be said of a block that begins with cell `first`."""
    reasons = ds[FAILURE].values
    failures = {first + int(i): str(reasons[i]) for i in np.flatnonzero(reasons != "")}
    return Report(first, len(reasons), source, shapes_of(ds), failures, reused, marks=marks_of(ds))


def shapes_of(ds: xr.Dataset) -> dict[str, Shape]:
    """What the assembly of blocks needs to know."""
    shapes = {}
    for name, variable in ds.variables.items():
        dims = tuple(str(dim) for dim in variable.dims if dim != CELL)
        dtype = "text" if variable.dtype.kind in "OUT" else variable.dtype.newbyteorder("=").str
        shared = "" if CELL in variable.dims else digest_of(variable.values)
        sizes = tuple(variable.sizes[dim] for dim in dims)
        shapes[str(name)] = Shape(dims, sizes, dtype, name in ds.coords, shared)
    return shapes


def whole_block(path: Path, count: int) -> xr.Dataset | None:
    """A block's file if all of its content is what was written; None if it is gone, cut off, damaged or another's."""
    if not path.exists():
        return None
    try:
        with load(path, verify=True) as ds:
            found = ds.load() if isinstance(ds, xr.Dataset) else None
    except _check.FileError:
        return None
    if found is None or FAILURE not in found.variables or found.sizes.get(CELL) != count:
        return None
    return None if NAME not in found.attrs or stray(found, path) else found


def identity(cells: list[Cell], job: Job) -> tuple[str, str]:
    """Name of the block's file, and what in its cells cannot be hashed ("" if nothing)."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{SCHEMA} {_version()} {job.key!r}".encode())
    custom = ""
    for cell, point in zip(cells, job.points, strict=True):
        digest.update(json.dumps(point).encode())
        if isinstance(cell, Failure):
            continue
        if isinstance(cell, xr.Dataset):
            custom = custom or "the Datasets that `make` returns"
            continue
        custom = custom or _add_run(digest, cell)
    if custom and job.key is None:
        return f"cells-{job.first}.nc", custom
    return f"{digest.hexdigest()}.nc", custom


def _add_run(digest: Any, run: PreparedRun) -> str:
    """Add everything that a run depends on; name what is a user's own."""
    spec, arrays = run.described
    text = json.dumps([spec, run.told, run.start.t0, run.start.k0], sort_keys=True, default=_plain)
    digest.update(text.encode())
    times = np.asarray(run.options.t if np.ndim(run.options.t) else [], dtype=float)  # one end stands in the text
    named = {name: values for name, (_, values, _) in arrays.items()} | {"": run.start.states, "t": times}
    for name, values in named.items():
        array = np.asarray(values)
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array) if array.dtype.kind in "biuf" else str(array.tolist()).encode())
    if '"custom"' in text:
        return "functions of your own"
    return "functions in `observe`" if run.options.observe else ""


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()


@functools.cache
def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("flowdyn")


def lost(job: Job, reason: str) -> Report:
    """The report of a block whose worker is gone."""
    cells: Mapping[int, str] = {job.first + i: reason for i in range(len(job.points))}
    return Report(job.first, len(job.points), None, {}, dict(cells))
