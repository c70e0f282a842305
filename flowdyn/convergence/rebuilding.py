"""From a Dataset back to what made it.

rebuild(run) = (system, w0, options),      solve(system, w0, **options) = run
rebuild(ladder) = (method, w0, options),   eta_limit(method, w0, **options) = ladder
"""

from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn._tools.leaves import cast_tree
from flowdyn.convergence.eta_limits import eta_limit
from flowdyn.convergence.ladder import asked_again
from flowdyn.methods.systems import System
from flowdyn.problems.named_pieces import shown_layout
from flowdyn.problems.tree_layout import tree_variables
from flowdyn.results.dataset import check_kind
from flowdyn.results.recipes import build_solver, build_system
from flowdyn.results.schema import one_cell
from flowdyn.results.sealed_recipe import INITIAL, recipe_of
from flowdyn.running.initial_state import initial_of
from flowdyn.running.integration import solve
from flowdyn.running.options import RunOptions

LEADING = ("t", "start", "realization", "eta")  # dimensions that are not those of a parameter
LADDERS = ("ladder", "weak ladder", "strong ladder")


@told
def rebuild(
    ds: xr.Dataset,
    loss: Callable | None = None,
    *,
    observe: Mapping[str, Callable] | None = None,
    observable: Callable | Mapping[str, Callable] | None = None,
    **custom: Any,
) -> tuple[System, Any, dict[str, Any]]:
    """Return (system, w0, options) such that ``solve`` or ``eta_limit`` of these gives the numbers of `ds` again.

    Parameters
    ----------
    ds : xarray.Dataset
        A run made by :func:`flowdyn.solve` or a ladder made by :func:`flowdyn.eta_limit`, perhaps loaded from a file,
        or selected from many that were joined.
    loss : callable, optional
        The loss of a CustomProblem: functions do not travel in files.
    observe : mapping of str to callable, optional
        The functionals that the run recorded, by their names.
    observable : callable or mapping of str to callable, optional
        The test functions of a weak ladder.
    **custom
        Other functions by the name of their argument: ``predict``, ``sample_losses``, ``f``, ``w0_like``.

    Returns
    -------
    system : System
        The method or flow.
    w0 : numpy.ndarray of float, shape (P,) or (B, P), or xarray.Dataset
        The start; a Dataset at one time where the run was itself a restart.
    options : dict
        Keyword arguments of :func:`flowdyn.solve` or :func:`flowdyn.eta_limit`, the solver among them.

    Raises
    ------
    ArgumentError
        If a function is missing, or `ds` is not a run or a ladder, or has parted from its recipe.
    FileError
        If the description in `ds` is damaged.

    Warns
    -----
    FlowdynWarning
        If a function handed in differs in its source from the one that made the run.

    Notes
    -----
    Names are looked up in the registries only; nothing in a Dataset is executed. Source: of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    >>> system, w0, options = fd.rebuild(run)
    >>> bool((fd.solve(system, w0, **options).w == run.w).all())
    True
    """
    if getattr(ds, "attrs", {}).get("flowdyn_kind") == "dimension ladder":
        found, way_out = _check.Words("a ladder over dimensions"), "call dimension_limit(make, dims, t) again"
        raise _check.fail("ds", "must not rest on a function that makes its problems", found, way_out)
    kind = check_kind(ds, ("run", *LADDERS), "select one node of a tree: tree[name].to_dataset()")
    ds = one_cell(ds)
    recipe = recipe_of(ds)
    if kind in LADDERS and recipe.get("kind") is None:
        raise _check.fail(
            "ds", "must be a ladder with a recipe", _check.Words("one of an older flowdyn"), "run it again"
        )
    if custom.get("w0_like") is not None:
        _check_like(custom["w0_like"], ds)
    system = build_system(recipe, ds, {"loss": loss, "observe": observe, "observable": observable, **custom})
    start = initial_of(recipe, ds, system, of_run=kind not in LADDERS)
    if kind in LADDERS:
        return system, start, asked_again(recipe.get("options"), observable)
    if observable is not None:
        raise _check.fail("observable", "is for weak ladders", observable, "a run takes `observe`")
    options = RunOptions.decode(recipe.get("options"), ds, observe)
    return system, start, options | {"solver": build_solver(recipe.get("solver"))}


def _check_like(w0_like: Any, ds: xr.Dataset) -> None:
    """Refuse parameters of another structure than those that the result has, by name and shape."""
    variables = tree_variables(cast_tree("w0_like", w0_like))
    for v in variables:
        name = next((name for name in (f"{v.name}{INITIAL}", v.name) if name in ds.variables), None)
        shape = name and tuple(n for dim, n in ds[name].sizes.items() if dim not in LEADING)
        if shape != v.shape:
            known = [n for n in str(ds.attrs.get("flowdyn_parameters", "")).split() if n in ds.variables]
            shapes = {n: [size for dim, size in ds[n].sizes.items() if dim not in LEADING] for n in known}
            there = ", ".join(f"{n}{shapes[n]}" for n in known)
            found = _check.Words(shown_layout(variables) or "no real array")
            raise _check.fail("w0_like", f"must have the parameters of the result, {there}", found)


@told
def rerun(
    ds: xr.Dataset,
    loss: Callable | None = None,
    *,
    observe: Mapping[str, Callable] | None = None,
    observable: Callable | Mapping[str, Callable] | None = None,
    **custom: Any,
) -> xr.Dataset:
    """Make a run or a ladder again, as its recipe says: the same bits on the same machine.

    Parameters
    ----------
    ds : xarray.Dataset
        A run or a ladder, as :func:`rebuild` takes it.
    loss : callable, optional
        The loss of a CustomProblem: functions do not travel in files.
    observe : mapping of str to callable, optional
        The functionals that the run recorded, by their names.
    observable : callable or mapping of str to callable, optional
        The test functions of a weak ladder.
    **custom
        Other functions by the name of their argument, as :func:`rebuild` takes them.

    Returns
    -------
    xarray.Dataset
        The run or ladder, made anew.

    Raises
    ------
    ArgumentError
        If a function is missing, or `ds` is not a run or a ladder, or has parted from its recipe.
    FileError
        If the description in `ds` is damaged.
    RunError
        As the first time.

    Notes
    -----
    Source: of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    >>> bool((fd.rerun(run).w == run.w).all())
    True
    """
    system, w0, options = rebuild(ds, loss, observe=observe, observable=observable, **custom)
    again: Callable[..., xr.Dataset] = eta_limit if ds.attrs["flowdyn_kind"] in LADDERS else solve
    return again(system, w0, **options)
