"""Dormand and Prince's steps of order 8 as scipy's DOP853 takes them: the same numbers to the last bit.

    y+ = y + h sum_i b_i k_i,    error = |h| e_5^2 / (e_5^2 + e_3^2 / 100)^(1/2)

Its arithmetic is that of scipy 1.17, `scipy.integrate.DOP853`, operation by operation; tableau and formulas are in
``dormand_prince.py``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from flowdyn.solvers import dormand_prince
from flowdyn.solvers.controlled_steps import ControlledSteps

STAGES = 12
A = np.vstack([np.zeros(STAGES), dormand_prince.STAGES])
B, C = np.array(dormand_prince.B), np.array(dormand_prince.C)
FIFTH, THIRD, INNER = (np.array(x) for x in (dormand_prince.FIFTH, dormand_prince.THIRD, dormand_prince.INNER))


def error_norm(h: float, high: float, low: float, size: int) -> float:
    """Norm of the error of a step, of the sums of squares (S,) of both estimates in units of the tolerances."""
    if high == 0 and low == 0:
        return 0.0
    return float(abs(h) * high / np.sqrt((high + 0.01 * low) * size))


def states_within(stepper: Any, ks: np.ndarray) -> Callable:
    """States inside the last step of a stepper, given its 16 stages (16, S)."""
    t_old, t_new, y_old, h = stepper.t_old, stepper.t, stepper.y_old, stepper.taken
    change = stepper.y - y_old
    outer = change, h * ks[0] - change, 2 * change - h * (stepper.f + ks[0])
    parts = np.vstack([*outer, h * np.dot(INNER, ks)])

    def states(t: float | np.ndarray) -> np.ndarray:
        share = (np.asarray(t) - t_old) / (t_new - t_old)
        share = share[:, None] if share.ndim else share
        y = np.zeros((*share.shape[:1], y_old.size))
        for i, part in enumerate(parts[::-1]):
            y += part
            y *= 1 - share if i % 2 else share
        return (y + y_old).T

    return states


class Dop853(ControlledSteps):
    """Steps whose stages are asked for one by one, as a function of numpy has them."""

    power = dormand_prince.ORDER

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.ks = np.empty((STAGES + 4, self.y.size))

    def tried(self, h: float) -> tuple[np.ndarray, np.ndarray, float]:
        """State after a step of h, the right-hand side there, and the norm of the error."""
        ks = self.ks
        ks[0] = self.f
        for s in range(1, STAGES):
            ks[s] = self.value(self.t + C[s] * h, self.y + np.dot(ks[:s].T, A[s, :s]) * h)
        y_new = self.y + h * np.dot(ks[:STAGES].T, B)
        ks[STAGES] = self.value(self.t + h, y_new)
        scale = self.atol + np.maximum(np.abs(self.y), np.abs(y_new)) * self.rtol
        known = ks[: STAGES + 1]
        high, low = (float(np.linalg.norm(np.dot(known.T, e) / scale) ** 2) for e in (FIFTH, THIRD))
        return y_new, ks[STAGES].copy(), error_norm(h, high, low, len(scale))

    def dense_output(self) -> Callable:
        """The states inside the last step, of one time or of several: (S,) or columns (S, T)."""
        if self.t_old is None or self.t == self.t_old:
            raise RuntimeError("a step must have been taken")
        ks = self.ks
        more = zip(dormand_prince.MORE_STAGES, dormand_prince.MORE_TIMES, strict=True)
        for s, (row, c) in enumerate(more, STAGES + 1):
            ks[s] = self.value(self.t_old + c * self.taken, self.y_old + np.dot(ks[:s].T, row[:s]) * self.taken)
        return states_within(self, ks)
