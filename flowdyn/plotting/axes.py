"""What all pictures share: colours, time axes, ticks that are not printed over one another, lines of many runs."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# Okabe and Ito's palette: told apart by all common kinds of colour vision
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#000000", "#8C6D00")
FEW = 8  # lines with a colour and an entry of the legend each
MANY = 200  # lines beyond which quantiles are drawn
SHOWN = 5  # entries of a legend that stand for more lines
COMMON = 200  # places at which quantiles of rows over places of their own are taken
COUNTED = {"start": "starts", "others": "others"}  # many of them, in words
MUCH = 1e4  # largest over smallest of positive states from which they are drawn on a logarithmic axis
ROUNDING = 1e-6  # span of a constant, relative to it
GROWN, LATE = 1e4, 1e3  # largest value over the first, and over that half of the time, where a linear axis shows a wall
TYPE = re.compile(r"(?<!\\)\$(?=\S)[^$]*(?<=\S)\$(?!\d)")  # mathematical type, whose dollars are next to no space
DECADES = 2000  # last time over first from which a linear axis would show the last moments only


def show_literally(figure: Any) -> None:
    """Texts of a file that are no mathematical type, though they hold dollars, are printed as they are: US$ to C$."""
    from matplotlib.mathtext import MathTextParser
    from matplotlib.text import Text

    parser = MathTextParser("path")
    for text in figure.findobj(Text):
        if "$" in text.get_text():
            try:
                is_type = TYPE.search(text.get_text()) is not None
                parser.parse(text.get_text())
            except ValueError:
                is_type = False
            if not is_type:
                text.set_parse_math(False)


def grid(axis: Any) -> None:
    """A faint grid."""
    axis.grid(alpha=0.25, linewidth=0.6)


def curve(axis: Any, x: np.ndarray, y: np.ndarray, **style: Any) -> Any:
    """A line, or a dot where it has one point."""
    if np.count_nonzero(np.isfinite(x) & np.isfinite(y)) == 1:
        style = {"marker": "o", "markersize": 5} | style
    return axis.plot(x, y, **style)[0]


def band(axis: Any, x: np.ndarray, low: np.ndarray, high: np.ndarray, **style: Any) -> None:
    """The area between two curves, or a bar where they have one point."""
    axis.fill_between(x, low, high, linewidth=0 if len(x) > 1 else 6, **style)


def value_axis(axis: Any, rows: np.ndarray, decades: float) -> None:
    """A scale on which all values (C, T) are seen, logarithmic where they span decades; a constant begins at zero."""
    good = rows[np.isfinite(rows)]
    if not good.size:
        return
    low, high = float(good.min()), float(good.max())
    if low > 0 and high > decades * low:
        log_axis(axis)
        return
    first = _first_of_growth(rows)
    if first:
        symlog(axis, "y", first, low, high)
    elif high - low <= ROUNDING * max(-low, high):
        seen = axis.dataLim.intervaly  # a line that stands for a limit is seen too
        bottom, top = min(2 * low, 1.1 * float(seen[0]), 0.0), max(2 * high, 1.1 * float(seen[1]), 0.0)
        if bottom < top:  # else all is zero
            axis.set_ylim(bottom, top)


def _first_of_growth(rows: np.ndarray) -> float:
    """Size from which values grow so far that a linear axis would show the last moments only; 0 where they do not."""
    size = np.where(np.isfinite(rows), np.abs(rows), 0.0).max(axis=0, initial=0.0)
    if not size.any():
        return 0.0
    first, largest = float(size[size > 0][0]), float(size.max())
    return first if largest > GROWN * first and largest > LATE * float(np.median(size)) else 0.0


def time_axis(axis: Any, t: np.ndarray, what: str) -> None:
    """The clock below the lines, logarithmic from the first step on where an open-ended run spans decades."""
    first, last = (t[1], t[-1]) if t.ndim == 1 and len(t) > 2 else (np.inf, 0.0)
    if t.ndim == 2 and (t > 0).any():
        first, last = t[t > 0].min(), np.nanmax(t)
    if first > 0 and last > DECADES * first:
        symlog(axis, "x", float(first), 0.0, float(last))
    axis.set_xlabel(what)
    grid(axis)


def symlog(axis: Any, which: str, threshold: float, lowest: float, highest: float) -> None:
    """Linear below a threshold, logarithmic beyond, over all that is drawn; a few decades have ticks, none near 0."""
    from flowdyn.plotting.ticks import sparse_ticks

    getattr(axis, f"set_{which}scale")("symlog", linthresh=threshold)
    has_negative, has_positive = -lowest > threshold, highest > threshold
    largest = max(-lowest, highest)
    room = max(1.5, (largest / threshold) ** 0.04)  # a tick at the edge would be cut
    low = room * lowest if has_negative else lowest / room if lowest > threshold else -0.3 * threshold
    high = room * highest if has_positive else highest / room if highest < -threshold else 0.3 * threshold
    getattr(axis, f"set_{which}lim")(max(low, -1e308), min(high, 1e308))
    first, last = np.log10(threshold), int(np.floor(np.log10(largest) + 1e-9))
    length = (last - first + 1) * (has_negative + has_positive)  # the linear part is as long as a decade
    step = max(1, int(np.ceil(length / 5)))
    powers = [10.0**e for e in range(last, int(np.ceil(first)) - 1, -step) if e - first + 1 >= length / 6]
    places = [0.0, *(sign * x for x in powers for sign in (1, -1) if (has_positive if sign > 0 else has_negative))]
    sparse_ticks(axis, which, places, [_power(x) for x in places])


def _power(value: float) -> str:
    """A power of ten, with its sign."""
    if value == 0:
        return "0"
    sign, e = "-" if value < 0 else "", round(np.log10(abs(value)))
    return f"${sign}10^{{{e}}}$" if abs(e) > 2 else f"{value:g}"


def log_axis(axis: Any, which: str = "y") -> None:
    """Logarithmic; ticks between powers of ten are labelled only where there are no two powers."""
    from matplotlib.ticker import NullFormatter

    getattr(axis, f"set_{which}scale")("log")
    low, high = getattr(axis, f"get_{which}lim")()
    if low > 0 and np.floor(np.log10(high)) - np.ceil(np.log10(low)) >= 1:
        getattr(axis, f"{which}axis").set_minor_formatter(NullFormatter())


def rung_ticks(axis: Any, values: np.ndarray, labels: Sequence[str]) -> None:
    """Ticks below a logarithmic axis at the values of a ladder: all of them, labelled as far as there is room."""
    from flowdyn.plotting.ticks import sparse_ticks

    order = np.argsort(-np.asarray(values))
    axis.tick_params(axis="x", which="major", labelsize=8)
    sparse_ticks(axis, "x", [float(values[i]) for i in order], [labels[int(i)] for i in order])


def ramp(count: int) -> np.ndarray:
    """Colours of ordered things."""
    import matplotlib as mpl

    return mpl.colormaps["viridis"](np.linspace(0.0, 0.85, count))


def legend(axis: Any, title: str | None = None, *, beside: bool = False) -> None:
    """A legend without a frame; beside the panel where lines would lie under it."""
    if not axis.get_legend_handles_labels()[0]:
        return
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if beside else {}
    axis.legend(title=title, fontsize=8, title_fontsize=8, frameon=False, **place)


def draw_lines(axis: Any, x: np.ndarray, rows: np.ndarray, labels: Sequence[str], what: str) -> None:
    """Rows (C, T) over x, (T,) or (C, T): one line, a few with a name each, more in order, or the quantiles of many.

    Times that a row does not have are left out of its line; `what` the rows are is the title of the legend.
    """
    count = len(rows)
    if count > MANY:
        draw_bands(axis, *((x, rows) if x.ndim == 1 else _on_common(x, rows)), what)
        legend(axis)
        return
    named = range(count) if count <= FEW else np.unique(np.linspace(0, count - 1, SHOWN).round().astype(int))
    colours = [BLUE] if count == 1 else ramp(count)
    for i, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        there = np.isfinite(row)
        own = (x if x.ndim == 1 else x[i])[there]
        label = labels[i] if count > 1 and i in named and there.any() else None  # of a cell that failed
        curve(axis, own, row[there], color=colour, linewidth=1.6 if count <= FEW else 0.9, label=label)
    legend(axis, what if count <= FEW else f"{what} ({len(named)} of {count})", beside=count > 1)


def _on_common(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows over places of their own (C, T), as their straight lines have them at places of all."""
    common = np.unique(np.nanquantile(x, np.linspace(0.0, 1.0, COMMON)))
    found = np.full((len(rows), len(common)), np.nan)
    for own, row, out in zip(x, rows, found, strict=True):
        there = np.isfinite(own) & np.isfinite(row)
        if there.any():
            out[:] = np.interp(common, own[there], row[there], np.nan, np.nan)
    return common, found


def draw_bands(axis: Any, x: np.ndarray, rows: np.ndarray, what: str, colour: str = BLUE) -> None:
    """Median and quantiles of many rows (C, T), and their extremes."""
    alive = np.isfinite(rows).any(axis=0)  # of runs that all diverged, the part before
    x, rows = x[alive], rows[:, alive]
    find = np.quantile if np.isfinite(rows).all() else np.nanquantile
    low, first, quarter, middle, three, last, high = find(
        np.where(np.isfinite(rows), rows, np.nan), [0.0, 0.025, 0.25, 0.5, 0.75, 0.975, 1.0], axis=0
    )
    of_all = f"all {len(rows):,} {COUNTED.get(what, f'over {what}')}"
    band(axis, x, low, high, color=colour, alpha=0.10, label=of_all)
    band(axis, x, first, last, color=colour, alpha=0.18, label="95 %")
    band(axis, x, quarter, three, color=colour, alpha=0.30, label="50 %")
    curve(axis, x, middle, color=colour, linewidth=1.6, label="median")
