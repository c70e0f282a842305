"""scipy's explicit steps with a compiled right-hand side: a call for each step in place of one for each stage.

A call from Python costs as much as a small right-hand side. Control and formulas are those of scipy; sums of stages are
taken in another order, so that an error estimate that is rounding (of a first step of 1e-5) is another one, and steps
that follow from it differ within the tolerance.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its integrators load where one is named

from flowdyn.solvers.controlled_steps import ControlledSteps
from flowdyn.solvers.order_eight import Dop853, error_norm, states_within
from flowdyn.solvers.right_hand_side import RightHandSide
from flowdyn.solvers.stage_program import StageProgram


class CompiledSteps(ControlledSteps):
    """A stepper of DOP853, RK45 or RK23."""

    def __init__(
        self, program: StageProgram, drift: RightHandSide, t: float, state: np.ndarray, *args: Any, **options: Any
    ):
        self.program, self.is_high = program, program.method == "DOP853"
        self.power = (
            Dop853.power if self.is_high else getattr(scipy.integrate, program.method).error_estimator_order + 1
        )
        super().__init__(drift, t, state, *args, **options)
        self.now, self.ks = program.row(self.y, self.f), program.blank

    def tried(self, h: float) -> tuple[np.ndarray, np.ndarray, float]:
        """State after a step of h, the right-hand side there, and the norm of the error."""
        size, count = self.y.size, self.program.table.step
        self.nfev += count - 1
        self.ahead, self.ks, row = self.drift.guarded(self.t, self._step, h)
        sums = row[2 * size :].tolist()
        if all(value < np.inf for value in sums):  # only where each stage is finite
            self.drift.saw(True, self.t)
        else:
            for c, k in zip(self.program.table.times[1:count], np.asarray(self.ks)[1:count], strict=True):
                self.drift.saw(bool(np.isfinite(k).all()), self.t + c * h)
        error = error_norm(h, sums[0], sums[1], size) if self.is_high else abs(h) * (sums[0] / size) ** 0.5
        return row[:size], row[size : 2 * size], error

    def _step(self, h: float) -> tuple[Any, Any, np.ndarray]:
        ahead, ks = self.program.step(self.now, self.t, h, (self.rtol, self.atol), self.ks)
        return ahead, ks, np.asarray(ahead)

    def accept(self) -> None:
        """Go on from the last step that was tried."""
        self.before, self.now = self.now, self.ahead

    def dense_output(self) -> Callable:
        """The states inside the last step, of one time or of several: (S,) or columns (S, T)."""
        if self.t_old is None or self.t == self.t_old:
            raise RuntimeError("a step must have been taken")
        t, h, program = self.t_old, self.taken, self.program
        if self.is_high:
            more = len(program.table.rows) - program.table.step
            self.nfev += more
            ks = self.drift.guarded(t, program.inside, self.before, t, h, self.ks)
            self.drift.saw(bool(np.isfinite(ks[-more:]).all()), t)
            return states_within(self, ks)
        powers = getattr(scipy.integrate, program.method).P
        y, slopes = self.y_old, h * np.dot(np.asarray(self.ks).T, powers)  # (S, p)

        def states(when: float | np.ndarray) -> np.ndarray:
            share = (np.asarray(when) - t) / h
            found = np.zeros((y.size, *share.shape))
            for slope in slopes.T[::-1]:
                found = (found + (slope[:, None] if share.ndim else slope)) * share
            return found + (y[:, None] if share.ndim else y)

        return states
