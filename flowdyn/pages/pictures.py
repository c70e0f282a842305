"""Figures of a page: vector graphics where they are small, else pixels; both as data URIs that run nothing."""

import base64
import io
import re
from typing import TYPE_CHECKING

from flowdyn.pages.sections import Picture, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_SVG = 300_000  # bytes: beyond it pixels are the smaller file
DPI = 144


def picture(figure: "Figure", captions: "Sequence[str]" = ()) -> Picture:
    """The figure for a page; its alternative text says what is drawn against what."""
    whole = alt_text(figure)  # before it is drawn: then labels are cut to the room there is
    return Picture(_uri(figure), whole, tuple(captions))


def _uri(figure: "Figure") -> str:
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "flowdyn"}):  # the same figure gives the same bytes
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    kind = "svg+xml"
    if buffer.tell() > LARGEST_SVG:
        buffer, kind = io.BytesIO(), "png"
        figure.savefig(buffer, format="png", dpi=DPI)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def alt_text(figure: "Figure") -> str:
    """``title: loss against t; w_1, w_2 against t``."""
    panels = "; ".join(filter(None, map(_panel, figure.axes)))
    title = _words(figure.get_suptitle())
    return plain(f"{title}: {panels}" if title and panels else title or panels or "a figure without labels")


def _panel(axes: "Axes") -> str:
    drawn = [_words(axes.get_ylabel())]
    legend = axes.get_legend()
    if legend is not None:
        drawn = [*drawn, "(" + ", ".join(_words(text.get_text()) for text in legend.get_texts()) + ")"]
    what = " ".join(filter(None, drawn)) or _words(axes.get_title())
    against = _words(axes.get_xlabel())
    return f"{what} against {against}" if what and against else what


def _words(text: str) -> str:
    """Text without the marks of mathematical type: ``sup_t |w_eta(t) - w(t)|``."""
    spaced = re.sub(r"\\[,;: ]", " ", text)
    bare = re.sub(r"\\(?:mathbb|mathrm|mathcal|left|right)(?![A-Za-z])|\\!|[${}]", "", spaced)
    return " ".join(re.sub(r"(?<=[0-9A-Za-z])\\(?=[A-Za-z])", " ", bare).replace("\\", "").split())
