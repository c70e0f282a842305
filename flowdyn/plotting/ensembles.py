"""Pictures of ensembles and of random ladders; :func:`flowdyn.plot` chooses them by what a Dataset holds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
PATHS = 6  # single members drawn in a fan
GROWN = 1e6  # growth of a member from which a linear axis would show it alone
CLOUD = 2000  # members drawn as dots


def ensemble_panels(ds: xr.Dataset) -> list[Callable]:
    """Fans of the one or two parameters that spread most, then the histogram or the plane at the end."""
    columns = _scalars(ds)
    if not columns:  # observables alone were kept
        names = [str(n) for n, v in ds.data_vars.items() if v.dims == ("realization", "t")]
        return [_fan(name, None) for name in names[:3]]
    spread = [_spread(_member_rows(ds, *column)[:, -1]) for column in columns]
    ranked = [columns[i] for i in np.argsort(spread)[::-1][:2]]
    ranked.sort(key=columns.index)
    panels = [_fan(*column) for column in ranked]
    return [*panels, _plane(*ranked) if len(ranked) == 2 else _histogram(*ranked[0])]


def _spread(values: np.ndarray) -> float:
    """Variance of the finite members, scaled so that a diverged one does not overflow it."""
    good = values[np.isfinite(values)]
    scale = np.abs(good).max(initial=1.0)
    return float(np.var(good / scale) * min(scale, 1e100) ** 2) if good.size else 0.0


def panels_of_kind(kind: str, ds: xr.Dataset) -> list[Callable]:
    """The panels that a user named: fan, histogram or ellipse."""
    own = ensemble_panels(ds)
    columns = _scalars(ds)
    if kind == "histogram":
        return [_histogram(*column) for column in columns[:3]]
    if kind == "ellipse":
        return own[-1:] if len(columns) > 1 else []
    return own[:-1] if columns else own


def _scalars(ds: xr.Dataset) -> list[tuple[str, int | None]]:
    """Every scalar parameter of an ensemble, as (variable, flat index)."""
    out: list[tuple[str, int | None]] = []
    for name in str(ds.attrs.get("flowdyn_parameters", "")).split():
        if name in ds and {"realization", "t"} <= set(ds[name].dims):
            size = ds[name].size // (ds.sizes["realization"] * ds.sizes["t"])
            out += [(name, i) for i in range(size)]
    return out


def _member_rows(ds: xr.Dataset, name: str, index: int | None) -> np.ndarray:
    """Values (N, T) of one scalar."""
    values = ds[name].transpose("realization", "t", ...).values
    flat = values.reshape(*values.shape[:2], -1)
    return flat[:, :, 0 if index is None else index]


def _title(ds: xr.Dataset, name: str, index: int | None) -> str:
    dims = [d for d in ds[name].dims if d not in ("realization", "t")]
    if index is None or not dims:
        return str(ds[name].attrs.get("long_name", name))
    if ds[name].size == ds.sizes["realization"] * ds.sizes["t"]:
        return name
    if len(dims) == 1 and dims[0] in ds.coords:
        return f"{name} [{ds[dims[0]].values[index]}]"
    return f"{name}[{index}]"


def _exact(ds: xr.Dataset, name: str, index: int | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Exact mean (T,) and standard deviation (T,), where the file has them."""
    if index is None or f"{name}_mean_exact" not in ds:
        return None
    if f"{name}_cov_exact" not in ds:
        return None
    variance = ds[f"{name}_cov_exact"].values[:, index, index]
    return ds[f"{name}_mean_exact"].values[:, index], np.sqrt(np.clip(variance, 0, None))


def _fan(name: str, index: int | None) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        rows = _member_rows(ds, name, index)
        alive = np.isfinite(rows).any(axis=0)  # of an ensemble that diverged, the part before
        t, rows = ds.t.values[alive], rows[:, alive]
        if np.nanmax(np.abs(rows)) > GROWN * (1 + np.nanmax(np.abs(rows[:, 0]))):
            axis.set_yscale("symlog", linthresh=1.0)
        low, quarter, three, high = np.nanquantile(rows, [0.025, 0.25, 0.75, 0.975], axis=0)
        axis.fill_between(t, low, high, color=BLUE, alpha=0.18, linewidth=0, label="95 % of members")
        axis.fill_between(t, quarter, three, color=BLUE, alpha=0.30, linewidth=0, label="50 %")
        for row in rows[:PATHS]:
            axis.plot(t, row, color=GREY, linewidth=0.7, alpha=0.7)
        axis.plot(t, np.nanmean(rows, axis=0), color=BLUE, linewidth=2, label="mean")
        law = _exact(ds, name, index)
        if law is not None:
            mean, deviation = (part[alive] for part in law)
            axis.plot(t, mean, "--", color=RED, linewidth=1.5, label="exact mean, 95 %")
            for sign in (-1.96, 1.96):
                axis.plot(t, mean + sign * deviation, ":", color=RED, linewidth=1.3)
        axis.set_xlabel("training time t")
        axis.set_ylabel(_title(ds, name, index))
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.legend(fontsize=8, frameon=False)

    return draw


