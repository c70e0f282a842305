"""ODEs by diffrax: compiled from end to end, with fixed or adaptive steps, and vmapped over initial conditions."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers.base import Result, Solver, Status, Support, Task, failure_status, is_bad


class _Method(NamedTuple):
    """Order of a method of diffrax, whether it has an error estimate to adapt steps by, and whether it is explicit."""

    order: int
    adapts: bool = True
    explicit: bool = True


METHODS = {
    "Tsit5": _Method(5),
    "Dopri5": _Method(5),
    "Dopri8": _Method(8),
    "Bosh3": _Method(3),
    "Heun": _Method(2),
    "Midpoint": _Method(2),
    "Ralston": _Method(2),
    "Euler": _Method(1, adapts=False),
    "Kvaerno3": _Method(3, explicit=False),
    "Kvaerno4": _Method(4, explicit=False),
    "Kvaerno5": _Method(5, explicit=False),
}
STAGE_RTOL, STAGE_ATOL = 1e-12, 1e-14  # of the equations of an implicit step of fixed size
MOST_DIFFRAX_STEPS = 100_000  # a NaN drift burns them all, one rejected step after the other


@dataclasses.dataclass(frozen=True)
class _Program:
    """What the compiled program depends on."""

    method: str
    adaptive: bool
    max_steps: int
    stop: tuple | None  # (traced margin, spec)


def _stepper(program: _Program) -> Any:
    import diffrax as dfx
    import optimistix as optx

    cls = getattr(dfx, program.method)
    if program.adaptive or METHODS[program.method].explicit:
        return cls()
    # with fixed steps there are no tolerances that the equations of a step could be solved to
    return cls(root_finder=optx.Newton(rtol=STAGE_RTOL, atol=STAGE_ATOL))


def _integrate(system: ODESystem, program: _Program, task: tuple, y0: jax.Array) -> tuple:
    import diffrax as dfx
    import optimistix as optx

    t0, ts, dt, rtol, atol, limits = task
    event = None
    if program.stop is not None:
        traced, spec = program.stop

        def margin(t: jax.Array, y: jax.Array, args: Any, **_: Any) -> jax.Array:
            return traced(system, spec, y, limits)

        event = dfx.Event(margin, optx.Bisection(rtol=1e-12, atol=1e-14))  # type: ignore[call-arg]
    solution = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, args: system.drift(t, y)),
        _stepper(program),
        t0,
        ts[-1],
        None if program.adaptive else dt,
        y0,
        saveat=dfx.SaveAt(subs=(dfx.SubSaveAt(ts=ts), dfx.SubSaveAt(t1=True))),
        stepsize_controller=dfx.PIDController(rtol, atol, dtmin=4e-16 * (ts[-1] - t0))
        if program.adaptive
        else dfx.ConstantStepSize(),
        event=event,
        max_steps=program.max_steps,
        adjoint=dfx.ForwardMode(),
        throw=False,
        progress_meter=dfx.NoProgressMeter(),
    )
    saved: Any = solution.ts, solution.ys
    (_, t_end), (rows, y_end) = saved
    codes = [dfx.RESULTS.successful, dfx.RESULTS.event_occurred, dfx.RESULTS.max_steps_reached]
    flags = jnp.stack([solution.result == code for code in codes])
    return rows, t_end[-1], y_end[-1], flags, solution.stats["num_steps"], solution.stats["num_rejected_steps"]


def _integrate_batch(system: ODESystem, program: _Program, task: tuple, states0: jax.Array) -> tuple:
    return jax.vmap(lambda y0: _integrate(system, program, task, y0))(states0)


def _stopped_at_once(task: Task) -> Result:
    """Result of a run whose stop rule holds at its start."""
    return Result(t=np.array([task.t0]), states=task.state0[None], status="stopped", t_stop=task.t0)


@dataclasses.dataclass(frozen=True)
class Diffrax(Solver):
    r"""Integration by a diffrax solver; a batch of initial conditions is one vmapped program.

    .. math:: s' = f(t, s), \qquad |\text{error of a step}| \le \mathrm{atol} + \mathrm{rtol}\,|s|

    Parameters
    ----------
    method : str
        Tsit5, Dopri5, Dopri8, Bosh3, Heun, Midpoint, Ralston, Euler; Kvaerno3, Kvaerno4, Kvaerno5 for stiff problems.
    rtol, atol : float, optional
        Tolerances of adaptive steps; 1e-8 and ``1e-4 * rtol`` unless given.
    dt : float, optional
        Fixed step; then there are no tolerances.

    Raises
    ------
    ArgumentError
        If the method is another, a tolerance is out of range, `dt` comes with tolerances, or Euler comes without `dt`.
    RunError
        By :func:`flowdyn.solve`, if a state diverges or is not finite, or the budget ends.

    Notes
    -----
    Stop rules are looked at where steps end: one that holds for less than a step may be passed over. Scipy and Exact
    look inside. Source: Kidger (2021); Tsitouras (2011) for Tsit5; Kvaerno (2004).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.GradientFlow(fd.problems.CustomProblem(lambda w: w**4 / 4, 1.0))
    >>> run = fd.solve(flow, 1.0, t=1.5, solver=fd.solvers.Diffrax("Dopri8", rtol=1e-10))
    >>> round(float(run.w.isel(t=-1).item()), 8)  # 1 / sqrt(1 + 2 t)
    0.5
    """

    method: str = "Tsit5"
    rtol: float | None = None
    atol: float | None = None
    dt: float | None = None

    def __post_init__(self) -> None:
        _check.choice("method", self.method, METHODS)
        if self.dt is not None:
            _check.real("dt", self.dt, positive=True)
            if self.rtol is not None or self.atol is not None:
                raise _check.fail(
                    "dt", "means fixed steps and excludes `rtol` and `atol`", self.dt, "give one or the other"
                )
            return
        if not METHODS[self.method].adapts:
            raise _check.fail("dt", f"must be given for {self.method}, which has no error estimate", self.dt)
        rtol = 1e-8 if self.rtol is None else _check.real("rtol", self.rtol, positive=True)
        if rtol < 1e-14:
            raise _check.fail("rtol", "must be at least 1e-14 in float64", self.rtol)
        object.__setattr__(self, "rtol", rtol)
        object.__setattr__(
            self, "atol", 1e-4 * rtol if self.atol is None else _check.real("atol", self.atol, positive=True)
        )

    def tighter(self) -> "Diffrax":
        """A tenth of the tolerances, or half the step."""
        if self.dt is not None:
            return dataclasses.replace(self, dt=self.dt / 2)
        assert self.rtol is not None and self.atol is not None
        rtol = max(self.rtol / 10, 1e-14)
        return dataclasses.replace(self, rtol=rtol, atol=self.atol * rtol / self.rtol)

    @property
    def is_explicit(self) -> bool:
        """Whether stiffness bounds its steps."""
        return METHODS[self.method].explicit

    @property
    def support(self) -> Support:
        """Ordinary differential equations to a finite end, in one compiled call."""
        return Support((ODESystem,), "integrates ODEs", max_seconds=False)

    @property
    def order(self) -> float:
        """Order of the method on smooth equations."""
        return METHODS[self.method].order

    @classmethod
    def example(cls) -> "Diffrax":
        """At a tight tolerance, so that errors are those of the test."""
        return cls(rtol=1e-10)

    @classmethod
    def variants(cls) -> tuple["Diffrax", ...]:
        """One solver a method of the library."""
        return tuple(cls(method, dt=None if how.adapts else 0.01) for method, how in METHODS.items())

    def with_step(self, h: float) -> "Diffrax":
        """At fixed steps dt = h."""
        return Diffrax(self.method, dt=h)

    def at_tolerance(self, rtol: float, explicit: bool) -> "Diffrax":
        """Dopri8 where it may be explicit, else Kvaerno5."""
        return Diffrax("Dopri8" if explicit else "Kvaerno5", rtol=rtol)

    def run(self, task: Task) -> Result:
        """Run one initial condition as one compiled call."""
        if task.stop is not None and task.stop.holds(task.state0):
            return _stopped_at_once(task)
        program, numbers = self._program(task)
        out = bind(_integrate, task.system, program)(numbers, task.state0)
        return self._result(task, tuple(map(np.asarray, out)))

    def run_batch(self, task: Task, states0: np.ndarray) -> list[Result]:
        """Run all rows of `states0` in one program."""
        program, numbers = self._program(task)
        starts = [dataclasses.replace(task, state0=y0) for y0 in states0]
        held = np.array([task.stop is not None and task.stop.holds(y0) for y0 in states0])
        if held.all():
            return [_stopped_at_once(start) for start in starts]
        # an event that is already under way has no root: such members run from another's start, and are set aside
        runnable = np.where(held[:, None], states0[np.argmin(held)], states0)
        out = [np.asarray(part) for part in bind(_integrate_batch, task.system, program)(numbers, runnable)]
        members = zip(starts, held, zip(*out, strict=True), strict=True)
        return [_stopped_at_once(start) if at_once else self._result(start, o) for start, at_once, o in members]

    def _program(self, task: Task) -> tuple[_Program, tuple]:
        assert task.t is not None
        stop = None if task.stop is None else (task.stop.traced, task.stop.spec)
        program = _Program(self.method, self.dt is None, task.max_steps or MOST_DIFFRAX_STEPS, stop)
        limits = np.zeros(0) if task.stop is None else task.stop.thresholds
        numbers = (task.t0, task.t, self.dt or 0.0, self.rtol or 0.0, self.atol or 0.0, limits)
        return program, numbers

    def _result(self, task: Task, out: tuple) -> Result:
        rows, t_end, y_end, flags, steps, rejected = out
        assert task.t is not None
        done, stopped, exhausted = map(bool, flags)
        stats = {"n_steps": int(steps), "n_rejected": int(rejected)}
        filled = np.isfinite(rows).all(axis=1)  # slots after an early end hold inf
        good = int(np.argmin(filled)) if not filled.all() else len(rows)
        t, states = task.t[:good], rows[:good]
        bad = is_bad(states)
        if bad.any():
            good = int(np.argmax(bad))
            t, states = t[:good], states[:good]
        if stopped:
            keep = t < t_end
            t, states = np.append(t[keep], t_end), np.vstack([states[keep], y_end])
            return Result(t=t, states=states, status="stopped", stats=stats, t_stop=float(t_end))
        if done and good == len(task.t):
            return Result(t=t, states=states, status="reached_end", stats=stats)
        last = states[-1] if good else task.state0
        status: Status = "max_steps" if exhausted and not is_bad(y_end) else failure_status(y_end, last)
        at = float(t_end) if np.isfinite(t_end) else float(t[-1]) if good else task.t0
        return Result(t=t, states=states, status=status, stats=stats, t_stop=at)
