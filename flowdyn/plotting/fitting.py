"""A layout in which texts fit: long labels are broken or cut, ticks thinned and legends moved off the curves.

Done whenever the figure is drawn, for the size that it has then: first the panels are laid out, then their texts are
fitted to them, then they are laid out again.
"""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from flowdyn.plotting.labels import Label, ruler
from flowdyn.plotting.legends import Key

SMALLEST = 0.7  # of the size of letters, in a figure that was made smaller
LINES = 3  # of an axis label
TITLE = 0.97  # of the width of the figure
AGAIN = 3  # legends that move make other panels lower


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
            if legend is not None and legend.get_texts():
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
    boxes = [text.get_window_extent(ruler(side.axes.figure.dpi)) for text in texts]
    is_x = side is side.axes.xaxis
    ends = sorted((box.x0, box.x1) if is_x else (box.y0, box.y1) for box in boxes)
    room = 0.3 * boxes[0].height if boxes and is_x else 0.0
    return all(first[1] + room <= second[0] for first, second in pairwise(ends))
