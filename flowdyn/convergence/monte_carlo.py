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
from flowdyn._tools.compiled import ByIdentity, map_rows
from flowdyn.convergence.control_variates import Controlled, EulerScheme, controlled_start, controlled_value
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import SDESystem
from flowdyn.solvers.base import STATUSES, Task
from flowdyn.solvers.ensembles import run_ensemble
from flowdyn.solvers.member_runs import MemberRun
from flowdyn.solvers.segments import Segments
from flowdyn.solvers.step_program import StepProgram, recursion_step

ROMBERG_WEIGHTS = {2: 1 / 3, 4: -6 / 3, 8: 8 / 3}  # substeps of the recursion's step: weight
COARSER_WEIGHTS = {2: 0.0, 4: -1.0, 8: 2.0}  # the next coarser extrapolation, whose distance tells the solver's error
FIRST_CHUNK, LAST_CHUNK = 2048, 65536


def controlled(functions: Sequence[Callable]) -> ByIdentity:
    """Observables g(system, state) of a controlled state as one kernel of values (F,), equal where they are."""
    return ByIdentity(*functions, kernel=_controlled_values)


def _controlled_values(*arguments: Any) -> jax.Array:
    *functions, system, state = arguments
    return jnp.stack([controlled_value(functools.partial(g, system.viewed), state) for g in functions])


@dataclasses.dataclass
class RunningMean:
    """Count, mean and sum of squared deviations, chunk by chunk."""

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def empty(cls, size: int) -> "RunningMean":
        """Sums over no rows yet, of `size` columns."""
        return cls(0, np.zeros(size), np.zeros(size))

    def including(self, rows: np.ndarray) -> "RunningMean":
        """The same sums with one more chunk (N, F) of rows."""
        count, mean = len(rows), rows.mean(axis=0)
        squares = ((rows - mean) ** 2).sum(axis=0)
        if self.count == 0:
            return RunningMean(count, mean, squares)
        total, shift = self.count + count, mean - self.mean
        squares = self.squares + squares + shift**2 * self.count * count / total
        return RunningMean(total, self.mean + shift * count / total, squares)

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of each mean, from the sample variance of the rows."""
        if self.count < 2:  # one row tells nothing of the spread
            return np.full_like(self.mean, np.inf)
        return np.sqrt(self.squares / (self.count - 1) / self.count)


def path_values(
    recursion: RandomRecursionSystem,
    w0: np.ndarray,
    steps: int,
    functional: Callable,
    seed: int,
    members: range,
    refine: int = 1,
    max_seconds: float | None = None,
) -> np.ndarray:
    """Controlled values (N, F) of members after `steps` steps."""
    system = Controlled(recursion)
    state0 = controlled_start(w0)
    task = Task(
        system, state0, 0.0, 0, None, np.array([steps]), 1, None, None, max_seconds, lambda share: None,
        seed=seed, members=len(members), first=members.start,
    )  # fmt: skip
    segments = Segments(np.array([0]), np.array([steps]), np.zeros(1), np.ones(1))
    program = StepProgram(recursion_step, system.random_inputs, refine)
    blocks, done = [], 0
    for block in run_ensemble(MemberRun(task, program, segments, system.epoch, system.epoch_bits)):
        blocks.append(block.states[:, -1])
        done += len(block.states)
        if (block.codes == STATUSES.index("max_seconds")).any() or (done < len(members) and task.out_of_time()):
            raise _check.BudgetError("`max_seconds` ran out before the first members of a rung were sampled; raise it")
    ends = np.concatenate(blocks)
    lost = int((~np.isfinite(ends).all(axis=1)).sum())
    if lost:
        raise _check.RunError(f"{lost} of {len(ends)} paths of the {_what_is_lost(recursion)}")
    rows = map_rows(functional, system, ends)
    lost = int((~np.isfinite(rows).all(axis=1)).sum())
    if lost:
        raise _check.RunError(
            f"`observable` or its gradient is not finite on {lost} of {len(rows)} finite paths: its mean is not known"
        )
    return rows


def _what_is_lost(recursion: RandomRecursionSystem) -> str:
    """Words for paths that did not stay finite, and a way out."""
    if not isinstance(recursion, EulerScheme):
        return "recursion did not stay finite: its means do not exist; use a smaller eta"
    return (
        "equation did not stay finite: its noise may take a piece where coefficients have no value (a second moment "
        "below 0 under a root); let the step be smooth there too, e.g. jnp.maximum(v, floor), or use a smaller eta"
    )


def equation_values(
    equation: SDESystem,
    eta: float,
    w0: np.ndarray,
    steps: int,
    functional: Callable,
    seed: int,
    members: range,
    max_seconds: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Extrapolated values (N, F) of the equation, and the change from the next coarser extrapolation."""
    m = equation.noise_dim(w0)
    finest = max(ROMBERG_WEIGHTS)
    best = coarser = np.zeros(1)
    for substeps, weight in ROMBERG_WEIGHTS.items():
        scheme = EulerScheme(equation, eta / substeps, m)
        values = path_values(scheme, w0, steps * substeps, functional, seed, members, finest // substeps, max_seconds)
        best, coarser = best + weight * values, coarser + COARSER_WEIGHTS[substeps] * values
    return np.asarray(best), np.asarray(best - coarser)


def chunks(limit: int) -> list[range]:
    """Members in chunks that grow, so that an easy mean is cheap; which chunk a member is in changes nothing."""
    out, start, size = [], 0, FIRST_CHUNK
    while start < limit:
        out.append(range(start, min(start + size, limit)))
        start, size = out[-1].stop, min(2 * size, LAST_CHUNK)
    return out
