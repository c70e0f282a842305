"""Legends that take no more room than their share: broader, denser, smaller or over their panel, as it needs."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from flowdyn.plotting.axes import show_literally
from flowdyn.plotting.labels import ruler
from flowdyn.plotting.shortening import fitted

HANDLE = 4.6  # width of a legend without its texts, in units of its letters
HIGHER = 1.15  # than its panel that a legend beside it may be


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
        ways = BESIDE if self.is_beside and not takes_a_column(axis) else INSIDE
        while not self._suits(axis, scale, ways[self.way]) and self.way < len(ways) - 1:
            self.way += 1

    def _suits(self, axis: Axes, scale: float, way: Way) -> bool:
        panel, is_inside = axis.get_window_extent(), way.place["loc"] == "best"
        is_whole = self._make(axis, way.share * (panel.width if is_inside else column(axis)), scale, way)
        if _SIDE.items() <= way.place.items():
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
        sample = Text(0, 0, "", fontsize=size, figure=axis.figure, parse_math=False)

        def length(words: str) -> float:
            sample.set_text(words)
            return float(sample.get_window_extent(ruler(axis.figure.dpi)).width)

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


def takes_a_column(axis: Axes) -> bool:
    """Whether room beside a panel is missing in other rows too, where nothing needs it."""
    place = axis.get_subplotspec()
    return place is not None and place.get_gridspec().nrows > 1 and not place.is_last_col()


def column(axis: Axes) -> float:
    """Width of the column of panels that one stands in, in pixels."""
    place = axis.get_subplotspec()
    if place is None:
        return axis.get_window_extent().width / (1 - BESIDE[0].share)
    return axis.figure.bbox.width / place.get_gridspec().ncols
