"""Many runs in one Dataset, each with its own recipe: side by side as xarray joins them, or as cells of a sweep."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import pandas as pd
import xarray as xr

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.results.dataset import history
from flowdyn.results.schema import SAVE, refuse_empty
from flowdyn.results.sealed_recipe import RECIPE, SEAL
from flowdyn.sweeps.joined_grids import are_cells, join_grids

SHOWN = 5  # titles of many runs
Join = Literal["outer", "inner", "left", "right", "exact", "override"]


@told
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
        Results of the same kind, at least one: runs, sweeps, or both.
    dim : str, DataArray or pandas.Index
        Name of the dimension, new or old; the name of a number of the system, such as "eta" or "seed", makes it the
        index.
    join : {"outer", "inner", "left", "right", "exact", "override"}
        Which times are kept where the runs have different ones: all, those of all runs, those of the first or the last;
        or they must be the same; or those of the first are written over the others'. Sweeps of different times take
        "outer" alone: each cell keeps its own.

    Returns
    -------
    xarray.Dataset
        All runs; attributes that they do not share are dropped, but for title, summary, references and source, which
        name each that there is. Sweeps, with runs beside them or not, become the one that :func:`flowdyn.sweep` makes
        of all their values; a cell that none of them has is NaN, and says so in ``failure``.

    Raises
    ------
    ArgumentError
        If `runs` holds none, something that is no result of flowdyn with its recipe, or results that do not fit
        together, such as sweeps that have one cell twice or cells of other sizes; or if `dim` has no name, or
        that of an array of the runs.

    Notes
    -----
    Of runs, it is ``xarray.concat`` with data_vars="all", coords="different", compat="equals" and
    combine_attrs="drop_conflicts". Times that a run does not have are NaN there. Of sweeps, ``t`` is a dimension where
    all cells have the same times; else rows are numbered by ``save``, and filled up. Source: of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> runs = [fd.solve(fd.GradientDescent(p, eta), [1.0], t=1.0) for eta in (0.5, 0.25)]
    >>> sweep = fd.concat(runs, "eta")
    >>> fd.rebuild(sweep.sel(eta=0.25))[0]
    GradientDescent(Quadratic(d=1), eta=0.25)
    """
    parts, way_out = list(runs), "a mean drops them: join first"
    for i, part in enumerate(parts):
        if not isinstance(part, xr.Dataset) or not {RECIPE, SEAL} <= set(part.variables):
            raise _check.fail(f"runs[{i}]", f"must be a result of flowdyn with {RECIPE!r} and {SEAL!r}", part, way_out)
    if not parts:
        raise _check.fail("runs", "must hold at least one result", parts)
    _check.choice("join", join, get_args(Join))
    _check_dim(dim, parts)
    if len(kinds := {str(part.attrs.get("flowdyn_kind")) for part in parts}) > 1:
        raise _check.fail("runs", "must be results of one kind", sorted(kinds), "join runs and ladders apart")
    for i, part in enumerate(parts):
        refuse_empty(f"runs[{i}]", part, "joined")
    name = dim if isinstance(dim, str) else str(dim.name)
    if join == "outer" and are_cells(parts, name):
        given = None if isinstance(dim, str) else xr.Variable((name,), dim.values, getattr(dim, "attrs", None))
        joined = join_grids(parts, name, given)
    else:
        joined = _concat(parts, dim, join)
    return joined.assign_attrs(_texts(parts) | history(f"concat of {len(parts)} results"))


def _concat(parts: list[xr.Dataset], dim: Any, join: Join) -> xr.Dataset:
    """Joined as xarray does it."""
    try:
        return xr.concat(
            parts,
            dim,
            data_vars="all",
            coords="different",
            compat="equals",
            join=join,
            combine_attrs="drop_conflicts",
        )
    except ValueError as error:
        reason = _check.Words(" ".join(str(error).split())[:160])
        way_out = "join those of the same dimensions"
        if any(SAVE in part.dims for part in parts):
            is_outer = join == "outer"
            way_out = "unstack them first, ds.unstack()" if is_outer else 'sweeps of different times take join="outer"'
        raise _check.fail("runs", f"must fit together along {dim!r}", reason, way_out) from None


def _check_dim(dim: Any, parts: list[xr.Dataset]) -> None:
    """Refuse what is no name of a dimension, and the name of something else that the runs hold."""
    name = dim if isinstance(dim, str) else getattr(dim, "name", None)
    if not isinstance(dim, str | xr.DataArray | pd.Index) or not isinstance(name, str) or not name:
        rule = "must be the name of a dimension, or a DataArray or Index that has one"
        raise _check.fail("dim", rule, dim, 'e.g. "eta", or pandas.Index(values, name="run")')
    held = [part[name].ndim for part in parts if name in part.variables and name not in part.dims]
    if any(held):
        raise _check.fail("dim", "must not name an array of the runs", name, 'e.g. "eta", "seed" or "run"')


def _texts(parts: list[xr.Dataset]) -> dict[str, str]:
    """What CF asks every file for, of all parts."""
    texts = {}
    for name in ("title", "summary", "references", "source"):
        found = list(dict.fromkeys(str(part.attrs[name]) for part in parts if name in part.attrs))
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        texts[name] = "; ".join(found[:SHOWN] + more) or "none"
    return texts
