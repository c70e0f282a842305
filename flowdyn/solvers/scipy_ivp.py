"""ODEs by scipy's steppers, one run at a time, with the exact Jacobian from autodiff where the stepper wants one."""

import dataclasses

import numpy as np
from threadpoolctl import threadpool_limits

from flowdyn import _check
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers.base import Result, Solver, Support, Task
from flowdyn.solvers.stepping import IMPLICIT, METHODS, Drive, Options

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
        Absolute tolerance; ``1e-4 * rtol`` unless given, so that coordinates as small as 1e-4 keep their digits.
    max_step : float, optional
        Longest step, in the units of t.

    Raises
    ------
    ArgumentError
        If the method is another, a tolerance is out of range, or `max_step` is not positive.
    RunError
        By :func:`flowdyn.solve`, if a state diverges or is not finite, or the budget ends.

    Notes
    -----
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

    def __post_init__(self) -> None:
        _check.choice("method", self.method, METHODS)
        if _check.real("rtol", self.rtol, positive=True) < MIN_RTOL:
            raise _check.fail("rtol", f"must be at least {MIN_RTOL:.2g} in float64", self.rtol)
        atol = 1e-4 * self.rtol if self.atol is None else _check.real("atol", self.atol, nonnegative=True)
        object.__setattr__(self, "atol", atol)
        if self.max_step is not None:
            _check.real("max_step", self.max_step, positive=True)

    def tighter(self) -> "Scipy":
        """A tenth of the tolerances, down to what float64 allows."""
        if self.rtol < 2 * MIN_RTOL:
            raise _check.fail("rtol", f"must be at least {2 * MIN_RTOL:.2g} where solver error is measured", self.rtol)
        rtol = max(self.rtol / 10, float(MIN_RTOL))
        return dataclasses.replace(self, rtol=rtol, atol=(self.atol or 0.0) * rtol / self.rtol)

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
        return tuple(cls(method) for method in METHODS)

    def with_step(self, h: float) -> "Scipy":
        """Tolerances so loose that `max_step` alone limits the steps."""
        return Scipy(self.method, rtol=0.9, atol=10.0, max_step=h)

    def at_tolerance(self, rtol: float, explicit: bool) -> "Scipy":
        """DOP853 where it may be explicit, else LSODA."""
        return Scipy("DOP853" if explicit else "LSODA", rtol=rtol)

    def run(self, task: Task) -> Result:
        """Step to the end, a stop, a bad state or the end of the budget."""
        # BLAS threads make the small linear algebra of implicit steppers 7 to 25 times slower
        with threadpool_limits(1, user_api="blas"), np.errstate(all="ignore"):
            return Drive(Options(self.method, self.rtol, self.atol or 0.0, self.max_step), task).result()
