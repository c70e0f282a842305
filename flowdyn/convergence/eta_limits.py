"""What happens as eta -> 0: a recursion beside its limit on a ladder of step sizes.

sup_t ||w_eta(t) - w(t)|| = O(h^{p+1}),   |E g(w_eta(t)) - E g(X(t))| = O(eta^p),   h the time step of the clock
"""

from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.convergence.deterministic import sup_ladder
from flowdyn.convergence.stochastic import random_ladder
from flowdyn.convergence.weak import check_strong
from flowdyn.methods.stochastic_base import RandomRecursion
from flowdyn.methods.systems import DiscreteSystem, Recursion
from flowdyn.solvers.base import Solver

RUNGS = 6
RANDOM_RUNGS = 4  # sampling a rung costs more than running it once


def eta_limit(
    method: Recursion,
    w0: Any,
    t: float,
    etas: Any = None,
    *,
    order: int | None = None,
    error: str | None = None,
    observable: Any = None,
    realizations: int | None = None,
    resolution: float = 0.05,
    seed: int = 0,
    solver: Solver | None = None,
    saves: int = 101,
    progress: Any = None,
) -> Any:
    r"""Run a method at several step sizes beside its continuous limit, and fit the order of their gap.

    .. math:: \sup_t \|w_\eta(t) - w(t)\| = O(h^{p+1}), \qquad |E g(w_\eta(t)) - E g(X(t))| = O(\eta^p)

    Parameters
    ----------
    method : Recursion
        The recursion; its own eta heads the default ladder.
    w0 : array_like (P,), mapping or pytree
        Start.
    t : float
        End time on the clock; rounded down to a common multiple of all time steps.
    etas : array_like (m,), optional
        Step sizes, at least 3; the method's eta and five halvings of its time step (three for random methods)
        unless given.
    order : int, optional
        Order p of the limit: 0 the gradient flow, p >= 1 the modified flow or (SGD, p = 1 or 2) stochastic equation.
        0 unless given, 1 for random methods.
    error : {"sup", "weak", "strong"}, optional
        Deterministic methods: "sup", the largest distance over the common times. Random ones: "weak" (the default), the
        difference of means of the observables at the end; "strong", the root-mean-square of the largest distance on
        shared Brownian paths, refused where recursion and limit share none.
    observable : callable or mapping of str to callable, optional
        Test functions g(w) of a weak error, written with jax.numpy; the loss unless given.
    realizations : int, optional
        Members of a random ladder, at most. A weak error of a linear problem and quadratic observables needs none
        unless this is given: its means are exact. Otherwise paths are sampled, with a control variate, until the
        standard error of each mean is `resolution` times the gap or `realizations` (524288 unless given) are spent.
    resolution : float
        Standard error over gap at which a rung is resolved; others are not fitted.
    solver : Solver, optional
        For the limit of a deterministic method. Exact where a closed form is known, else DOP853, tightened until its
        error is below 1/200 of the smallest gap.
    saves : int
        Common times kept, at most.

    Returns
    -------
    xarray.Dataset
        With dim `eta`: the recursion's variables, the limit's with suffix ``_limit``, `error`, `sup_error`, `order`
        (counted in the clock's time step), `order_interval` (95 %), `order_expected`, and `solver_error`: what
        re-solving tighter changed. Attribute `verdict` says whether the order is resolved.

        A weak or strong ladder has dim `observable`, the signed `error(eta, observable)` and its `standard_error`.

    Raises
    ------
    ArgumentError
        If the time steps have no common multiple below t, the method has a schedule, or the error asked for does not
        exist.
    RunError
        If a rung diverges.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> ladder = fd.eta_limit(fd.GradientDescent(p, eta=0.1), [1.0], t=2.0)
    >>> round(float(ladder.order), 2), float(ladder.order_expected)
    (1.0, 1.0)
    """
    rungs, h = _rungs(method, etas)
    end = _check.real("t", t, positive=True)
    kept = _check.integer("saves", saves, minimum=2)
    p = (1 if method.is_random else 0) if order is None else _check.integer("order", order, minimum=0)
    if isinstance(method, RandomRecursion):
        kind = _check.choice("error", "weak" if error is None else error, ("weak", "strong"))
        if kind == "strong":
            check_strong(method, p)
            if observable is not None:
                raise _check.fail("observable", "is for error='weak'", observable)
        if solver is not None:
            raise _check.fail("solver", "must be None for a random ladder, which chooses its own", solver)
        budget = None if realizations is None else _check.integer("realizations", realizations, minimum=100)
        fraction = _check.real("resolution", resolution, positive=True)
        return random_ladder(method, rungs, h, w0, end, p, kind, observable, budget, fraction, seed, kept, progress)
    if error not in (None, "sup"):
        raise _check.fail("error", "must be 'sup' for a deterministic method", error)
    for name, value in (("realizations", realizations), ("observable", observable)):
        if value is not None:
            raise _check.fail(name, "must be None for a deterministic method", value)
    assert isinstance(method, DiscreteSystem)
    return sup_ladder(method, rungs, h, w0, end, p, seed, solver, kept, progress)


def _rungs(method: Any, etas: Any) -> tuple[list[Recursion], np.ndarray]:
    """The method at each step size, and the time steps of their clocks."""
    if not isinstance(method, Recursion):
        raise _check.fail(
            "method", "must be a recursion with a step size", method, "e.g. fd.GradientDescent(problem, eta)"
        )
    eta = method.constant_eta("a ladder over eta")
    if etas is None:
        count = RANDOM_RUNGS if method.is_random else RUNGS
        etas = eta * 2.0 ** (-np.arange(count) / method.step_power)
    values = _check.real_array("etas", etas, ndim=1)
    if len(values) < 3:
        raise _check.fail("etas", "must hold at least 3 step sizes to fit an order", values)
    steps = np.diff(values)
    if (values <= 0).any() or not ((steps > 0).all() or (steps < 0).all()):
        raise _check.fail(
            "etas", "must be positive and increasing or decreasing", values, "sort them and drop duplicates"
        )
    rungs = [method.with_eta(float(value)) for value in values]
    return rungs, np.array([float(rung.clock(1)) for rung in rungs])
