"""solve(): match a system with a solver and a set of times, run it, and label the result."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn._tools.progress import meter
from flowdyn.methods.systems import System
from flowdyn.running.initial_state import Start, start_from
from flowdyn.running.observer import Observer
from flowdyn.running.outcome import of_blocks, of_results, refuse_bad_ends
from flowdyn.running.run_dataset import label
from flowdyn.running.save_times import Grid, make_grid
from flowdyn.solvers.base import Solver, Task
from flowdyn.solvers.selection import check_choices, pick_solver, refuse_stiffness

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
        Members of an ensemble of a random system: adds the dimension ``realization``. Member i is the same whatever
        their number.
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
    check_choices(system, solver, on_divergence)
    start = start_from(system, w0)
    members = _members(system, realizations, start)
    many = start.states.ndim == 2
    first = start.states[0] if many else start.states
    system.check_start(first)
    if isinstance(t, str | bytes | bool):
        raise _check.fail("t", "must be an end time or an array of times", t)
    has_end = not system.is_random or stop is None or not _is_open(t)
    if not has_end:
        raise _check.fail("t", "must be finite for a random system", t, "give an end; `stop` ends members before it")
    grid = make_grid(system, t, steps, _check.integer("saves", saves, minimum=2), start.t0, start.k0, bool(stop))
    observer = Observer(system, observe, first)
    rules = observer.stop(stop)
    rows = len(start.states) if many and not system.is_random else members
    _check_size(grid, rows, observer, observe_only, max_bytes)
    chosen = pick_solver(system, first, solver)
    if grid.t is not None:
        chosen = chosen.effective(system, float(grid.t[-1]) - start.t0)
    refuse_stiffness(system, chosen, np.inf if grid.t is None else float(grid.t[-1]))
    doubt = system.warn_before(np.asarray(system.project(first)))
    if doubt:
        warnings.warn(doubt, _check.FlowdynWarning, stacklevel=2)
    options = {
        "t": None if steps is not None else ("array" if np.ndim(t) else "inf" if np.isinf(t) else float(t)),
        "steps": steps,
        "saves": saves,
        "stop": {name: list(rule) for name, rule in stop.items()} if stop else None,
        "realizations": realizations,
        "seed": checked_seed(seed),
        "observe": sorted(observe or {}),
        "observe_only": bool(observe_only),
        "on_divergence": on_divergence,
        "max_steps": max_steps,
        "max_seconds": max_seconds,
    }
    with meter(progress, type(system).__name__) as report:
        task = Task(
            system=system,
            state0=first,
            t0=start.t0,
            k0=start.k0,
            t=grid.t,
            k=grid.k,
            saves=saves,
            stop=rules,
            max_steps=None if max_steps is None else _check.integer("max_steps", max_steps, minimum=1),
            max_seconds=None if max_seconds is None else _check.real("max_seconds", max_seconds, positive=True),
            progress=report,
            seed=seed,
            members=members,
            states0=start.states if many and system.is_random else None,
        )
        if system.is_random:
            grid = grid if grid.k is not None else dataclasses.replace(grid, k=chosen.counters(task))
            outcome = of_blocks(chosen.ensemble(task), grid, observer, task, bool(observe_only))
        else:
            results = chosen.run_batch(task, start.states) if many else [chosen.run(task)]
            outcome = of_results(results, grid, observer, task, bool(observe_only))
    refuse_bad_ends(outcome, on_divergence)
    dim = ("" if realizations is None and not many else "realization") if system.is_random else "start" if many else ""
    ds = label(system, chosen, observer, grid, outcome, start, dim, task, options)
    ds.attrs["wall_seconds"] = time.monotonic() - began
    return ds


def checked_seed(seed: Any) -> int:
    """A seed is the 64-bit key of the random numbers: a larger one would lose its head without a word."""
    if _check.integer("seed", seed, minimum=0) >= 2**63:
        raise _check.fail("seed", "must be below 2**63", seed)
    return int(seed)


def _is_open(t: Any) -> bool:
    return t is not None and np.ndim(t) == 0 and bool(np.isinf(float(t)))


def _members(system: System, realizations: Any, start: Start) -> int:
    """Number of members of an ensemble; 1 for a single run."""
    if not system.is_random:
        if realizations is not None:
            raise _check.fail(
                "realizations", "must be None for a deterministic system", realizations, "every one would be equal"
            )
        return 1
    count = 1 if realizations is None else _check.integer("realizations", realizations, minimum=1)
    if start.states.ndim == 2:
        if not start.is_restart:
            raise _check.fail("w0", "must be one start for a random system", f"{len(start.states)} of them")
        if realizations is not None and count != len(start.states):
            raise _check.fail("realizations", f"must be the {len(start.states)} members of `w0`, or None", count)
        return len(start.states)
    return count


def _check_size(grid: Grid, members: int, observer: Observer, observe_only: bool, max_bytes: int) -> None:
    rows = grid.saves if grid.t is None else len(grid.t)
    observed = sum(v.size for v in observer.variables)
    size = observer.state0.size
    if members > 1 and observe_only:
        need = 2 * 8 * members * (rows * observed + 2 * size)  # the record and its labelled copy
    else:
        need = 3 * 8 * rows * size * members  # states, their labelled copy, and the observables' working memory
    if need > max_bytes:
        raise _check.ArgumentError(
            f"`max_bytes` = {max_bytes:,} is below the {need:,} bytes that {rows} saves of {size} numbers"
            f"{f' and {members:,} members' if members > 1 else ''} need; use fewer `saves`, observe_only=True, or "
            "raise max_bytes"
        )
