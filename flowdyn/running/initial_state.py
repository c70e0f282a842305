"""Where a run starts: flat parameters, many of them, or a slice of an earlier Dataset with its clock.

How a start is read back from a Dataset stands here too: the state in a slice, and the start that a run was made from.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import System
from flowdyn.problems.base import Variable
from flowdyn.problems.inputs import same_labels
from flowdyn.results.recipes import read_json
from flowdyn.results.schema import FAILURE, SAVE, refuse_empty
from flowdyn.results.sealed_recipe import INITIAL, RECIPE, refuse_failed
from flowdyn.solvers.base import HUGE

BEHIND = "rows behind the end of a run hold none: take its last good one, e.g. "


@dataclasses.dataclass(frozen=True)
class Start:
    """State (S,) or states (B, S), with the time and step number there."""

    states: np.ndarray
    t0: float = 0.0
    k0: int = 0
    is_restart: bool = False

    def __post_init__(self) -> None:
        if not np.isfinite(self.states).all():
            raise _check.fail("w0", "must be finite", np.nan, BEHIND + "run.dropna('t').isel(t=-1)")
        largest = float(np.abs(self.states).max(initial=0.0))
        if largest > HUGE:
            raise _check.fail("w0", f"must be at most {HUGE:g} in size, beyond which a run counts as diverged", largest)


def start_from(system: System, w0: Any) -> Start:
    """State to start from, or one for each member, with its clock."""
    piece = slice_of(w0)
    if piece is not None:
        return _restart(system, piece)
    if system.are_starts(w0) or (isinstance(w0, np.ndarray | list | tuple) and _is_batch(system, w0)):
        return Start(np.stack([np.asarray(system.lift(system.ravel(row))) for row in w0]))
    return Start(np.array(system.lift(system.ravel(w0)), dtype=float))


def fitted(system: System, w0: Any) -> System:
    """The system with the names that a start has: a mapping, or a slice of a run that started from one."""
    if not isinstance(w0, xr.Dataset):
        return system.started_from(w0)
    names = str(w0.attrs.get("flowdyn_parameters", "")).split()
    text = str(w0[RECIPE].values.flat[0]) if RECIPE in w0.variables and w0[RECIPE].size else None
    refuse_failed("w0", w0, text)
    recipe = read_json(text, "its recipe") if text is not None else {}
    own = recipe.get("system") if isinstance(recipe, dict) else None
    if not (isinstance(own, dict) and "dict" in (own.get("args", {}).get("names") or {})):
        return system
    lead = {dim: 0 for dim in ("realization", "t") if dim in w0.dims}
    return system.started_from(
        {name: w0[name].isel(lead, missing_dims="ignore").values for name in names if name in w0}
    )


def _is_batch(system: System, w0: Any) -> bool:
    """Whether w0 is a matrix of starts, (B, P), and not one start of that shape."""
    try:
        shape = np.shape(w0)
    except ValueError:  # a ragged list is a pytree
        return False
    problem = system.on_problem
    if len(shape) != 2 or problem is None:
        return len(shape) == 2
    return shape[1] == problem.size and shape != problem.variables[0].shape and shape[0] > 0


def _restart(system: System, piece: Any) -> Start:
    problem = system.on_problem
    size = problem.size if problem else _entries(piece)
    variables = system.layout(size)
    own = problem.variables if problem else variables
    found, t, k = restart(piece, variables, len(own), system.coords)
    if "realization" in piece.dims:
        states = _member_states(system, found, variables, own)
    elif len(found) == len(variables):
        states = np.concatenate([np.ravel(found[v.name]) for v in variables])
    else:
        named = {v.name: found[v.name] for v in own}
        states = np.array(system.lift(system.ravel(named if len(named) > 1 else next(iter(named.values())))))
    if t is None:
        return Start(states)
    if not isinstance(system, RecursionSystem):
        return Start(states, t, k or 0, True)
    for step in ([] if k is None else [k]) + [system.increments.steps_until(t, 10**9)]:
        if abs(float(system.clock(step)) - t) <= 1e-9 * max(t, 1e-300):
            return Start(states, t, step, True)
    raise _check.fail(
        "w0",
        f"must be a slice at a time on the clock of {type(system).__name__}",
        t,
        "pass its arrays to start at t = 0",
    )


def _entries(piece: Any) -> int:
    members = piece.sizes.get("realization", 1)
    if "w" not in piece:  # a state of named pieces knows its own size
        return 0
    return sum(int(v.size) for v in piece[["w"]].values()) // members


def _member_states(system: System, found: dict, variables: Any, own: Any) -> np.ndarray:
    if not system.is_random:
        raise _check.fail("w0", "must hold one member for a deterministic system", "dim realization", "select one")
    full = variables if len(found) == len(variables) else own
    parts = [_check.real_array("w0", found[v.name]).reshape(len(found[v.name]), -1) for v in full]
    states = np.concatenate(parts, axis=1)
    return states if len(full) == len(variables) else np.stack([np.asarray(system.lift(row)) for row in states])


def slice_of(w0: Any) -> xr.Dataset | None:
    """`w0` if it is a Dataset at one time (a restart), None if it is something else."""
    if not isinstance(w0, xr.Dataset):
        return None
    refuse_empty("w0", w0, "a start")
    if w0.coords.get("t") is not None and w0.t.ndim:
        raise _check.fail(
            "w0", "must be a Dataset at one time", dict(w0.sizes), f"select one, e.g. run.isel({w0.t.dims[-1]}=-1)"
        )
    return w0


def restart(
    ds: xr.Dataset, variables: Sequence[Variable], needed: int, coords: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], float | None, int | None]:
    """Named pieces of the state in a slice, its time and its step number; the first `needed` pieces must be there.

    Labels of the slice must be those of the system, `coords`, and in their order: numbers go by position.
    """
    found = {}
    for i, v in enumerate(variables):
        if v.name in ds:
            dims = [dim for dim in v.dims if dim in ds[v.name].dims]
            found[v.name] = piece = np.asarray(ds[v.name].transpose(..., *dims).values)
            over = [str(dim) for dim in ds[v.name].dims if dim not in (*dims, "realization")]
            if over and piece.ndim - ("realization" in ds[v.name].dims) > len(v.shape):
                one = ", ".join(f"{dim}=0" for dim in over)
                raise _check.fail("w0", "must hold one run", dict(ds[v.name].sizes), f"select one, e.g. ds.isel({one})")
            if piece.shape[piece.ndim - len(v.shape) :] != v.shape:
                found_shape = _check.Words(f"shape {ds[v.name].shape}")
                raise _check.fail("w0", f"must hold {v.name!r} of shape {v.shape}", found_shape)
            for dim in dims:
                own = ds[dim].values if dim in ds.coords else None
                same_labels(f"w0.{v.name}", own, f"the problem's {dim}s", coords.get(dim))
        elif i < needed:
            raise _check.fail("w0", f"must hold the variable {v.name!r}", sorted(map(str, ds.data_vars)))
    t, k = (float(ds[name]) if name in ds.coords else None for name in ("t", "k"))
    if any(clock is not None and np.isnan(clock) for clock in (t, k)):
        raise _check.fail("w0", "must be finite", np.nan, BEHIND + _last_good(ds))
    return found, t, int(ds.k) if "k" in ds.coords else None


def _last_good(ds: xr.Dataset) -> str:
    """The way to a row that holds numbers: runs have times as their dimension, padded cells of sweeps numbers."""
    is_cell = FAILURE in ds.variables
    return f"run.dropna({SAVE!r}, how='all').isel({SAVE}=-1)" if is_cell else "run.dropna('t').isel(t=-1)"


def initial_of(recipe: Mapping[str, Any], ds: xr.Dataset, system: System, *, of_run: bool = True) -> Any:
    """Initial condition stored in a run: flat parameters, or a slice where the run was itself a restart.

    A ladder stores the parameters themselves, a run its state.
    """
    own = recipe.get("arrays", ds.variables)  # runs that were joined hold the starts of others too
    names = [str(name) for name in ds.variables if str(name).endswith(INITIAL) and name in own]
    named = {name.removesuffix(INITIAL): ds[name].reset_coords(drop=True) for name in names}
    if "t_initial" in recipe:
        clock = {"t": float(recipe["t_initial"])} | ({"k": int(recipe["k_initial"])} if "k_initial" in recipe else {})
        return xr.Dataset(named).drop_vars("t", errors="ignore").assign_coords(clock)
    lead = 1 if "start" in ds.dims else 0
    # runs of one start that were joined with others have theirs behind their own dimensions
    flat = [np.asarray(v.transpose("start", ..., missing_dims="ignore").values) for v in named.values()]
    state = np.concatenate([v.reshape(*v.shape[:lead], -1) for v in flat], axis=-1)
    if not of_run:
        return state
    return np.asarray([system.project(row) for row in state]) if lead else np.asarray(system.project(state))
