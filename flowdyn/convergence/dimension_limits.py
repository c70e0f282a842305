"""What happens as the dimension grows: a method beside its equation on a ladder of problems of dimension d.

|E g(w_d(t)) - E g(X_d(t))| = O(1/d),   at a step size eta = gamma/d, so that t = eta k = gamma k/d
"""

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn._tools.compiled import float64_is_on
from flowdyn._tools.progress import Report, meter, part
from flowdyn.convergence.budget import Budget
from flowdyn.convergence.gap import Gap, columns
from flowdyn.convergence.ladder import Ladder
from flowdyn.convergence.order_fit import OrderFit, RungWords, fit_order
from flowdyn.convergence.stochastic import TEXTS
from flowdyn.convergence.weak import WeakGaps, named_functions
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import ODESystem, SDESystem, System
from flowdyn.results import dataset
from flowdyn.results.dataset import LabelledArray

WORDS = RungWords("1/d", smaller="larger `dims`", larger="smaller `dims`", nearer="`dims` nearer to each other")
EXPECTED = 1.0  # order in 1/d
ON_CLOCK = 1e-9  # relative distance of t from a step that is rounding
RELATIVE_ERROR = 0.05


class _Rung(NamedTuple):
    """One dimension: what is compared, and for how many steps."""

    d: int
    method: Any  # a random recursion on a problem
    limit: System
    start: np.ndarray
    steps: int


@told
def dimension_limit(
    make: Callable[[int], tuple[Any, Any, Any]],
    dims: ArrayLike,
    t: float,
    *,
    observable: Callable | Mapping[str, Callable] | None = None,
    realizations: SupportsIndex | None = None,
    relative_error: float | None = None,
    seed: SupportsIndex = 0,
    progress: bool | Callable[[float], None] | None = None,
) -> xr.Dataset:
    r"""Run a method in several dimensions beside its equation, and fit the order of their gap in 1/d.

    .. math:: |E\, g(w_d(t)) - E\, g(X_d(t))| = O(1/d), \qquad \eta = \gamma/d

    Parameters
    ----------
    make : callable
        ``make(d)`` returns (method, limit, w0): a random recursion on a problem of dimension d, the equation or flow
        that it is compared with, and the start of both.
    dims : array_like of int, shape (m,)
        Dimensions d, at least 3 of them, increasing or decreasing.
    t : float
        Time of the comparison on the method's clock, a whole number of steps in every dimension.
    observable : callable or mapping of str to callable, optional
        Test functions g(w), written with jax.numpy; the loss unless given.
    realizations : int, optional
        Members of a rung, at most. Means that are known exactly (quadratic observables of linear problems) need none
        unless this is given; others are sampled with a control variate.
    relative_error : float, optional
        Standard error over gap down to which a rung is sampled, 0.05 unless given.
    seed : int
        Seed of the members.
    progress : bool or callable, optional
        A bar on a terminal and in a notebook unless False; or a function of the fraction done.

    Returns
    -------
    xarray.Dataset
        With dims `d` and `observable`: `mean` along the method and `mean_limit`, the signed `error`, its
        `standard_error` and `solver_error`, `used`; `order` in 1/d, `order_interval` (95 %), `order_expected`.
        Attribute `verdict` says whether the order is resolved. It holds no recipe: `make` does not travel in a file.

    Raises
    ------
    ArgumentError
        If there are fewer than 3 dimensions, t is no whole number of steps in each, or `make` returns anything but a
        random recursion, a continuous system of the same size, and a start.

    Warns
    -----
    FlowdynWarning
        If the order is not resolved, with the cause and the argument that helps.

    Notes
    -----
    Source: Paquette, Lee, Pedregosa and Paquette (2021) for the limit; the ladder is of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> import numpy as np
    >>> def make(d):
    ...     p = fd.problems.Streaming(np.arange(1, d + 1) / d, np.ones(d) / d**0.5, sigma=0.1)
    ...     return fd.SGD(p, eta=1 / d), fd.HomogenizedSGD(p, eta=1 / d), p.init()
    >>> ladder = fd.dimension_limit(make, [8, 16, 32, 64], t=1.0)
    >>> round(float(ladder.order[0]), 1), ladder.attrs["verdict"]
    (1.0, 'resolved')
    """
    began = time.monotonic()
    _check.function("make", make, "make(d)", 1)
    end = _check.real("t", t, positive=True)
    rungs = [_rung(make, d, end) for d in _dimensions(dims)]
    budget = None if realizations is None else _check.integer("realizations", realizations, minimum=100)
    fraction = (
        RELATIVE_ERROR if relative_error is None else _check.real("relative_error", relative_error, positive=True)
    )
    number = _check.seed(seed)
    gaps: list[Gap] = []
    names: list[str] = []
    with meter(progress, "dimension_limit", lines=True) as report:
        for i, rung in enumerate(rungs):
            ladder = _ladder(rung, number)
            functions = named_functions(rung.method, observable, len(ladder.state0))
            names = list(functions)
            measured = WeakGaps(ladder, functions, budget, fraction, progress=False)
            own: Report = part(report, i / len(rungs), (i + 1) / len(rungs))
            gaps.append(measured.gap(0, own))
            own(1.0)
    ds = _label(rungs, end, names, gaps)
    if ds.attrs["verdict"] != "resolved":
        text = "the order is" if ds.attrs["verdict"].startswith("not") else "not every order is resolved:"
        warnings.warn(f"{text} {ds.attrs['verdict']}", _check.FlowdynWarning, stacklevel=3)
    ds.attrs["wall_seconds"] = time.monotonic() - began
    return ds


