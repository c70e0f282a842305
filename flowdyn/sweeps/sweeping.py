"""sweep(): a grid of numbers -> blocks of cells -> runs -> one Dataset, in memory or from a folder.

grid  ->  blocks  ->  make(**point)  ->  runs of one form together  ->  block (memory or file)  ->  Dataset
"""

import dataclasses
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn._check import FlowdynWarning
from flowdyn._tools.calls import told
from flowdyn._tools.progress import meter
from flowdyn.results.blocked_arrays import Block, merged_shapes
from flowdyn.results.storage import load, written
from flowdyn.results.sweep_files import INDEX, assembled, index_of
from flowdyn.sweeps.blocks import Report
from flowdyn.sweeps.common_times import rows_of
from flowdyn.sweeps.executors import check_sendable, known_workers, reports
from flowdyn.sweeps.grid import Grid, grid_of
from flowdyn.sweeps.joining_cells import different, join_cells, odd_ones, sizes_of, taken
from flowdyn.sweeps.planning import Plan, plan_of

BLOCK_BYTES = 32 << 20


@told
def sweep(
    make: Callable[..., Any],
    grid: Mapping[Any, Any],
    store: str | os.PathLike[str] | None = None,
    *,
    executor: Executor | None = None,
    workers: SupportsIndex | None = None,
    key: str | None = None,
    block: SupportsIndex | None = None,
    block_bytes: SupportsIndex = BLOCK_BYTES,
    progress: bool | Callable[[float], None] | None = None,
) -> xr.Dataset:
    """Run a function's systems over a grid of numbers and return one Dataset with the grid's names as dimensions.

    Parameters
    ----------
    make : callable
        ``make(**point)`` for a point of the grid, such as ``make(alpha=0.1, eta=0.01)``. It returns what
        :func:`flowdyn.rebuild` does, ``(system, w0, options)`` with the keyword arguments of :func:`flowdyn.solve`, or
        a Dataset that flowdyn made, of any kind, such as a ladder; not one of your own: numbers of your own go into
        ``observe=`` of a run.
    grid : mapping
        Names to their values, ``{"alpha": [0.1, 0.01], "seed": range(8)}``: every value of one with every value of
        the other. A tuple of names goes together: ``{("eta", "batch_size"): [(0.1, 1), (0.2, 4)]}`` is one dimension,
        ``eta_batch_size``.
    store : path-like, optional
        Folder that keeps each block of cells in a file when it is done. A sweep that was interrupted goes on from
        there; files that are damaged are made again. The result is read from it when it is asked for.
    executor : concurrent.futures.Executor, optional
        Who runs the blocks, e.g. dask's ``client.get_executor()``.
    workers : int, optional
        Number of processes to start, in place of `executor`.
    key : str, optional
        Stands for what a file cannot hold, functions of your own and what makes a Dataset: without it such a sweep
        does not go on from its store. Change it when you change the functions.
    block : int, optional
        Cells of a block; by default as many as fit `block_bytes` where they run as one program, and few where each
        runs by itself.
    block_bytes : int
        Bytes of results that a block holds at most, unless `block` is given.
    progress : bool or callable, optional
        A bar with the time left on a terminal and in a notebook unless False, lines elsewhere; or a function of the
        fraction done.

    Returns
    -------
    xarray.Dataset
        Everything that a cell's Dataset has, over the grid. Where all cells have the same times ``t`` is a dimension,
        as in a run; else the dimension is ``save``, and ``t`` stands over it and over those dimensions of the grid
        along which times differ, so that a mean over seeds keeps it. A cell without a run, or of other variables or
        sizes than most, is NaN, and says why in ``failure``.

    Raises
    ------
    ArgumentError
        If an argument breaks a rule.
    FileError
        If the store cannot be written.
    RunError
        If every cell failed, or a process of `executor` died.

    Warns
    -----
    FlowdynWarning
        If cells failed, a run is doubtful, or the sweep cannot go on from its store.

    Notes
    -----
    Cells whose systems differ in numbers alone share what is compiled; recursions among them run side by side in one
    program, and flows in one that uses all cores and lets each step at its own pace. Each cell has its own recipe:
    ``fd.rebuild(result.sel(alpha=0.1))`` gives its run, to the last bits or nearly (a sum over many runs side by side
    may round otherwise). Random cells, with ``realizations=`` or without, go through one program on all cores where
    they are short, to the bits that each has alone. Functions of your own are shared by cells that are given the same
    objects, with their numbers in ``args=``. Source: of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic([[2.0, 0.0], [0.0, 1.0]])
    >>> def make(eta, scale):
    ...     return fd.GradientDescent(p, eta), [scale, scale], {"steps": 50}
    >>> result = fd.sweep(make, {"eta": [0.1, 0.2, 0.4], "scale": [1.0, 2.0]})
    >>> dict(result.loss.isel(save=-1).sizes)
    {'eta': 3, 'scale': 2}
    """
    given, cells = grid_of(grid), _check.integer("block_bytes", block_bytes, minimum=1)
    if not callable(make):
        raise _check.fail("make", "must be a function of the grid's names", make)
    if workers is not None and executor is not None:
        raise _check.fail("workers", "must be None where `executor` is given", workers)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise _check.fail("executor", "must be one of concurrent.futures", executor, "or give workers=2")
    count = None if workers is None else _check.integer("workers", workers, minimum=1)
    if key is not None and not isinstance(key, str):
        raise _check.fail("key", "must be text", key)
    if count is not None:
        check_sendable(make)
    folder = None if store is None else _folder(store)
    size = None if block is None else _check.integer("block", block, minimum=1)
    plan = plan_of(make, given, folder, key, size, cells, count or known_workers(executor) or 1)
    if folder is not None and plan.custom and key is None:
        text = f"`store` keeps the blocks, but the sweep cannot go on from them: {plan.custom} cannot be hashed"
        warnings.warn(f"{text}; pass key=..., a text to change when you change them", FlowdynWarning, stacklevel=3)
    done = _run(plan, given, executor, count, progress)
    failures = {cell: reason for report in done for cell, reason in report.failures.items()}
    for text in _doubts(done, failures, given):
        warnings.warn(text, FlowdynWarning, stacklevel=3)
    return result_of(done, given, folder)


