"""The loop that drives one of scipy's steppers.

``solve_ivp`` hangs on NaN and calls a NaN state a success; here each step is checked: finiteness, stop rules (looked
for on the dense output), step and time budgets, progress. The Jacobian is exact, from autodiff.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import integrate

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers import kernels
from flowdyn.solvers.base import HUGE, Result, Status, Task, ThinnedRecord, failure_status
from flowdyn.solvers.stopping import POINTS, bisect, first_bracket

METHODS = {
    "LSODA": integrate.LSODA,
    "RK45": integrate.RK45,
    "DOP853": integrate.DOP853,
    "RK23": integrate.RK23,
    "Radau": integrate.Radau,
    "BDF": integrate.BDF,
}
IMPLICIT = ("LSODA", "Radau", "BDF")
MOST_SCIPY_STEPS = 200_000
FOREVER = 1e300  # an open-ended run that comes so far has found its rest
AT_REST = 1e15  # first steps, after which a bad end is no singularity: a system at rest moves by rounding alone
PATIENCE = 200  # non-finite evaluations, or steps at the resolution of t, in a row before a run is given up


class _GiveUpError(Exception):
    """Raised inside a right-hand side to leave a stepper that would never return."""


class _RaisedError(Exception):
    """Carries what a user's function raised, and when, past the handlers of a stepper."""

    def __init__(self, error: Exception, t: float):
        super().__init__(str(error))
        error.add_note(f"raised by the right-hand side at t = {t:.6g}")
        self.error = error


class Options(NamedTuple):
    """What a stepper of scipy is told."""

    method: str
    rtol: float
    atol: float
    max_step: float | None


