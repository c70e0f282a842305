"""Dormand and Prince's steps of order 8, one at a time, as scipy's DOP853 takes them: the same numbers to the last bit.

    y+ = y + h sum_i b_i k_i,    h+ = h min(10, 0.9 |error|^(-1/8))

A stepper of a few lines spares a process the import of scipy.integrate, a third of a second. Its arithmetic is that of
scipy 1.17, `scipy.integrate.DOP853`, operation by operation; tableau and formulas are in ``dormand_prince.py``.
"""

from collections.abc import Callable

import numpy as np

from flowdyn.solvers import dormand_prince
from flowdyn.solvers.right_hand_side import RightHandSide

STAGES = 12
SAFETY, SLOWEST, FASTEST = 0.9, 0.2, 10.0
EXPONENT = -1 / dormand_prince.ORDER
A = np.vstack([np.zeros(STAGES), dormand_prince.STAGES])
B, C = np.array(dormand_prince.B), np.array(dormand_prince.C)
FIFTH, THIRD, INNER = (np.array(x) for x in (dormand_prince.FIFTH, dormand_prince.THIRD, dormand_prince.INNER))


def _norm(x: np.ndarray) -> float:
    return np.linalg.norm(x) / x.size**0.5


class Dop853:
    """A stepper with the attributes of those of scipy that a run looks at."""

    def __init__(
        self,
        drift: RightHandSide,
        t: float,
        state: np.ndarray,
        bound: float,
        *,
        rtol: float,
        atol: np.ndarray,
        max_step: float = np.inf,
        first_step: float | None = None,
    ):
        self.drift, self.t, self.y, self.t_bound = drift, t, np.asarray(state), bound
        self.rtol, self.atol, self.max_step = rtol, atol, max_step  # the tolerances are changed in place
        self.t_old: float | None = None
        self.status = "running"
        self.nfev = self.njev = self.nlu = 0
        self.f = self.value(t, self.y)
        self.h = self._first_step() if first_step is None else first_step
        self.ks = np.empty((STAGES + 4, self.y.size))

    def value(self, t: float, y: np.ndarray) -> np.ndarray:
        """The right-hand side, counted."""
        self.nfev += 1
        return np.asarray(self.drift(t, y), dtype=float)

    def _first_step(self) -> float:
        span = abs(self.t_bound - self.t)
        if span == 0:
            return 0.0
        scale = self.atol + np.abs(self.y) * self.rtol
        size, speed = _norm(self.y / scale), _norm(self.f / scale)
        h = min(1e-6 if size < 1e-5 or speed < 1e-5 else 0.01 * size / speed, span)
        change = _norm((self.value(self.t + h, self.y + h * self.f) - self.f) / scale) / h
        if speed <= 1e-15 and change <= 1e-15:
            longest = max(1e-6, h * 1e-3)
        else:
            longest = (0.01 / max(speed, change)) ** (1 / dormand_prince.ORDER)
        return min(100 * h, longest, span, self.max_step)

    @property
    def step_size(self) -> float | None:
        """Length of the last step."""
        return None if self.t_old is None else np.abs(self.t - self.t_old)

    def step(self) -> None:
        """Take one step, or say in `status` that there is none."""
        if self.t == self.t_bound:
            self.t_old, self.status = self.t, "finished"
            return
        least = 10 * np.abs(np.nextafter(self.t, np.inf) - self.t)
        h = self.max_step if self.h > self.max_step else least if self.h < least else self.h
        refused = False
        while True:
            if h < least:
                self.status = "failed"
                return
            t_new = min(self.t + h, self.t_bound)
            h = t_new - self.t
            y_new, f_new = self._tried(h)
            error = self._error(h, self.atol + np.maximum(np.abs(self.y), np.abs(y_new)) * self.rtol)
            if error < 1:
                break
            refused, h = True, h * max(SLOWEST, SAFETY * error**EXPONENT)
        factor = FASTEST if error == 0 else min(FASTEST, SAFETY * error**EXPONENT)
        self.t_old, self.y_old, self.taken = self.t, self.y, h
        self.t, self.y, self.f, self.h = t_new, y_new, f_new, h * (min(1, factor) if refused else factor)
        if self.t >= self.t_bound:
            self.status = "finished"

    def _tried(self, h: float) -> tuple[np.ndarray, np.ndarray]:
        """State after a step of h, and the right-hand side there."""
        ks = self.ks
        ks[0] = self.f
        for s in range(1, STAGES):
            ks[s] = self.value(self.t + C[s] * h, self.y + np.dot(ks[:s].T, A[s, :s]) * h)
        y_new = self.y + h * np.dot(ks[:STAGES].T, B)
        ks[STAGES] = self.value(self.t + h, y_new)
        return y_new, ks[STAGES].copy()

    def _error(self, h: float, scale: np.ndarray) -> float:
        ks = self.ks[: STAGES + 1]
        high = np.linalg.norm(np.dot(ks.T, FIFTH) / scale) ** 2
        low = np.linalg.norm(np.dot(ks.T, THIRD) / scale) ** 2
        if high == 0 and low == 0:
            return 0.0
        return np.abs(h) * high / np.sqrt((high + 0.01 * low) * len(scale))

    def dense_output(self) -> Callable:
        """The states inside the last step, of one time or of several: (S,) or columns (S, T)."""
        if self.t_old is None or self.t == self.t_old:
            raise RuntimeError("a step must have been taken")
        t_old, t_new, y_old, h, ks = self.t_old, self.t, self.y_old, self.taken, self.ks
        more = zip(dormand_prince.MORE_STAGES, dormand_prince.MORE_TIMES, strict=True)
        for s, (row, c) in enumerate(more, STAGES + 1):
            ks[s] = self.value(t_old + c * h, y_old + np.dot(ks[:s].T, row[:s]) * h)
        change = self.y - y_old
        outer = change, h * ks[0] - change, 2 * change - h * (self.f + ks[0])
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
