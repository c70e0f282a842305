"""Step sizes and times to start from, when the user names none: scales of the loss seen along a short flow.

t = 20 / lambda_max(w0),   eta = 0.1 / max over the flow of lambda_max(w(t))
"""

import numpy as np

from flowdyn import _check
from flowdyn.methods.curvature import largest_curvature
from flowdyn.methods.gradient_descent import GradientFlow
from flowdyn.problems.base import Problem
from flowdyn.results.dataset import flat_parameters
from flowdyn.running.integration import solve
from flowdyn.solvers.selection import accurate_solver

LOOKS = 8  # at the curvature along the flow, and at its start
LOOK_RTOL = 1e-8  # of the flow that is looked at
SPARE = 12  # saves from look to look: as many rows as a ladder has, whose program of observables then serves here too


def default_time(problem: Problem, w0: np.ndarray) -> float:
    """20 times the shortest time scale at the start."""
    largest = largest_curvature(problem, w0)
    if not largest > 0:
        raise _check.RunError(f"no time scale: the largest curvature at the start is {largest:g}; give `t`")
    return 20 / largest


def stable_eta(problem: Problem, w0: np.ndarray, t: float) -> float:
    """A tenth of 1 / lambda_max along the flow up to t: one twentieth of the stability threshold."""
    states = [w0]
    if problem.spectrum() is None:
        flow = GradientFlow(problem)
        solver = accurate_solver(
            flow, w0, LOOK_RTOL, end=t
        )  # a ladder's limit has it too: one right-hand side for both
        run = solve(flow, w0, t, saves=LOOKS * SPARE + 1, solver=solver, progress=False)
        states = list(flat_parameters(run)[::SPARE])
    return 0.1 / max(largest_curvature(problem, state) for state in states)
