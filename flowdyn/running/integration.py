"""solve(): prepare a run, run it, label it."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, SupportsIndex

import xarray as xr
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._check import FlowdynWarning
from flowdyn._tools.progress import Report, meter
from flowdyn.methods.systems import System
from flowdyn.running.asked_options import told_of_solvers
from flowdyn.running.options import RunOptions
from flowdyn.running.outcome import Outcome
from flowdyn.running.preparation import PreparedRun, prepare
from flowdyn.running.run_dataset import label
from flowdyn.solvers.base import Solver, Task
from flowdyn.solvers.ensembles_together import run_together

MAX_BYTES = 2 << 30


@told_of_solvers
def solve(
    system: System,
    w0: Any,
    t: ArrayLike | None = None,
    *,
    steps: SupportsIndex | None = None,
    saves: SupportsIndex = 101,
    stop: Mapping[str, tuple[str, float]] | None = None,
    solver: Solver | None = None,
    realizations: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
    observe: Mapping[str, Callable] | None = None,
    observe_only: bool = False,
    on_divergence: Literal["raise", "keep"] = "raise",
    progress: bool | Callable[[float], None] | None = None,
    max_steps: SupportsIndex | None = None,
    max_seconds: float | None = None,
    max_bytes: SupportsIndex = MAX_BYTES,
) -> xr.Dataset:
    """Run a system from w0 and return a labelled xarray Dataset.

    Parameters
    ----------
    system : System
        A method (``GradientDescent(problem, eta)``), a flow (``GradientFlow(problem)``) or ``ODE(f)``.
    w0 : array_like of float, shape (P,), mapping, pytree or Dataset
        Start: flat parameters, named ones, a pytree like the problem's, or one time of an earlier Dataset (a restart:
        the clock goes on from there). Shape (B, P) runs B starts and adds the dimension ``start``.
    t : float or array_like of float, shape (T,)
        End time, or increasing save times, on the system's clock (eta * k for gradient descent), dimensionless. For a
        recursion an end is rounded down to a step, and save times must lie on the clock to 1e-9 relative. ``inf`` needs
        `stop`. Where the end is the start, that is the one save.
    steps : int, optional
        Number of steps of a recursion, in place of `t`.
    saves : int
        Number of save times where `t` is an end.
    stop : mapping, optional
        ``{"loss": ("<", 1e-12)}`` ends the run where the first rule holds: root-found in continuous time, at a step of
        a recursion or where there is noise. A single run's last row is the state there, and `t_stop` its time. Of
        several members or starts each ends by itself: its rows after its own `t_stop` are NaN while the others go on,
        so that a mean over members is one over those that no rule has met yet.
    solver : Solver, optional
        The first of :mod:`flowdyn.solvers` that supports the system, unless given.
    realizations : int, optional
        Members of an ensemble of a random system: adds the dimension ``realization``. Member i is the same whatever
        their number.
    seed : int
        Seed of random systems, 0 to 2**63 - 1; kept in the file.
    observe : mapping of str to callable, optional
        Functionals ``fn(w)`` to record, written with jax.numpy.
    observe_only : bool
        Keep observables at all times but the parameters at the first and last one only.
    on_divergence : {"raise", "keep"}
        What to do with a run that diverges or runs out of budget: raise, or keep the good part (NaN afterwards).
    progress : bool or callable, optional
        A bar on a terminal and in a notebook unless False, lines of where long work is elsewhere; or a function of the
        fraction done.
    max_steps : int, optional
        Most steps of the solver.
    max_seconds : float, optional
        Most wall time, in seconds.
    max_bytes : int, optional
        Most bytes of the result.

    Returns
    -------
    xarray.Dataset
        Parameters, observables and `status` over `t`, with the data and everything needed to run it again. `status`
        says how the run ended, of each member or start where there are several, and `t_stop` when it was stopped or
        broke off before `t`: NaN for those that reached the end, and no variable where all did.

    Raises
    ------
    ArgumentError
        If an argument breaks a rule, or the solver cannot run the system.
    RunError
        If the run diverges or exceeds a budget, unless ``on_divergence="keep"``; if `stop` is never met.

    Warns
    -----
    FlowdynWarning
        If the system doubts its step size, or JAX computes in float32.

    Notes
    -----
    Source: section 9.3.1, equations (9.87)-(9.90): descent at step eta beside its flow, on the common clock t = eta k.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearRegression([[1.0, 2.0]], [5.0])
    >>> run = fd.solve(fd.GradientFlow(p), p.init(), t=float("inf"), stop={"loss": ("<", 1e-10)})
    >>> run.w.isel(t=-1).values.round(4).tolist()
    [1.0, 2.0]
    """
    began = time.monotonic()
    given: dict[str, Any] = {"t": t, "steps": steps, "saves": saves, "stop": stop, "realizations": realizations}
    given |= {"seed": seed, "observe": observe, "observe_only": observe_only, "on_divergence": on_divergence}
    options = RunOptions(**given | {"max_steps": max_steps, "max_seconds": max_seconds})
    run = prepare(system, w0, options, solver, _check.integer("max_bytes", max_bytes, minimum=1))
    for doubt in run.doubts():
        warnings.warn(doubt, FlowdynWarning, stacklevel=3)  # at the caller of what `told_of_solvers` made
    with meter(progress, type(system).__name__, lines=True) as report:
        run, outcome = execute(run, report)
    outcome.refuse_bad_ends(on_divergence)
    ds = label(run, outcome)
    ds.attrs["wall_seconds"] = time.monotonic() - began
    return ds


def execute(run: PreparedRun, report: Report) -> tuple[PreparedRun, Outcome]:
    """Run it; the save times come back with the numbers of the solver's steps where its noise counts them."""
    task, observe_only = run.task(report), bool(run.options.observe_only)
    if run.system.is_random:
        run = _with_steps(run, task)
        return run, Outcome.from_blocks(run.solver.ensemble(task), run.times, run.observer, task, observe_only)
    results = run.solver.run_batch(task, run.start.states) if run.has_many_starts else [run.solver.run(task)]
    return run, Outcome.from_results(results, run.times, run.observer, task, observe_only)


def execute_together(runs: Sequence[PreparedRun]) -> list[tuple[PreparedRun, Outcome]]:
    """As :func:`execute`, random runs of one form whose solvers fuse them."""
    tasks = [run.task(lambda share: None) for run in runs]
    found = run_together([run.solver.member_run(task) for run, task in zip(runs, tasks, strict=True)])
    done = []
    for run, task, blocks in zip(runs, tasks, found, strict=True):
        only = bool(run.options.observe_only)
        run = _with_steps(run, task)
        done.append((run, Outcome.from_blocks(blocks, run.times, run.observer, task, only)))
    return done


def _with_steps(run: PreparedRun, task: Task) -> PreparedRun:
    """The run, its save times with the numbers of its solver's steps, by which its noise is counted."""
    if run.times.k is not None:
        return run
    return dataclasses.replace(run, times=dataclasses.replace(run.times, k=run.solver.noise_steps(task)))
