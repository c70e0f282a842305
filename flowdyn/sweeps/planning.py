"""How a grid is cut into blocks: by the sweep and its workers, and as before where a store has been begun.

cells of a block = what fits the bytes, two a worker (runs that share a program),  few (others),  1 (Datasets)
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from flowdyn import _check
from flowdyn._tools.files import replacing
from flowdyn.running.cell_runs import joint_form
from flowdyn.running.preparation import PreparedRun
from flowdyn.sweeps.blocks import Job, identity
from flowdyn.sweeps.cells import Cell, Failure, ready
from flowdyn.sweeps.grid import Grid

MOST_FILES = 1000  # blocks of Datasets, where there are more cells
PARTS, FEW = 16, 8  # blocks that a sweep of one program is cut into at least; cells of a block that is none
TOGETHER = 256  # cells of a block at least, where nothing is kept of a sweep that is interrupted
EACH = 2  # blocks of a worker at least, so that none is left with the long one


@dataclasses.dataclass(frozen=True)
class Plan:
    """The blocks of a sweep."""

    make: Callable
    grid: Grid
    block: int  # cells of a block
    store: str | None
    key: str | None
    custom: str  # what in the first cell cannot be hashed
    known: Any = None  # what `make` returned for the first cell, where that was a Dataset

    def jobs(self) -> Iterator[Job]:
        """One job a block."""
        for first in range(0, self.grid.count, self.block):
            points = self.grid.points(first, min(first + self.block, self.grid.count))
            yield Job(self.make, points, first, self.store, self.key, self.known if first == 0 else None)


def plan_of(
    make: Callable, grid: Grid, folder: Path | None, key: str | None, block: int | None, block_bytes: int, workers: int
) -> Plan:
    """Cut a grid by a look at its first cell; a store that was begun is gone on with as it was cut."""
    kept = None if folder is None or key is None else folder / f"plan-{_plan_name(grid, key)}.json"
    store = None if folder is None else str(folder)
    if kept is not None and block is None and (known := _kept_plan(kept)) is not None:
        return Plan(make, grid, known, store, key, "what `key` stands for")
    (point,) = grid.points(0, 1)
    value, cell = _first(make, point)
    name, custom = identity([cell], Job(make, [point], 0))
    if kept is None and folder is not None and not custom:
        kept = folder / f"plan-{_plan_name(grid, name)}.json"
    known = None if kept is None or block is not None else _kept_plan(kept)
    share = grid.count if workers == 1 else max(-(-grid.count // (EACH * workers)), 1)
    size = block or known or min(_cells(cell, grid.count, block_bytes, folder is not None), share)
    if kept is not None:
        with replacing(kept) as temporary:
            temporary.write_text(json.dumps({"block": size}))
    return Plan(make, grid, size, store, key, custom, value if isinstance(value, xr.Dataset) else None)


def _first(make: Callable, point: dict[str, Any]) -> tuple[Any, Cell]:
    try:
        value = make(**point)
    except TypeError as error:
        if "argument" in str(error):  # called with names that it does not take
            raise _check.fail("make", f"must be a function of {', '.join(point)}", make, str(error)) from None
        return None, Failure(str(error))
    except Exception as error:  # told of its cell when that is run
        return None, Failure(str(error))
    cell = ready(value)
    if isinstance(cell, Failure) and "`make`" in cell.reason:
        raise _check.ArgumentError(cell.reason)
    return value, cell


def _cells(cell: Cell, count: int, block_bytes: int, is_kept: bool) -> int:
    """Cells of a block, from the first one."""
    if isinstance(cell, xr.Dataset):
        return -(-count // MOST_FILES)
    if isinstance(cell, Failure):
        return max(1, min(FEW, count // 64))
    if joint_form(cell) is None or not cell.fuses:
        return max(1, min(FEW, count // 64))
    least = cell.solver.gains_up_to if is_kept else max(cell.solver.gains_up_to, TOGETHER)
    return max(1, min(block_bytes // _bytes(cell), max(least, -(-count // PARTS))))


def _bytes(run: PreparedRun) -> int:
    """Of one cell's results, about."""
    row = run.first.size + sum(variable.size for variable in run.observer.variables) + 2
    return 8 * row * run.members * (run.times.saves if run.times.t is None else len(run.times.t)) + 2048


def _plan_name(grid: Grid, key: str) -> str:
    text = json.dumps([key, [[axis.dim, {n: v.tolist() for n, v in axis.values.items()}] for axis in grid.axes]])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _kept_plan(path: Path) -> int | None:
    try:
        size = json.loads(path.read_text())["block"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) and size > 0 else None
