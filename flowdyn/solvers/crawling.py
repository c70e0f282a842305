"""Steps that are held to rounding:  scale_i >= ROOM eps |f'(y) (y ⊙ xi)|_i tau / (MARGIN rtol),   xi random

A coordinate that is what others leave of each other (a zero of a mode in a heat equation: 1e-16 beside neighbours of
size 1) is noise, and a tolerance of its own has step after step refused. So where many are, the tolerances of such
coordinates are made no finer than the rounding of what the right-hand side sums.
"""

from typing import Any, NamedTuple

import numpy as np

from flowdyn.solvers.right_hand_side import RightHandSide
from flowdyn.solvers.tolerances import MARGIN, Path
from flowdyn.solvers.waking import ROOM, rounding_over_time

REFUSED = 24.0  # tries, less a share of those taken, before it is asked whether rounding refuses them, at first
TAKEN = 0.5  # of a refused try, that one taken makes good: a third of the tries may be refused
CHEAP = 0.25  # of a dear step, that one which is not makes good: a fifth of the steps may be dear
LONGER = 2.0  # until it is asked again, where it was not rounding
AGAIN = 16.0  # the same, where to ask is to run from the start
TERMS = 4  # directions in which the size of what a right-hand side sums is looked at
MANY = 256  # steps, beside which a look is cheap
FEW = 2  # evaluations, which a step may take that is not dear
EPS = np.finfo(float).eps


def coarsened(path: Path, f: RightHandSide, t: float, state: np.ndarray, rtol: float) -> tuple[Path, np.ndarray]:
    """The path with scales no finer than rounding, at most the largest size; and for which coordinates they were."""
    ways = np.random.default_rng(0).standard_normal((TERMS, state.size))
    terms = np.abs([np.nan_to_num(f.slope(t, state, state * way)) for way in ways]).max(axis=0)
    # what cancels at this state may not at the next: so both, what rounding is and what it may be
    floor = rounding_over_time(f, t, state, EPS * terms) * ROOM / (MARGIN * rtol)
    return path.coarsened(state, np.minimum(floor, min(np.abs(state).max(initial=0.0), 1.0)))


def counted(count: Any, is_refused: Any, made_good: float, xp: Any = np) -> Any:
    """The count after one more try (or step), for arrays of numpy (`xp`) or JAX."""
    return xp.where(is_refused, count + 1.0, xp.maximum(count - made_good, 0.0))


class Crawl(NamedTuple):
    """Where a compiled loop was when it asked: its count, time, state (S,) and path."""

    count: Any
    t: Any
    state: Any
    path: Path


def coarsened_rows(
    crawl: Crawl, asks: np.ndarray, f: RightHandSide, scale: np.ndarray, rtol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scales of starts, (S,) or one a row, no finer than rounding where it `asks`; and for which coordinates."""
    asked, scale = np.atleast_1d(asks), scale.copy()
    coarse = np.zeros(scale.shape, bool)
    for i in np.flatnonzero(asked):
        parts = [np.asarray(part) for part in (crawl.t, crawl.state, *crawl.path)]
        t, state, *path = (part[i] for part in parts) if asks.ndim else parts
        found, which = coarsened(Path(*path), f, float(t), state, rtol)
        place = i if asks.ndim else ...
        coarse[place], scale[place] = which, np.where(which, found.scale, scale[place])
    return scale, coarse


class CrawlWatch:
    """Counts steps, and those that take a new Jacobian or twice the evaluations of one, as where tries are refused.

    A method that `hides` it may be held without such steps: it is also asked about whenever they have become twice as
    many.
    """

    def __init__(self, hides: bool) -> None:
        self.hides, self.fewest, self.dear, self.most, self.steps = hides, np.inf, 0.0, REFUSED, 0

    def asks(self, evaluations: int, jacobians: int) -> bool:
        """Whether more than a fifth of the steps has been dear for a while, or there are many."""
        self.steps += 1
        self.fewest = min(self.fewest, max(evaluations, FEW))
        is_dear = jacobians > 0 or evaluations >= 2 * self.fewest
        self.dear = float(counted(self.dear, is_dear, CHEAP))
        is_due = self.hides and self.steps >= MANY and self.steps.bit_count() == 1
        return is_due or self.dear >= self.most

    def answered(self, helped: bool) -> None:
        """Begin to count again; for longer where it was not rounding."""
        self.dear, self.most = 0.0, self.most * (1 if helped else LONGER)
