"""Pictures of ensembles: fans over t with the exact law where it is known, and the law at the end.

fan: mean, quantiles, a few members          histogram, ellipse: the last values of one or two numbers
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from flowdyn.plotting.axes import (
    BLUE,
    FEW,
    GREEN,
    GREY,
    MUCH,
    RED,
    band,
    curve,
    grid,
    legend,
    ramp,
    time_axis,
    value_axis,
)
from flowdyn.plotting.cells import (
    MEMBERS,
    Scalar,
    cell_dims,
    clock,
    labels,
    observed,
    parameters,
    scalars,
    times,
    values,
)
from flowdyn.plotting.runs import whole

PATHS = 6  # single members drawn in a fan
CLOUD = 2000  # members drawn as dots
OBSERVED = 3  # observables with a panel
Density = Callable[[np.ndarray], np.ndarray]


def ensemble_panels(ds: xr.Dataset) -> list[Callable]:
    """Fans of the one or two parameters that spread most, and of what was observed; the law at the end."""
    ranked, seen = _most_spread(ds), _observed(ds)
    if any(ds.sizes[dim] > 1 for dim in cell_dims(ds)):
        return [_means(part) for part in (*ranked, *seen)]
    if not ranked:  # observables alone were kept
        names = [str(n) for n, v in ds.data_vars.items() if v.dims == (MEMBERS, "t")]
        return [_fan(whole(ds, name)) for name in names[:OBSERVED]]
    panels = [_fan(part) for part in (*ranked, *seen)]
    return [*panels, _plane(*ranked) if len(ranked) == 2 else histogram(ranked[0])]


def _most_spread(ds: xr.Dataset) -> list[Scalar]:
    """The one or two parameters whose members differ most at the end, in their order."""
    parts = _parts(ds)
    spread = np.concatenate([_spread(_member_rows(ds, name)[..., -1, :]) for name in _names(ds)] or [np.empty(0)])
    return [parts[i] for i in sorted(np.argsort(spread, kind="stable")[::-1][:2])]


def _observed(ds: xr.Dataset) -> list[Scalar]:
    """Numbers that `observe=` recorded of each member."""
    names = [name for name in observed(ds) if MEMBERS in ds[name].dims and len(scalars(ds, name)) == 1]
    return [whole(ds, name) for name in names[:OBSERVED]]


def _spread(last: np.ndarray) -> np.ndarray:
    """Variance (S,) of the finite members of (..., S), scaled so that a diverged one does not overflow it."""
    flat = last.reshape(-1, last.shape[-1])
    good = np.isfinite(flat)
    scale = np.maximum(np.abs(np.where(good, flat, 0.0)).max(axis=0, initial=0.0), 1.0)
    count = np.maximum(good.sum(axis=0), 1)
    scaled = np.where(good, flat, 0.0) / scale
    mean = scaled.sum(axis=0) / count
    return (np.where(good, scaled - mean, 0.0) ** 2).sum(axis=0) / count * np.minimum(scale, 1e100) ** 2


def panels_of_kind(kind: str, ds: xr.Dataset, density: Density | None = None) -> list[Callable]:
    """The panels that a user named: fan, histogram or ellipse."""
    if any(ds.sizes[dim] > 1 for dim in cell_dims(ds)):
        return ensemble_panels(ds) if kind == "fan" else []
    own, parts = ensemble_panels(ds), _parts(ds)
    if kind == "histogram":
        return [histogram(part, density) for part in (parts[:3] or _observed(ds))]
    if kind == "ellipse":
        return own[-1:] if len(parts) > 1 else []
    return own[:-1] if parts else own


def _names(ds: xr.Dataset) -> list[str]:
    """Parameters that each member has."""
    return [name for name in parameters(ds) if MEMBERS in ds[name].dims]


def _parts(ds: xr.Dataset) -> list[Scalar]:
    """Every number of the parameters."""
    return [part for name in _names(ds) for part in scalars(ds, name)]


def _member_rows(ds: xr.Dataset, name: str) -> np.ndarray:
    """Values (..., N, T, S) of a variable, over runs, members, t and its own numbers."""
    return values(ds, name, *(dim for dim in cell_dims(ds) if dim in ds[name].dims), MEMBERS)


def _of(ds: xr.Dataset, part: Scalar) -> np.ndarray:
    """Values (N, T) of one number in the members of one run."""
    return _member_rows(ds, part.name)[..., part.place].reshape(ds.sizes[MEMBERS], -1)


def _exact(ds: xr.Dataset, part: Scalar) -> tuple[np.ndarray, np.ndarray] | None:
    """Exact mean (T,) and standard deviation (T,), where the file has them."""
    if f"{part.name}_mean_exact" not in ds or f"{part.name}_cov_exact" not in ds:
        return None
    variance = ds[f"{part.name}_cov_exact"].values[:, part.place, part.place]
    return ds[f"{part.name}_mean_exact"].values[:, part.place], np.sqrt(np.clip(variance, 0, None))


def _fan(part: Scalar) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        rows = _of(ds, part)
        alive = np.isfinite(rows).any(axis=0)  # of an ensemble that diverged, the part before
        t, rows = ds.t.values[alive], rows[:, alive]
        low, quarter, three, high = _quantiles(rows, [0.025, 0.25, 0.75, 0.975])
        band(axis, t, low, high, color=BLUE, alpha=0.18, label="95 % of members")
        band(axis, t, quarter, three, color=BLUE, alpha=0.30, label="50 %")
        for row in rows[:PATHS]:
            curve(axis, t, row, color=GREY, linewidth=0.7, alpha=0.7)
        curve(axis, t, np.nanmean(rows, axis=0), color=BLUE, linewidth=2, label="mean")
        law = _exact(ds, part)
        if law is not None:
            mean, deviation = (part[alive] for part in law)
            curve(axis, t, mean, linestyle="--", color=RED, linewidth=1.5, label="exact mean, 95 %")
            for sign in (-1.96, 1.96):
                curve(axis, t, mean + sign * deviation, linestyle=":", color=RED, linewidth=1.3)
        value_axis(axis, rows, MUCH)
        time_axis(axis, t, clock(ds))
        axis.set_ylabel(part.label)
        legend(axis)

    return draw


def _quantiles(rows: np.ndarray, shares: list[float]) -> np.ndarray:
    """Quantiles over members; without the search for missing values where there are none."""
    return (np.quantile if np.isfinite(rows).all() else np.nanquantile)(rows, shares, axis=0)


def _means(part: Scalar) -> Callable:
    """Mean and 95 % of the members of several runs."""

    def draw(ds: xr.Dataset, axis: Any) -> None:
        (names, what), when = labels(ds), times(ds)
        rows = _member_rows(ds, part.name)[..., part.place]
        rows = np.broadcast_to(rows, (*(ds.sizes[dim] for dim in cell_dims(ds)), *rows.shape[-2:]))
        rows = rows.reshape(-1, *rows.shape[-2:])
        kept = np.unique(np.linspace(0, len(rows) - 1, min(FEW, len(rows))).round().astype(int))
        for i, colour in zip(kept, ramp(len(kept)), strict=True):
            alive = np.isfinite(rows[i]).any(axis=0)
            own = rows[i][:, alive]
            t = (when if when.ndim == 1 else when[i])[alive]
            low, high = _quantiles(own, [0.025, 0.975])
            band(axis, t, low, high, color=colour, alpha=0.15)
            curve(axis, t, np.nanmean(own, axis=0), color=colour, linewidth=1.6, label=names[i])
        time_axis(axis, when, clock(ds))
        axis.set_ylabel(f"{part.label}, mean and 95 %")
        legend(axis, what if len(kept) == len(rows) else f"{what} ({len(kept)} of {len(rows)})", beside=True)

    return draw


def histogram(part: Scalar, density: Density | None = None) -> Callable:
    """The last values of one number, with the normal law of the exact moments and a density of the user's own."""

    def draw(ds: xr.Dataset, axis: Any) -> None:
        last = _of(ds, part)[:, -1]
        last = last[np.isfinite(last)]
        if not len(last):
            axis.set_title("no member is finite at the end", fontsize=9)
            return
        axis.hist(last, bins="auto", density=True, color=BLUE, alpha=0.45, label=f"{len(last):,} members")
        law = _exact(ds, part)
        span = np.array([last.min(), last.max()])
        if law is not None and law[1][-1] > 0:
            mean, deviation = law[0][-1], law[1][-1]
            span = np.array([min(span[0], mean - 4 * deviation), max(span[1], mean + 4 * deviation)])
            x = np.linspace(span[0], span[1], 400)
            normal = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
            axis.plot(x, normal, color=RED, linewidth=1.8, label="normal law, exact moments")
        if density is not None:
            x = np.linspace(span[0], span[1], 400)
            axis.plot(x, np.broadcast_to(density(x), x.shape), "--", color=GREEN, linewidth=1.8, label="given density")
        axis.set_xlabel(f"{part.label} at t = {float(ds.t[-1]):g}")
        axis.set_ylabel("density")
        axis.set_ylim(0, 1.25 * axis.get_ylim()[1])  # room for the legend
        axis.legend(fontsize=8, frameon=False, loc="upper right")

    return draw


