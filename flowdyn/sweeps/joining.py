"""Many runs in one Dataset, each with its own recipe: side by side as xarray joins them, or as cells of a sweep."""

import os
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Literal, get_args

import pandas as pd
import xarray as xr

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.results.dataset import history
from flowdyn.results.schema import FAILURE, SAVE, refuse_empty
from flowdyn.results.sealed_recipe import RECIPE, SEAL
from flowdyn.sweeps.joined_grids import are_cells, grid_dims, join_grids

SHOWN = 5  # titles of many runs
MEAN = "a mean drops them: join first"
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
    parts = _listed(runs)
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


def _listed(runs: Any) -> list[xr.Dataset]:
    """The results one by one, each with its recipe."""
    if isinstance(runs, Mapping | str | os.PathLike) or not isinstance(runs, Iterable):
        ways_out = {
            xr.Dataset: "give [run]",
            xr.DataTree: "give [node.to_dataset() for node in tree.leaves]",
            Mapping: "give its values()",
            str | os.PathLike: "give [fd.load(path), ...]",
            object: "e.g. [run, other]",
        }
        way_out = next(said for kind, said in ways_out.items() if isinstance(runs, kind))
        raise _check.fail("runs", "must be a list of results", _check.Words(f"a {type(runs).__name__}"), way_out)
    parts = list(runs)
    for i, part in enumerate(parts):
        if not isinstance(part, xr.Dataset) or not {RECIPE, SEAL} <= set(part.variables):
            is_tree, is_path = isinstance(part, xr.DataTree), isinstance(part, str | os.PathLike)
            way_out = "give node.to_dataset()" if is_tree else "give fd.load(path)" if is_path else MEAN
            raise _check.fail(f"runs[{i}]", f"must be a result of flowdyn with {RECIPE!r} and {SEAL!r}", part, way_out)
    if not parts:
        raise _check.fail("runs", "must hold at least one result", parts)
    return parts


def _concat(parts: list[xr.Dataset], dim: Any, join: Join) -> xr.Dataset:
    """Joined as xarray does it."""
    try:
        return xr.concat(
            parts,
            dim,
            data_vars="all",
            coords=_different(parts),
            compat="equals",
            join=join,
            combine_attrs="drop_conflicts",
        )
    except ValueError as error:
        reason = _check.Words(" ".join(str(error).split())[:160])
        way_out = "join those of the same dimensions"
        if any(isinstance(index, pd.MultiIndex) for part in parts for index in part.indexes.values()):
            way_out = "unstack them first, ds.unstack()"
        elif join != "outer" and any(FAILURE in part.coords for part in parts):
            way_out = 'sweeps of different times or cells take join="outer"'
        elif any(SAVE in part.dims and FAILURE not in part.coords for part in parts):
            way_out = f"keep {FAILURE!r}, which says what the cells of a sweep are"
        elif any(FAILURE in part.coords for part in parts):
            way_out = "join sweeps along a dimension of their grid, or a new one"
        raise _check.fail("runs", f"must fit together along {dim!r}", reason, way_out) from None


def _different(parts: list[xr.Dataset]) -> list[str]:
    """Coordinates of all parts that are not the same; xarray's own search ends at the first that only one has."""
    first, *others = parts

    def is_one(name: Hashable, other: xr.Dataset) -> bool:
        dims = [dim for dim in first[name].dims if dim in first.indexes and dim in other.indexes]
        places = all(first.indexes[dim].equals(other.indexes[dim]) for dim in dims)
        return places and first[name].variable.equals(other[name].variable)

    shared = [name for name in first.coords if name not in first.indexes]
    shared = [name for name in shared if all(name in other.coords for other in others)]
    return [str(name) for name in shared if not all(is_one(name, other) for other in others)]


def _check_dim(dim: Any, parts: list[xr.Dataset]) -> None:
    """Refuse what is no name of a dimension, and the name of something else that the runs hold."""
    name = dim if isinstance(dim, str) else getattr(dim, "name", None)
    if not isinstance(dim, str | xr.DataArray | pd.Index) or not isinstance(name, str) or not name:
        rule = "must be the name of a dimension, or a DataArray or Index that has one"
        raise _check.fail("dim", rule, dim, 'e.g. "eta", or pandas.Index(values, name="run")')
    if isinstance(dim, xr.DataArray) and dim.ndim != 1:
        raise _check.fail("dim", "must have one dimension", dict(dim.sizes), "give the values along it")
    for part in parts:
        if name in part.variables and name not in part.dims and part[name].ndim:
            (first, *more), grid = map(str, part[name].dims), grid_dims(part)
            way_out = 'e.g. "eta", "seed" or "run"' if more or first not in grid else f"it goes along {first!r}"
            raise _check.fail("dim", "must not name an array of the runs", name, way_out)


def _texts(parts: list[xr.Dataset]) -> dict[str, str]:
    """What CF asks every file for, of all parts."""
    texts = {}
    for name in ("title", "summary", "references", "source"):
        found = list(dict.fromkeys(str(part.attrs[name]) for part in parts if name in part.attrs))
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        texts[name] = "; ".join(found[:SHOWN] + more) or "none"
    return texts
