"""Ticks at given places, of which as many are labelled as there is room for at the size the figure is drawn in."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, Formatter, NullFormatter

LETTER = 0.64  # width of a letter in units of its size
GAP = 0.6  # between two labels
LINE = 1.25  # height of a line


class SparseLocator(FixedLocator):
    """The first of the places, and each later one whose label lies over none of those before.

    Parameters
    ----------
    places : array_like of float, shape (n,)
        Where ticks may be, the most important first.
    labels : sequence of str
        What is printed there.
    """

    def __init__(self, places: Sequence[float], labels: Sequence[str]):
        super().__init__(places)
        self.places = np.array(places, dtype=float)
        plain = [re.sub(r"[${}^\\]", "", label) for label in labels]
        self.letters = [len(label) - 0.5 * label.count(".") for label in plain]

    def __call__(self) -> Any:
        """Those of the places in view whose labels there is room for."""
        axis: Any = self.axis
        low, high = axis.get_transform().transform(np.sort(axis.get_view_interval()))
        along = axis.get_transform().transform(self.places)
        margin = 1e-9 * abs(high - low)
        seen = (low - margin <= along) & (along <= high + margin)
        box, dpi = axis.axes.get_window_extent(), axis.axes.figure.dpi
        is_x = axis.axis_name == "x"
        points = (along - low) / (high - low) * (box.width if is_x else box.height) * 72 / dpi
        size = axis.get_major_ticks(1)[0].label1.get_size()
        kept: list[int] = []
        for i, place in enumerate(points):
            if seen[i] and all(abs(place - points[j]) >= size * self._room(i, j, is_x) for j in kept):
                kept.append(i)
        return np.sort(self.places[kept])

    def _room(self, i: int, j: int, is_x: bool) -> float:
        """Distance of two labels, in units of the size of their letters."""
        return LETTER * (self.letters[i] + self.letters[j]) / 2 + GAP if is_x else LINE


class Written(Formatter):
    """The label of the nearest of the places."""

    def __init__(self, places: Sequence[float], labels: Sequence[str]):
        self.places, self.labels = np.array(places, dtype=float), list(labels)

    def __call__(self, x: float, pos: int | None = None) -> str:
        """What stands there."""
        return self.labels[int(np.argmin(np.abs(self.places - x)))]


def sparse_ticks(axis: Any, which: str, places: Sequence[float], labels: Sequence[str]) -> None:
    """Ticks at all the places, the most important first; a label where there is room for it."""
    side = getattr(axis, f"{which}axis")
    side.set_major_locator(SparseLocator(places, labels))
    side.set_major_formatter(Written(places, labels))
    side.set_minor_locator(FixedLocator(places))
    side.set_minor_formatter(NullFormatter())