def _plane(first: Scalar, second: Scalar) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        points = np.stack([_of(ds, part)[:, -1] for part in (first, second)], axis=1)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            axis.set_title("no member is finite at the end", fontsize=9)
            return
        axis.plot(*points[:CLOUD].T, ".", color=GREY, markersize=2, alpha=0.5)
        if len(points) > 2:
            axis.plot(*_ellipse(points.mean(axis=0), np.cov(points.T)), color=BLUE, linewidth=2, label="95 %, members")
        if first.name == second.name and f"{first.name}_cov_exact" in ds:
            pair = [first.place, second.place]
            mean = ds[f"{first.name}_mean_exact"].values[-1][pair]
            cov = ds[f"{first.name}_cov_exact"].values[-1][np.ix_(pair, pair)]
            axis.plot(*_ellipse(mean, cov), "--", color=RED, linewidth=1.6, label="95 %, exact covariance")
        axis.set_xlabel(f"{first.label} at t = {float(ds.t[-1]):g}")
        axis.set_ylabel(second.label)
        grid(axis)
        legend(axis)

    return draw


def _ellipse(mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Curve (2, 200) that holds 95 % of a normal law in the plane: chi^2 quantile 5.991."""
    variances, vectors = np.linalg.eigh(cov)
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    return mean[:, None] + vectors @ (np.sqrt(5.991 * np.clip(variances, 0, None))[:, None] * circle)
