"""How far two results are apart: Datasets in, DataArrays out.

error(t) = ||a(t) - b(t)||,   sup_error = max_t error(t)       (Euclidean norm over all parameters)
strong_error(t) = (E ||a(t) - b(t)||^2)^{1/2},   weak_error(t) = E g(a(t)) - E g(b(t))
"""

from collections.abc import Callable
from typing import Any

import xarray as xr

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.problems.inputs import same_labels
from flowdyn.results.schema import SAVE, over_time, refuse_empty
from flowdyn.results.sealed_recipe import recipe_of

__all__ = ["error", "midpoints", "strong_error", "sup_error", "weak_error"]


@told
def error(a: xr.Dataset, b: xr.Dataset) -> xr.DataArray:
    r"""Euclidean distance of two runs over all parameters, at each of their common times.

    .. math:: e(t) = \|a(t) - b(t)\|

    Parameters
    ----------
    a, b : xarray.Dataset
        Runs with the same parameters and times, to the last bit.

    Returns
    -------
    xarray.DataArray
        ``error`` of float over t, and over eta, start, realization and the grid of a sweep where the runs have them.

    Raises
    ------
    ArgumentError
        If the runs have different parameters or times (subtracting them would drop times without a word), or are
        cells of a sweep whose times differ.

    Notes
    -----
    Source: the definition.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> a, b = (fd.solve(fd.GradientFlow(p), [w0], t=1.0, saves=3) for w0 in (1.0, 2.0))
    >>> fd.comparison.error(a, b).values.round(6).tolist()  # exp(-t)
    [1.0, 0.606531, 0.367879]
    """
    a, b = _over_time("a", a), _over_time("b", b)
    names = a.attrs.get("flowdyn_parameters", "").split()
    if not names or names != b.attrs.get("flowdyn_parameters", "").split():
        raise _check.fail("b", f"must have the parameters {names} of `a`", b.attrs.get("flowdyn_parameters"))
    missing = [name for name in names if name not in a or name not in b]
    if missing:
        raise _check.fail("a", "and `b` must hold their parameters at all times", missing, "solve without observe_only")
    lead = {dim for ds in (a, b) for name in ("loss", "status", "recipe") if name in ds for dim in ds[name].dims}
    try:
        a, b = xr.align(
            a[names].drop_vars("k", errors="ignore"), b[names].drop_vars("k", errors="ignore"), join="exact"
        )
    except ValueError:
        raise _apart(a, b) from None
    keep = {"t", "eta", "start", "realization"} | lead
    squares = [((a[n] - b[n]) ** 2).sum([d for d in a[n].dims if d not in keep], skipna=False) for n in names]
    total = sum(squares[1:], squares[0]) ** 0.5
    return total.rename("error").assign_attrs(long_name="Euclidean distance of the parameters", units="1")


@told
def midpoints(run: xr.Dataset, window: int | None = None) -> xr.Dataset:
    r"""Centre of an oscillation of period 2: what a central flow predicts of a recursion.

    .. math:: \bar w_k = (w_{k-1} + 2 w_k + w_{k+1}) / 4

    Parameters
    ----------
    run : xarray.Dataset
        A recursion, saved at every step.
    window : int, optional
        Steps over which the loss is averaged, around each; adds ``mean_loss``, NaN at the ends.

    Returns
    -------
    xarray.Dataset
        The parameters' midpoints of float at all times but the first and last.

    Raises
    ------
    ArgumentError
        If the run is no recursion saved at every step, or the window is not at least 1.

    Notes
    -----
    Second differences vanish: an oscillation drops out, and a smooth path moves by its curvature a step alone.
    Source: Cohen, Damian, Talwalkar, Kolter and Lee (2024).

    Examples
    --------
    >>> import flowdyn as fd
    >>> gd = fd.GradientDescent(fd.problems.Quadratic(1.0), eta=2.0)  # w = 1, -1, 1, ...
    >>> fd.comparison.midpoints(fd.solve(gd, [1.0], steps=4)).w.values.ravel().tolist()
    [0.0, 0.0, 0.0]
    """
    run = _over_time("run", run)
    names = run.attrs.get("flowdyn_parameters", "").split()
    steps = run.get("k")
    if steps is None or steps.ndim != 1 or len(steps) < 3 or (steps.diff("t") != 1).any():
        raise _check.fail(
            "run", "must be a recursion saved at every step", dict(run.sizes), "solve(..., saves=steps + 1)"
        )
    if any(name not in run for name in names):
        raise _check.fail("run", "must hold its parameters at all times", names, "solve without observe_only")
    inner = {"t": slice(1, -1)}
    before, after = run[names].isel(t=slice(None, -2)), run[names].isel(t=slice(2, None))
    kept = run[names].isel(inner)
    out = kept.copy(
        data={name: (before[name].values + 2 * kept[name].values + after[name].values) / 4 for name in names}
    )
    out = out.drop_vars("recipe", errors="ignore")  # it is no run: it cannot be made again from its recipe
    for name in names:
        out[name].attrs["long_name"] = f"midpoint of {run[name].attrs.get('long_name', name)}"
    if window is not None:
        width = _check.integer("window", window, minimum=1)
        mean = run["loss"].drop_vars("recipe", errors="ignore").rolling(t=width, center=True).mean().isel(inner)
        out["mean_loss"] = mean.assign_attrs(long_name=f"loss averaged over {width} steps", units="1")
    return out


