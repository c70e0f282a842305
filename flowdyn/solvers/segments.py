"""Steps from one save to the next, and how they are cut into calls of a compiled loop."""

from typing import Any, NamedTuple

import jax
import numpy as np


class Segments(NamedTuple):
    """Steps from one save to the next: numbers first .. last - 1, from time t on, h each; `extra` per segment."""

    first: np.ndarray  # (T,)
    last: np.ndarray  # (T,)
    t: np.ndarray  # (T,)
    h: np.ndarray  # (T,)
    extra: Any = ()

    def part(self, stretch: "Stretch", rows: int) -> "Segments":
        """The segments of a stretch, filled up to `rows` with empty ones at its end."""
        pad = rows - len(stretch.number)
        index = np.append(stretch.number, np.repeat(stretch.number[-1:], pad))
        first = np.append(stretch.first, np.repeat(stretch.last[-1:], pad))
        last = np.append(stretch.last, np.repeat(stretch.last[-1:], pad))
        t = self.t[index] + (first - self.first[index]) * self.h[index]
        return Segments(first, last, t, self.h[index], jax.tree.map(lambda a: a[index], self.extra))


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
