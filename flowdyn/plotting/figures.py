"""Pictures of Datasets, also of files loaded years later: one for each kind of result."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import xarray as xr

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.plotting.axes import show_literally
from flowdyn.plotting.cells import MEMBERS, over_time
from flowdyn.plotting.ensembles import Density, ensemble_panels, panels_of_kind
from flowdyn.plotting.ladders import ladder_panels, random_ladder_panels
from flowdyn.plotting.maps import has_map, map_panels, phase_panels
from flowdyn.plotting.runs import run_panels
from flowdyn.results.dataset import check_kind
from flowdyn.results.schema import SAVE, refuse_empty, refuse_failures
from flowdyn.results.storage import load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["fan", "histogram", "ellipse", "phase", "map"]
COLUMNS = 3  # panels in a row


@told
def plot(
    ds: xr.Dataset | str | os.PathLike[str],
    ax: "Axes | None" = None,
    *,
    kind: Kind | None = None,
    density: Density | None = None,
) -> "Figure":
    """Draw the figure that suits a Dataset and return it.

    A run: loss, gradient norm, what was observed and parameters over t; on the normalised clock margins over log t.
    Several runs: a line each, named by their coordinate, or quantiles where there are very many; a sweep over two
    quantities: a map of what it ended in. An ensemble: fans (mean, quantiles, a few members, the exact law where it is
    known) and the law at the end. A ladder: the error against eta with its fitted and expected slope, and the error
    over t; with error bars where it is random.

    Parameters
    ----------
    ds : xarray.Dataset or path-like
        Made by :func:`flowdyn.solve`, :func:`flowdyn.eta_limit`, joined by :func:`flowdyn.concat`, or the file of one.
    ax : matplotlib Axes, optional
        Draw the main panel into it: the loss of a run, the error of a ladder.
    kind : {"fan", "histogram", "ellipse", "phase", "map"}, optional
        Panels of an ensemble; the plane of a system with two unknowns; the map of a sweep. A choice of its own unless
        given.
    density : callable, optional
        ``p(x)`` for x of shape (400,), drawn beside a histogram.

    Returns
    -------
    matplotlib.figure.Figure
        A new one, or that of `ax`.

    Raises
    ------
    ArgumentError
        If `ds` is no result of flowdyn or has lost its dimension t, or `kind` asks for what it does not hold.
    FileError
        If `ds` is the name of a file that cannot be loaded.

    Notes
    -----
    Source: of our own; the colours are those of Okabe and Ito (2008), told apart by all common kinds of colour vision.

    Examples
    --------
    >>> import flowdyn as fd
    >>> run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    >>> figure = fd.plot(run)
    >>> [axes.get_ylabel() for axes in figure.axes][:1]
    ['loss L(w)']
    """
    result: Any = load(ds) if isinstance(ds, str | os.PathLike) else ds
    result = over_time(result) if isinstance(result, xr.Dataset) else result
    made = check_kind(result, PANELS, "draw one of its parts: fd.plot(tree[name].to_dataset())")
    if ax is not None and not hasattr(ax, "set_xlabel"):
        raise _check.fail("ax", "must be a matplotlib Axes", ax, "e.g. plt.subplots()[1]")
    if made not in ("weak ladder", "dimension ladder") and "t" not in result.dims:
        sizes, way_out = dict(result.sizes), "keep all its times"
        if SAVE in result.dims:  # those of a sweep go where a mean is taken along what they vary with
            way_out = "a mean over runs of different times has none: take it over those that share theirs"
        raise _check.fail("ds", "must have the dimension t to be drawn over time", sizes, way_out)
    if made != "run" and (rung := "d" if made == "dimension ladder" else "eta") not in result.dims:
        raise _check.fail("ds", f"must have the dimension {rung} of its rungs", dict(result.sizes), "keep all of them")
    refuse_empty("ds", result, "drawn")
    refuse_failures(result)
    if density is not None:
        _check.function("density", density, "of an array, p(x)", 1)
        if kind not in (None, "histogram"):
            raise _check.fail("density", "is drawn beside a histogram", kind, "kind='histogram'")
        kind = "histogram"
    draw = PANELS[made](result) if kind is None else _named(result, kind, density)
    if not draw:
        found = sorted(map(str, result.data_vars))
        raise _check.fail("ds", "must hold its loss, parameters or observables over t", found, "select them too")
    if ax is not None:
        _draw_into(ax, draw[0], result)
    figure: Any = _figure(result, draw) if ax is None else ax.figure  # a SubFigure where `ax` lies in one
    show_literally(figure)
    return figure


def _draw_into(axis: Any, panel: Callable, ds: xr.Dataset) -> None:
    from flowdyn.plotting.fitting import fit_panel

    panel(ds, axis)
    fit_panel(axis)


def _figure(ds: xr.Dataset, draw: list[Callable]) -> Any:
    """A new figure, its panels in rows of about the same length, its texts fitted to them whenever it is drawn."""
    import matplotlib.pyplot as plt

    from flowdyn.plotting.fitting import FittedLayout

    rows = -(-len(draw) // COLUMNS)
    columns = -(-len(draw) // rows)
    size = max(4.6 * columns, 6.2), 3.8 * rows
    layout: Any = FittedLayout(size)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout=layout, squeeze=False)
    for panel, axis in zip(draw, axes.flat, strict=False):
        panel(ds, axis)
    for axis in axes.flat[len(draw) :]:
        axis.remove()
    figure.suptitle(str(ds.attrs.get("title", "")), fontsize=11)
    layout.watch(figure)
    return figure


def _named(ds: xr.Dataset, kind: str, density: Density | None) -> list[Callable]:
    _check.choice("kind", kind, get_args(Kind))
    if kind in ("phase", "map"):
        return phase_panels(ds) if kind == "phase" else map_panels(ds)
    panels = panels_of_kind(kind, ds, density) if MEMBERS in ds.dims else []
    if not panels:
        rule = "an ensemble with two parameters" if kind == "ellipse" else "an ensemble with its parameters over t"
        raise _check.fail("kind", f"= {kind!r} needs {rule}", dict(ds.sizes), "solve(..., realizations=N)")
    return panels


def _run_panels(ds: xr.Dataset) -> list[Callable]:
    if has_map(ds):
        return map_panels(ds)
    return ensemble_panels(ds) if MEMBERS in ds.dims else run_panels(ds)


PANELS = {
    "run": _run_panels,
    "ladder": ladder_panels,
    "weak ladder": random_ladder_panels,
    "strong ladder": random_ladder_panels,
    "dimension ladder": random_ladder_panels,
}


def check_suffix(path: Any) -> None:
    """Refuse a file name whose suffix is no format of pictures."""
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(FigureCanvasBase.filetypes)
    if Path(path).suffix.lstrip(".") not in known:
        raise _check.fail("figure", f"must end in one of {['.' + name for name in known]}", str(path))


def save_figure(figure: Any, path: Any, overwrite: bool = False) -> None:
    """Write a figure atomically; its suffix chooses the format."""
    from flowdyn._tools.files import replacing, writable

    target = writable(path, None, overwrite)
    check_suffix(path)
    with replacing(target) as temporary:
        figure.savefig(temporary, dpi=150)
