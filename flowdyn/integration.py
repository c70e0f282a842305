"""solve(): match a system with a solver and a set of times, run it, and label the result."""

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flowdyn import _check, dataset, solvers
from flowdyn.compiled import float64_is_on
from flowdyn.grids import Grid, make_grid
from flowdyn.observing import Observer
from flowdyn.progress import meter
from flowdyn.registry import look_up
from flowdyn.solvers.base import Result, Solver, Task
from flowdyn.specs import describe, describe_solver
from flowdyn.systems import DiscreteSystem, OnProblem, System

MAX_BYTES = 2 << 30


def solve(
    system: System,
    w0: Any,
    t: Any = None,
    *,
    steps: int | None = None,
    saves: int = 101,
    stop: Mapping[str, tuple[str, float]] | None = None,
    solver: Solver | None = None,
    realizations: int | None = None,
    seed: int = 0,
    observe: Mapping[str, Callable] | None = None,
    observe_only: bool = False,
    on_divergence: str = "raise",
    progress: Any = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """Run a system from w0 and return a labelled xarray Dataset.

    Parameters
    ----------
    system : System
        A method (``GradientDescent(problem, eta)``), a flow (``GradientFlow(problem)``) or ``ODE(f)``.
    w0 : array_like (P,), mapping, pytree or Dataset
        Start: flat parameters, named ones, a pytree like the problem's, or one time of an earlier Dataset (a restart:
        the clock goes on from there). Shape (B, P) runs B starts and adds the dimension ``start``.
    t : float or array_like (T,)
        End time, or increasing save times, on the system's clock (eta * k for gradient descent). For a recursion an
        end is rounded down to a step, and save times must lie on the clock to 1e-9 relative. ``inf`` needs `stop`.
    steps : int, optional
        Number of steps of a recursion, in place of `t`.
    saves : int
        Number of save times where `t` is an end.
    stop : mapping, optional
        ``{"loss": ("<", 1e-12)}`` ends the run where the first rule holds (root-found in continuous time).
    solver : Solver, optional
        The first of :mod:`flowdyn.solvers` that supports the system, unless given.
    realizations : int, optional
        For random systems only.
    seed : int
        Seed of random systems; kept in the file.
    observe : mapping of str to callable, optional
        Functionals ``fn(w)`` to record, written with jax.numpy.
    observe_only : bool
        Keep observables at all times but the parameters at the first and last one only.
    on_divergence : {"raise", "keep"}
        What to do with a run that diverges or runs out of budget: raise, or keep the good part (NaN afterwards).
    progress : bool or callable, optional
        A bar on a terminal unless False; or a function of the fraction done.
    max_steps, max_seconds, max_bytes : optional
        Budgets: steps of the solver, wall time, bytes of the result.

    Returns
    -------
    xarray.Dataset
        Parameters, observables and `status` over `t`, with the data and everything needed to run it again.

    Raises
    ------
    ArgumentError
        If an argument breaks a rule.
    RunError
        If the run diverges or exceeds a budget, unless ``on_divergence="keep"``.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearRegression([[1.0, 2.0]], [5.0])
    >>> run = fd.solve(fd.GradientFlow(p), p.init(), t=float("inf"), stop={"loss": ("<", 1e-10)})
    >>> run.w.isel(t=-1).values.round(4).tolist()
    [1.0, 2.0]
    """
    began = time.monotonic()
    _check_choices(system, solver, realizations, on_divergence)
    states0, t0, k0, is_restart = _start(system, w0)
    batch = states0.ndim == 2
    first = states0[0] if batch else states0
    grid = make_grid(system, t, steps, _check.integer("saves", saves, minimum=2), t0, k0, bool(stop))
    _check_size(grid, states0, max_bytes)
    observer = Observer(system, observe, first)
    chosen = pick_solver(system, first, solver)
    doubt = system.warn_before(np.asarray(system.project(first)))
    if doubt:
        warnings.warn(doubt, _check.FlowdynWarning, stacklevel=2)
    with meter(progress, type(system).__name__) as report:
        task = Task(
            system=system,
            state0=first,
            t0=t0,
            k0=k0,
            t=grid.t,
            k=grid.k,
            saves=saves,
            stop=observer.stop(stop),
            max_steps=None if max_steps is None else _check.integer("max_steps", max_steps, minimum=1),
            max_seconds=None if max_seconds is None else _check.real("max_seconds", max_seconds, positive=True),
            progress=report,
        )
        results = chosen.run_batch(task, states0) if batch else [chosen.run(task)]
    for result in results:
        check_result(result, system, on_divergence, task.stop)
    options = {
        "t": None if steps is not None else ("array" if np.ndim(t) else "inf" if np.isinf(t) else float(t)),
        "steps": steps,
        "saves": saves,
        "stop": {name: list(rule) for name, rule in stop.items()} if stop else None,
        "seed": _check.integer("seed", seed, minimum=0),
        "observe": sorted(observe or {}),
        "observe_only": bool(observe_only),
        "on_divergence": on_divergence,
        "max_steps": max_steps,
        "max_seconds": max_seconds,
    }
    ds = _label(system, chosen, observer, grid, results, states0, batch, bool(observe_only), task, options)
    if is_restart:
        ds.attrs |= {"t_initial": t0} | ({"k_initial": k0} if isinstance(system, DiscreteSystem) else {})
    ds.attrs["wall_seconds"] = time.monotonic() - began
    return ds


def _check_choices(system: Any, solver: Any, realizations: Any, on_divergence: str) -> None:
    if not isinstance(system, System):
        raise _check.fail("system", "must be a flowdyn system", system, "e.g. fd.GradientFlow(problem) or fd.ODE(f)")
    if solver is not None and not isinstance(solver, Solver):
        names = ", ".join(f"fd.solvers.{name}(...)" for name in solvers.REGISTRY)
        raise _check.fail("solver", "must be a solver object", solver, f"one of {names}")
    if realizations is not None:
        raise _check.fail(
            "realizations", "must be None for a deterministic system", realizations, "every one would be equal"
        )
    _check.choice("on_divergence", on_divergence, ("raise", "keep"))
    if not float64_is_on():
        warnings.warn(
            "JAX runs in float32 (JAX_ENABLE_X64=0): results have 7 digits; unset the variable for float64",
            _check.FlowdynWarning,
            stacklevel=3,
        )


def _start(system: System, w0: Any) -> tuple[np.ndarray, float, int, bool]:
    """State(s) to start from, with the time and step number there."""
    piece = dataset.slice_of(w0)
    if piece is not None:
        return _restart(system, piece)
    if isinstance(w0, np.ndarray | list | tuple) and _is_batch(system, w0):
        rows = [np.asarray(system.lift(system.ravel(row))) for row in w0]
        return np.stack(rows), 0.0, 0, False
    return np.array(system.lift(system.ravel(w0)), dtype=float), 0.0, 0, False


def _is_batch(system: System, w0: Any) -> bool:
    """Whether w0 is a matrix of starts, (B, P), and not one start of that shape."""
    try:
        shape = np.shape(w0)
    except ValueError:  # a ragged list is a pytree
        return False
    if len(shape) != 2 or not isinstance(system, OnProblem):
        return len(shape) == 2
    return shape[1] == system.problem.size and shape != system.problem.variables[0].shape and shape[0] > 0


def _restart(system: System, piece: Any) -> tuple[np.ndarray, float, int, bool]:
    size = system.problem.size if isinstance(system, OnProblem) else sum(int(v.size) for v in piece[["w"]].values())
    own = system.problem.variables if isinstance(system, OnProblem) else system.layout(size)
    variables = system.layout(size)
    found, t, k = dataset.restart(piece, variables, len(own))
    state = np.array(
        system.lift(system.ravel({v.name: found[v.name] for v in own} if len(own) > 1 else found[own[0].name]))
    )
    if len(found) == len(variables):
        state = np.concatenate([np.ravel(found[v.name]) for v in variables])
    if t is None:
        return state, 0.0, 0, False
    if not isinstance(system, DiscreteSystem):
        return state, t, 0, True
    for step in ([] if k is None else [k]) + [system.increments.steps_until(t, 10**9)]:
        if abs(float(system.clock(step)) - t) <= 1e-9 * max(t, 1e-300):
            return state, t, step, True
    raise _check.fail(
        "w0",
        f"must be a slice at a time on the clock of {type(system).__name__}",
        t,
        "pass its arrays to start at t = 0",
    )


def pick_solver(system: System, state0: np.ndarray, solver: Solver | None) -> Solver:
    """`solver` if it supports the system, else refuse; None means the first of the registry that does."""
    if solver is not None:
        why = solver.refuses(system, state0)
        if why:
            raise _check.ArgumentError(f"`solver` {type(solver).__name__} cannot run {type(system).__name__}: {why}")
        return solver
    reasons = []
    for name in solvers.REGISTRY:
        candidate = look_up("solver", name, solvers.__name__, solvers.REGISTRY)()
        why = candidate.refuses(system, state0)
        if why is None:
            return candidate
        reasons.append(f"{name}: {why}")
    raise _check.ArgumentError(
        f"`solver` must support {type(system).__name__}, got none that does ({'; '.join(reasons)})"
    )


def _check_size(grid: Grid, states0: np.ndarray, max_bytes: int) -> None:
    rows = grid.saves if grid.t is None else len(grid.t)
    need = 3 * 8 * rows * states0.size  # states, their labelled copy, and the observables' working memory
    if need > max_bytes:
        raise _check.ArgumentError(
            f"`max_bytes` = {max_bytes:,} is below the {need:,} bytes that {rows} saves of {states0.size} numbers "
            "need; use fewer `saves`, observe_only=True with a short `t`, or raise max_bytes"
        )


def check_result(result: Result, system: System, on_divergence: str, stop: Any) -> None:
    """Raise for a run that ended badly, unless its good part is to be kept."""
    if result.status in ("reached_end", "stopped") or on_divergence == "keep":
        return
    raise _check.RunError(f'{ending(result, system, stop)}; on_divergence="keep" keeps the part before it')


def ending(result: Result, system: System, stop: Any) -> str:
    """One line that says how a run ended, with the time and the step."""
    where = f"t = {result.t_stop:.6g}"
    if isinstance(system, DiscreteSystem) and np.isfinite(result.t_stop):
        where += f" (step {system.increments.steps_until(result.t_stop, 10**12)})"
    last = f"; the last good save is t = {result.t[-1]:.6g}" if len(result.t) else ""
    words = {
        "reached_end": "",
        "stopped": f"{stop.describe if stop else ''} at {where}",
        "diverged": f"the run diverged at {where}{last}",
        "nonfinite": f"the run stopped being finite at {where}{last}",
        "max_steps": f"the run used up `max_steps` at {where}{last}",
        "max_seconds": f"the run used up `max_seconds` at {where}{last}",
    }
    detail = f" ({' '.join(result.message.split())})" if result.message else ""
    return words[result.status] + detail


def _label(
    system: System,
    solver: Solver,
    observer: Observer,
    grid: Grid,
    results: list[Result],
    states0: np.ndarray,
    batch: bool,
    observe_only: bool,
    task: Task,
    options: dict[str, Any],
) -> Any:
    """The Dataset of one run or of a batch."""
    variables = system.layout(states0.shape[-1])
    t, k, states = grid.align(results, states0.shape[-1])
    lead = ("start", "t") if batch else ("t",)
    values = _observables(observer, states)
    if observe_only:
        ends = states[:, [0, -1]] if states.shape[1] > 1 else states
        parts = [
            piece
            for i, name in enumerate(("first", "last"))
            for piece in _renamed(dataset.pieces(variables, _named(variables, ends[:, -i], batch), lead[:-1]), name)
        ]
    else:
        parts = dataset.pieces(variables, _named(variables, states, batch), lead)
    parts += dataset.pieces(observer.variables, {n: v if batch else v[0] for n, v in values.items()}, lead)
    status = [result.status for result in results]
    parts.append(dataset.status_piece(status if batch else status[0], ("start",) if batch else ()))
    t_stop = np.array([result.t_stop for result in results])
    if np.isfinite(t_stop).any():
        attrs = {"long_name": "time at which the run stopped or broke off"}
        parts.append(dataset.Piece("t_stop", ("start",) if batch else (), t_stop if batch else t_stop[0], attrs))
    spec, arrays = describe(system)
    parts += dataset.input_pieces(arrays)
    parts += dataset.initial_pieces(variables, states0, ("start",) if batch else ())
    coords = dataset.run_coords(system, t, k, grid.note)
    if batch:
        coords.append(dataset.axis("start", np.arange(len(states0))))
    if grid.requested is not None and len(grid.requested) != len(t):
        parts.append(dataset.Piece("t_requested", ("t_request",), grid.requested, {"long_name": "times asked for"}))
    endings = sorted({ending(result, system, task.stop) for result in results} - {""})
    name = type(system).__name__
    problem = f" of {type(system.problem).__name__}" if isinstance(system, OnProblem) else ""
    cited = system.problem.citation if isinstance(system, OnProblem) else ""
    attrs = dataset.provenance(
        "run",
        f"{name}{problem}",
        f"{system.summary}{f'; {cited}' if cited else ''}; solved by {type(solver).__name__}",
        system.references or cited or "none",
        flowdyn_system=spec,
        flowdyn_solver=describe_solver(solver),
        flowdyn_options=options,
        flowdyn_stats=_total([result.stats for result in results]),
        flowdyn_parameters=" ".join(
            v.name for v in (system.problem.variables if isinstance(system, OnProblem) else variables)
        ),
        seed=options["seed"],
        jax_enable_x64=int(float64_is_on()),
        stopped_by="; ".join(endings) or None,
        target=(system.problem.target_name or None) if isinstance(system, OnProblem) else None,
    )
    return dataset.build(parts, coords, system.coords, attrs)


def _named(variables: Any, states: np.ndarray, batch: bool) -> dict[str, np.ndarray]:
    return dataset.split_state(variables, states if batch else states[0])


def _renamed(parts: list[dataset.Piece], name: str) -> list[dataset.Piece]:
    return [
        p._replace(name=f"{p.name}_{name}", attrs={"long_name": f"{p.attrs['long_name']}, {name} state"}) for p in parts
    ]


def _observables(observer: Observer, states: np.ndarray) -> dict[str, np.ndarray]:
    """Observables (B, T, ...) of states (B, T, S); NaN where the states are."""
    flat = states.reshape(-1, states.shape[-1])
    good = np.isfinite(flat).all(axis=1)
    computed = observer.rows(flat[good])
    out = {}
    for variable in observer.variables:
        full = np.full((len(flat), *variable.shape), np.nan)
        full[good] = computed[variable.name]
        out[variable.name] = full.reshape(*states.shape[:2], *variable.shape)
    return out


def _total(stats: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Counters summed over the members of a batch."""
    return {name: sum(int(s.get(name, 0)) for s in stats) for name in sorted({key for s in stats for key in s})}
