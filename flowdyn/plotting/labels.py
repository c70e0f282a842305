"""Labels that show as much of their text as there is room for."""

from dataclasses import dataclass
from functools import lru_cache

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.text import Text

from flowdyn.plotting.shortening import fitted


@lru_cache(4)
def ruler(dpi: float) -> RendererAgg:
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
        box = self.text.get_window_extent(ruler(self.text.figure.dpi))
        return float(max(box.width, box.height))
