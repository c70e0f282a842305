"""ODEs by scipy's steppers, one run at a time, with the exact Jacobian from autodiff where the stepper wants one."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flowdyn import _check
from flowdyn._tools.blas_threads import one_blas_thread
from flowdyn._tools.inline_calls import with_inline_calls
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers.base import Result, Solver, Support, Task
from flowdyn.solvers.making_steppers import IMPLICIT
from flowdyn.solvers.stepping import Drive
from flowdyn.solvers.tolerances import Options, absolute, breakpoints, relative_tolerance

ORDERS = {"LSODA": None, "RK45": 5, "DOP853": 8, "RK23": 3, "Radau": 5, "BDF": None}
MIN_RTOL = 100 * np.finfo(float).eps  # scipy raises smaller values to this with a warning


@dataclasses.dataclass(frozen=True)
class Scipy(Solver):
    r"""Adaptive integration by one of scipy's steppers, with the exact Jacobian where it is implicit.

    .. math:: s' = f(t, s), \qquad |\text{error of a step}| \le \mathrm{atol} + \mathrm{rtol}\,|s|

    Parameters
    ----------
    method : {"LSODA", "RK45", "DOP853", "RK23", "Radau", "BDF"}
        LSODA switches between Adams and BDF by itself; DOP853 is best for tight tolerances on smooth problems; Radau
        and BDF are for stiff ones.
    rtol : float
        Relative tolerance per step, at least 2.3e-14.
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
        If the method is another, a tolerance is out of range, `max_step` is not positive, or `breakpoints` hold no
        finite numbers.
    RunError
        By :func:`flowdyn.solve`, if a state diverges or is not finite, or the budget ends.

    Notes
    -----
    Steps are chosen from the right-hand side where it is evaluated: no adaptive solver sees a pulse that is shorter
    than its step. Name its edges in `breakpoints`, or bound the steps by `max_step`. LSODA cannot be called from inside
    a right-hand side that LSODA integrates: a solver that is needed there is another.
    A step of DOP853, RK45 or RK23 is one compiled call where JAX can trace the right-hand side (of up to 8192 numbers):
    with scipy's control and formulas, but sums in another order, so that runs agree within the tolerance and not to
    the last bit. Those of a function of numpy do.
    Source: Hairer, Norsett and Wanner (1993) and Hairer and Wanner (1996); Petzold (1983) for LSODA.

    Examples
    --------
    >>> import flowdyn as fd
    >>> stiff = fd.ODE(lambda t, y: -1e6 * (y - t))
    >>> run = fd.solve(stiff, [1.0], t=1.0, solver=fd.solvers.Scipy("BDF"))
    >>> round(float(run.w.isel(t=-1).item()), 6)
    0.999999
    """

    method: str = "LSODA"
    rtol: float = 1e-8
    atol: float | None = None
    max_step: float | None = None
    breakpoints: Sequence[float] = ()

    def __post_init__(self) -> None:
        _check.choice("method", self.method, ORDERS)
        relative_tolerance(self.rtol, MIN_RTOL)
        if self.atol is not None:
            _check.real("atol", self.atol, nonnegative=True)
        if self.max_step is not None:
            _check.real("max_step", self.max_step, positive=True)
        object.__setattr__(self, "breakpoints", breakpoints(self.breakpoints))

    def tighter(self) -> "Scipy":
        """A tenth of the tolerances, down to what float64 allows."""
        if self.rtol < 2 * MIN_RTOL:
            raise _check.fail("rtol", f"must be at least {2 * MIN_RTOL:.2g} where solver error is measured", self.rtol)
        rtol = max(self.rtol / 10, float(MIN_RTOL))
        return dataclasses.replace(self, rtol=rtol, atol=None if self.atol is None else self.atol * rtol / self.rtol)

    def with_steps_below(self, h: float) -> "Scipy":
        """The same tolerances, and `max_step` besides."""
        return dataclasses.replace(self, max_step=min(h, self.max_step or np.inf))

    @property
    def is_explicit(self) -> bool:
        """Whether stiffness bounds its steps; LSODA changes to an implicit method by itself."""
        return self.method not in IMPLICIT

    @property
    def support(self) -> Support:
        """Ordinary differential equations, plain numpy and open ends included."""
        return Support((ODESystem,), "integrates ODEs", plain_numpy=True, open_end=True)

    @property
    def order(self) -> float | None:
        """Order of the method; LSODA and BDF change theirs on the way."""
        return ORDERS[self.method]

    @classmethod
    def example(cls) -> "Scipy":
        """At a tight tolerance, so that errors are those of the test."""
        return cls(rtol=1e-10)

    @classmethod
    def variants(cls) -> tuple["Scipy", ...]:
        """One solver a method of scipy."""
        return tuple(cls(method) for method in ORDERS)

    def with_step(self, h: float) -> "Scipy":
        """Tolerances so loose that `max_step` alone limits the steps."""
        return Scipy(self.method, rtol=0.9, atol=10.0, max_step=h)

    def at_tolerance(self, rtol: float, explicit: bool) -> "Scipy":
        """DOP853 where it may be explicit, else LSODA."""
        return Scipy("DOP853" if explicit else "LSODA", rtol=rtol)

    def run(self, task: Task) -> Result:
        """Step to the end, a stop, a bad state or the end of the budget."""
        assert isinstance(task.system, ODESystem)
        atol = absolute(self.atol, self.rtol, task.system)
        options = Options(self.method, self.rtol, atol, self.max_step, tuple(self.breakpoints))

        def result() -> Result:
            with one_blas_thread(), np.errstate(all="ignore"):
                return Drive(options, task).result()

        return with_inline_calls(result)
