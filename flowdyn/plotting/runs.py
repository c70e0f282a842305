"""Pictures of runs: loss, gradient norm, what was observed and the parameters over t; margins over log t.

Several runs in one Dataset (starts, runs that were joined, a sweep) are a line each, with the coordinate that tells
them apart in the legend.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from flowdyn.plotting.axes import (
    COLOURS,
    FEW,
    GREY,
    MANY,
    MUCH,
    RED,
    curve,
    draw_bands,
    draw_lines,
    grid,
    legend,
    symlog,
    time_axis,
    value_axis,
)
from flowdyn.plotting.cells import Scalar, cell_dims, clock, labels, observed, parameters, rows, scalars, times, values

PANELS = 6  # of what was observed
FEW_DECADES = 30.0  # largest over smallest of positive numbers from which they are drawn on a logarithmic axis
LIMITS = {"sharpness_eta": 2.0}  # of what was observed, where the dynamics change
NEAR = 0.08  # of a margin, that its axis shows on either side at least: nearer, ticks would need many digits
LOG_T = 1e3  # log t from which it is drawn on a scale of its own


def run_panels(ds: xr.Dataset) -> list[Callable]:
    """Panels of runs without members."""
    if "log_t" in ds.coords and "margin" in ds:
        return [_margins, _over_log_t("log_loss"), *(_observable(name) for name in observed(ds)[:PANELS])]
    panels = [scalar_panel(whole(ds, name)) for name in ("loss", "grad_norm") if name in ds and "t" in ds[name].dims]
    panels += [_observable(name) for name in observed(ds)[:PANELS] if name not in ("loss", "grad_norm")]
    return panels + _parameter_panels(ds)


def long_name(ds: xr.Dataset, name: str) -> str:
    """What a variable is called, in words."""
    return _in_parts(ds, name)[0]


def _in_parts(ds: xr.Dataset, name: str) -> tuple[str, str]:
    """What a variable is called, and what is said of it behind a semicolon."""
    words, _, more = str(ds[name].attrs.get("long_name", name)).partition("; ")
    return words, more


def whole(ds: xr.Dataset, name: str) -> Scalar:
    """A variable that is one number, labelled in words."""
    return Scalar(name, 0, long_name(ds, name))


def scalar_panel(part: Scalar) -> Callable:
    """One number of each run over t."""

    def draw(ds: xr.Dataset, axis: Any) -> None:
        t, found = times(ds), rows(ds, part)
        if part.name in LIMITS:
            axis.axhline(LIMITS[part.name], color=RED, linewidth=1.2, linestyle="--", label=_in_parts(ds, part.name)[1])
        if len(found) > MANY:  # bands, which have no labels but what they are of
            draw_lines(axis, t, found, (), labels(ds.isel(dict.fromkeys(cell_dims(ds), slice(2))))[1])
        else:
            draw_lines(axis, t, found, *labels(ds))
        value_axis(axis, found, FEW_DECADES)
        time_axis(axis, t, clock(ds))
        axis.set_ylabel(part.label)

    return draw


def _observable(name: str) -> Callable:
    """What `observe=` recorded: a line, or one for each of its numbers where there is one run."""

    def draw(ds: xr.Dataset, axis: Any) -> None:
        parts = scalars(ds, name)
        several = int(np.prod([ds.sizes[dim] for dim in cell_dims(ds)])) > 1
        if len(parts) == 1 or several:
            scalar_panel(whole(ds, name) if len(parts) == 1 else parts[0])(ds, axis)
            return
        _numbers(ds, axis, [name])
        axis.set_ylabel(long_name(ds, name))

    return draw


def _parameter_panels(ds: xr.Dataset) -> list[Callable]:
    """The linear predictor where the model has one, else the parameters; of several runs the two that move most."""
    names = parameters(ds)
    if "theta" in ds and "theta" not in names and "t" in ds["theta"].dims:
        names = ["theta"]
    if not names:
        return []
    if int(np.prod([ds.sizes[dim] for dim in cell_dims(ds)])) == 1:
        return [_parameters(names)]
    parts = [part for name in names for part in scalars(ds, name)]
    moved = np.concatenate([_spans(ds, name) for name in names])
    chosen = sorted(np.argsort(-moved, kind="stable")[:2])
    more = "" if len(parts) <= 2 else f" (moves most of {len(parts)})"
    return [scalar_panel(parts[i]._replace(label=f"{parts[i].label}{more}")) for i in chosen]


def _spans(ds: xr.Dataset, name: str) -> np.ndarray:
    """How far each number of a variable goes, over all times and runs."""
    found = values(
        ds.isel(realization=0, missing_dims="ignore"), name, *(d for d in cell_dims(ds) if d in ds[name].dims)
    )
    flat = found.reshape(-1, found.shape[-1])
    if np.isfinite(flat).all():
        return np.ptp(flat, axis=0)
    flat = np.where(np.isfinite(flat), flat, np.nan)
    empty = np.isnan(flat).all(axis=0)
    flat[:, empty] = 0.0
    return np.nanmax(flat, axis=0) - np.nanmin(flat, axis=0)


def _parameters(names: list[str]) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        _numbers(ds, axis, names)
        texts = [long_name(ds, name) for name in names]
        kind = "state" if all(text.startswith("state ") for text in texts) else "parameters"
        axis.set_ylabel(texts[0] if len(names) == 1 else kind)

    return draw


def _numbers(ds: xr.Dataset, axis: Any, names: list[str]) -> None:
    """All numbers of the variables of one run: the largest in colour, the others grey, or as quantiles."""
    one = ds.isel(dict.fromkeys(cell_dims(ds), 0))
    t = np.ravel(times(one))
    parts = [part for name in names for part in scalars(one, name)]
    found = np.concatenate([values(one, name).T for name in names])
    ranked = np.argsort(-np.where(np.isfinite(found), np.abs(found), 0.0).max(axis=1), kind="stable")
    rest = ranked[FEW:]
    if len(rest) > MANY:
        draw_bands(axis, t, found[rest], "others", GREY)
    for index in rest[::-1] if len(rest) <= MANY else ():
        curve(axis, t, found[index], color=GREY, linewidth=0.6, alpha=0.35)
    for colour, index in zip(COLOURS, ranked[:FEW], strict=False):
        label = _own_label(one, parts[index], len(names)) if len(parts) > 1 else None
        curve(axis, t, found[index], color=colour, linewidth=1.4, label=label)
    value_axis(axis, found, MUCH)
    time_axis(axis, t, clock(ds))
    legend(axis, None if len(parts) <= FEW else f"largest of {len(parts):,}", beside=True)


def _own_label(ds: xr.Dataset, part: Scalar, count: int) -> str:
    """The label of a number in its legend: the word that its coordinate has for it, where there is one variable."""
    dims = [dim for dim in ds[part.name].dims if dim in ds.coords and dim != "t"]
    if count == 1 and len(dims) == 1 and ds[dims[0]].dtype.kind in "UTO":
        word = str(ds[dims[0]].values[part.place])
        return part.label if not word.strip() or word.startswith("_") else word  # a legend leaves such words out
    return part.label


def _log_t(ds: xr.Dataset, axis: Any) -> np.ndarray:
    """Values of log t, which is -inf at the start, and the axis for them."""
    found = rows(ds.assign(log_t_values=ds["log_t"].variable), Scalar("log_t_values", 0, ""))
    drawn = found[np.isfinite(found) & (found >= 0)]  # t >= 1
    first, last = (float(drawn.min()), float(drawn.max())) if drawn.size else (0.0, 1.0)
    if last > LOG_T:
        symlog(axis, "x", 10.0, first, last)
    elif last > first:
        axis.set_xlim(first - 0.03 * (last - first), last + 0.03 * (last - first))
    axis.set_xlabel("log t, t the time of the gradient flow")
    grid(axis)
    return np.where(np.isfinite(found) & (found >= 0), found, np.nan)


def _over_log_t(name: str) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        found, log_t = rows(ds, Scalar(name, 0, "")), _log_t(ds, axis)
        draw_lines(axis, log_t, np.where(np.isfinite(log_t), found, np.nan), *labels(ds))
        good = found[np.isfinite(log_t) & np.isfinite(found)]
        if axis.get_xscale() == "symlog" and np.abs(good).max(initial=0.0) > LOG_T:
            symlog(axis, "y", 10.0, float(good.min()), float(good.max()))
        axis.set_ylabel(long_name(ds, name))

    return draw


def _margins(ds: xr.Dataset, axis: Any) -> None:
    """The margin with the smooth one, which tends to it from where t = 1 is reached."""
    log_t, margin = _log_t(ds, axis), rows(ds, Scalar("margin", 0, ""))
    seen = np.isfinite(log_t)
    draw_lines(axis, log_t, np.where(seen, margin, np.nan), *labels(ds))
    drawn = [margin[seen & np.isfinite(margin)]]
    if len(margin) == 1 and "smooth_margin" in ds:
        axis.lines[0].set_label("margin")
        smooth = rows(ds, Scalar("smooth_margin", 0, ""))[0]
        own, style = log_t[0][seen[0]], {"linestyle": "--", "color": COLOURS[1], "linewidth": 1.4}
        curve(axis, own, smooth[seen[0]], label="smooth margin", **style)
        later = smooth[seen[0]]
        drawn.append(later[len(later) // 4 :])  # at first it is far below
    good = np.concatenate(drawn)
    if good.size:
        room = max(0.08 * np.ptp(good), NEAR * np.abs(good).max() - 0.5 * np.ptp(good), 1e-300)
        axis.set_ylim(good.min() - room, good.max() + room)
    axis.set_ylabel(long_name(ds, "margin"))
    if len(margin) == 1:
        legend(axis)
