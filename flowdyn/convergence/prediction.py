"""The state of a recursion at a tiny eta, from its modified flow:  cost O(1) in 1/eta."""

import warnings
from typing import Any, SupportsIndex

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn.convergence.budget import Budget
from flowdyn.convergence.limits import UNMEASURED, solved, solver_alone
from flowdyn.convergence.prediction_error import HEAD, TRUSTED, Flow, clock_steps, flow_error
from flowdyn.methods.base import DiscreteSystem
from flowdyn.results.dataset import flat_parameters
from flowdyn.running.asked_options import told_of_solvers
from flowdyn.solvers.base import Solver

MOST_STEPS = 50_000  # of a solution of the flow, where the user sets no bound


@told_of_solvers
def fast_forward(
    method: DiscreteSystem,
    w0: Any,
    t: ArrayLike,
    order: int = 2,
    *,
    solver: Solver | None = None,
    max_steps: SupportsIndex | None = None,
    max_seconds: float | None = None,
) -> xr.Dataset:
    r"""State of a recursion at time t from its modified flow, at a cost that does not grow with 1/eta.

    .. math:: \|w_{t/\eta} - \tilde w_p(t)\| = O(\eta^{p+1})

    Parameters
    ----------
    method : DiscreteSystem
        Any deterministic recursion with a constant eta.
    w0 : array_like of float, shape (P,), mapping or pytree
        Start.
    t : float or array_like of float, shape (T,)
        Training time(s) on its clock.
    order : int
        Order p of the modified flow; 0 is the gradient flow.
    solver : Solver, optional
        Exact where a closed form is known, else a method near the tightest tolerance: an explicit one of high order
        where the flow turns for long, else a stiff one.
    max_steps : int, optional
        Most steps of each solution of the flow (50,000 for the default solver).
    max_seconds : float, optional
        Most wall time of the whole, in seconds.

    Returns
    -------
    xarray.Dataset
        The modified flow at `t`, with ``error_estimate(t)``: its distance from the recursion, which takes its first 512
        steps itself (a time between two of them counts as the nearer one) and is then followed by a flow of higher
        order; plus solver error and rounding. NaN where the series cannot be trusted.

    Raises
    ------
    ArgumentError
        If `method` is random or has no modified flow, its eta changes, the order is negative, or the times do not
        increase.
    RunError
        If the modified flow diverges or exceeds a budget.

    Warns
    -----
    FlowdynWarning
        If eta times the largest curvature on the way (the largest ``|lambda|`` of dS/dz - 1, S the step) is 0.97 or
        more, where the series does not converge or hardly does.

    Notes
    -----
    Source: Hairer, Lubich and Wanner (2006), section IX.1: backward error analysis read forward.

    Examples
    --------
    >>> import flowdyn as fd
    >>> gd = fd.GradientDescent(fd.problems.Quadratic(1.0), eta=1e-8)  # 1e8 steps
    >>> w = fd.fast_forward(gd, [1.0], t=1.0)
    >>> round(float(w.w.item()), 12), bool(w.error_estimate.item() < 1e-8)
    (0.367879439332, True)
    """
    if not isinstance(method, DiscreteSystem):
        raise _check.fail("method", "must be a deterministic recursion with a step size", method)
    p = _check.integer("order", order, minimum=0)
    times = _check.times("t", np.atleast_1d(_check.real_array("t", t)))
    budget = Budget(max_steps, max_seconds)
    if solver is None:
        budget = budget.with_steps(MOST_STEPS)
    limit = method.limit(p)
    start = limit.ravel(w0)
    chosen = solver or solver_alone(limit, start, float(times[-1]))
    seen: list[float] = []
    k = clock_steps(method, times)
    both = np.union1d(times, method.clock(k))
    loose = flat_parameters(solved(limit, start, both, chosen, budget, seen.append))
    run = solved(limit, start, times, chosen.tighter() or chosen, budget)
    states = flat_parameters(run)
    solver_error = np.linalg.norm(loose[np.searchsorted(both, times)] - states, axis=1).max()
    on_clock = loose[np.searchsorted(both, method.clock(k))]
    flow = Flow(states, on_clock, p, chosen, np.unique(seen) * both[-1])
    found = flow_error(method, start, times, flow, budget)
    estimate = found.estimate + UNMEASURED * solver_error + np.finfo(float).eps * np.linalg.norm(states, axis=1)
    if found.product >= TRUSTED:
        largest = f"{method.change_text} on the way is {found.product:.3g}"
        warnings.warn(
            f"{largest if np.isfinite(found.product) else 'the recursion itself diverges'}: from about 1 on the series "
            f"of the modified flow does not converge, and no error is estimated beyond {HEAD} steps (NaN); use a "
            "smaller eta",
            _check.FlowdynWarning,
            stacklevel=3,
        )
    text = f"estimated distance from the recursion: {HEAD} steps of it, then its flow of higher order"
    run["error_estimate"] = (("t",), estimate, {"long_name": text, "units": "1"})
    run.attrs["title"] = f"{type(method).__name__} predicted by its modified flow of order {p}"
    return run
