r"""Strong error on shared Brownian paths:  (E sup_t ||x_eta(t) - X(t)||^2)^{1/2}"""

import time
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn._tools.progress import announce, meter
from flowdyn.convergence.gap import Gap
from flowdyn.convergence.ladder import Ladder
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.results.dataset import flat_parameters
from flowdyn.solvers.base import Solver
from flowdyn.solvers.selection import solver_on_path

MEMBERS = 512  # unless `realizations` says otherwise
CELLS = 32  # cells of the shared Brownian path in the finest step


def check_strong(method: RandomRecursionSystem, order: int) -> None:
    """Refuse a strong error where recursion and limit have no noise in common."""
    if order > 0 and not method.has_brownian_increments:
        raise _check.fail(
            "error",
            "cannot be 'strong' where recursion and limit share no noise",
            f"{type(method).__name__} on {type(method.on_problem).__name__}"
            if method.on_problem
            else type(method).__name__,
            "use error='weak', or SGD on Quadratic(A, noise)",
        )


def strong_gaps(ladder: Ladder, budget: int | None, progress: Any) -> tuple[list[Gap], list[np.ndarray]]:
    """Root-mean-square of the largest distance over t on each rung, and its mean square over t."""
    members = budget or MEMBERS
    brownian_dt = float(ladder.time_steps.min()) / CELLS
    count, began = len(ladder.rungs), time.monotonic()
    gaps, curves = [], []
    with meter(progress, "eta_limit", lines=True) as report:
        for index in range(count):
            gap, curve = _rung_gap(ladder, index, brownian_dt, members)
            gaps.append(gap)
            curves.append(curve)
            if index == 0:  # all rungs share one fine path, and cost about the same
                seconds = (count - 1) * (time.monotonic() - began)
                steps = members * sum(int(k[-1]) for k in ladder.steps)
                announce(
                    progress, f"eta_limit: {steps:.1e} steps of members on {count} rungs, {seconds:.0f} s", seconds
                )
            report((index + 1) / count)
    return gaps, curves


def _rung_gap(ladder: Ladder, index: int, brownian_dt: float, members: int) -> tuple[Gap, np.ndarray]:
    """Gap of one rung, and its root-mean-square over t."""
    rung, limit = ladder.rungs[index], ladder.limits[index]
    if ladder.has_one_limit:
        path = _member_paths(ladder, rung, None, members)
        near, nearer = (np.array([limit.project(z) for z in states])[None] for states in ladder.flow_states)
    else:
        path = _member_paths(ladder, rung, solver_on_path(rung, ladder.state0, brownian_dt), members)
        # shared noise is additive: the solver of highest order solves the drift better than the noise asks for
        nearer, near = (
            _member_paths(
                ladder, limit, solver_on_path(limit, ladder.limit_state0, brownian_dt, brownian_dt * factor), members
            )
            for factor in (1, 2)
        )
    squares = np.sum((path - nearer) ** 2, axis=-1)
    worst = squares.max(axis=1)
    error = np.sqrt(worst.mean())
    spread = worst.std(ddof=1) / np.sqrt(members) / (2 * max(error, 1e-300))
    change = np.sqrt(np.sum((near - nearer) ** 2, axis=-1).max(axis=1).mean())
    zero = np.zeros(1)
    gap = Gap(zero, zero, np.array([error]), np.array([spread]), np.array([change]), members)
    return gap, np.sqrt(squares.mean(axis=0))


def _member_paths(ladder: Ladder, system: Any, solver: Solver | None, members: int) -> np.ndarray:
    """Flat parameters (N, T, P) of the members."""
    run = ladder.budget.solve(
        system, ladder.start, ladder.times, solver=solver, realizations=members, seed=ladder.seed, progress=False
    )
    return flat_parameters(run)
