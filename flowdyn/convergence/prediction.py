"""The state of a recursion at a tiny eta, from its modified flow:  cost O(1) in 1/eta."""

import warnings
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from flowdyn import _check, comparison
from flowdyn.convergence.limits import solved_twice, solver_alone
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.curvature import largest_curvature
from flowdyn.problems.base import Problem
from flowdyn.results.dataset import flat_parameters
from flowdyn.running.integration import solve
from flowdyn.solvers.base import Solver

LOOKS = 8


def fast_forward(
    method: DiscreteSystem, w0: Any, t: ArrayLike, order: int = 2, *, solver: Solver | None = None
) -> xr.Dataset:
    r"""State of a recursion at time t from its modified flow, at a cost that does not grow with 1/eta.

    .. math:: \|w_{t/\eta} - \tilde w_p(t)\| = O(\eta^{p+1}), \qquad
              \text{estimate } \|\tilde w_p(t) - \tilde w_{p-1}(t)\| = O(\eta^p)

    Parameters
    ----------
    method : DiscreteSystem
        Gradient descent with a constant eta.
    w0 : array_like of float, shape (P,), mapping or pytree
        Start.
    t : float or array_like of float, shape (T,)
        Training time(s) eta * k.
    order : int
        Order p >= 1 of the modified flow.
    solver : Solver, optional
        Exact where a closed form is known, else a stiff method near the tightest tolerance.

    Returns
    -------
    xarray.Dataset
        The modified flow at `t`, with ``error_estimate(t)``: the distance from order p - 1 plus solver error and
        rounding. It overestimates the gap where eta is small enough for the series to converge, and is NaN where it
        cannot.

    Raises
    ------
    ArgumentError
        If `method` is random or has no modified flow, its eta changes, the order is below 1, or the times do not
        increase.
    RunError
        If the modified flow diverges.

    Warns
    -----
    FlowdynWarning
        If eta times the largest curvature, at the start or at a time of `t`, is 1 or more, where the series does not
        converge.

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
    p = _check.integer("order", order, minimum=1)
    times = _check.times("t", np.atleast_1d(_check.real_array("t", t)))
    flow, lower = method.limit(p), method.limit(p - 1)
    start = flow.ravel(w0)
    chosen = solver or solver_alone(flow, start, float(times[-1]))
    run, solver_error = solved_twice(flow, start, times, chosen)
    below = solve(lower, start, times, solver=chosen.tighter() or chosen, progress=False)
    text = f"distance from the modified flow of order {p - 1}, plus solver error and rounding"
    states = flat_parameters(run)
    rounding = np.finfo(float).eps * np.linalg.norm(states, axis=1)
    estimate = comparison.error(run, below).values + solver_error + rounding
    product = method.constant_eta("a prediction") * _largest_on_the_way(method.problem, start, states)  # type: ignore[attr-defined]
    if product >= 1:  # two truncations of a series that diverges may agree and both be wrong
        estimate = np.full_like(estimate, np.nan)
        warnings.warn(
            f"`eta` times the largest curvature on the way is {product:.3g}: from 1 on the series of the modified "
            "flow does not converge, and no error is estimated (NaN); use a smaller eta",
            _check.FlowdynWarning,
            stacklevel=2,
        )
    run["error_estimate"] = (("t",), estimate, {"long_name": text, "units": "1"})
    run.attrs["title"] = f"{type(method).__name__} predicted by its modified flow of order {p}"
    return run


def _largest_on_the_way(problem: Problem, start: np.ndarray, states: np.ndarray) -> float:
    """Largest eigenvalue of the Hessian at the start and at up to LOOKS of the states."""
    chosen = np.unique(np.linspace(0, len(states) - 1, LOOKS).astype(int))
    return max(largest_curvature(problem, w) for w in [start, *states[chosen]])
