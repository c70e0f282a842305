"""Closed forms: quadratic losses mode by mode, flows that a problem knows, Ornstein-Uhlenbeck laws."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import matvec
from flowdyn._tools.randomness import RandomInputs
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import SDESystem, System
from flowdyn.solvers.base import Result, Solver, Support, Task, failure_status, is_bad
from flowdyn.solvers.ensembles import MemberBlock, run_ensemble
from flowdyn.solvers.ensembles_together import is_cheap
from flowdyn.solvers.member_runs import MemberRun
from flowdyn.solvers.segments import Segments
from flowdyn.solvers.step_program import StepProgram
from flowdyn.solvers.stopping import bisect, first_bracket
from flowdyn.theory.moments import root, transition

OCTAVE = 64  # points looked at in each doubling of the time


def _sample(system: SDESystem, when: Any, move: tuple, state: jax.Array, epoch_state: Any, draw: Any) -> jax.Array:
    phi, shift, factor = move
    return matvec(phi, state) + shift + matvec(factor, draw.numbers)


def _without_moves(task: Task) -> MemberRun:
    """A step from save to save, but for its law: nearly all of what a short run costs before it starts."""
    assert task.t is not None
    span = np.diff(task.t, prepend=task.t0)
    first = task.k0 + np.arange(len(span))
    segments = Segments(first, first + 1, task.t - span, span)
    return MemberRun(task, StepProgram(_sample, RandomInputs(numbers=task.state0.size)), segments)


@dataclasses.dataclass(frozen=True)
class Exact(Solver):
    r"""Evaluate the exact solution, or sample the exact law, at any time; a run costs the same however long it is.

    .. math:: w(t) = w_0 + V\big((1 - e^{-\lambda t}) \odot (m - V^\top w_0)\big), \qquad
              X_{t+\tau} \sim N(\Phi X_t + s,\, Q)

    Raises
    ------
    ArgumentError
        By :func:`flowdyn.solve`, if the system has no closed form, or none from this start.

    Notes
    -----
    Quadratic losses mode by mode, the decoupled flow of section 9.2.3, linearised models, Ornstein-Uhlenbeck laws;
    flows of matrix factors, balanced two-layer networks among them, span by span until they rest.
    Source: sections 9.1 and 9.5 with the exponential of a matrix; Van Loan (1978) for the covariance.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic([[2.0]])
    >>> run = fd.solve(fd.GradientDescent(p, eta=1e-9), [1.0], t=1.0, saves=2, solver=fd.solvers.Exact())
    >>> bool(abs(run.w[-1, 0] - 0.1353352832) < 1e-9)
    True
    """

    @property
    def support(self) -> Support:
        """Anything whose solution, or law, is known."""
        return Support((System,), "evaluates closed forms", plain_numpy=True, open_end=True)

    def refuses_system(self, system: System) -> str | None:
        """Only systems with a closed form or an exact law."""
        known = system.linear_law() if isinstance(system, SDESystem) else system.closed_form()
        return None if known else "it has no closed form here"

    def refuses_start(self, system: System, state0: np.ndarray) -> str | None:
        """Starts from which the closed form does not hold."""
        return system.lacks_closed_form(state0)

    def at_tolerance(self, rtol: float, explicit: bool) -> "Exact":
        """The same: a closed form is exact at any tolerance."""
        return self

    def ensemble(self, task: Task) -> Iterator[MemberBlock]:
        """Sample the exact law."""
        return run_ensemble(self.member_run(task))

    def member_run(self, task: Task) -> MemberRun:
        """From save to save: X(t + tau) ~ N(Phi X(t) + shift, Q)."""
        assert isinstance(task.system, SDESystem)
        law = task.system.linear_law()
        assert law is not None
        run = _without_moves(task)
        span = run.segments.h
        unit = max(float(span.max()), 1e-300)
        keys, inverse = np.unique(np.round(span / unit, 13), return_inverse=True)
        moves = [transition(law.A, law.D, law.force, float(key) * unit) for key in keys]
        extra = tuple(
            np.stack(part)[inverse] for part in zip(*((phi, shift, root(Q)) for phi, shift, Q in moves), strict=True)
        )
        return run._replace(segments=run.segments._replace(extra=extra))

    def noise_steps(self, task: Task) -> np.ndarray | None:
        """One draw a save, counted on from the step number of the start."""
        return None if task.t is None else task.k0 + 1 + np.arange(len(task.t))

    def fuses(self, task: Task) -> bool:
        """Each is a formula, whose cost is nothing beside a file's; a stop rule is looked for run by run."""
        if isinstance(task.system, SDESystem):
            return is_cheap(_without_moves(task))
        return task.stop is None

    def run(self, task: Task) -> Result:
        """States at the times asked, up to the first stop or overflow."""
        form = task.system.closed_form()
        assert form is not None
        discrete = isinstance(task.system, RecursionSystem)
        origin = task.k0 if discrete else task.t0

        def states(when: np.ndarray) -> np.ndarray:
            return form(task.state0, np.asarray(when, dtype=float) - origin)

        when = task.k if discrete else task.t
        end = None
        if task.stop is not None:
            when, end = _until_stop(task, states, when, discrete)
        assert when is not None
        rows = states(when)
        bad = is_bad(rows)
        if bad.any():
            first = int(np.argmax(bad))
            low = when[first - 1] if first else origin
            at = bisect(lambda x: bool(is_bad(states(np.array([x])))[0]), low, when[first], discrete)
            rows_ok, status = rows[:first], failure_status(states(np.array([at]))[0], task.state0)
            return _result(task, when[:first], rows_ok, discrete, status=status, t_stop=_clock(task, at, discrete))
        status = "reached_end" if end is None else "stopped"
        return _result(task, when, rows, discrete, status=status, t_stop=_clock(task, end, discrete))


