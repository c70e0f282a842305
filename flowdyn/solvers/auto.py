"""The default for ODEs: explicit steps in one compiled loop, handed over to an implicit method where they are dear."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import float64_is_on
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers.base import Result, Solver, Support, Task
from flowdyn.solvers.explicit_state import TIGHT
from flowdyn.solvers.tolerances import absolute, breakpoints, relative_tolerance

if TYPE_CHECKING:
    from flowdyn.solvers.explicit_run import ExplicitRun

LEAST_RTOL = 100 * np.finfo(float).eps
SINGLE = 100 * float(np.finfo(np.float32).eps)  # the same where JAX computes in single precision


@dataclasses.dataclass(frozen=True)
class Auto(Solver):
    r"""Explicit steps of order 5 or 8 that watch for stiffness, handed over to an implicit method where it is cheaper.

    .. math:: s' = f(t, s), \qquad |\text{error of a step}| \le \mathrm{atol} + \mathrm{rtol}\,|s|

    Parameters
    ----------
    rtol : float
        Relative tolerance per step, at least 2.3e-14; taken as 1.2e-5 where it is less and JAX has no float64.
    atol : float, optional
        Absolute tolerance of all coordinates. Unless given, each has its own: ``1e-4 * rtol`` times the largest size
        that it has had, at most 1, so that a start of 1e-100 keeps its digits.
    max_step : float, optional
        Longest step, in the units of t.
    breakpoints : sequence of float, optional
        Times that are stepped onto, such as the jumps of a right-hand side.

    Raises
    ------
    ArgumentError
        If a tolerance is out of range, `max_step` is not positive, or `breakpoints` hold no finite numbers.
    RunError
        By :func:`flowdyn.solve`, if a state diverges or is not finite, or the budget ends.

    Notes
    -----
    Twelve steps with h rho > 1 (3 at loose tolerances), for an estimate rho of the largest rate, are called stiff. Then
    the explicit steps left are weighed against Jacobians and their factors by counted operations. If they cost more,
    Rodas5P goes on in the compiled loop where states are small, LSODA where they are not. A gradient flow of
    a diagonal network that is stiff for long is run again from its start as a :class:`DualFlow`, one unknown a sample,
    with tolerances for these that the weights have from `rtol`; steps of both are counted. Which methods a run
    took, from when on and why stands in its recipe. Many starts are spread over the cores, each at a pace of its own;
    so are the runs of a sweep, whose blocks in a store hold ``gains_up_to`` = 16 of them or more.
    From rtol = 1e-12 down the steps are those of DOP853, of order 8: so few that their twelve evaluations pay.
    Source: Tsitouras (2011) and Hairer, Norsett and Wanner (1993), section II.5, for the steps; Hairer and Wanner
    (1996), section IV.2, for the watch; Steinebach (2023) for Rodas5P; Petzold (1983) for LSODA.

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.GradientFlow(fd.problems.CustomProblem(lambda w: w**4 / 4, 1.0))
    >>> run = fd.solve(flow, 1.0, t=1.5, solver=fd.solvers.Auto(rtol=1e-10))
    >>> round(float(run.w.isel(t=-1).item()), 8)  # 1 / sqrt(1 + 2 t)
    0.5
    """

    rtol: float = 1e-8
    atol: float | None = None
    max_step: float | None = None
    breakpoints: Sequence[float] = ()

    def __post_init__(self) -> None:
        relative_tolerance(self.rtol, LEAST_RTOL)
        if self.atol is not None:
            _check.real("atol", self.atol, nonnegative=True)
        if self.max_step is not None:
            _check.real("max_step", self.max_step, positive=True)
        object.__setattr__(self, "breakpoints", breakpoints(self.breakpoints))

    def tighter(self) -> "Auto":
        """A tenth of the tolerances, down to what float64 allows."""
        if self.rtol < 2 * LEAST_RTOL:
            raise _check.fail(
                "rtol", f"must be at least {2 * LEAST_RTOL:.2g} where solver error is measured", self.rtol
            )
        rtol = max(self.rtol / 10, float(LEAST_RTOL))
        return dataclasses.replace(self, rtol=rtol, atol=None if self.atol is None else self.atol * rtol / self.rtol)

    gains_up_to: ClassVar[int] = 16

    @property
    def support(self) -> Support:
        """Ordinary differential equations written with jax.numpy, open ends included."""
        return Support((ODESystem,), "integrates ODEs", open_end=True)

    @property
    def order(self) -> float:
        """Order of the explicit steps: 8 from rtol = 1e-12 down, else 5."""
        return 8 if self.rtol <= TIGHT else 5

    @classmethod
    def example(cls) -> "Auto":
        """At a tight tolerance, so that errors are those of the test."""
        return cls(rtol=1e-10)

    def with_step(self, h: float) -> "Auto":
        """Tolerances so loose that `max_step` alone limits the steps, which are those of order 5."""
        return Auto(rtol=0.9, atol=10.0, max_step=h)

    def run(self, task: Task) -> Result:
        """Run one start."""
        from flowdyn.solvers.explicit_batch import run_alone

        run = self._begin(task)
        run_alone(run)
        assert run.result is not None
        return run.result

    def run_batch(self, task: Task, states0: np.ndarray) -> list[Result]:
        """Run all rows of `states0`, spread over the cores."""
        from flowdyn.solvers.explicit_batch import run_together

        runs = [self._begin(dataclasses.replace(task, state0=state)) for state in states0]
        run_together(runs)
        return [run.result for run in runs if run.result is not None]

    def fuses(self, task: Task) -> bool:
        """Flows step in one program, each at its own pace; a budget of seconds is one run's own."""
        return task.max_seconds is None

    def run_many(self, tasks: Sequence[Task]) -> "list[Result | _check.FlowdynError]":
        """All of them spread over the cores, as many starts are."""
        from flowdyn.solvers.explicit_batch import run_together

        if len(tasks) > 1 and all(map(self.fuses, tasks)):
            with contextlib.suppress(_check.FlowdynError):  # each is run alone then, which tells whose it was
                runs = [self._begin(task) for task in tasks]
                run_together(runs)
                return [run.result for run in runs if run.result is not None]
        return super().run_many(tasks)

    def _begin(self, task: Task) -> "ExplicitRun":
        from flowdyn.solvers.explicit_run import ExplicitRun
        from flowdyn.solvers.explicit_state import ExplicitOptions

        rtol = self.rtol if float64_is_on() else max(self.rtol, SINGLE)
        assert isinstance(task.system, ODESystem)
        atol = absolute(self.atol, rtol, task.system)
        return ExplicitRun(task, ExplicitOptions(rtol, atol, self.max_step, tuple(self.breakpoints)))
