"""A ladder: one method at several step sizes, with the times that all its rungs share.

rung i has the time step h_i = clock_i(1);  common times are the multiples of all h_i up to t
"""

import dataclasses
import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, SupportsIndex

import numpy as np

from flowdyn import _check
from flowdyn.convergence.budget import Budget
from flowdyn.convergence.limits import flow_states
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import System
from flowdyn.results.recipes import build_solver, describe_solver
from flowdyn.results.user_functions import fingerprints, warn_of_others

RUNGS = 6
SINGLE = "g"  # name of a test function that has none
LIMIT_STEPS = 10_000
RANDOM_RUNGS = 5  # sampling a rung costs more than running it once


@dataclasses.dataclass(frozen=True)
class Ladder:
    """What is compared: the rungs of a method with its limit of an order, from one start at common times."""

    method: RecursionSystem
    rungs: tuple[RecursionSystem, ...]  # (m,), the method at each step size
    time_steps: np.ndarray  # h (m,)
    start: np.ndarray  # flat parameters (P,)
    order: int
    steps: tuple[np.ndarray, ...]  # (m,) arrays of step numbers at the common times
    times: np.ndarray  # (T,)
    seed: int
    budget: Budget
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # further arguments of `eta_limit`
    covariance: str | None = None  # of a random method's equation, where one is asked for
    beside: tuple[System, ...] = ()  # compared with in place of the limits of an order

    @functools.cached_property
    def state0(self) -> np.ndarray:
        """State (S,) that every rung starts from."""
        return np.asarray(self.method.lift(self.start), dtype=float)

    @functools.cached_property
    def limits(self) -> tuple[System, ...]:
        """The limit of each rung; those of order 0 are one and the same flow."""
        if self.beside:
            return self.beside
        if self.order == 0:
            return (self.method.limit(0),) * len(self.rungs)
        how = {} if self.covariance is None else {"covariance": self.covariance}
        return tuple(rung.limit(self.order, **how) for rung in self.rungs)

    @functools.cached_property
    def limit_state0(self) -> np.ndarray:
        """State that every limit starts from: a limit may have forgotten a part of the recursion's state."""
        return np.asarray(self.limits[0].lift(self.start), dtype=float)

    @property
    def has_one_limit(self) -> bool:
        """Whether one limit serves all rungs."""
        return self.order == 0

    @functools.cached_property
    def flow_states(self) -> tuple[np.ndarray, np.ndarray]:
        """States (T, S) along the one flow that is the limit of order 0, and the same solved tighter."""
        return flow_states(self.limits[0], self.start, self.times, self.limit_budget)

    @property
    def limit_budget(self) -> Budget:
        """The budget of a run of the limit: no more steps than the finest rung, or LIMIT_STEPS, unless given.

        A smooth limit takes far fewer; where the loss has kinks the steps of an adaptive solver shrink without end.
        """
        return self.budget.with_steps(max(LIMIT_STEPS, *(int(k[-1]) for k in self.steps)))

    @property
    def etas(self) -> list[float]:
        """Step size of each rung."""
        return [rung.constant_eta("a ladder") for rung in self.rungs]

    @property
    def record(self) -> dict[str, Any]:
        """The arguments of `eta_limit` that the ladder itself does not fix, as JSON can hold them."""
        given = dict(self.asked)
        functions, solver = given.get("observable"), given.get("solver")
        if functions is not None:
            named = dict(functions) if isinstance(functions, Mapping) else {SINGLE: functions}
            given |= {"observable": list(named), "observable_prints": fingerprints(named)}
        given["solver"] = None if solver is None else describe_solver(solver)
        how = {} if self.covariance is None else {"covariance": self.covariance}
        return {"order": self.order, "etas": self.etas, "seed": self.seed, **how, **given, **self.budget.record}

    @property
    def coarsest(self) -> RecursionSystem:
        """The rung of the largest time step."""
        return self.rungs[int(np.argmax(self.time_steps))]


