r"""How far a modified flow is from its recursion, measured: the recursion itself first, then a flow of higher order.

    e(t) = ||w~_p(t) - w_{t/eta}||                            t <= K eta
    e(t) = ||w~_p(t) - v_q(t)|| + ||v_q(t) - v_{q-1}(t)||      t > K eta,   v_q the flow of order q from (K eta, w_K)

The series of the flow converges slowest where eta lambda is large, most often in the first steps, and what it misses
there stays: K steps are taken exactly. Beyond them q = p + 1 and the last term is e x / (1 - x), where x, the largest
|lambda| of dS/dz - 1 on the way (eta |lambda| of the Hessian for gradient descent), is small (the ratio of successive
orders is about x), else q = p + 2. The way is looked at along the solver's own steps.
"""

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.convergence.budget import Budget
from flowdyn.convergence.limits import solved
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.systems import System
from flowdyn.results.dataset import flat_parameters, flat_states
from flowdyn.solvers.base import Solver

HEAD = 512  # steps that the recursion takes itself: cheaper than one solution of the flow
LOOKS = 16  # states on the way whose curvature is looked at, equally spaced along its length
MARKS = 256  # times on the way from which they are chosen
QUICK = 0.3  # eta lambda up to which one order more tells the error
TRUSTED = 0.97  # and from which on nothing does


class FlowError(NamedTuple):
    """What is known of a flow's error: one estimate a time, NaN where there is none; the largest eta |lambda| seen."""

    estimate: np.ndarray  # (T,)
    product: float


class Flow(NamedTuple):
    """A modified flow that was solved, and how."""

    states: np.ndarray  # parameters (T, P) at the times asked for
    on_clock: np.ndarray  # (C, P) after the steps of `clock_steps`
    order: int
    solver: Solver
    own_times: np.ndarray  # of the solver's steps


def clock_steps(method: DiscreteSystem, times: np.ndarray) -> np.ndarray:
    """Steps of the recursion nearest to those of the times that lie in its first HEAD steps."""
    h = float(method.clock(1))
    near = np.rint(times[times <= (HEAD + 0.5) * h] / h)
    return np.unique(near[near > 0]).astype(np.int64)


def flow_error(method: DiscreteSystem, start: np.ndarray, times: np.ndarray, flow: Flow, budget: Budget) -> FlowError:
    """Estimate the distance of a solved flow from its recursion at each time."""
    h, on_clock = float(method.clock(1)), clock_steps(method, times)
    rest = times > (HEAD + 0.5) * h
    last = HEAD if rest.any() else int(on_clock.max(initial=1))
    k = np.unique(np.concatenate([[0], on_clock, marks(1, last).astype(np.int64)]))
    estimate = np.full(len(times), np.nan)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", _check.FlowdynWarning)  # of a large eta `fast_forward` warns itself
            run = dataclasses.replace(budget, max_steps=None).solve(method, start, method.clock(k), progress=False)
    except _check.BudgetError:
        raise
    except _check.RunError:
        return FlowError(np.full(len(times), np.nan), np.inf)
    distances = np.linalg.norm(flow.on_clock - flat_parameters(run)[np.searchsorted(k, on_clock)], axis=1)
    nearest = np.rint(times[~rest] / h).astype(np.int64)
    estimate[~rest] = np.append(0.0, distances)[np.searchsorted(on_clock, nearest, side="right")]
    product = _change_along(method, run, LOOKS // 2 if rest.any() else LOOKS)
    if rest.any() and product < TRUSTED:
        beyond = _Beyond(method, run.isel(t=-1), times[rest], flow, budget)
        estimate[rest], product = beyond.estimate(product)
    return FlowError(estimate, product)


class _Beyond:
    """Estimates after the recursion's own steps."""

    def __init__(
        self, method: DiscreteSystem, start: xr.Dataset, times: np.ndarray, flow: Flow, budget: Budget
    ) -> None:
        self.method, self.start, self.flow, self.budget = method, start, flow, budget
        self.states = flow.states[-len(times) :]
        begun = float(start.t)
        own = flow.own_times[(flow.own_times > begun) & (flow.own_times < times[-1])]
        chosen = own[marks(0, len(own) - 1).astype(int)] if len(own) > 1 else marks(begun, float(times[-1]))[1:]
        self.times = np.union1d(chosen, times)
        self.at = np.searchsorted(self.times, times)

    def estimate(self, product: float) -> tuple[np.ndarray, float]:
        """Distances (T,), and the largest product with what is seen on the way."""
        p = self.flow.order
        next_order = self._run(self.method.limit(p + 1))
        product = max(product, _change_along(self.method, next_order, LOOKS))
        first = flat_parameters(next_order)[self.at]
        distance = np.linalg.norm(self.states - first, axis=1)
        if product <= QUICK:
            return distance / (1 - product), product
        if product >= TRUSTED:  # two truncations of a series that diverges may agree and both be wrong
            return np.full_like(distance, np.nan), product
        second = flat_parameters(self._run(self.method.limit(p + 2)))[self.at]
        return np.linalg.norm(self.states - second, axis=1) + np.linalg.norm(second - first, axis=1), product

    def _run(self, flow: System) -> xr.Dataset:
        return solved(flow, self.start, self.times, self.flow.solver, self.budget)


def marks(first: float, last: float) -> np.ndarray:
    """MARKS numbers between two, half of them equally spaced and half of them in proportion."""
    if last <= first:
        return np.array([float(last)])
    ratios = np.geomspace(1e-6, 1.0, MARKS // 2)
    return np.unique(first + (last - first) * np.append(np.linspace(0.0, 1.0, MARKS // 2), ratios))


def _change_along(method: DiscreteSystem, run: xr.Dataset, looks: int) -> float:
    """Largest change of a step on some states of a path, equally spaced along its length."""
    path = flat_states(run, method)
    length = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1)))
    if not np.isfinite(length[-1]):
        return np.inf
    chosen = np.unique(np.searchsorted(length, np.linspace(0.0, length[-1], looks)).clip(0, len(path) - 1))
    k = method.increments.nearest(run.t.values)
    return max(method.step_change(int(k[i]), path[i]) for i in chosen)
