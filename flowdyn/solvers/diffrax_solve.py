"""ODEs by diffrax: compiled from end to end, with fixed or adaptive steps, and vmapped over initial conditions."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn.methods.systems import ODESystem, System
from flowdyn.solvers import kernels
from flowdyn.solvers.base import Result, Solver, Status, Support, Task, failure_status, is_bad
from flowdyn.solvers.crawling import AGAIN, REFUSED, coarsened_rows
from flowdyn.solvers.right_hand_side import RightHandSide
from flowdyn.solvers.stopping import OUT_OF_REACH
from flowdyn.solvers.tolerances import RERUNS, Path, absolute, breakpoints, relative_tolerance
from flowdyn.solvers.waking import FirstScales, first_scales, unscaled, woken_scale


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
MOST_DIFFRAX_STEPS = 100_000  # a NaN drift burns them all, one rejected step after the other
UNSOLVED = "the equations of an implicit step have no solution that was found; use a smaller `dt`"


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
    rtol : float, optional
        Relative tolerance of adaptive steps, 1e-8 unless given.
    atol : float, optional
        Absolute tolerance of all coordinates. Unless given, each has its own: ``1e-4 * rtol`` times the largest size
        that it has had, at most 1, so that a start of 1e-100 keeps its digits.
    dt : float, optional
        Fixed step; then there are no tolerances.
    max_step : float, optional
        Longest step of adaptive ones, in the units of t.
    breakpoints : sequence of float, optional
        Times that adaptive steps step onto, such as the jumps of a right-hand side.

    Raises
    ------
    ArgumentError
        If the method is another, a number is out of range, `dt` comes with what adaptive steps take, or Euler comes
        without `dt`.
    RunError
        By :func:`flowdyn.solve`, if a state diverges or is not finite, or the budget ends.

    Notes
    -----
    Stop rules are looked at where steps end: one that holds for less than a step may be passed over. Scipy and Exact
    look inside. No adaptive solver sees a pulse that is shorter than its step: name its edges in `breakpoints`, or
    bound the steps by `max_step`. Source: Kidger (2021); Tsitouras (2011) for Tsit5; Kvaerno (2004).

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
    max_step: float | None = None
    breakpoints: Sequence[float] = ()

    def __post_init__(self) -> None:
        _check.choice("method", self.method, METHODS)
        object.__setattr__(self, "breakpoints", breakpoints(self.breakpoints))
        for name in ("dt", "atol", "max_step"):
            if getattr(self, name) is not None:
                _check.real(name, getattr(self, name), positive=True)
        if self.dt is not None:
            if self.breakpoints or not self.rtol is self.atol is self.max_step is None:
                rule = "means fixed steps and excludes `rtol`, `atol`, `max_step` and `breakpoints`"
                raise _check.fail("dt", rule, self.dt, "give one or the other")
            return
        if not METHODS[self.method].adapts:
            raise _check.fail("dt", f"must be given for {self.method}, which has no error estimate", self.dt)
        rtol = 1e-8 if self.rtol is None else relative_tolerance(self.rtol, 1e-14)
        object.__setattr__(self, "rtol", rtol)

    def tighter(self) -> "Diffrax":
        """A tenth of the tolerances, or half the step."""
        if self.dt is not None:
            return dataclasses.replace(self, dt=self.dt / 2)
        assert self.rtol is not None
        rtol = max(self.rtol / 10, 1e-14)
        return dataclasses.replace(self, rtol=rtol, atol=None if self.atol is None else self.atol * rtol / self.rtol)

    def with_steps_below(self, h: float) -> "Diffrax":
        """The same tolerances, and `max_step` besides; fixed steps no longer than that."""
        if self.dt is not None:
            return dataclasses.replace(self, dt=min(h, self.dt))
        return dataclasses.replace(self, max_step=min(h, self.max_step or np.inf))

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

    def refuses_start(self, system: System, state0: np.ndarray) -> str | None:
        """Newton's method needs derivatives, which JAX does not have of a call back to numpy."""
        if self.is_explicit or not isinstance(system, ODESystem) or not system.is_traceable(state0):
            return None
        if by_structure(kernels.has_jacobian, system, state0.size):
            return None
        return "its implicit steps need derivatives of the right-hand side, which JAX does not have forwards"

    def run(self, task: Task) -> Result:
        """Run one initial condition as one compiled call."""
        if task.stop is not None and task.stop.holds(task.state0):
            return _stopped_at_once(task)
        return self._result(task, *self._for(task)._solve(task, task.state0))

    def _for(self, task: Task) -> "Diffrax":
        """With the absolute tolerance that a system has."""
        assert isinstance(task.system, ODESystem)
        return (
            self if self.rtol is None else dataclasses.replace(self, atol=absolute(self.atol, self.rtol, task.system))
        )

    def run_batch(self, task: Task, states0: np.ndarray) -> list[Result]:
        """Run all rows of `states0` in one program."""
        starts = [dataclasses.replace(task, state0=y0) for y0 in states0]
        held = np.array([task.stop is not None and task.stop.holds(y0) for y0 in states0])
        if held.all():
            return [_stopped_at_once(start) for start in starts]
        # an event that is already under way has no root: such members run from another's start, and are set aside
        runnable = np.where(held[:, None], states0[np.argmin(held)], states0)
        out, reruns = self._for(task)._solve(task, runnable)
        members = zip(starts, held, zip(*out, strict=True), strict=True)
        return [_stopped_at_once(start) if at_once else self._result(start, o, reruns) for start, at_once, o in members]

    def _solve(self, task: Task, states0: np.ndarray) -> tuple[tuple, int]:
        """Run the compiled program, and again while coordinates come back from below their tolerances."""
        from flowdyn.solvers import diffrax_program

        program, numbers = self._program(task)
        integrate = diffrax_program.integrate_batch if states0.ndim > 1 else diffrax_program.integrate
        scale, asleep = self._scales(task, states0)
        relative, coarse, runs = np.zeros(states0.shape, bool), np.zeros(states0.shape, bool), 0
        most_refused = np.full(states0.shape[:-1], REFUSED)
        while True:
            path = Path.at(states0, scale, asleep)
            tolerances = path._replace(seen=path.seen & ~coarse), relative, most_refused
            found = bind(integrate, task.system, program)(numbers, states0, tolerances)
            out, back, woken, crawl = found
            out, back, asks = tuple(map(np.asarray, out)), np.asarray(back), np.asarray(crawl.count) >= most_refused
            finer = self._woken_scales(task, scale, woken)
            if not asks.any() and (runs == RERUNS or not (back.any() or (finer < scale).any())):
                return out, runs
            relative, runs = relative | back, min(runs + 1, RERUNS)
            scale, asleep = finer, asleep & ~np.asarray(woken.which)
            if asks.any():
                f = RightHandSide(task, traceable=True)
                scale, rounding = coarsened_rows(crawl, asks, f, scale, self.rtol or 0.0)
                most_refused = np.where(asks & ~rounding.any(axis=-1), AGAIN * most_refused, most_refused)
                coarse, relative, asleep = coarse | rounding, relative & ~rounding, asleep & ~rounding

    def _scales(self, task: Task, states0: np.ndarray) -> FirstScales:
        """Scales of the starts, one a row; a user's own tolerance needs none."""
        if self.dt is not None or self.atol is not None:
            return unscaled(states0)
        if states0.all():
            return FirstScales(np.minimum(np.abs(states0), 1.0), np.zeros(states0.shape, bool))
        f, rtol = RightHandSide(task, traceable=True), self.rtol or 0.0
        rows = [first_scales(f, task.t0, state, rtol) for state in np.atleast_2d(states0)]
        return FirstScales(*(np.array(part).reshape(states0.shape) for part in zip(*rows, strict=True)))

    def _woken_scales(self, task: Task, scale: np.ndarray, woken: Any) -> np.ndarray:
        """Scales with those of the coordinates that woke, no larger than they were."""
        if not np.asarray(woken.which).any():
            return scale
        rows = zip(*map(np.atleast_1d, (woken.t,)), *map(np.atleast_2d, (scale, woken.which, woken.state)), strict=True)
        f, rtol = RightHandSide(task, traceable=True), self.rtol or 0.0
        finer = [
            np.where(which, np.minimum(old, woken_scale(f, t, state, rtol)), old) if which.any() else old
            for t, old, which, state in rows
        ]
        return np.array(finer).reshape(scale.shape)

    def _program(self, task: Task) -> tuple[Any, Any]:
        from flowdyn.solvers.diffrax_program import Numbers, Program

        assert task.t is not None
        stop = None if task.stop is None else (task.stop.traced, task.stop.spec)
        adaptive = self.dt is None
        follows = adaptive and self.atol is None
        program = Program(self.method, self.is_explicit, adaptive, follows, task.max_steps or MOST_DIFFRAX_STEPS, stop)
        limits = np.zeros(0) if task.stop is None else task.stop.thresholds
        steps = np.array(self.breakpoints), limits
        longest = np.inf if self.max_step is None else self.max_step
        return program, Numbers(task.t0, task.t, self.dt or 0.0, self.rtol or 0.0, self.atol or 0.0, longest, *steps)

    def _result(self, task: Task, out: tuple, reruns: int) -> Result:
        rows, t_end, y_end, flags, steps, rejected = out
        assert task.t is not None
        done, stopped, exhausted = map(bool, flags)
        stats = {"n_steps": int(steps), "n_rejected": int(rejected)} | ({"reruns": reruns} if reruns else {})
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
        message = ""
        if (
            status == "nonfinite"
            and not is_bad(y_end)
            and RightHandSide(task, traceable=True).is_finite_ahead(at, y_end)
        ):
            status, message = "stuck", OUT_OF_REACH if self.dt is None else UNSOLVED
        return Result(t=t, states=states, status=status, message=message, stats=stats, t_stop=at)
