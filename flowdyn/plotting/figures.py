"""Pictures of Datasets, also of files loaded years later: one for each kind of result."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.results.dataset import check_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from flowdyn.plotting.ensembles import ensemble_panels, panels_of_kind, random_ladder_panels

# Okabe and Ito's palette: told apart by all common kinds of colour vision
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY = "#666666"
Kind = Literal["fan", "histogram", "ellipse"]
SHOWN = 8  # parameters drawn in colour; the others stay grey


def plot(ds: xr.Dataset, ax: "Axes | None" = None, *, kind: Kind | None = None) -> "Figure":
    """Draw the figure that suits a Dataset and return it.

    A run: loss, gradient norm and parameters over t. An ensemble: fans (mean, quantiles, a few members, the exact law
    where it is known) and the law at the end. A ladder: the error against eta with its fitted and expected slope, and
    the error over t; with error bars where it is random.

    Parameters
    ----------
    ds : xarray.Dataset
        Made by :func:`flowdyn.solve`, :func:`flowdyn.eta_limit` or loaded from a file.
    ax : matplotlib Axes, optional
        Draw the main panel into it: the loss of a run, the error of a ladder.
    kind : {"fan", "histogram", "ellipse"}, optional
        Panels of an ensemble; a choice of its own unless given.

    Returns
    -------
    matplotlib.figure.Figure
        A new one, or that of `ax`.

    Raises
    ------
    ArgumentError
        If `ds` is no result of flowdyn or has lost its dimension t, or `kind` asks for what it does not hold.

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
    made = check_kind(ds, PANELS, "draw one of its parts: fd.plot(tree[name].to_dataset())")
    panels = PANELS[made]
    if ax is not None and not hasattr(ax, "set_xlabel"):
        raise _check.fail("ax", "must be a matplotlib Axes", ax, "e.g. plt.subplots()[1]")
    if made not in ("weak ladder", "dimension ladder") and "t" not in ds.dims:
        raise _check.fail("ds", "must have the dimension t to be drawn over time", dict(ds.sizes), "keep all its times")
    draw = panels(ds) if kind is None else _named(ds, kind)
    if ax is not None:
        draw[0](ds, ax)
        figure: Any = ax.figure  # a SubFigure where `ax` lies in one
        return figure
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(draw), figsize=(max(4.6 * len(draw), 6.2), 3.8), layout="constrained", squeeze=False
    )
    for panel, axis in zip(draw, axes[0], strict=True):
        panel(ds, axis)
    figure.suptitle(str(ds.attrs.get("title", "")), fontsize=11)
    return figure


def _named(ds: xr.Dataset, kind: str) -> list[Callable]:
    _check.choice("kind", kind, ("fan", "histogram", "ellipse"))
    panels = panels_of_kind(kind, ds) if "realization" in ds.dims else []
    if not panels:
        rule = "an ensemble with two parameters" if kind == "ellipse" else "an ensemble with its parameters over t"
        raise _check.fail("kind", f"= {kind!r} needs {rule}", dict(ds.sizes), "solve(..., realizations=N)")
    return panels


def _run_panels(ds: xr.Dataset) -> list[Callable]:
    if "realization" in ds.dims:
        return ensemble_panels(ds)
    panels = [_scalar(name) for name in ("loss", "grad_norm") if name in ds]
    return panels + ([_parameters] if _vectors(ds) else [])


def _ladder_panels(ds: xr.Dataset) -> list[Callable]:
    return [_error_against_eta, _error_over_time]


PANELS = {
    "run": _run_panels,
    "ladder": _ladder_panels,
    "weak ladder": random_ladder_panels,
    "strong ladder": random_ladder_panels,
    "dimension ladder": random_ladder_panels,
}


def _time_axis(ds: xr.Dataset, axis: Any) -> np.ndarray:
    t = ds.t.values
    # an open-ended run spans decades: a linear axis would show its last moments only
    if len(t) > 2 and t[1] > 0 and t[-1] > 2000 * t[1]:
        axis.set_xscale("symlog", linthresh=t[1])
    axis.set_xlabel("training time t")
    axis.grid(alpha=0.25, linewidth=0.6)
    return t


def _scalar(name: str) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        t = _time_axis(ds, axis)
        rows = ds[name].transpose("t", ...).values.reshape(len(t), -1)
        axis.plot(t, rows, color=BLUE, linewidth=1.6, alpha=1.0 if rows.shape[1] == 1 else 0.5)
        good = rows[np.isfinite(rows) & (rows > 0)]
        if good.size and good.max() > 30 * good.min():
            axis.set_yscale("log")
        axis.set_ylabel(ds[name].attrs.get("long_name", name))

    return draw


