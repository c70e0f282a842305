"""What happens as eta -> 0: a recursion beside its limit on a ladder of step sizes.

sup_t ||w_eta(t) - w(t)|| = O(h^{p+1}),   |E g(w_eta(t)) - E g(X(t))| = O(eta^p),   h the time step of the clock
"""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, SupportsIndex

import xarray as xr
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn.convergence.budget import Budget
from flowdyn.convergence.deterministic import sup_ladder
from flowdyn.convergence.ladder import build_ladder
from flowdyn.convergence.stochastic import strong_ladder, weak_ladder
from flowdyn.convergence.strong import check_strong
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.running.asked_options import told_of_solvers
from flowdyn.solvers.base import Solver

RELATIVE_ERROR = 0.05


@told_of_solvers
def eta_limit(
    method: RecursionSystem,
    w0: Any,
    t: float,
    etas: ArrayLike | None = None,
    *,
    order: SupportsIndex | None = None,
    error: Literal["sup", "weak", "strong"] | None = None,
    observable: Callable | Mapping[str, Callable] | None = None,
    realizations: SupportsIndex | None = None,
    relative_error: float | None = None,
    seed: SupportsIndex = 0,
    solver: Solver | None = None,
    saves: SupportsIndex = 101,
    max_steps: SupportsIndex | None = None,
    max_seconds: float | None = None,
    progress: bool | Callable[[float], None] | None = None,
    covariance: Literal["plain", "matched"] | None = None,
    resolution: float | None = None,
) -> xr.Dataset:
    r"""Run a method at several step sizes beside its continuous limit, and fit the order of their gap.

    .. math:: \sup_t \|w_\eta(t) - w(t)\| = O(h^{p+1}), \qquad |E g(w_\eta(t)) - E g(X(t))| = O(\eta^p)

    Parameters
    ----------
    method : RecursionSystem
        The recursion; its own eta heads the default ladder.
    w0 : array_like of float, shape (P,), mapping or pytree
        Start.
    t : float
        End time on the clock; rounded down to a common multiple of all time steps.
    etas : array_like of float, shape (m,), optional
        Step sizes, at least 3; the method's eta and five halvings of its time step (four for random methods)
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
        standard error of each mean is `relative_error` times the gap or `realizations` (524288 unless given) are spent.
    relative_error : float, optional
        Standard error over gap down to which a rung is sampled, 0.05 unless given. A rung that falls short is fitted
        with its noise.
    seed : int
        Seed of random methods.
    solver : Solver, optional
        For the limit of a deterministic method. Exact where a closed form is known, else explicit steps of high order,
        tightened until its error is below 1/200 of the smallest gap.
    saves : int
        Common times kept, at most.
    max_steps : int, optional
        Most steps of each run of the recursion or of its limit. The limit gets as many as the finest rung, or 10,000,
        unless this or `solver` is given; where it cannot be solved any better, its error counts in the fit.
    max_seconds : float, optional
        Most wall time of the whole ladder, in seconds. Sampling ends with it.
    progress : bool or callable, optional
        A bar on a terminal and in a notebook unless False; or a function of the fraction done. Before rungs are
        sampled it says what they cost; off both that, and a line now and then, is printed where it takes more than ten
        seconds.
    covariance : {"plain", "matched"}, optional
        Of the stochastic equation of a random method (SGD, :class:`RandomRecursion`): "plain" unless given; "matched"
        makes covariances right to eta^2 at order 2, and order 3 needs it.
    resolution : float, optional
        Former name of `relative_error`.

    Returns
    -------
    xarray.Dataset
        With dim `eta`: the recursion's variables, the limit's with suffix ``_limit``, `error`, `sup_error`, `order`
        (counted in the clock's time step), `order_interval` (95 %), `order_expected`, and `solver_error`: what
        re-solving tighter changed. Attribute `verdict` says whether the order is resolved, and the expected one.

        A weak or strong ladder has dim `observable`, the signed `error(eta, observable)` and its `standard_error`.

    Raises
    ------
    ArgumentError
        If the time steps have no common multiple below t, the method has a schedule, or the error asked for does not
        exist.
    RunError
        If a rung diverges, or a rung or its limit exceeds a budget.

    Warns
    -----
    FlowdynWarning
        If the largest step size is above the stability threshold at the start; if the order is not resolved, or not
        the expected one, with the cause and the argument that helps.
    DeprecationWarning
        If `resolution` is given.

    Notes
    -----
    Source: section 9.3.1, equations (9.88) and (9.90), for the limit; Hairer, Lubich and Wanner (2006), section IX.1,
    for order p; Li, Tai and E (2017) for weak errors.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> ladder = fd.eta_limit(fd.GradientDescent(p, eta=0.1), [1.0], t=2.0)
    >>> round(float(ladder.order), 2), float(ladder.order_expected)
    (1.0, 1.0)
    """
    began = time.monotonic()
    relative_error = _under_its_name(resolution, relative_error)
    is_random = isinstance(method, RandomRecursionSystem)
    p = (1 if is_random else 0) if order is None else _check.integer("order", order, minimum=0)
    kind = _kind(method, error, p)
    how: Any = {"budget": Budget(max_steps, max_seconds), "covariance": _covariance(method, covariance, p)}
    ladder = build_ladder(method, etas, w0, t, p, saves=2 if kind == "weak" else saves, seed=seed, **how)
    ladder.limits[0].check_start(ladder.limit_state0)  # before anything runs: a recursion may have no limit
    ladder.limits[0].check_path(ladder.limit_state0, float(t))
    asked = {"t": float(t), "saves": _check.integer("saves", saves, minimum=2), "observable": observable}
    if kind == "sup":
        ladder = dataclasses.replace(ladder, asked=asked | {"solver": solver})
        relative = "relative_error" if resolution is None else "resolution"
        given = {"realizations": realizations, "observable": observable, relative: relative_error}
        for name, value in given.items():
            if value is not None:
                raise _check.fail(name, "is for random methods", value, "leave it out: this method is deterministic")
        ds = sup_ladder(ladder, solver, progress)
    else:
        if solver is not None:
            raise _check.fail("solver", "must be None for a random ladder, which chooses its own", solver)
        budget = None if realizations is None else _check.integer("realizations", realizations, minimum=100)
        fraction = _check.real(
            "relative_error", RELATIVE_ERROR if relative_error is None else relative_error, positive=True
        )
        asked |= {"realizations": budget, "relative_error": fraction}
        ladder = dataclasses.replace(ladder, asked=asked)
        doubt = ladder.coarsest.warn_before(ladder.start)
        if doubt:
            warnings.warn(doubt, _check.FlowdynWarning, stacklevel=3)
        if kind == "weak":
            ds = weak_ladder(ladder, observable, budget, fraction, progress)
        else:
            if observable is not None:
                raise _check.fail("observable", "is for error='weak'", observable)
            ds = strong_ladder(ladder, budget, progress)
    _warn_of(ds.attrs["verdict"])
    ds.attrs["wall_seconds"] = time.monotonic() - began
    return ds


