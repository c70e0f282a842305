"""From a Dataset back to what made it:  rebuild(run) = (system, w0, options),  solve(system, w0, **options) = run"""

from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from flowdyn.methods.systems import System
from flowdyn.results.dataset import check_kind
from flowdyn.results.recipes import build_solver, build_system
from flowdyn.results.sealed_recipe import recipe_of
from flowdyn.running.initial_state import initial_of
from flowdyn.running.options import RunOptions


def rebuild(
    ds: xr.Dataset,
    loss: Callable | None = None,
    *,
    observe: Mapping[str, Callable] | None = None,
    **custom: Any,
) -> tuple[System, Any, dict[str, Any]]:
    """Return (system, w0, options) such that ``solve(system, w0, **options)`` gives the numbers of `ds` again.

    Parameters
    ----------
    ds : xarray.Dataset
        A run made by :func:`flowdyn.solve`, perhaps loaded from a file.
    loss : callable, optional
        The loss of a CustomProblem: functions do not travel in files.
    observe : mapping of str to callable, optional
        The functionals that the run recorded, by their names.
    **custom
        Other functions by the name of their argument: ``predict``, ``sample_losses``, ``f``, ``w0_like``.

    Returns
    -------
    system : System
        The method or flow.
    w0 : numpy.ndarray of float, shape (P,) or (B, P), or xarray.Dataset
        The start; a Dataset at one time where the run was itself a restart.
    options : dict
        Keyword arguments of :func:`flowdyn.solve`, the solver among them.

    Raises
    ------
    ArgumentError
        If a function is missing, or `ds` is not a run.
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
    check_kind(ds, ("run",), "ladders and trees hold many runs")
    recipe = recipe_of(ds)
    system = build_system(recipe, ds, {"loss": loss, **custom})
    options = RunOptions.decode(recipe.get("options"), ds, observe)
    return system, initial_of(recipe, ds, system), options | {"solver": build_solver(recipe)}
