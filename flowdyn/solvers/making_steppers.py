"""Which stepper takes the steps of a method: scipy's own, or ours with the same control.

A right-hand side that JAX can trace has its explicit steps compiled; DOP853 of a function of numpy needs no scipy.
"""

from typing import Any

import numpy as np
import scipy  # for types alone

from flowdyn.solvers.compiled_steps import CompiledSteps
from flowdyn.solvers.right_hand_side import RightHandSide
from flowdyn.solvers.scipy_steps import stepper_class
from flowdyn.solvers.stage_program import program_of
from flowdyn.solvers.tolerances import Options

IMPLICIT = ("LSODA", "Radau", "BDF")


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
        if self.drift.traceable and options.method in IMPLICIT:
            more["jac"] = self.drift.jacobian
        if options.max_step is not None:
            more |= {"max_step": options.max_step, "first_step": min(options.max_step, bound - t)}
        if np.isinf(bound) and options.method != "LSODA":  # their first guess of a step divides by the span
            more.setdefault("first_step", 1e-6)
        if self.program is not None:
            return CompiledSteps(self.program, self.drift, t, state, bound, **more)
        return stepper_class(options.method)(self.drift, t, state, bound, **more)