def asked_again(record: Any, observable: Any) -> dict[str, Any]:
    """Keyword arguments of `eta_limit` from the recipe of a ladder; its test functions are handed in again."""
    if not isinstance(record, dict) or not isinstance(record.get("observable"), list | None):
        raise _check.FileError("its recipe must describe the options of a ladder; the file is damaged")
    names = record.get("observable")
    handed = list(observable) if isinstance(observable, Mapping) else None if observable is None else [SINGLE]
    if names != handed:
        rule = f"must hand in the functions {names} again" if names else "must be left out: the loss was measured"
        raise _check.fail("observable", rule, handed)
    record = dict(record)
    functions = observable if isinstance(observable, Mapping) or observable is None else {SINGLE: observable}
    warn_of_others("observable", record.pop("observable_prints", {}), functions, 3)
    solver = record.get("solver")
    return record | {"observable": observable, "solver": None if solver is None else build_solver(solver)}


def build_ladder(
    method: Any,
    etas: Any,
    w0: Any,
    t: float,
    order: int,
    *,
    saves: SupportsIndex,
    seed: SupportsIndex,
    budget: Budget,
    covariance: str | None = None,
) -> Ladder:
    """Check the step sizes and find the common times."""
    if not isinstance(method, RecursionSystem):
        way_out = (method.no_order if isinstance(method, System) else "") or "e.g. fd.GradientDescent(problem, eta)"
        raise _check.fail("method", "must be a recursion with a step size", method, way_out)
    rungs = _rungs(method, etas)
    h = np.array([float(rung.clock(1)) for rung in rungs])
    if t is None:
        raise _check.fail("t", "must be the time at which the ladder ends", t, "e.g. t=10.0")
    end = _check.real("t", t, positive=True)
    steps = common_steps(h, end, _check.integer("saves", saves, minimum=2))
    finest = int(np.argmin(h))
    times = rungs[finest].clock(steps[finest])
    ladder = Ladder(method, rungs, h, method.ravel(w0), order, tuple(steps), times, _check.seed(seed), budget)
    return ladder if covariance is None else dataclasses.replace(ladder, covariance=covariance)


def _rungs(method: RecursionSystem, etas: Any) -> tuple[RecursionSystem, ...]:
    """The method at each step size; halvings of its time step unless step sizes are given."""
    eta = method.constant_eta("a ladder over eta")
    if etas is None:
        count = RANDOM_RUNGS if method.is_random else RUNGS
        etas = eta * 2.0 ** (-np.arange(count) / method.step_power)
    values = _check.real_array("etas", etas, ndim=1)
    if len(values) < 3:
        raise _check.fail("etas", "must hold at least 3 step sizes to fit an order", values)
    changes = np.diff(values)
    if (values <= 0).any() or not ((changes > 0).all() or (changes < 0).all()):
        raise _check.fail(
            "etas", "must be positive and increasing or decreasing", values, "sort them and drop duplicates"
        )
    return tuple(method.with_eta(float(value)) for value in values)


def common_steps(h: np.ndarray, t: float, saves: int) -> list[np.ndarray]:
    """Step numbers of each rung at the common multiples of all time steps `h` up to `t`, thinned to `saves`."""
    smallest = h.min()
    ratios = [Fraction(float(x / smallest)).limit_denominator(10_000) for x in h]
    exact = all(abs(float(r) - x / smallest) <= 1e-9 * x / smallest for r, x in zip(ratios, h, strict=True))
    # lcm of fractions: lcm of the numerators over gcd of the denominators
    period = Fraction(
        int(np.lcm.reduce([r.numerator for r in ratios])), int(np.gcd.reduce([r.denominator for r in ratios]))
    )
    count = int(np.floor(t / (float(period) * smallest) * (1 + 1e-9))) if exact else 0
    if count < 1:
        shown = ", ".join(f"{x:g}" for x in h[:6])
        raise _check.ArgumentError(
            f"`etas` must have a common multiple of their time steps up to t = {t:g}, got steps {shown}; "
            "halve from rung to rung, or use a longer t"
        )
    kept = np.unique(np.rint(np.linspace(0, count, min(saves, count + 1))).astype(np.int64))
    return [kept * int(period / ratio) for ratio in ratios]