def _apart(a: Any, b: Any) -> _check.ArgumentError:
    """What keeps two results from being compared point by point."""
    for dim in sorted({str(dim) for dim in a.dims if dim in b.dims and dim != "t"}):
        if dim not in ("realization", "start", "eta"):
            same_labels("b", b[dim].values, f"`a` along {dim!r}", a[dim].values)
        elif not a[dim].equals(b[dim]):
            return _check.ArgumentError(
                f"`a` and `b` must have the same members along {dim!r}, got {a.sizes[dim]} and {b.sizes[dim]}; "
                f"select those in common: .isel({dim}=slice(...))"
            )
    return _check.ArgumentError(
        f"`a` and `b` must have the same times, got {a.sizes.get('t')} and {b.sizes.get('t')} that differ; "
        "solve one at the times of the other: t=a.t.values"
    )


def _over_time(name: str, ds: Any) -> xr.Dataset:
    """A result over t; of a cell of a sweep whose rows are numbered, those that it has."""
    if not isinstance(ds, xr.Dataset):
        raise _check.fail(name, "must be an xarray Dataset made by solve", type(ds).__name__)
    run = over_time(ds)
    refuse_empty(name, run, "compared")
    if SAVE in run.dims:
        found = dict(ds.t.sizes) if "t" in ds.coords else _check.Words("none")
        raise _check.fail(name, "must hold runs of the same times", found, "select one, e.g. ds.isel(eta=0)")
    return run


@told
def sup_error(a: xr.Dataset, b: xr.Dataset) -> xr.DataArray:
    r"""Largest Euclidean distance of two runs over their common times.

    .. math:: \max_t \|a(t) - b(t)\|

    Parameters
    ----------
    a, b : xarray.Dataset
        Runs with the same parameters and times, to the last bit.

    Returns
    -------
    xarray.DataArray
        ``sup_error`` of float, without the dimension t.

    Raises
    ------
    ArgumentError
        As :func:`error`.

    Notes
    -----
    Source: the definition; Hairer, Norsett and Wanner (1993) for the global error.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> gd = fd.solve(fd.GradientDescent(p, eta=0.1), [1.0], t=1.0)
    >>> flow = fd.solve(fd.GradientFlow(p), [1.0], t=gd.t.values)
    >>> round(float(fd.comparison.sup_error(gd, flow)), 6)  # exp(-1) - 0.9^10 = 0.019201
    0.019201
    """
    distance = error(a, b)
    if "t" not in distance.dims:
        raise _check.fail(
            "a", "and `b` must have the dimension t", dict(a.sizes), "keep all their times, or use error(a, b)"
        )
    return distance.max("t").rename("sup_error").assign_attrs(long_name="largest distance over t", units="1")


