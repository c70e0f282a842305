"""Which stepper takes the steps of a method: scipy's own, or ours with the same control.

A right-hand side that JAX can trace has its explicit steps compiled; DOP853 of a function of numpy needs no scipy.
LSODA holds what a step is doing in one place: another step of LSODA inside it, of a run inside its right-hand side,
would write over that, and the outer run would be stuck where it is.
"""

import threading
from typing import Any

import numpy as np
import scipy  # its integrators load where one is made

from flowdyn import _check
from flowdyn.solvers.compiled_steps import CompiledSteps
from flowdyn.solvers.order_eight import Dop853
from flowdyn.solvers.right_hand_side import RightHandSide
from flowdyn.solvers.stage_program import program_of
from flowdyn.solvers.tolerances import Options

IMPLICIT = ("LSODA", "Radau", "BDF")
_thread = threading.local()


class Steppers:
    """Those of one run, which follow each other at its breakpoints."""

    def __init__(self, options: Options, drift: RightHandSide):
        self.options, self.drift = options, drift
        size = drift.task.state0.size
        self.program = program_of(drift.system, options.method, size) if drift.traceable else None
        if self.program is not None:  # for single values, too: one program is compiled, not two
            drift.compiled = self.program.value

    def start(self, t: float, state: np.ndarray, bound: float, atol: np.ndarray) -> "scipy.integrate.OdeSolver":
        """A stepper from (t, state) to a time that it must not step over; it holds `atol`, which may change."""
        options = self.options
        more: dict[str, Any] = {"rtol": options.rtol, "atol": atol}
        if options.method in IMPLICIT and self.drift.has_jacobian:
            more["jac"] = self.drift.jacobian
        if options.max_step is not None:
            more |= {"max_step": options.max_step, "first_step": min(options.max_step, bound - t)}
        if np.isinf(bound) and options.method != "LSODA":  # their first guess of a step divides by the span
            more.setdefault("first_step", 1e-6)
        if self.program is not None:
            return CompiledSteps(self.program, self.drift, t, state, bound, **more)
        return _stepper_class(options.method)(self.drift, t, state, bound, **more)


def _stepper_class(method: str) -> Any:
    """Stepper of a name; LSODA is refused inside a step of LSODA."""
    if method == "DOP853":
        return Dop853
    if method == "LSODA" and getattr(_thread, "in_lsoda", False):
        rule = "must not come to LSODA inside a right-hand side that LSODA integrates"
        raise _check.fail("solver", rule, method, 'give another inside, e.g. fd.solvers.Scipy("DOP853")')
    return getattr(scipy.integrate, method)


def take_step(stepper: "scipy.integrate.OdeSolver", method: str) -> None:
    """Take a step, inside of which LSODA is refused where it is one of LSODA."""
    before = getattr(_thread, "in_lsoda", False)
    _thread.in_lsoda = before or method == "LSODA"
    try:
        stepper.step()
    finally:
        _thread.in_lsoda = before