def _histogram(name: str, index: int | None) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        last = _member_rows(ds, name, index)[:, -1]
        last = last[np.isfinite(last)]
        if not len(last):
            axis.set_title("no member is finite at the end", fontsize=9)
            return
        axis.hist(last, bins="auto", density=True, color=BLUE, alpha=0.45, label=f"{len(last):,} members")
        law = _exact(ds, name, index)
        if law is not None and law[1][-1] > 0:
            mean, deviation = law[0][-1], law[1][-1]
            x = np.linspace(min(last.min(), mean - 4 * deviation), max(last.max(), mean + 4 * deviation), 400)
            density = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
            axis.plot(x, density, color=RED, linewidth=1.8, label="normal law, exact moments")
        axis.set_xlabel(f"{_title(ds, name, index)} at t = {float(ds.t[-1]):g}")
        axis.set_ylabel("density")
        axis.set_ylim(0, 1.25 * axis.get_ylim()[1])  # room for the legend
        axis.legend(fontsize=8, frameon=False, loc="upper right")

    return draw


def _plane(first: tuple[str, int | None], second: tuple[str, int | None]) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        points = np.stack([_member_rows(ds, *column)[:, -1] for column in (first, second)], axis=1)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            axis.set_title("no member is finite at the end", fontsize=9)
            return
        axis.plot(*points[:CLOUD].T, ".", color=GREY, markersize=2, alpha=0.5)
        if len(points) > 2:
            axis.plot(*_ellipse(points.mean(axis=0), np.cov(points.T)), color=BLUE, linewidth=2, label="95 %, members")
        same = first[0] == second[0] and f"{first[0]}_cov_exact" in ds
        if same:
            pair = [first[1] or 0, second[1] or 0]
            mean = ds[f"{first[0]}_mean_exact"].values[-1][pair]
            cov = ds[f"{first[0]}_cov_exact"].values[-1][np.ix_(pair, pair)]
            axis.plot(*_ellipse(mean, cov), "--", color=RED, linewidth=1.6, label="95 %, exact covariance")
        axis.set_xlabel(f"{_title(ds, *first)} at t = {float(ds.t[-1]):g}")
        axis.set_ylabel(_title(ds, *second))
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.legend(fontsize=8, frameon=False)

    return draw


def _ellipse(mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Curve (2, 200) that holds 95 % of a normal law in the plane: chi^2 quantile 5.991."""
    values, vectors = np.linalg.eigh(cov)
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    return mean[:, None] + vectors @ (np.sqrt(5.991 * np.clip(values, 0, None))[:, None] * circle)


def random_ladder_panels(ds: xr.Dataset) -> list[Callable]:
    """Gap against the step size with error bars, one panel for all observables."""
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
        axis.set_yscale("log")
    axis.minorticks_off()
    ticks, label, what = _step_axis(ds)
    axis.set_xticks(h, ticks)
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
    ticks, same = [f"{x:.3g}" for x in ds.h.values], np.allclose(ds.h.values, ds.eta.values)
    label = r"step size $\eta$" if same else "time step h of the clock"
    return ticks, label, r"$|E\,g(w_\eta) - E\,g(X)|$"


def _rms_over_time(ds: xr.Dataset, axis: Any) -> None:
    import matplotlib as mpl

    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, ds.sizes["eta"]))
    for colour, i in zip(colours, np.argsort(-ds.eta.values), strict=True):
        rms = ds.rms_error.values[i]
        axis.semilogy(ds.t.values[rms > 0], rms[rms > 0], color=colour, linewidth=1.4, label=f"{ds.eta.values[i]:.3g}")
    axis.set_xlabel("training time t")
    axis.set_ylabel("root-mean-square distance")
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.legend(title=r"$\eta$", fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
