"""How far two results are apart: Datasets in, DataArrays out.

error(t) = ||a(t) - b(t)||,   sup_error = max_t error(t)       (Euclidean norm over all parameters)
"""

import xarray as xr

from flowdyn import _check


def error(a: xr.Dataset, b: xr.Dataset) -> xr.DataArray:
    """Distance of two runs at each of their common times; the times must be the same, to the last bit.

    Raises
    ------
    ArgumentError
        If the runs have different parameters or times (subtracting them would drop times without a word).
    """
    names = a.attrs.get("flowdyn_parameters", "").split()
    if not names or names != b.attrs.get("flowdyn_parameters", "").split():
        raise _check.fail("b", f"must have the parameters {names} of `a`", b.attrs.get("flowdyn_parameters"))
    missing = [name for name in names if name not in a or name not in b]
    if missing:
        raise _check.fail("a", "and `b` must hold their parameters at all times", missing, "solve without observe_only")
    try:
        a, b = xr.align(
            a[names].drop_vars("k", errors="ignore"), b[names].drop_vars("k", errors="ignore"), join="exact"
        )
    except ValueError:
        raise _check.ArgumentError(
            f"`a` and `b` must have the same times, got {a.sizes.get('t')} and {b.sizes.get('t')} that differ; "
            "solve one at the times of the other: t=a.t.values"
        ) from None
    keep = {"t", "eta", "start", "realization"}
    squares = [((a[n] - b[n]) ** 2).sum([d for d in a[n].dims if d not in keep], skipna=False) for n in names]
    total = sum(squares[1:], squares[0]) ** 0.5
    return total.rename("error").assign_attrs(long_name="Euclidean distance of the parameters", units="1")


def sup_error(a: xr.Dataset, b: xr.Dataset) -> xr.DataArray:
    """Largest distance over the common times.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> gd = fd.solve(fd.GradientDescent(p, eta=0.1), [1.0], t=1.0)
    >>> flow = fd.solve(fd.GradientFlow(p), [1.0], t=gd.t.values)
    >>> round(float(fd.comparison.sup_error(gd, flow)), 6)  # exp(-1) - 0.9^10 = 0.019201
    0.019201
    """
    return error(a, b).max("t").rename("sup_error").assign_attrs(long_name="largest distance over t", units="1")
