"""Who solves the limit of a recursion, and how well: said once, by capability.

A gap between recursion and limit must never be the solver's error: the limit is solved at tighter and tighter
tolerances, each measured by a tighter one, until its error is negligible beside the gap.
"""

from typing import Any

import numpy as np
import xarray as xr

from flowdyn import _check, comparison
from flowdyn._tools.compiled import bind
from flowdyn.convergence.budget import Budget
from flowdyn.methods.systems import ODESystem, System
from flowdyn.results.dataset import flat_states
from flowdyn.solvers import kernels
from flowdyn.solvers.base import Solver
from flowdyn.solvers.selection import accurate_solver, pick_solver
from flowdyn.solvers.turning import turns

NEGLIGIBLE = 0.005  # solver error over gap, below which the limit is solved well enough
TIGHTEST = 1000 * float(np.finfo(float).eps)  # of a relative tolerance that a tenth of is still one
TOLERANCES = (1e-9, 1e-11, TIGHTEST)  # the last is dear on a loss with kinks, and a wide gap does not need it
LOOSEST = 0.5  # a tolerance where rounding is all: the run itself says so
ALONE = 1e-13  # of a limit that is solved by itself
MEAN = 1e-12  # of a flow whose values are means
SHORT = 16  # steps of a run at the least, where another tolerance changes no step
UNMEASURED = 3.0  # near the tightest tolerance the change to a tighter one may be a third of the error


def limit_solvers(limit: System, w0: np.ndarray, end: float, solver: Solver | None) -> list[Solver]:
    """Solvers to try in turn until the limit's error is negligible beside the gap; the user's alone if there is one."""
    state0 = np.asarray(limit.lift(w0))
    if solver is not None:
        return [pick_solver(limit, state0, solver)]
    floor = min(10 * relative_rounding(limit, state0), LOOSEST)  # its error is measured at a tenth
    tolerances = dict.fromkeys(max(rtol, floor) for rtol in TOLERANCES)
    tried = [accurate_solver(limit, state0, rtol, end=end) for rtol in tolerances]
    return tried[:1] if tried[0].tighter() is None else tried


def solver_alone(limit: System, w0: np.ndarray, end: float) -> Solver:
    """For a limit without its recursion beside it: stiffness that the recursion would resolve must not be paid for.

    A limit that turns for long has explicit steps: implicit ones would be twenty times as many.
    """
    state0 = np.asarray(limit.lift(w0))
    rtol = max(ALONE, min(10 * relative_rounding(limit, state0), LOOSEST))
    stiff = accurate_solver(limit, state0, rtol, end=end, explicit=False)
    if stiff.tighter() is None or not turns(limit, state0, end):
        return stiff
    return accurate_solver(limit, state0, rtol, end=end)


def relative_rounding(limit: Any, state0: np.ndarray) -> float:
    """Rounding of a right-hand side as a share of it: a tolerance below that has steps shrink for nothing."""
    if not (isinstance(limit, ODESystem) and limit.drift_rounding(state0)):
        return 0.0
    rate = np.asarray(bind(kernels.drift, limit)(np.float64(0), state0))  # the program of LSODA
    return limit.drift_rounding(state0) / max(float(np.abs(rate).max()), 1e-300)


def accumulated_rounding(limit: Any, w0: np.ndarray, span: float) -> float:
    """What rounding of the right-hand side may add up to over a time."""
    return span * limit.drift_rounding(np.asarray(limit.lift(w0))) if isinstance(limit, ODESystem) else 0.0


def solved(limit: Any, w0: Any, times: Any, solver: Solver, budget: Budget, progress: Any = False) -> xr.Dataset:
    """The limit at `times` within a budget; where that does not suffice, the reason and the way out in words."""
    try:
        return budget.solve(limit, w0, times, solver=solver, progress=progress)
    except _check.BudgetError as spent:
        bound = "" if budget.max_steps is None else f" ({budget.max_steps:,} steps a run)"
        helps = "max_seconds" if "`max_seconds`" in str(spent) else "max_steps"
        raise _check.BudgetError(
            f"the limit could not be solved by {type(solver).__name__}{bound}: {spent}; raise `{helps}`, or give a "
            "shorter `t` or a looser `solver`"
        ) from None


def solved_twice(
    limit: Any, w0: np.ndarray, times: np.ndarray, solver: Solver, budget: Budget
) -> tuple[xr.Dataset, float]:
    """The limit at `times`, and the change from a looser to a tighter tolerance: a bound on the latter's error."""
    run = solved(limit, w0, times, solver, budget)
    tighter = solver.tighter()
    if tighter is None:
        return run, 0.0
    finer = solved(limit, w0, times, tighter, budget)
    change = float(comparison.sup_error(run, finer))
    shorter = tighter.with_steps_below(float(times[-1]) / SHORT)
    if change == 0 and shorter is not None:
        # a few steps, good enough for both tolerances, are the same ones: that says nothing of the values between them
        run = finer
        finer = solved(limit, w0, times, shorter, budget)
        change = float(comparison.sup_error(run, finer))
    return finer, change + accumulated_rounding(limit, w0, float(times[-1]))


def flow_states(flow: System, w0: np.ndarray, times: np.ndarray, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """States (T, S) of a flow, and the same solved tighter, as exact as it can be had."""
    solver = accurate_solver(flow, np.asarray(flow.lift(w0)), MEAN, end=float(times[-1]))
    looser = flat_states(solved(flow, w0, times, solver, budget), flow)
    tighter = solver.tighter()
    return looser, looser if tighter is None else flat_states(solved(flow, w0, times, tighter, budget), flow)
