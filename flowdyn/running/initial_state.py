"""Where a run starts: flat parameters, many of them, or a slice of an earlier Dataset with its clock."""

from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check
from flowdyn.methods.systems import OnProblem, Recursion, System
from flowdyn.problems.inputs import labels_of, same_labels
from flowdyn.results import dataset


class Start(NamedTuple):
    """State (S,) or states (B, S), with the time and step number there."""

    states: np.ndarray
    t0: float = 0.0
    k0: int = 0
    is_restart: bool = False


def start_from(system: System, w0: Any) -> Start:
    """State(s) to start from."""
    piece = dataset.slice_of(w0)
    if piece is not None:
        return _restart(system, piece)
    if isinstance(system, OnProblem) and len(system.problem.variables) == 1 and np.ndim(w0) == 1:
        (dim, *_) = system.problem.variables[0].dims or ("",)
        same_labels("w0", labels_of(w0, 0), f"the problem's {dim}s", system.problem.coords.get(dim))
    if isinstance(w0, np.ndarray | list | tuple) and _is_batch(system, w0):
        return Start(np.stack([np.asarray(system.lift(system.ravel(row))) for row in w0]))
    return Start(np.array(system.lift(system.ravel(w0)), dtype=float))


def _is_batch(system: System, w0: Any) -> bool:
    """Whether w0 is a matrix of starts, (B, P), and not one start of that shape."""
    try:
        shape = np.shape(w0)
    except ValueError:  # a ragged list is a pytree
        return False
    if len(shape) != 2 or not isinstance(system, OnProblem):
        return len(shape) == 2
    return shape[1] == system.problem.size and shape != system.problem.variables[0].shape and shape[0] > 0


def _restart(system: System, piece: Any) -> Start:
    size = system.problem.size if isinstance(system, OnProblem) else _entries(piece)
    own = system.problem.variables if isinstance(system, OnProblem) else system.layout(size)
    variables = system.layout(size)
    found, t, k = dataset.restart(piece, variables, len(own))
    if "realization" in piece.dims:
        states = _members(system, found, variables, own)
    elif len(found) == len(variables):
        states = np.concatenate([np.ravel(found[v.name]) for v in variables])
    else:
        states = np.array(
            system.lift(system.ravel({v.name: found[v.name] for v in own} if len(own) > 1 else found[own[0].name]))
        )
    if t is None:
        return Start(states)
    if not isinstance(system, Recursion):
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
    return sum(int(v.size) for v in piece[["w"]].values()) // members


def _members(system: System, found: dict, variables: Any, own: Any) -> np.ndarray:
    if not system.is_random:
        raise _check.fail("w0", "must hold one member for a deterministic system", "dim realization", "select one")
    full = variables if len(found) == len(variables) else own
    parts = [_check.real_array("w0", found[v.name]).reshape(len(found[v.name]), -1) for v in full]
    states = np.concatenate(parts, axis=1)
    return states if len(full) == len(variables) else np.stack([np.asarray(system.lift(row)) for row in states])