def _under_its_name(resolution: float | None, relative_error: float | None) -> float | None:
    """The relative error, also where it is given under its former name."""
    if resolution is None:
        return relative_error
    if relative_error is not None:
        raise _check.fail("resolution", "is the former name of `relative_error`", resolution, "give one of them")
    warnings.warn("`resolution` is now called `relative_error`", DeprecationWarning, stacklevel=4)
    return resolution


def _covariance(method: RecursionSystem, covariance: str | None, order: int) -> str | None:
    """The covariance of the equation that is asked for, where there is an equation."""
    if covariance is None:
        return None
    allowed = method.covariances if isinstance(method, RandomRecursionSystem) and order else ()
    if covariance not in allowed:
        rule = (
            f"must be one of {list(allowed)} for {type(method).__name__}" if allowed else "is for equations with noise"
        )
        raise _check.fail("covariance", rule, covariance, "leave it out")
    return covariance


def _warn_of(verdict: str) -> None:
    """Warn the caller of `eta_limit` of an order that is not resolved."""
    if verdict != "resolved":
        text = "the order is" if verdict.startswith("not") else "not every order is resolved:"
        warnings.warn(f"{text} {verdict}", _check.FlowdynWarning, stacklevel=4)


def _kind(method: RecursionSystem, error: str | None, order: int) -> str:
    """The error that is measured: "sup" for a deterministic method, "weak" or "strong" for a random one."""
    if not isinstance(method, RandomRecursionSystem):
        if error not in (None, "sup"):
            raise _check.fail("error", "must be 'sup' for a deterministic method", error)
        return "sup"
    kind = _check.choice("error", "weak" if error is None else error, ("weak", "strong"))
    if kind == "strong":
        check_strong(method, order)
    return kind
