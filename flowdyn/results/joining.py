"""Many runs in one Dataset, each with its own recipe."""

from collections.abc import Iterable
from typing import Literal, get_args

import pandas as pd
import xarray as xr

from flowdyn import _check
from flowdyn.results.dataset import history
from flowdyn.results.sealed_recipe import RECIPE, SEAL

SHOWN = 5  # titles of many runs
Join = Literal["outer", "inner", "left", "right", "exact", "override"]


def concat(
    runs: Iterable[xr.Dataset],
    dim: str | xr.DataArray | pd.Index,
    *,
    join: Join = "outer",
) -> xr.Dataset:
    """Join results along a dimension so that each keeps its recipe, data and start.

    Parameters
    ----------
    runs : iterable of xarray.Dataset
        Results of the same kind, at least one.
    dim : str, DataArray or pandas.Index
        Name of the dimension, new or old; the name of a number of the system, such as "eta" or "seed", makes it the
        index.
    join : {"outer", "inner", "left", "right", "exact", "override"}
        Which times are kept where the runs have different ones: all, those of all runs, those of the first or the last;
        or they must be the same; or those of the first are written over the others'.

    Returns
    -------
    xarray.Dataset
        All runs; attributes that they do not share are dropped, but for title, summary, references and source, which
        name each that there is.

    Raises
    ------
    ArgumentError
        If `runs` holds none, or something that is no result of flowdyn with its recipe.

    Notes
    -----
    It is ``xarray.concat`` with data_vars="all", coords="different", compat="equals" and
    combine_attrs="drop_conflicts". Times that a run does not have are NaN there. Source: of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> runs = [fd.solve(fd.GradientDescent(p, eta), [1.0], t=1.0) for eta in (0.5, 0.25)]
    >>> sweep = fd.concat(runs, "eta")
    >>> fd.rebuild(sweep.sel(eta=0.25))[0]
    GradientDescent(Quadratic(d=1), eta=0.25)
    """
    parts = list(runs)
    for i, part in enumerate(parts):
        if not isinstance(part, xr.Dataset) or not {RECIPE, SEAL} <= set(part.variables):
            raise _check.fail(f"runs[{i}]", f"must be a result of flowdyn with {RECIPE!r} and {SEAL!r}", part)
    if not parts:
        raise _check.fail("runs", "must hold at least one result", parts)
    _check.choice("join", join, get_args(Join))
    joined = xr.concat(
        parts,
        dim,
        data_vars="all",
        coords="different",
        compat="equals",
        join=join,
        combine_attrs="drop_conflicts",
    )
    return joined.assign_attrs(_texts(parts) | history(f"concat of {len(parts)} results"))


def _texts(parts: list[xr.Dataset]) -> dict[str, str]:
    """What CF asks every file for, of all parts."""
    texts = {}
    for name in ("title", "summary", "references", "source"):
        found = list(dict.fromkeys(str(part.attrs[name]) for part in parts if name in part.attrs))
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        texts[name] = "; ".join(found[:SHOWN] + more) or "none"
    return texts