def _folder(store: Any) -> Path:
    if not isinstance(store, str | os.PathLike) or not os.fspath(store):
        raise _check.fail("store", "must be the path of a folder", store)
    path = Path(os.fspath(store)).expanduser().absolute()
    try:
        path.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # before anything is computed for it
            pass
    except FileExistsError:
        raise _check.fail("store", "must be a folder", str(store)) from None
    except OSError as error:
        raise _check.FileError(
            f"`store` must be a folder that can be made and written to, got {str(store)!r} ({error.strerror}); "
            "fd.load(store) reads one that is there"
        ) from None
    return path


def _run(plan: Plan, grid: Grid, executor: Executor | None, workers: int | None, progress: Any) -> list[Report]:
    done: list[Report] = []
    cells = 0
    # only the order of the jobs is fixed: a store may have been begun by any number of workers
    with meter(progress, f"sweep of {grid.count:,} cells", lines=True) as report:
        for found in reports(plan.jobs(), executor, workers):
            done.append(found)
            cells += found.count
            report(cells / grid.count)
    return _fitting(sorted(done, key=lambda report: report.first))


def _fitting(done: list[Report]) -> list[Report]:
    """The reports, those of blocks of other sizes than most as reports of failures."""
    found = [{name: sizes_of(s.dims, s.sizes) for name, s in report.shapes.items()} for report in done]
    odd = odd_ones(found, [report.count for report in done])
    fitting = []
    for i, report in enumerate(done):
        if i in odd:
            reason = str(different(odd[i]))
            all_of_it = dict.fromkeys(range(report.first, report.first + report.count), reason)
            all_of_it |= report.failures
            report = dataclasses.replace(report, source=None, shapes={}, marks={}, failures=all_of_it)
        fitting.append(report)
    return fitting


def _doubts(done: list[Report], failures: dict[int, str], grid: Grid) -> list[str]:
    """What is to be said of the sweep: cells that failed, and runs that are doubtful."""
    texts = []
    if failures:
        first = min(failures)
        (point,) = grid.points(first, first + 1)
        where = ", ".join(f"{name}={value:g}" for name, value in point.items())
        text = f"{len(failures)} of {grid.count:,} cells failed; the first, {where}: {failures[first]}"
        if len(failures) == grid.count:
            raise _check.RunError(f"every cell failed; the first, {where}: {failures[first]}")
        texts.append(f"{text} (`failure` of the result says why for each)")
    doubtful = sum(report.doubts for report in done)
    if doubtful:
        doubt = next(report.doubt for report in done if report.doubt)
        looked_at = sum(report.looked_at for report in done)
        texts.append(f"{doubtful} of {looked_at:,} cells that were looked at are doubtful; the first: {doubt}")
    return texts


def result_of(done: list[Report], grid: Grid, folder: Path | None) -> xr.Dataset:
    """The Dataset over a grid, from what is said of its blocks; read when it is asked for where they are files."""
    values = {axis.dim: axis.values for axis in grid.axes}
    blocks = [Block(report.first, report.count, _source(report, grid, folder)) for report in done]
    # a block whose cells all failed may have no times and no data: what the others share they share all the same
    lost = merged_shapes([report.shapes for report in done if len(report.failures) == report.count], len(done))
    shapes = merged_shapes([report.shapes for report in done if len(report.failures) < report.count], len(done))
    shapes = {name: shape._replace(shared="") for name, shape in lost.items()} | shapes
    clash = sorted(set(grid.dims) & {dim for shape in shapes.values() for dim in shape.dims})
    if clash:
        raise taken(clash[0])
    failed = np.array([cell for report in done for cell in report.failures], dtype=np.int64)
    named = [name for name, shape in shapes.items() if shape.is_coord]
    rows = rows_of({report.first: report.marks for report in done}, named, failed, grid)
    if folder is None:
        return assembled(values, blocks, shapes, rows, load).load()
    written(index_of(values, blocks, shapes, rows), folder / INDEX, overwrite=True)
    return assembled(values, blocks, shapes, rows, load)


def _source(report: Report, grid: Grid, folder: Path | None) -> Any:
    """Where the cells of a block are; those of one that was lost, or fits no other, are failures with their reasons."""
    name = f"lost-{report.first}.nc"
    if report.source is not None:
        if folder is not None:
            (folder / name).unlink(missing_ok=True)  # of an earlier try
        return report.source
    points = grid.values(np.arange(report.first, report.first + report.count))
    ds = join_cells([], {cell - report.first: reason for cell, reason in report.failures.items()}, points)
    return ds if folder is None else written(ds, folder / name, overwrite=True)
