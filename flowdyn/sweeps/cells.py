"""From points of a grid to one Dataset over them:  point -> make(**point) -> run -> its place along `cell`.

A cell that cannot be made, or whose run fails, is kept with its reason; the others go on.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import xarray as xr

from flowdyn import _check
from flowdyn.running.cell_runs import Joint, joint_form, prepare_asked, run_members, run_one
from flowdyn.running.joint_runs import run_joint
from flowdyn.running.preparation import PreparedRun
from flowdyn.sweeps.joining_cells import Piece, parts_of, piece_of

RETURNS = "must return (system, w0, options), as fd.rebuild does, or a Dataset"


class Failure(NamedTuple):
    """Why a cell has no run."""

    reason: str


Cell = PreparedRun | xr.Dataset | Failure


def all_made(make: Callable, points: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """What `make` gives at each point; a run is prepared by what is known of the one before."""
    cells: list[Cell] = []
    known = None
    for point in points:
        cell = made(make, point, known)
        cells.append(cell)
        if isinstance(cell, PreparedRun) and (known is None or cell.form is not known.form):
            known = cell
    return cells


def made(make: Callable, point: Mapping[str, Any], known: PreparedRun | None = None) -> Cell:
    """What `make` gives at a point: a run that is ready to start, a Dataset, or why there is none."""
    try:
        value = make(**point)
    except Exception as error:  # whatever a user's function raises belongs to its cell
        return Failure(_reason(error))
    return ready(value, known)


def ready(value: Any, known: PreparedRun | None = None) -> Cell:
    """What `make` has returned, checked."""
    if isinstance(value, xr.Dataset):
        if "flowdyn_schema" not in value.attrs:
            return Failure(f"`make` {RETURNS} made by flowdyn, got a Dataset of another origin")
        return value
    if not (isinstance(value, tuple) and len(value) == 3 and isinstance(value[2], Mapping)):
        return Failure(f"`make` {RETURNS}, got {_check.short(value)}")
    try:
        return prepare_asked(*value, known=known)
    except _check.FlowdynError as error:
        return Failure(str(error))


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    own = isinstance(error, _check.FlowdynError)
    return text if own else f"{type(error).__name__}: {text}"


class Run(NamedTuple):
    """Cells that were run: their results by place, and why others have none."""

    pieces: list[Piece]
    failures: dict[int, str]


def run_cells(cells: Sequence[Cell]) -> Run:
    """Run all cells, those of one form together."""
    found = Run([], {i: cell.reason for i, cell in enumerate(cells) if isinstance(cell, Failure)})
    alike: dict[Hashable, list[int]] = {}
    for i, cell in enumerate(cells):
        if isinstance(cell, xr.Dataset):
            found.pieces.append(piece_of(parts_of(cell), [i]))
        elif isinstance(cell, PreparedRun):
            form = joint_form(cell)
            alike.setdefault(("alone", i) if form is None else form, []).append(i)
    for places in alike.values():
        runs = [cells[i] for i in places]
        try:
            joined = _run(runs)  # type: ignore[arg-type]
        except _check.FlowdynError as error:
            found.failures.update(dict.fromkeys(places, str(error)))
            continue
        each = [places] if len(joined) == 1 else [[place] for place in places]
        for own, joint in zip(each, joined, strict=True):
            found.pieces.append(piece_of(joint.parts, own))
            found.failures.update({own[b]: reason for b, reason in joint.failures.items()})
    return found


def _run(runs: list[PreparedRun]) -> list[Joint]:
    """One result of all, or one of each."""
    if len(runs) == 1 and joint_form(runs[0]) is None:
        return [run_one(runs[0])]
    return run_members(runs) if runs[0].system.is_random else [run_joint(runs)]
