"""The right-hand side f(t, y) of an ODE as scipy's steppers call it: in numpy, watched, with its derivatives."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flowdyn._tools.compiled import bind, by_structure
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers import kernels
from flowdyn.solvers.base import Task
from flowdyn.solvers.rounding_noise import noise, probes

PATIENCE = 200  # non-finite evaluations, or steps at the resolution of t, in a row before a run is given up
NEAR = 1e3  # spacings of t: what steps that vanish look at
DIFFERENCE = 1e-3  # of a direction, over which a function that JAX cannot trace is differenced


class GiveUpError(Exception):
    """Raised inside a right-hand side to leave a stepper that would never return."""


class RaisedError(Exception):
    """Carries what a user's function raised, and when, past the handlers of a stepper."""

    def __init__(self, error: Exception, t: float):
        super().__init__(str(error))
        error.add_note(f"raised by the right-hand side at t = {t:.6g}")
        self.error = error


class RightHandSide:
    """The function and its derivatives; what it raises, and a state that stays NaN, leave the stepper that asked."""

    def __init__(self, task: Task, traceable: bool | None = None):
        assert isinstance(task.system, ODESystem)
        self.task, self.system = task, task.system
        self.traceable = task.system.is_traceable(task.state0) if traceable is None else traceable
        self.compiled = bind(kernels.drift, task.system) if self.traceable else task.system.drift
        # steppers hand in floats of Python and of numpy: JAX would compile a program for each
        self.when: Callable = np.float64 if self.traceable else lambda t: t
        self.nonfinite_calls = 0
        self.nonfinite_at = np.nan  # time of the last value that was not finite
        self.stepping = False  # what others ask for, a first value or a dense output, must be finished

    def __call__(self, t: float, y: np.ndarray) -> np.ndarray:
        """Value (S,); a copy of what a function of numpy returned, which may use that again."""
        try:
            value = self.compiled(self.when(t), y)
            # `np.array` of an array of JAX takes three times as long
            value = np.asarray(value, dtype=float) if self.traceable else np.array(value, dtype=float)
        except Exception as error:
            raise RaisedError(error, t) from error
        # of squares the sum is finite where all are, at a third of the time, or it overflows
        finite = value.dot(value) < np.inf or bool(np.isfinite(value).all())
        self.saw(finite, t)
        return value

    def guarded(self, t: float, call: Callable, *args: Any) -> Any:
        """``call(*args)`` of a program that holds the function; what that raises leaves the stepper."""
        try:
            return call(*args)
        except Exception as error:
            raise RaisedError(error, t) from error

    def saw(self, finite: bool, t: float) -> None:
        """Count the values that are not finite, and leave the stepper after too many, or where the time is up."""
        self.nonfinite_calls = 0 if finite else self.nonfinite_calls + 1
        self.nonfinite_at = self.nonfinite_at if finite else t
        if self.stepping and (self.nonfinite_calls > PATIENCE or self.task.out_of_time()):
            raise GiveUpError

    def was_finite_near(self, t: float) -> bool:
        """Whether no value so close to t was asked for that was not finite."""
        return not abs(self.nonfinite_at - t) <= NEAR * np.spacing(abs(t))

    def is_finite_ahead(self, t: float, y: np.ndarray) -> bool:
        """Whether values at a state, and where it goes next, are finite."""
        rate, h = self(t, y), NEAR * np.spacing(abs(t))
        return bool(np.isfinite(rate).all() and np.isfinite(self(t + h, y + h * rate)).all())

    @functools.cached_property
    def has_jacobian(self) -> bool:
        """Whether JAX has its derivatives; else they are differences."""
        return self.traceable and by_structure(kernels.has_jacobian, self.system, self.task.state0.size)

    def jacobian(self, t: float, y: np.ndarray) -> np.ndarray:
        """Exact derivative (S, S) in the state, by autodiff."""
        return np.asarray(self._jacobian(self.when(t), y))

    @functools.cached_property
    def _jacobian(self) -> Callable:
        return bind(kernels.jacobian, self.system)

    @functools.cached_property
    def _slope(self) -> Callable:
        return bind(kernels.slope, self.system)

    def is_rounding(self, t: float, y: np.ndarray, seed: int) -> bool:
        """Whether the value is no larger than its own rounding, at every coordinate."""
        here, there = self(t, y), np.array([self(t, probe) for probe in probes(y, seed)])
        return bool((np.abs(here) <= noise(here, there)).all())

    def slope(self, t: float, y: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Derivative (S,) along a direction, by autodiff where JAX has it."""
        if self.has_jacobian:
            return np.asarray(self._slope(self.when(t), y, direction))
        ahead, here = (np.array(self.compiled(self.when(t), at), dtype=float) for at in (y + DIFFERENCE * direction, y))
        return (ahead - here) / DIFFERENCE