class Drive:
    """One run of a stepper."""

    def __init__(self, options: Options, task: Task):
        self.task, self.options = task, options
        self.end = np.inf if task.t is None else float(task.t[-1])
        self.nonfinite_calls = 0
        self.rows_t: list[float] = []
        self.rows: list[np.ndarray] = []
        self.record = ThinnedRecord(task.saves)
        self.steps = self.stuck = 0
        self.first_step = 0.0
        self.stepping = True

    def right_hand_side(self) -> tuple[Callable, Callable | None]:
        """Numpy functions f(t, y) and its Jacobian (None for a plain-numpy system)."""
        system, task = self.task.system, self.task
        assert isinstance(system, ODESystem)
        traceable = system.is_traceable(task.state0)
        compiled = bind(kernels.drift, system) if traceable else system.drift

        def fun(t: float, y: np.ndarray) -> np.ndarray:
            try:
                value = np.array(compiled(t, y), dtype=float)  # a copy: a function may reuse what it returned
            except Exception as error:
                raise _RaisedError(error, t) from error
            if np.isfinite(value).all():
                self.nonfinite_calls = 0
            else:
                self.nonfinite_calls += 1
            # a dense output may call it too, and must be finished
            if self.stepping and (self.nonfinite_calls > PATIENCE or task.out_of_time()):
                raise _GiveUpError
            return value

        if not traceable or self.options.method not in IMPLICIT:
            return fun, None
        jacobian = bind(kernels.jacobian, system)
        return fun, lambda t, y: np.asarray(jacobian(t, y))

    def stepper(self) -> integrate.OdeSolver:
        """The scipy stepper at the start."""
        task, options = self.task, self.options
        fun, jacobian = self.right_hand_side()
        more: dict[str, Any] = {} if jacobian is None else {"jac": jacobian}
        if options.max_step is not None:
            more["max_step"] = options.max_step
            more["first_step"] = min(options.max_step, self.end - task.t0)
        if task.t is None and options.method != "LSODA":  # their first guess of a step divides by the span
            more.setdefault("first_step", 1e-6)
        more |= {"rtol": options.rtol, "atol": options.atol}
        return METHODS[options.method](fun, task.t0, task.state0, self.end, **more)

    def result(self) -> Result:
        """Drive the stepper until something ends the run; what a user's function raises is passed on."""
        try:
            return self.drive()
        except _RaisedError as raised:
            raise raised.error from None

    def drive(self) -> Result:
        """Step until something ends the run."""
        task = self.task
        if task.stop is not None and task.stop.holds(task.state0):
            return self.finish(None, "stopped", task.t0, task.state0)
        if task.t is not None and task.t[0] == task.t0:
            self.keep(task.t0, task.state0)
        if task.t is not None and task.t[-1] == task.t0:
            return self.finish(None, "reached_end")
        self.record.add(0, task.t0, task.state0)
        stepper = self.stepper()
        while True:
            ended = self.step(stepper)
            if ended is not None:
                if ended.status in ("diverged", "nonfinite"):
                    self.refuse_rest(stepper.t)
                return ended

    def step(self, stepper: integrate.OdeSolver) -> Result | None:
        """Take one step; a Result when the run is over."""
        task, t_old, y_old = self.task, stepper.t, stepper.y.copy()  # LSODA may write over its own
        self.stepping = True
        try:
            stepper.step()
        except _GiveUpError:
            if task.max_seconds is not None and task.out_of_time():
                return self.finish(stepper, "max_seconds", t_old, y_old)
            return self.finish(stepper, "nonfinite", t_old, y_old, "drift is not finite")
        except ValueError as error:  # implicit steppers factorise a matrix that is not finite
            return self.finish(stepper, "nonfinite", t_old, y_old, str(error))
        finally:
            self.stepping = False
        self.steps += 1
        if self.steps == 1:
            self.first_step = stepper.t - t_old
        if not np.abs(stepper.y).max() <= HUGE:
            return self.finish(stepper, failure_status(stepper.y, y_old), t_old, y_old)
        if stepper.status == "failed":
            return self.finish(
                stepper, self.why_stuck(y_old), t_old, y_old, "the step size fell below the spacing of t"
            )
        # LSODA creeps towards a singularity for ever instead of failing
        self.stuck = self.stuck + 1 if stepper.t - t_old <= 8 * np.spacing(stepper.t) else 0
        if self.stuck > PATIENCE:
            return self.finish(stepper, self.why_stuck(y_old), t_old, y_old, "the step size fell to the spacing of t")
        if task.stop is not None:
            dense = stepper.dense_output()
            root = self.crossing(dense, t_old, stepper.t)
            if root is not None:
                self.save_until(dense, t_old, root)
                return self.finish(stepper, "stopped", root, dense(root))
        if task.t is None:
            self.record.add(self.steps, stepper.t, stepper.y.copy())
        else:
            self.save_until(stepper.dense_output, t_old, stepper.t)
            task.progress((stepper.t - task.t0) / (self.end - task.t0))
        self.refuse_rest(stepper.t, FOREVER)
        if stepper.status == "finished":
            return self.finish(stepper, "reached_end")
        if self.steps >= (task.max_steps or MOST_SCIPY_STEPS):
            return self.finish(stepper, "max_steps", stepper.t, stepper.y)
        return None

    def refuse_rest(self, t: float, long: float | None = None) -> None:
        """Raise where an open-ended run has gone on for so long that nothing moves any more but rounding."""
        task, forever = self.task, AT_REST * self.first_step if long is None else long
        if task.stop is not None and task.t is None and t - task.t0 > forever:
            raise _check.RunError(f"`stop` is never met: {task.stop.describe} does not hold by t = {t:.3g}")

    def why_stuck(self, y: np.ndarray) -> Status:
        """Status of a run whose steps vanish: diverged where the state grew, else the right-hand side is to blame."""
        grown = np.abs(y).max() > 1e6 * (1 + np.abs(self.task.state0).max())
        return "diverged" if grown else "nonfinite"

    def crossing(self, dense: Callable, low: float, high: float) -> float | None:
        """Time in (low, high] at which the first stop rule begins to hold, if one does."""
        rules = self.task.stop.rules  # type: ignore[union-attr]
        found = first_bracket(lambda t: rules(dense(t).T), np.linspace(low, high, POINTS + 1))
        if found is None:
            return None
        return bisect(lambda t: bool((rules(dense(t)[None]) >= 0).any()), *found, discrete=False)

    def keep(self, t: float, state: np.ndarray) -> None:
        """Append a row of time and state to the record."""
        self.rows_t.append(float(t))
        self.rows.append(np.array(state))

    def save_until(self, dense: Callable, low: float, high: float) -> None:
        """Keep the save times in (low, high]; `dense` is the dense output or a function that makes it."""
        if self.task.t is None:
            return
        first, last = np.searchsorted(self.task.t, [low, high], side="right")
        if last > first:
            output = dense if isinstance(dense, integrate.DenseOutput) else dense()
            for t in self.task.t[first:last]:
                self.keep(t, output(t))

    def finish(
        self,
        stepper: integrate.OdeSolver | None,
        status: Status,
        t_stop: float = np.nan,
        state: np.ndarray | None = None,
        message: str = "",
    ) -> Result:
        """Collect rows and counters; `state` at `t_stop` becomes the last row."""
        t, rows = np.array(self.rows_t), np.array(self.rows).reshape(len(self.rows), self.task.state0.size)
        if self.task.t is None:
            t, rows = self.record.close(t_stop, self.task.state0 if state is None else state)
        elif status == "stopped" and state is not None and (len(t) == 0 or t[-1] < t_stop):
            t, rows = np.append(t, t_stop), np.vstack([rows, state])
        stats = {"n_steps": self.steps}
        if stepper is not None:
            stats |= {"nfev": stepper.nfev, "njev": stepper.njev, "nlu": stepper.nlu}
        return Result(t=t, states=rows, status=status, message=message, stats=stats, t_stop=t_stop)
