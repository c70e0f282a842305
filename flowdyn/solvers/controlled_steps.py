"""Explicit steps with the step-size control of scipy's Runge-Kutta methods, operation by operation.

    h+ = h min(10, 0.9 |error|^(-1/p)),    no growth after a step that was refused

A stepper of a few lines spares a process the import of scipy.integrate, a third of a second. Control and first step are
those of scipy 1.17, `scipy.integrate._ivp.rk.RungeKutta`; how a step is taken is left to subclasses.
"""

import abc
from collections.abc import Callable

import numpy as np

from flowdyn.solvers.right_hand_side import RightHandSide

SAFETY, SLOWEST, FASTEST = 0.9, 0.2, 10.0


def _norm(x: np.ndarray) -> float:
    return np.linalg.norm(x) / x.size**0.5


class ControlledSteps(abc.ABC):
    """A stepper with the attributes of those of scipy that a run looks at."""

    power: int  # of a step's length, with which its error goes

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
            longest = (0.01 / max(speed, change)) ** (1 / self.power)
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
            y_new, f_new, error = self.tried(h)
            if error < 1:
                break
            refused, h = True, h * max(SLOWEST, SAFETY * error ** (-1 / self.power))
        factor = FASTEST if error == 0 else min(FASTEST, SAFETY * error ** (-1 / self.power))
        self.accept()
        self.t_old, self.y_old, self.taken = self.t, self.y, h
        self.t, self.y, self.f, self.h = t_new, y_new, f_new, h * (min(1, factor) if refused else factor)
        if self.t >= self.t_bound:
            self.status = "finished"

    @abc.abstractmethod
    def tried(self, h: float) -> tuple[np.ndarray, np.ndarray, float]:
        """State after a step of h, the right-hand side there, and the norm of the error."""

    def accept(self) -> None:
        """Go on from the last step that was tried."""
        return

    @abc.abstractmethod
    def dense_output(self) -> Callable:
        """The states inside the last step, of one time or of several: (S,) or columns (S, T)."""