def _clock(task: Task, when: float | None, discrete: bool) -> float:
    if when is None:
        return np.nan
    return float(task.system.clock(int(when))) if isinstance(task.system, RecursionSystem) else float(when)


def _result(task: Task, when: np.ndarray, rows: np.ndarray, discrete: bool, **more: Any) -> Result:
    if isinstance(task.system, RecursionSystem):
        k = np.asarray(when, dtype=np.int64)
        return Result(t=task.system.clock(k), states=rows, k=k, **more)
    return Result(t=np.asarray(when), states=rows, **more)


def _until_stop(
    task: Task, states: Callable, when: np.ndarray | None, discrete: bool
) -> tuple[np.ndarray, float | None]:
    """Save times up to the first stop (which is the last of them), and that time; None if no rule ever holds."""
    stop = task.stop
    assert stop is not None
    origin = task.k0 if discrete else task.t0
    if stop.holds(states(np.array([origin]))[0]):
        return np.array([origin]), float(origin)

    def margins(x: np.ndarray) -> np.ndarray:
        rows = states(x)
        return np.where(is_bad(rows)[:, None], np.nan, stop.rules(rows))

    found, times = None, np.array([origin])
    for times in _search(origin, None if when is None else float(when[-1]), discrete):
        found = first_bracket(margins, times, discrete)
        if found is not None or is_bad(states(times[-1:]))[0]:
            break
    if found is None:
        if when is not None:
            return when, None
        raise _check.RunError(f"`stop` is never met: {stop.describe} does not hold by t = {times[-1]:.3g}")
    end = bisect(lambda x: stop.holds(states(np.array([x]))[0]), *found, discrete)
    if when is not None:
        return np.append(when[when < end], end), end
    full = np.linspace(origin, end, task.saves)
    return (np.unique(np.rint(full)) if discrete else full), end


def _search(origin: float, end: float | None, discrete: bool) -> Iterator[np.ndarray]:
    """Times to look at, in pieces that begin where the last one ended: dense at every scale, since rates are unknown.

    From octave to octave 64 points; steps of a recursion come in pairs, as a mode with eta * lambda > 1 alternates.
    """
    span = 1.0 if discrete else 1e-6 if end is None else (end - origin) * 2.0**-40
    low = origin
    for _ in range(110):
        high = origin + span if end is None else min(origin + span, end)
        times = np.linspace(low, high, OCTAVE + 1)
        if discrete:
            whole = np.floor(times)
            times = np.unique(np.clip(np.concatenate([whole, whole + 1]), low, high))
        if len(times) > 1:
            yield times
        low = float(times[-1])
        if end is not None and low >= end:
            return
        span *= 2
