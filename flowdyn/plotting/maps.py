"""Planes: the path of a system with two unknowns, and a sweep over two quantities by what it ended in.

phase:  t -> (x(t), y(t)),  the start open, the end full          map:  (a, b) -> the last loss
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.plotting.axes import BLUE, FEW, GREY, SHOWN, grid, legend, ramp
from flowdyn.plotting.cells import MEMBERS, Scalar, cell_dims, labels, observed, parameters, rows, scalars, shown
from flowdyn.plotting.runs import whole

PATHS = 200  # drawn at most
EMPTY = "#BBBBBB"  # cells without a value
GOOD = ("reached_end", "stopped")
TICKS = {"x": 6, "y": 12}  # of a side of a map, at most


def _two_of(ds: xr.Dataset) -> str:
    """How to select two numbers, of a parameter that has them."""
    of_cells = (MEMBERS, *cell_dims(ds), *(ds["loss"].dims if "loss" in ds else ("t",)))
    over = [str(dim) for name in parameters(ds) for dim in ds[name].dims if dim not in of_cells]
    others = parameters(ds)[1:]
    dropped = f".drop_vars({others})" if others else ""
    return f"select two, e.g. ds{dropped}.isel({over[0]}=[0, 1])" if over else ""


def phase_panels(ds: xr.Dataset) -> list[Callable]:
    """The plane of the two unknowns of a system."""
    parts = [part for name in parameters(ds) for part in scalars(ds, name)]
    if len(parts) != 2:
        found = _check.Words(f"{len(parts)} of them over t")
        raise _check.fail("kind", "= 'phase' needs two parameters", found, _two_of(ds))

    def draw(ds: xr.Dataset, axis: Any) -> None:
        members = ds.sizes.get(MEMBERS, 1)
        x, y = (_paths(ds, part) for part in parts)
        names, what = _path_labels(ds)
        count = len(x)
        kept = range(count) if count <= PATHS else np.unique(np.linspace(0, count - 1, PATHS).astype(int))
        named = set(kept if count <= FEW else np.unique(np.linspace(0, count - 1, SHOWN).round().astype(int)))
        for i, colour in zip(kept, [BLUE] if count == 1 else ramp(len(kept)), strict=True):
            there = np.isfinite(x[i]) & np.isfinite(y[i])
            if there.any():
                _path(axis, x[i][there], y[i][there], colour, names[i] if count > 1 and i in named else None)
        axis.set_xlabel(parts[0].label)
        axis.set_ylabel(parts[1].label)
        grid(axis)
        axis.plot([], [], "o", mfc="none", color=GREY, label="start")
        axis.plot([], [], "o", color=GREY, label="end")
        of_all = count // min(members, PATHS) * members
        legend(axis, what if of_all <= FEW else f"{what} ({len(kept):,} of {of_all:,})", beside=True)

    return [draw]


def _paths(ds: xr.Dataset, part: Scalar) -> np.ndarray:
    """Values (C, T) of one number in every cell and every member."""
    if MEMBERS not in ds.dims:
        return rows(ds, part)
    return np.concatenate([rows(ds.isel({MEMBERS: [i]}), part) for i in range(min(ds.sizes[MEMBERS], PATHS))])


def _path_labels(ds: xr.Dataset) -> tuple[list[str], str]:
    names, what = labels(ds)
    if MEMBERS not in ds.dims:
        return names, what
    return [str(i) for i in range(min(ds.sizes[MEMBERS], PATHS)) for _ in names], "member"


def _path(axis: Any, x: np.ndarray, y: np.ndarray, colour: Any, label: str | None) -> None:
    """A path with its start, its end, and an arrow half of its way along."""
    axis.plot(x, y, color=colour, linewidth=1.3, label=label)
    axis.plot(x[:1], y[:1], "o", mfc="none", color=colour, markersize=5)
    axis.plot(x[-1:], y[-1:], "o", color=colour, markersize=5)
    lengths = np.hypot(np.diff(x), np.diff(y))
    if lengths.sum() > 0:
        i = min(int(np.searchsorted(np.cumsum(lengths), lengths.sum() / 2)), len(x) - 2)
        style = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", (x[i + 1], y[i + 1]), (x[i], y[i]), arrowprops=style)


def has_map(ds: xr.Dataset) -> bool:
    """Whether the runs lie on a grid of two quantities or more."""
    return len(_sides(ds)) >= 2


def _sides(ds: xr.Dataset) -> list[str]:
    """Dimensions of the runs, seeds last: nothing is to be read off their order."""
    return sorted((dim for dim in cell_dims(ds) if ds.sizes[dim] > 1), key=lambda dim: dim == "seed")


def map_panels(ds: xr.Dataset) -> list[Callable]:
    """Maps of what the runs of a grid ended in: loss, gradient norm, what was observed, else the parameters."""
    if not has_map(ds):
        found = _check.Words(f"runs over {_sides(ds) or 'nothing'}")
        raise _check.fail("kind", "= 'map' needs runs over two dimensions", found, "fd.concat joins runs, twice")
    names = [name for name in ("loss", "log_loss", "grad_norm") if name in ds]
    names += [name for name in observed(ds) if name not in names and len(scalars(ds, name)) == 1]
    parts = [whole(ds, name) for name in names]
    parts = parts or [part for name in parameters(ds) for part in scalars(ds, name)]
    return [_map(part) for part in parts[:3]]


def _map(part: Scalar) -> Callable:
    def draw(ds: xr.Dataset, axis: Any) -> None:
        from flowdyn.plotting.ticks import sparse_ticks

        first, second, *others = _sides(ds)
        plane = ds.isel({dim: 0 for dim in cell_dims(ds) if dim not in (first, second)}).transpose(first, second, ...)
        plane = plane.sortby(
            [dim for dim in (first, second) if dim in plane.indexes and plane[dim].dtype.kind in "iuf"]
        )
        ended = _bad_ends(plane)
        plane = plane.mean(MEMBERS, keep_attrs=True) if MEMBERS in plane.dims else plane
        shape = plane.sizes[first], plane.sizes[second]
        found = _last(rows(plane, part)).reshape(shape)
        found[ended != ""] = np.nan
        _draw_map(axis, found, f"{part.label} at the end")
        for side, dim in (("y", first), ("x", second)):
            names, what = labels(plane.isel({d: 0 for d in (first, second) if d != dim}))
            chosen = range(0, len(names), -(-len(names) // TICKS[side]))
            kept = [*chosen[::2], *chosen[1::2]]  # where there is no room for all
            axis.tick_params(axis=side, which="major", labelsize=8)
            sparse_ticks(axis, side, [float(i) for i in kept], [names[i] for i in kept])
            getattr(axis, f"set_{side}label")(what)
        fixed = [f"{dim} = {shown(ds[dim].values[0]) if dim in ds.coords else 0}" for dim in others]
        bad = [text.replace("_", " ") for text in sorted(set(ended.ravel()) - {""})]
        axis.set_title("; ".join(filter(None, [", ".join(fixed), "grey: " * bool(bad) + ", ".join(bad)])), fontsize=9)

    return draw


def _bad_ends(plane: xr.Dataset) -> np.ndarray:
    """How the runs ended that have no result to show, "" for the others; an ensemble has one while a member has."""
    if "status" not in plane.variables:
        return np.full([plane.sizes[dim] for dim in _sides(plane)], "", dtype=object)
    status, words = plane["status"], str(plane["status"].attrs.get("flag_meanings", "")).split()
    codes = status.min(MEMBERS) if MEMBERS in status.dims else status
    codes = codes.transpose(*[dim for dim in _sides(plane) if dim in codes.dims])
    names = [
        words[int(code)] if code == code and int(code) < len(words) else "missing" for code in codes.values.ravel()
    ]
    return np.array(["" if name in GOOD else name for name in names], dtype=object).reshape(codes.shape)


def _last(found: np.ndarray) -> np.ndarray:
    """The last finite value of each row (C, T): runs that were joined have times that are not their own."""
    there = np.isfinite(found)
    last = found.shape[1] - 1 - np.argmax(there[:, ::-1], axis=1)
    return np.where(there.any(axis=1), found[np.arange(len(found)), last], np.nan)


def _draw_map(axis: Any, found: np.ndarray, label: str) -> None:
    """Cells in colour, on a logarithmic scale where they span decades; those without a value are grey."""
    from matplotlib.colors import LogNorm

    good = found[np.isfinite(found)]
    positive = good[good > 0]
    spans = (good >= 0).all() and positive.size > 0 and positive.max() > 30 * positive.min()
    scale = LogNorm(positive.min(), positive.max(), clip=True) if spans else None  # a loss of 0 has the lowest colour
    edges = [np.arange(n + 1) - 0.5 for n in found.shape]
    axis.set_facecolor(EMPTY)
    image = axis.pcolormesh(edges[1], edges[0], np.ma.masked_invalid(found), cmap="viridis", norm=scale)
    axis.figure.colorbar(image, ax=axis, label=label)