def _vectors(ds: xr.Dataset) -> list[str]:
    """What to show of the parameters: theta where the model has one, else the parameters themselves."""
    if "theta" in ds:
        return ["theta"]
    return [name for name in ds.attrs.get("flowdyn_parameters", "").split() if name in ds and "t" in ds[name].dims]


def _parameters(ds: xr.Dataset, axis: Any) -> None:
    t = _time_axis(ds, axis)
    names = _vectors(ds)
    one = ds.isel({dim: 0 for dim in ("start", "realization") if dim in ds.dims})
    columns, labels = [], []
    for name in names:
        values = one[name].transpose("t", ...)
        flat = values.values.reshape(len(t), -1)
        columns.append(flat)
        labels += _labels(one, name, flat.shape[1], values.dims[1:])
    rows = np.concatenate(columns, axis=1)
    finite = np.where(np.isfinite(rows), np.abs(rows), 0.0)
    ranked = np.argsort(-finite.max(axis=0), kind="stable")
    for index in ranked[SHOWN:][::-1]:
        axis.plot(t, rows[:, index], color=GREY, linewidth=0.6, alpha=0.35)
    colours = [BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#000000", "#8C6D00"]
    for colour, index in zip(colours, ranked[:SHOWN], strict=False):
        axis.plot(t, rows[:, index], color=colour, linewidth=1.4, label=labels[index])
    axis.set_ylabel(one[names[0]].attrs.get("long_name", names[0]) if len(names) == 1 else "parameters")
    title = None if rows.shape[1] <= SHOWN else f"largest of {rows.shape[1]}"
    axis.legend(fontsize=8, frameon=False, title=title, title_fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _labels(ds: xr.Dataset, name: str, count: int, dims: tuple) -> list[str]:
    if count == 1:
        return [name]
    if len(dims) == 1 and dims[0] in ds.coords:
        return [str(value) for value in ds[dims[0]].values]
    return [f"{name}[{i}]" for i in range(count)]


def _error_against_eta(ds: xr.Dataset, axis: Any) -> None:
    step, name = _step(ds)
    error = ds.sup_error.values
    used = ds.used.values.astype(bool)
    axis.loglog(step[used], error[used], "o", color=BLUE, markersize=6, label="measured", zorder=3)
    if (~used & (error > 0)).any():
        axis.loglog(step[~used], error[~used], "o", mfc="none", color=GREY, label="within solver error", zorder=3)
    order, (low, high) = float(ds.order), ds.order_interval.values
    expected = float(ds.order_expected)
    if np.isfinite(order):
        finest = np.argmin(np.where(used, step, np.inf))
        span = np.array([step.min(), step.max()])
        half = (high - low) / 2
        label = f"fitted slope {order:.3f} ± {half:.1g}" if half else f"fitted slope {order:.3f}"
        axis.loglog(span, error[finest] * (span / step[finest]) ** order, color=BLUE, linewidth=1.2, label=label)
        reference = 0.5 * error[finest] * (span / step[finest]) ** expected
        axis.loglog(span, reference, "--", color=RED, linewidth=1.4, label=f"expected slope {expected:g}")
    floor = ds.solver_error.values + ds.rounding_error.values
    if (floor > 0).any() and floor.max() > error[error > 0].min(initial=np.inf) * 1e-3:
        axis.loglog(step, floor, ":", color=GREY, linewidth=1.2, label="solver error and rounding")
    axis.set_xticks(step, [f"{x:.3g}" for x in step], fontsize=8, rotation=30)
    axis.tick_params(axis="x", which="minor", labelbottom=False)  # they would be printed over one another
    axis.set_xlabel(name)
    axis.set_ylabel(r"$\sup_t\ \|w_\eta(t) - w(t)\|$")
    axis.grid(alpha=0.25, which="both", linewidth=0.5)
    axis.legend(fontsize=8.5, frameon=False)


def _step(ds: xr.Dataset) -> tuple[np.ndarray, str]:
    """The time step that orders are counted in, which is eta itself unless the clock says otherwise."""
    same = np.allclose(ds.h.values, ds.eta.values)
    return ds.h.values, r"step size $\eta$" if same else "time step h of the clock"


def _error_over_time(ds: xr.Dataset, axis: Any) -> None:
    import matplotlib as mpl

    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, ds.sizes["eta"]))
    t = ds.t.values
    for colour, index in zip(colours, np.argsort(-ds.eta.values), strict=True):
        error = ds.error.isel(eta=index).values
        shown = error > 0  # at t = 0 the error is exactly 0
        axis.semilogy(t[shown], error[shown], color=colour, linewidth=1.4, label=f"{ds.eta.values[index]:.3g}")
    axis.set_xlabel("training time t")
    axis.set_ylabel(r"$\|w_\eta(t) - w(t)\|$")
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.legend(title=r"$\eta$", fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


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
