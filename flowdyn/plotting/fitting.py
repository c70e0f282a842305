"""A layout in which texts fit: long labels are broken or cut, ticks thinned and legends moved off the curves.

Done whenever the figure is drawn, for the size that it has then: first the panels are laid out, then their texts are
fitted to them, then they are laid out again.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from flowdyn.plotting.axes import show_literally
from flowdyn.plotting.shortening import fitted

SMALLEST = 0.7  # of the size of letters, in a figure that was made smaller
LINES = 3  # of an axis label
HANDLE = 4.6  # width of a legend without its texts, in units of its letters
TITLE = 0.97  # of the width of the figure


class Way(NamedTuple):
    """A way to place a legend: its share of a width at most, lines of an entry, how much smaller, where."""

    share: float  # of the panel that it lies in, or of the column that it takes from its panel
    lines: int
    smaller: float
    place: dict[str, Any]


_SIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
_TOP: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
BESIDE = (  # broader where texts would be cut, denser where it would be higher than its panel
    Way(0.36, 2, 1.0, _SIDE),
    Way(0.45, 2, 1.0, _SIDE),
    Way(0.45, 1, 1.0, _SIDE | {"labelspacing": 0.15}),
    Way(0.45, 1, 0.75, _SIDE | {"labelspacing": 0.15}),
)
INSIDE = (Way(0.8, 2, 1.0, {"loc": "best"}), Way(0.48, 2, 1.0, _TOP | {"ncols": 2}), Way(0.96, 2, 1.0, _TOP))
HIGHER = 1.15  # than its panel that a legend beside it may be
AGAIN = 3  # legends that move make other panels lower


@lru_cache(4)
def _ruler(dpi: float) -> RendererAgg:
    """Measures texts: a text by itself goes by the resolution that it was drawn in last."""
    return RendererAgg(8, 8, dpi)


@dataclass
class Label:
    """A text as it was written, and what is shown of it."""

    text: Text
    full: str
    shown: str
    size: float

    @classmethod
    def of(cls, text: Text) -> "Label":
        """A text as it stands."""
        return cls(text, text.get_text(), text.get_text(), float(text.get_fontsize()))

    @property
    def stands(self) -> bool:
        """Whether nobody wrote another text."""
        return self.text.get_text() == self.shown

    def fit(self, limit: float, scale: float, lines: int) -> None:
        """Show as much of it as is not longer than the limit, in pixels; mathematics in smaller letters, uncut."""
        text = self.text
        if not self.stands:
            self.full = text.get_text()
        self.shown = self.full
        text.set_fontsize(scale * self.size)
        if self.full and "$" in self.full:
            text.set_text(self.full)
            text.set_fontsize(scale * self.size * min(1.0, limit / max(self._length(self.full), 1e-9)))
        elif self.full:
            self.shown = fitted([self.full], limit, self._length, lines)[0]
            text.set_text(self.shown)

    def _length(self, words: str) -> float:
        self.text.set_text(words)
        box = self.text.get_window_extent(_ruler(self.text.figure.dpi))
        return float(max(box.width, box.height))


@dataclass
class Key:
    """A legend as it was made, and the one that is shown."""

    legend: Legend
    handles: list[Any]
    texts: list[str]
    shown: list[str]
    title: str
    size: float
    is_beside: bool
    made: tuple = ()
    way: int = 0

    @classmethod
    def of(cls, axis: Axes, legend: Legend) -> "Key":
        """The legend of a panel."""
        handles, texts = axis.get_legend_handles_labels()
        size, place = legend.get_texts()[0].get_fontsize(), legend.get_bbox_to_anchor()
        title = legend.get_title().get_text() if legend.get_title().get_visible() else ""
        key = cls(legend, handles, texts, list(texts), title, float(size), place.width == 0)
        key.made = (key.shown, title, key.size, ["bbox_to_anchor", "loc"] if key.is_beside else ["loc"])
        return key

    def fit(self, axis: Axes, scale: float) -> None:
        """Show it in the first of the ways that suits the panel as it is, none of those that did not suit it before."""
        if axis.get_legend() is not self.legend:
            return
        for i, text in enumerate(self.legend.get_texts()):
            if text.get_text() != self.shown[i]:  # somebody wrote another
                self.texts[i] = text.get_text()
        ways = BESIDE if self.is_beside else INSIDE
        while not self._suits(axis, scale, ways[self.way]) and self.way < len(ways) - 1:
            self.way += 1

    def _suits(self, axis: Axes, scale: float, way: Way) -> bool:
        panel, is_inside = axis.get_window_extent(), way.place["loc"] == "best"
        is_whole = self._make(axis, way.share * (panel.width if is_inside else _column(axis)), scale, way)
        if self.is_beside:
            return (is_whole or self.way > 0) and self.legend.get_window_extent().height <= HIGHER * panel.height
        return is_whole and (not is_inside or self._is_free(axis))

    def _is_free(self, axis: Axes) -> bool:
        """Whether the legend lies in its panel and over no curve."""
        box, panel = self.legend.get_window_extent(), axis.get_window_extent()
        return box.width <= panel.width and box.height <= panel.height and not any(_lies(box, x) for x in axis.lines)

    def _make(self, axis: Axes, width: float, scale: float, way: Way) -> bool:
        """Whether a legend with columns of that width, in pixels, shows its texts uncut."""
        size = scale * way.smaller * self.size
        limit = width - HANDLE * size * axis.figure.dpi / 72
        ruler = Text(0, 0, "", fontsize=size, figure=axis.figure, parse_math=False)

        def length(words: str) -> float:
            ruler.set_text(words)
            return float(ruler.get_window_extent(_ruler(axis.figure.dpi)).width)

        plain = [i for i, text in enumerate(self.texts) if "$" not in text]
        self.shown = list(self.texts)
        for i, text in zip(plain, fitted([self.texts[i] for i in plain], limit, length, way.lines), strict=True):
            self.shown[i] = text
        (title,) = fitted([self.title], limit, length, 2) if "$" not in self.title else (self.title,)
        made = (self.shown, title, size, sorted(way.place))
        if made != self.made:
            style = {"fontsize": size, "title_fontsize": size, "frameon": False} | way.place
            self.legend = axis.legend(self.handles, self.shown, title=title or None, **style)
            show_literally(self.legend)
            self.made = made
        return [text.split() for text in self.shown] == [text.split() for text in self.texts]


def _lies(box: Bbox, line: Line2D) -> bool:
    """Whether some of a curve, or a dot of a cloud, lies in a box."""
    path = line.get_path().transformed(line.get_transform())
    if line.get_linestyle() == "None":
        return any(box.contains(x, y) for x, y in np.asarray(path.vertices))
    return len(path) > 0 and path.intersects_bbox(box, filled=False)


class FittedLayout(ConstrainedLayoutEngine):
    """A constrained layout for the panels of a figure of that size, in inches, as they were drawn."""

    def __init__(self, size: tuple[float, float]):
        super().__init__()
        self.size = size
        self.labels: list[tuple[Axes, Label]] = []
        self.headings: list[Label] = []
        self.keys: list[tuple[Axes, Key]] = []
        self.letters: list[tuple[Axis, float]] = []
        self.fitted_to: tuple[float, ...] = ()

    def watch(self, figure: Figure) -> None:
        """Remember what was drawn: what a user adds later stays as it is."""
        for axis in figure.axes:
            self.labels += [(axis, Label.of(text)) for text in (axis.xaxis.label, axis.yaxis.label, axis.title)]
            legend = axis.get_legend()
            if legend is not None:
                self.keys.append((axis, Key.of(axis, legend)))
            for side in (axis.xaxis, axis.yaxis):
                self.letters.append((side, float(side.get_major_ticks(1)[0].label1.get_fontsize())))
        self.headings = [Label.of(text) for text in figure.texts]

    def execute(self, fig: Figure) -> None:
        """Lay out, fit, lay out; as it was fitted where neither its size nor a text is another."""
        size = tuple(map(float, fig.get_size_inches()))
        if size != self.fitted_to or not all(label.stands for label in self._all()):
            stands = self._fit(fig, min(1.0, max(SMALLEST, min(size[0] / self.size[0], size[1] / self.size[1]))))
            if stands and not self.fitted_to:
                self.fitted_to = size
                return
            self.fitted_to = size
        super().execute(fig)

    def _all(self) -> list[Label]:
        return [*self.headings, *(label for _, label in self.labels)]

    def _fit(self, fig: Figure, scale: float) -> bool:
        """Whether the panels are laid out for the texts as they are now."""
        for side, size in self.letters:
            side.set_tick_params(which="both", labelsize=scale * size)
            side.offsetText.set_fontsize(scale * size)
        for _, label in self.labels:
            label.text.set_fontsize(scale * label.size)
        for heading in self.headings:
            heading.fit(TITLE * fig.bbox.width, scale, LINES)
        for _, key in self.keys:
            key.way = 0
            key.legend.set_in_layout(False)  # made for another size, it may leave no room for its panel
        super().execute(fig)
        for _, key in self.keys:
            key.legend.set_in_layout(True)
        for _ in range(AGAIN):
            before = [axis.get_legend() for axis, _ in self.keys]
            for axis, key in self.keys:
                key.fit(axis, scale)
            super().execute(fig)
            if before == [axis.get_legend() for axis, _ in self.keys]:
                break
        shown = [label.shown for label in self._all()]
        for axis, label in self.labels:
            box = axis.get_window_extent()
            label.fit(box.height if label.text is axis.yaxis.label else box.width, scale, LINES)
        are_whole = [_thin(side) for side, _ in self.letters]
        return all(are_whole) and shown == [label.shown for label in self._all()]


def fit_panel(axis: Axes) -> None:
    """Fit the labels of a panel in a user's own figure, once, for the size that it has."""
    legend = axis.get_legend()
    key = Key.of(axis, legend) if legend is not None and legend.get_texts() else None
    if key is not None and key.is_beside:
        key.fit(axis, 1.0)
    box = axis.get_window_extent()
    for text, length in ((axis.xaxis.label, box.width), (axis.yaxis.label, box.height)):
        Label.of(text).fit(length, 1.0, LINES)


