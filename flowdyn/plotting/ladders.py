"""Pictures of ladders: the gap against the step size with its fitted and expected slope, and over t.

slope p:  gap = C h^p  is a straight line of slope p on logarithmic axes
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.plotting.axes import BLUE, GREEN, GREY, ORANGE, RED, curve, legend, log_axis, ramp, rung_ticks, time_axis
from flowdyn.plotting.cells import all_shown, clock


def ladder_panels(ds: xr.Dataset) -> list[Callable]:
    """Panels of a ladder without noise."""
    _refuse_several(ds)
    return [_error_against_eta, _error_over_time]


def _refuse_several(ds: xr.Dataset) -> None:
    """Refuse ladders that were joined: each has slopes and an interval of its own."""
    more = [str(dim) for dim in ds["order"].dims if dim != "observable"]
    if more:
        one = ", ".join(f"{dim}=0" for dim in more)
        found = _check.Words(f"ladders over {more}")
        raise _check.fail("ds", "must hold one ladder to be drawn", found, f"select one, e.g. ds.isel({one})")


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
    rung_ticks(axis, step, all_shown(step))
    log_axis(axis)
    axis.set_xlabel(name)
    axis.set_ylabel(r"$\sup_t\ \|w_\eta(t) - w(t)\|$")
    axis.grid(alpha=0.25, which="both", linewidth=0.5)
    axis.legend(fontsize=8.5, frameon=False)


def _step(ds: xr.Dataset) -> tuple[np.ndarray, str]:
    """The time step that orders are counted in, which is eta itself unless the clock says otherwise."""
    same = np.allclose(ds.h.values, ds.eta.values)
    return ds.h.values, r"step size $\eta$" if same else "time step h of the clock"


def _error_over_time(ds: xr.Dataset, axis: Any) -> None:
    colours = ramp(ds.sizes["eta"])
    t, names = ds.t.values, all_shown(ds.eta.values)
    for colour, index in zip(colours, np.argsort(-ds.eta.values), strict=True):
        error = ds.error.isel(eta=index).values
        shown = error > 0  # at t = 0 the error is exactly 0
        curve(axis, t[shown], error[shown], color=colour, linewidth=1.4, label=names[index])
    log_axis(axis)
    time_axis(axis, t, clock(ds))
    axis.set_ylabel(r"$\|w_\eta(t) - w(t)\|$")
    legend(axis, r"$\eta$", beside=True)


def random_ladder_panels(ds: xr.Dataset) -> list[Callable]:
    """Gap against the step size with error bars, one panel for all observables."""
    _refuse_several(ds)
    return [_gaps] + ([_rms_over_time] if "rms_error" in ds else [])


def _gaps(ds: xr.Dataset, axis: Any) -> None:
    h, strong = ds.h.values, "rms_error" in ds
    for j, colour in zip(range(ds.sizes["observable"]), (BLUE, ORANGE, GREEN, RED), strict=False):
        gap, noise = np.abs(ds.error.values[:, j]), ds.standard_error.values[:, j]
        used = ds.used.values[:, j].astype(bool)
        if not (gap > 0).any():  # nothing that a log axis could show
            axis.plot([], [], "o", color=colour, label=f"{ds.observable.values[j]}: no gap on any rung")
            continue
        order, interval = float(ds.order[j]), ds.order_interval.values[j]
        name = str(ds.observable.values[j])
        half = np.ptp(interval) / 2
        text = f"slope {order:.2f} ± {half:.1g}" if np.isfinite(order) else "not resolved"
        # a bar that would reach below zero is cut: a log axis has no place for it
        bars = np.stack([np.minimum(1.96 * noise, 0.999 * gap), 1.96 * noise])
        axis.errorbar(h[used], gap[used], bars[:, used], fmt="o", color=colour, capsize=3, label=f"{name}: {text}")
        axis.errorbar(h[~used], gap[~used], bars[:, ~used], fmt="o", mfc="none", color=colour, alpha=0.5, capsize=3)
        if np.isfinite(order):
            finest = np.argmin(np.where(used, h, np.inf))
            span = np.array([h.min(), h.max()])
            axis.plot(span, gap[finest] * (span / h[finest]) ** order, color=colour, linewidth=1.1)
            expected = 0.5 * gap[finest] * (span / h[finest]) ** float(ds.order_expected)
            last = "expected slope" if j == ds.sizes["observable"] - 1 else None
            axis.plot(
                span, expected, "--", color=GREY, linewidth=1.2, label=last and f"{last} {float(ds.order_expected):g}"
            )
    axis.set_xscale("log")
    if (np.abs(ds.error.values) > 0).any():
        log_axis(axis)
    ticks, label, what = _step_axis(ds)
    rung_ticks(axis, h, ticks)
    axis.set_xlabel(label)
    if (ds.standard_error.values > 0).any():
        what += ",  bars 95 %"
    axis.set_ylabel("root-mean-square distance" if strong else what)
    axis.grid(alpha=0.25, which="both", linewidth=0.5)
    axis.legend(fontsize=8.5, frameon=False)


def _step_axis(ds: xr.Dataset) -> tuple[list[str], str, str]:
    """Ticks and label of what a ladder goes over, and the name of its gap."""
    if "d" in ds.dims:
        return [f"1/{d}" for d in ds.d.values], "1/d, d the dimension", r"$|E\,g(w_d) - E\,g(X_d)|$"
    ticks, same = all_shown(ds.h.values), np.allclose(ds.h.values, ds.eta.values)
    label = r"step size $\eta$" if same else "time step h of the clock"
    return ticks, label, r"$|E\,g(w_\eta) - E\,g(X)|$"


def _rms_over_time(ds: xr.Dataset, axis: Any) -> None:
    colours, names = ramp(ds.sizes["eta"]), all_shown(ds.eta.values)
    for colour, i in zip(colours, np.argsort(-ds.eta.values), strict=True):
        rms = ds.rms_error.values[i]
        curve(axis, ds.t.values[rms > 0], rms[rms > 0], color=colour, linewidth=1.4, label=names[i])
    log_axis(axis)
    time_axis(axis, ds.t.values, clock(ds))
    axis.set_ylabel("root-mean-square distance")
    legend(axis, r"$\eta$", beside=True)