@told
def strong_error(a: xr.Dataset, b: xr.Dataset) -> xr.DataArray:
    r"""Root-mean-square distance of two ensembles driven by the same Brownian paths, over t.

    .. math:: e(t) = (E \|a(t) - b(t)\|^2)^{1/2}

    Parameters
    ----------
    a, b : xarray.Dataset
        Ensembles of the same members and times.

    Returns
    -------
    xarray.DataArray
        ``strong_error`` of float over t.

    Raises
    ------
    ArgumentError
        If the two do not share their noise: both must be solved with the same seed and ``brownian_dt``; or as
        :func:`error`.

    Notes
    -----
    Source: Kloeden and Platen (1992), chapter 9, criterion of strong convergence.

    Examples
    --------
    >>> import flowdyn as fd
    >>> ou = fd.OrnsteinUhlenbeck(1.0, 1.0)
    >>> fine, coarse = (
    ...     fd.solve(ou, [1.0], t=1.0, saves=3, realizations=50, solver=fd.solvers.EulerMaruyama(dt, brownian_dt=0.01))
    ...     for dt in (0.01, 0.02)
    ... )
    >>> bool(fd.comparison.strong_error(fine, coarse).max() < 0.02)
    True
    """
    a, b = _over_time("a", a), _over_time("b", b)
    records = [recipe_of(ds).get("noise") for ds in (a, b)]
    if records[0] is None or records[0] != records[1]:
        raise _check.ArgumentError(
            f"`a` and `b` must share their Brownian paths, got {records[0]} and {records[1]}; solve both with the same "
            "seed and brownian_dt (or compare means: weak_error)"
        )
    if a.sizes.get("realization") != b.sizes.get("realization"):
        raise (
            _apart(a, b)
            if "realization" in a.dims and "realization" in b.dims
            else _check.fail(
                "b", "must be an ensemble where `a` is one", dict(b.sizes), "solve both with the same `realizations`"
            )
        )
    square = error(a, b) ** 2
    mean = square.mean("realization") if "realization" in square.dims else square
    return (mean**0.5).rename("strong_error").assign_attrs(long_name="root-mean-square distance", units="1")


@told
def weak_error(a: xr.Dataset, b: xr.Dataset, g: str | Callable) -> xr.Dataset:
    r"""Difference of the means of g over two ensembles, with its Monte-Carlo standard error, over t.

    .. math:: e(t) = E\,g(a(t)) - E\,g(b(t))

    Parameters
    ----------
    a, b : xarray.Dataset
        Runs at the same times; one of them may be deterministic.
    g : str or callable
        Name of a variable, or a function of the Dataset such as ``lambda ds: ds.w**2``.

    Returns
    -------
    xarray.Dataset
        ``error`` (signed) and ``standard_error`` of float over t.

    Raises
    ------
    ArgumentError
        If g names no variable of both or does not return a DataArray, neither run is an ensemble, one has a single
        member, or their times differ.

    Notes
    -----
    Source: Kloeden and Platen (1992), chapter 9, criterion of weak convergence.

    Examples
    --------
    >>> import flowdyn as fd
    >>> sgd = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), eta=0.1)
    >>> a = fd.solve(sgd, [1.0], t=1.0, realizations=1000)
    >>> b = fd.solve(sgd.limit(1), [1.0], t=a.t.values, realizations=1000, seed=1)
    >>> gap = fd.comparison.weak_error(a, b, "loss")
    >>> bool((abs(gap.error) < 6 * gap.standard_error + 0.05).all())
    True
    """
    a, b = _over_time("a", a), _over_time("b", b)
    for ds in (a, b):
        if isinstance(g, str) and g not in ds:
            raise _check.fail(
                "g", "must name a variable of both runs", g, f"they have {sorted(map(str, ds.data_vars))}"
            )
    values = [ds[g] if isinstance(g, str) else g(ds) for ds in (a, b)]
    for v in values:
        if not isinstance(v, xr.DataArray):
            raise _check.fail("g", "must return a DataArray", type(v).__name__, "e.g. lambda ds: ds.w**2")
        if v.sizes.get("realization", 2) < 2:
            raise _check.fail("a", "and `b` must have at least 2 members for a standard error", v.sizes["realization"])
    if not any("realization" in v.dims for v in values):
        raise _check.fail("a", "or `b` must be an ensemble", [dict(ds.sizes) for ds in (a, b)], "solve(realizations=N)")
    means: list[xr.DataArray] = []
    variance: Any = 0.0
    for v in values:
        count = v.sizes.get("realization", 1)
        if "realization" in v.dims:
            variance = variance + v.var("realization", ddof=1, skipna=False).drop_vars("k", errors="ignore") / count
            v = v.mean("realization", skipna=False)
        means.append(v.drop_vars("k", errors="ignore"))
    try:
        first, second = xr.align(*means, join="exact")
    except ValueError:
        raise _check.ArgumentError(
            "`a` and `b` must have the same times; solve one at the times of the other: t=a.t.values"
        ) from None
    out = xr.Dataset({"error": first - second, "standard_error": variance**0.5})
    out["error"].attrs = {"long_name": "difference of the means", "units": "1"}
    out["standard_error"].attrs = {"long_name": "Monte-Carlo standard error of the difference", "units": "1"}
    return out


def __dir__() -> list[str]:
    return sorted(__all__)
