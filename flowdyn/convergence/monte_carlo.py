"""Means over paths at one time, to a stated accuracy or to the end of a budget.

    d_i = g(x_i) - sum_l c_l g(X_i^l),   error = mean d,   standard error = std d / sqrt(N)

x is the recursion, X^l its equation by Euler-Maruyama at the steps h/2, h/4, h/8 on one Brownian path,
c = (1, -6, 8)/3: the first two terms of the scheme's own weak error cancel (Talay and Tubaro 1990).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import map_rows
from flowdyn.convergence.control_variates import Controlled, EulerScheme, controlled_start, controlled_value
from flowdyn.methods.stochastic_base import RandomRecursion, SDESystem
from flowdyn.solvers.base import Task
from flowdyn.solvers.ensembles import run_ensemble
from flowdyn.solvers.iteration import random_step
from flowdyn.solvers.step_program import Legs, Plan

LEVELS = ((2, 1 / 3), (4, -6 / 3), (8, 8 / 3))  # substeps of the recursion's step, and weight
TWO_LEVELS = {4: -1.0, 8: 2.0}  # the next coarser extrapolation, whose distance tells the solver's error
FIRST_CHUNK, LAST_CHUNK = 2048, 65536


class Functional:
    """Observables g(problem, w) of a controlled state as one kernel, equal where the functions are."""

    def __init__(self, functions: Sequence[Callable]):
        self.functions = tuple(functions)

    def __call__(self, system: Any, state: Any) -> jax.Array:
        """Values (F,) at one controlled state."""
        return jnp.stack([controlled_value(functools.partial(g, system.problem), state) for g in self.functions])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Functional) and self.functions == other.functions

    def __hash__(self) -> int:
        return hash(self.functions)


@dataclasses.dataclass
class Tally:
    """Count, mean and sum of squared deviations, merged chunk by chunk."""

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Tally":
        """Of one chunk (N, F)."""
        mean = rows.mean(axis=0)
        return cls(len(rows), mean, ((rows - mean) ** 2).sum(axis=0))

    def merge(self, other: "Tally") -> "Tally":
        """Of both together."""
        total = self.count + other.count
        shift = other.mean - self.mean
        squares = self.squares + other.squares + shift**2 * self.count * other.count / total
        return Tally(total, self.mean + shift * other.count / total, squares)

    @property
    def standard_error(self) -> np.ndarray:
        """Of the mean."""
        return np.sqrt(self.squares / max(self.count - 1, 1) / self.count)


def path_values(
    recursion: RandomRecursion,
    w0: np.ndarray,
    steps: int,
    functional: Functional,
    seed: int,
    members: range,
    refine: int,
) -> np.ndarray:
    """Controlled values (N, F) of members after `steps` steps."""
    system = Controlled(recursion)
    state0 = controlled_start(w0)
    task = Task(
        system, state0, 0.0, 0, None, np.array([steps]), 1, None, None, None, lambda share: None,
        seed=seed, members=len(members), first=members.start,
    )  # fmt: skip
    legs = Legs(np.array([0]), np.array([steps]), np.zeros(1), np.ones(1))
    plan = Plan(random_step, system.ask, refine)
    blocks = run_ensemble(task, plan, legs, system.epoch, system.epoch_words)
    ends = np.concatenate([block.states[:, -1] for block in blocks])
    lost = int((~np.isfinite(ends).all(axis=1)).sum())
    if lost:
        raise _check.RunError(f"{lost} of {len(ends)} paths did not stay finite: means do not exist; use a smaller eta")
    rows = map_rows(functional, system, ends)
    lost = int((~np.isfinite(rows).all(axis=1)).sum())
    if lost:
        raise _check.RunError(
            f"`observable` or its gradient is not finite on {lost} of {len(rows)} finite paths: its mean is not known"
        )
    return rows


def equation_values(
    equation: SDESystem, eta: float, w0: np.ndarray, steps: int, functional: Functional, seed: int, members: range
) -> tuple[np.ndarray, np.ndarray]:
    """Extrapolated values (N, F) of the equation, and the change from the next coarser extrapolation."""
    m = equation.noise_dim(w0)
    finest = LEVELS[-1][0]
    best = coarser = np.zeros(1)
    for substeps, weight in LEVELS:
        scheme = EulerScheme(equation, eta / substeps, m)
        values = path_values(scheme, w0, steps * substeps, functional, seed, members, finest // substeps)
        best, coarser = best + weight * values, coarser + TWO_LEVELS.get(substeps, 0.0) * values
    return np.asarray(best), np.asarray(best - coarser)


def chunks(limit: int) -> list[range]:
    """Members in chunks that grow, so that an easy mean is cheap; which chunk a member is in changes nothing."""
    out, start, size = [], 0, FIRST_CHUNK
    while start < limit:
        out.append(range(start, min(start + size, limit)))
        start, size = out[-1].stop, min(2 * size, LAST_CHUNK)
    return out
