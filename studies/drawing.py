"""What can be read: ticks on a logarithmic axis of a few values are those values; no text leaves its figure."""

from typing import Any


def label_between(axis: Any) -> None:
    """Label 2 and 5 times the powers of ten of the vertical axis too: there are no two powers on it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def ticks_at(axis: Any, values: Any, form: str = "{:g}") -> None:
    """Put the ticks of the horizontal axis at `values`."""
    axis.minorticks_off()
    axis.set_xticks(list(values), [form.format(value) for value in values])


def cut_off(figure: Any) -> list[str]:
    """Titles, labels and legends of a figure that reach beyond its edges by more than a pixel."""
    figure.canvas.draw()
    width, height = figure.bbox.size
    boxes = [(text.get_text(), text.get_window_extent()) for axes in figure.axes for text in _texts(axes)]
    return [text for text, b in boxes if text and (min(b.x0, b.y0) < -1 or b.x1 > width + 1 or b.y1 > height + 1)]


def _texts(axes: Any) -> list:
    """All but the labels of ticks, of which those beyond the limits are never drawn."""
    legend = axes.get_legend()
    return [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts, *(legend.get_texts() if legend else ())]