def _column(axis: Axes) -> float:
    """Width of the column of panels that one stands in, in pixels."""
    place = axis.get_subplotspec()
    if place is None:
        return axis.get_window_extent().width / (1 - BESIDE[0].share)
    return axis.figure.bbox.width / place.get_gridspec().ncols


def _thin(side: Axis) -> bool:
    """Fewer ticks where their labels would lie over one another; whether all are there."""
    locator, between = side.get_major_locator(), side.get_minor_locator()
    if side is side.axes.xaxis and isinstance(locator, MaxNLocator):
        for count in ("auto", 4, 3, 2, 1):
            locator.set_params(nbins=count)
            if _are_apart(side):
                return count == "auto"
        return False
    if isinstance(between, LogLocator) and not isinstance(side.get_minor_formatter(), NullFormatter):
        for digits in (range(2, 10), (2, 5), (3,)):
            between.set_params(subs=digits)
            if _are_apart(side):
                return len(digits) == 8
        return False
    return True


def _are_apart(side: Axis) -> bool:
    """Whether the labels of all ticks, minor ones too, leave room between them."""
    texts = [text for text in side.get_ticklabels(which="both") if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent(_ruler(side.axes.figure.dpi)) for text in texts]
    is_x = side is side.axes.xaxis
    ends = sorted((box.x0, box.x1) if is_x else (box.y0, box.y1) for box in boxes)
    room = 0.3 * boxes[0].height if boxes and is_x else 0.0
    return all(first[1] + room <= second[0] for first, second in pairwise(ends))
