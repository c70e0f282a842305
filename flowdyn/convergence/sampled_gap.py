"""The gap of means on a rung by sampling, within budgets, and what a ladder of such rungs will cost.

    members of rung i  ~  N_0 (h_0 / h_i)^(2 p),     cost  =  sum over rungs of members x steps

N_0 is what the coarsest rung's first members say that the accuracy takes; a gap falls like h^p beside equal noise.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check
from flowdyn._tools.progress import Report, announce, is_spoken
from flowdyn.convergence.gap import Gap
from flowdyn.convergence.ladder import Ladder
from flowdyn.convergence.monte_carlo import (
    FIRST_CHUNK,
    ROMBERG_WEIGHTS,
    RunningMean,
    chunks,
    equation_values,
    path_values,
)
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import SDESystem

ROUNDING = 64 * float(np.finfo(float).eps)  # of a mean
DEAR = 20.0  # seconds of a first piece above which it is not run again, without its compilation


class Pieces(NamedTuple):
    """Values (N, F) of some members: recursion, its difference from the limit, change of the limit's extrapolation."""

    path: np.ndarray
    difference: np.ndarray
    change: np.ndarray


class GapSampler:
    """Samples the rungs of one ladder; `members` is the most that a rung gets."""

    def __init__(
        self, ladder: Ladder, functional: Callable, members: int, relative_error: float, progress: Any
    ) -> None:
        self.ladder, self.functional, self.members, self.relative_error = ladder, functional, members, relative_error
        self.progress = progress
        self.steps = np.array([int(k[-1]) for k in ladder.steps])
        self.cut = ""  # why sampling ended early, where the clock ended it
        self.said = not is_spoken(progress)

    def gap(self, index: int, known: np.ndarray | None, report: Report) -> Gap:
        """Gap of means on one rung; `known` are the means of its limit where they need no sampling."""
        share, began = self._share(index), time.monotonic()
        left = self.ladder.budget.seconds_left()  # the first members may take it all
        gaps = means = changes = RunningMean.empty(0)
        spent, last = 0.0, 1
        for members in chunks(self.members):
            before = time.monotonic()
            if gaps.count and share is not None:
                left = began + share - before
                if spent * len(members) / last > left:
                    self.cut = "`max_seconds` ended the sampling; raise it"
                    break
            try:
                values = self._values(index, known, members, left)
            except _check.BudgetError:
                if not gaps.count:
                    raise
                self.cut = "`max_seconds` ended the sampling; raise it"
                break
            spent, last = time.monotonic() - before, len(members)
            gaps, means = gaps.including(values.difference), means.including(values.path)
            changes = changes.including(values.change)
            if not self.said:
                self._say_cost(index, known, gaps, spent)
            report(gaps.count / self.members)
            if (gaps.standard_error <= self.relative_error * np.abs(gaps.mean)).all() or self.is_hopeless(gaps):
                break
        # the finer extrapolation gains a factor of 4 to 8; two equal means still differ by rounding
        solver_error = np.abs(changes.mean) / 4 + ROUNDING * np.abs(means.mean)
        return Gap(means.mean, means.mean - gaps.mean, gaps.mean, gaps.standard_error, solver_error, gaps.count)

    def needed(self, gaps: RunningMean) -> np.ndarray:
        """Members that the accuracy takes at the least, were the gap as wide as its noise allows."""
        widest = np.abs(gaps.mean) + 2 * gaps.standard_error
        return gaps.count * (gaps.standard_error / np.maximum(self.relative_error * widest, 1e-300)) ** 2

    def is_hopeless(self, gaps: RunningMean) -> bool:
        """Whether the budget cannot resolve some gap: the members that are left are then not run."""
        return bool((self.needed(gaps) > self.members).any())

    def _share(self, index: int) -> float | None:
        """Seconds of this rung: of what is left, as much as it has of the steps that are left."""
        try:
            left = self.ladder.budget.seconds_left()
        except _check.BudgetError as spent:
            eta = self.ladder.etas[index]
            raise _check.BudgetError(f"{spent} before the rung eta = {eta:g} is sampled; raise it") from None
        return None if left is None else left * self.steps[index] / self.steps[index:].sum()

    def _values(self, index: int, known: np.ndarray | None, members: range, seconds: float | None) -> Pieces:
        ladder, steps, rung = self.ladder, int(self.steps[index]), self.ladder.rungs[index]
        assert isinstance(rung, RandomRecursionSystem)
        most = ladder.budget.max_steps
        if most is not None and steps > most:
            raise _check.BudgetError(
                f"`max_steps` = {most:,} are fewer than the {steps:,} steps of the rung eta = {ladder.etas[index]:g}; "
                "use larger `etas`, a shorter `t`, or raise it"
            )
        x = path_values(rung, ladder.state0, steps, self.functional, ladder.seed, members, max_seconds=seconds)
        if known is not None:
            return Pieces(x, x - known, np.zeros_like(x))
        limit, h = ladder.limits[index], float(rung.clock(1))
        assert isinstance(limit, SDESystem)
        X, change = equation_values(
            limit, h, ladder.limit_state0, steps, self.functional, ladder.seed, members, seconds
        )
        return Pieces(x, x - X, change)

    def _say_cost(self, index: int, known: np.ndarray | None, gaps: RunningMean, seconds: float) -> None:
        """Say what this rung and the finer ones will cost, from the first members of this one."""
        self.said = True
        if seconds < DEAR:  # most of it may be compilation
            before = time.monotonic()
            self._values(index, known, range(gaps.count), None)
            seconds = time.monotonic() - before
        h, steps = self.ladder.time_steps[index:], self.steps[index:]
        power = 2 * self.ladder.method.expected_order(self.ladder.order, "weak")
        members = np.maximum(float(self.needed(gaps).max()) * (h[0] / h) ** power, gaps.count)
        members[members > self.members] = min(FIRST_CHUNK, self.members)  # hopeless: they end with their first members
        work = (1 if known is not None else 1 + sum(ROMBERG_WEIGHTS)) * steps
        pace = seconds / (gaps.count * work[0])
        left = self.ladder.budget.max_seconds or np.inf
        about, most = (min(count, left / pace) for count in (float(np.sum(members * work)), self.members * work.sum()))
        rungs = "1 rung" if len(h) == 1 else f"{len(h)} rungs"
        announce(
            self.progress,
            f"eta_limit samples {rungs}: about {about:.1e} steps of members, {about * pace:.0f} s (at most "
            f"{most:.1e}, {most * pace:.0f} s); `realizations`, `relative_error` or `max_seconds` bound it",
            about * pace,
        )
