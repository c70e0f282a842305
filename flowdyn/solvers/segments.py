"""Steps from one save to the next, and how they are cut into calls of a compiled loop."""

from typing import Any, NamedTuple

import jax
import numpy as np


class Segments(NamedTuple):
    """Steps from one save to the next: numbers first .. last - 1, h each; `extra` per segment.

    Step `since` is at time t. It is the first one of a whole segment, and of its parts too: the time of a step has the
    same bits however a run is cut into calls.
    """

    first: np.ndarray  # (T,)
    last: np.ndarray  # (T,)
    t: np.ndarray  # (T,)
    h: np.ndarray  # (T,)
    extra: Any = ()
    since: np.ndarray | None = None  # (T,), `first` unless given

    @property
    def origin(self) -> Any:
        """Step numbers of the times t."""
        return self.first if self.since is None else self.since

    def whole(self) -> "Segments":
        """The same, with the numbers of its first steps said."""
        return self._replace(since=self.origin)

    def clock(self, index: Any, n: Any) -> Any:
        """Times of the steps `n` of the segments `index`."""
        return self.t[index] + (n - self.origin[index]) * self.h[index]

    def part(self, stretch: "Stretch", rows: int) -> "Segments":
        """The segments of a stretch, filled up to `rows` with empty ones at its end."""
        pad = rows - len(stretch.number)
        index = np.append(stretch.number, np.repeat(stretch.number[-1:], pad))
        first = np.append(stretch.first, np.repeat(stretch.last[-1:], pad))
        last = np.append(stretch.last, np.repeat(stretch.last[-1:], pad))
        extra = jax.tree.map(lambda a: a[index], self.extra)
        return Segments(first, last, self.t[index], self.h[index], extra, self.origin[index])


class Stretch(NamedTuple):
    """What one call runs: steps first .. last - 1 of the segments `number`."""

    number: np.ndarray  # (R,)
    first: np.ndarray  # (R,)
    last: np.ndarray  # (R,)


def next_stretch(segments: Segments, start: int, step: int, budget: int, rows: int) -> Stretch:
    """At most `budget` steps of at most `rows` segments, from `step` of segment `start` on; empty if none is left.

    A segment without steps (a save at the start) costs none of the budget.
    """
    index, first, last = [], [], []
    for i in range(start, min(start + rows, len(segments.last))):
        end = int(segments.last[i])
        if budget <= 0 and end > step:
            break
        taken = min(end - step, budget)
        index.append(i)
        first.append(step)
        last.append(step + taken)
        step, budget = step + taken, budget - taken
        if step < end:
            break
    return Stretch(*(np.array(part, dtype=np.int64) for part in (index, first, last)))