def _dimensions(dims: Any) -> list[int]:
    """Dimensions, checked."""
    given = _check.real_array("dims", dims, ndim=1)
    if len(given) < 3:
        raise _check.fail("dims", "must hold at least 3 dimensions to fit an order", given)
    changes = np.diff(given)
    whole = (given == np.rint(given)).all() and (given >= 1).all()
    if not whole or not ((changes > 0).all() or (changes < 0).all()):
        raise _check.fail("dims", "must be whole numbers from 1 on, increasing or decreasing", given)
    return [int(d) for d in given]


def _rung(make: Callable, d: int, t: float) -> _Rung:
    """What `make` returns for one dimension, checked."""
    made = make(d)
    if not isinstance(made, tuple) or len(made) != 3:
        raise _check.fail("make", "must return (method, limit, w0)", made)
    method, limit, w0 = made
    if not isinstance(method, RandomRecursionSystem) or method.on_problem is None:
        raise _check.fail("make", "must return a random recursion on a problem first", method, "e.g. fd.SGD(p, eta)")
    if not isinstance(limit, ODESystem | SDESystem):
        raise _check.fail("make", "must return a flow or an equation second", limit, "e.g. fd.HomogenizedSGD(p, eta)")
    start = method.ravel(w0)
    if not np.array_equal(limit.ravel(w0), start):
        raise _check.fail("make", "must return a method and a limit of the same parameters", limit)
    h = float(method.clock(1))
    steps = round(t / h)
    if steps < 1 or abs(steps * h - t) > ON_CLOCK * t:
        below, above = max(int(t / h), 1) * h, (int(t / h) + 1) * h
        near = f"{below:g} or {above:g}" if below < t else f"{below:g}"
        raise _check.fail(
            "t", f"must be a whole number of steps of {h:g} at d = {d}", t, f"use {near}, or other `dims`"
        )
    return _Rung(d, method, limit, start, steps)


def _ladder(rung: _Rung, seed: int) -> Ladder:
    """A ladder of the one rung."""
    return Ladder(
        method=rung.method,
        rungs=(rung.method,),
        time_steps=np.array([float(rung.method.clock(1))]),
        start=rung.start,
        order=0 if isinstance(rung.limit, ODESystem) else 1,
        steps=(np.array([0, rung.steps]),),
        times=rung.method.clock(np.array([0, rung.steps])),
        seed=seed,
        budget=Budget(),
        beside=(rung.limit,),
    )


def _label(rungs: list[_Rung], t: float, names: list[str], gaps: list[Gap]) -> xr.Dataset:
    """The Dataset of all rungs, with the fitted orders."""
    found = columns(gaps)
    h = np.array([1.0 / rung.d for rung in rungs])
    rows = zip(found["error"].T, found["solver_error"].T, found["standard_error"].T, strict=True)
    fits: list[OrderFit] = [
        fit_order(h, errors, floor, noise, WORDS, expected=EXPECTED) for errors, floor, noise in rows
    ]
    over = ("d", "observable")
    texts = TEXTS | {"mean": "mean of the observable along the method", "mean_limit": "mean along its equation"}
    interval = "95 % interval of the fitted order: Monte-Carlo noise, unknown higher-order terms and solver error"
    used = np.stack([fit.used for fit in fits], axis=1).astype(np.int8)
    arrays = [
        *(LabelledArray(name, over, found[name], {"long_name": text}) for name, text in texts.items()),
        LabelledArray("members", ("d",), [g.members for g in gaps], {"long_name": "paths sampled (0: exact moments)"}),
        LabelledArray("order", ("observable",), [fit.order for fit in fits], {"long_name": "fitted order in 1/d"}),
        LabelledArray(
            "order_interval", ("observable", "bound"), [[fit.low, fit.high] for fit in fits], {"long_name": interval}
        ),
        LabelledArray("order_expected", (), EXPECTED, {"long_name": "order that theory expects"}),
        LabelledArray("used", over, used, {"long_name": "1 where the gap stands out of noise and solver error"}),
        dataset.status_array(["reached_end"] * len(rungs), ("d",)),
    ]
    coords = [
        LabelledArray("d", ("d",), np.array([rung.d for rung in rungs]), {"long_name": "dimension d"}),
        LabelledArray("h", ("d",), h, {"long_name": "1/d"}),
        LabelledArray("t", (), t, {"long_name": "training time of the comparison"}),
        LabelledArray("k", ("d",), [rung.steps for rung in rungs], {"long_name": "step number k"}),
        dataset.axis("observable", np.array(names)),
    ]
    first = rungs[0]
    method, limit = type(first.method).__name__, type(first.limit).__name__
    verdicts = [fit.verdict for fit in fits]
    same = len(set(verdicts)) == 1
    attrs = dataset.provenance(
        "dimension ladder",
        f"{method} beside {limit} as d -> infinity",
        f"{first.method.summary or method}, on a ladder of dimensions, beside {first.limit.summary or limit}",
        first.limit.references or first.method.references or "none",
        flowdyn_parameters=" ".join(v.name for v in first.method.parameters(len(first.start))),
        verdict=verdicts[0] if same else "; ".join(map(": ".join, zip(names, verdicts, strict=True))),
        rungs=[[repr(rung.method), repr(rung.limit)] for rung in rungs],
        jax_enable_x64=int(float64_is_on()),
    )
    return dataset.build(arrays, coords, {}, attrs)
