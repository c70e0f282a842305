r"""Strong error on shared Brownian paths:  (E sup_t ||x_eta(t) - X(t)||^2)^{1/2}"""

from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.convergence.gap import Gap
from flowdyn.convergence.ladder import Ladder
from flowdyn.convergence.limits import flow_states
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import ODESystem
from flowdyn.results.dataset import flat_parameters
from flowdyn.running.integration import solve
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
            f"{type(method).__name__} on {type(method.problem).__name__}",  # type: ignore[attr-defined]
            "use error='weak', or SGD on Quadratic(A, noise)",
        )


def strong_gaps(ladder: Ladder, budget: int | None) -> tuple[list[Gap], list[np.ndarray]]:
    """Root-mean-square of the largest distance over t on each rung, and its mean square over t."""
    members = budget or MEMBERS
    brownian_dt = float(ladder.time_steps.min()) / CELLS
    gaps, curves = [], []
    for rung, limit in zip(ladder.rungs, ladder.limits, strict=True):
        if isinstance(limit, ODESystem):
            path = _member_paths(ladder, rung, None, members)
            near = nearer = flow_states(limit, ladder.start, ladder.times)[None]
        else:
            path = _member_paths(ladder, rung, solver_on_path(rung, ladder.start, brownian_dt), members)
            # shared noise is additive: the solver of highest order solves the drift better than the noise asks for
            nearer, near = (
                _member_paths(
                    ladder, limit, solver_on_path(limit, ladder.start, brownian_dt, brownian_dt * factor), members
                )
                for factor in (1, 2)
            )
        squares = np.sum((path - nearer) ** 2, axis=-1)
        worst = squares.max(axis=1)
        error = np.sqrt(worst.mean())
        spread = worst.std(ddof=1) / np.sqrt(members) / (2 * max(error, 1e-300))
        change = np.sqrt(np.sum((near - nearer) ** 2, axis=-1).max(axis=1).mean())
        zero = np.zeros(1)
        gaps.append(Gap(zero, zero, np.array([error]), np.array([spread]), np.array([change]), members))
        curves.append(np.sqrt(squares.mean(axis=0)))
    return gaps, curves


def _member_paths(ladder: Ladder, system: Any, solver: Solver | None, members: int) -> np.ndarray:
    """Flat parameters (N, T, P) of the members."""
    run = solve(
        system, ladder.start, ladder.times, solver=solver, realizations=members, seed=ladder.seed, progress=False
    )
    return flat_parameters(run)
