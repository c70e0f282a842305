"""Steps that are held to rounding:  scale_i >= ROOM eps |f'(y) (y ⊙ xi)|_i tau / (MARGIN rtol),   xi random

A coordinate that is what others leave of each other (a zero of a mode in a heat equation: 1e-16 beside neighbours of
size 1) is noise, and a tolerance of its own has step after step refused. So where more than a third of them is, the
tolerances of such coordinates are made no finer than the rounding of what the right-hand side sums.
"""

import numpy as np

from flowdyn.solvers.right_hand_side import RightHandSide
from flowdyn.solvers.tolerances import MARGIN, Path
from flowdyn.solvers.waking import ROOM, rounding_over_time

REFUSED = 24.0  # tries, less half of those taken, before it is asked whether rounding refuses them, at first
TERMS = 4  # directions in which the size of what a right-hand side sums is looked at
EPS = np.finfo(float).eps


def coarsened(path: Path, f: RightHandSide, t: float, state: np.ndarray, rtol: float) -> tuple[Path, np.ndarray]:
    """The path with scales no finer than rounding, at most the largest size; and for which coordinates they were."""
    ways = np.random.default_rng(0).standard_normal((TERMS, state.size))
    terms = np.abs([np.nan_to_num(f.slope(t, state, state * way)) for way in ways]).max(axis=0)
    # what cancels at this state may not at the next: so both, what rounding is and what it may be
    floor = rounding_over_time(f, t, state, EPS * terms) * ROOM / (MARGIN * rtol)
    return path.coarsened(state, np.minimum(floor, min(np.abs(state).max(initial=0.0), 1.0)))


class CrawlWatch:
    """Counts the steps that take twice the evaluations that one needs, as where tries are refused."""

    def __init__(self) -> None:
        self.fewest, self.dear, self.most = np.inf, 0.0, REFUSED

    def asks(self, evaluations: int) -> bool:
        """Whether more than a third of the steps has been dear for a while."""
        self.fewest = min(self.fewest, max(evaluations, 1))
        self.dear = self.dear + 1 if evaluations >= 2 * self.fewest else max(self.dear - 0.5, 0)
        return self.dear >= self.most

    def answered(self, helped: bool) -> None:
        """Begin to count again; for longer where it was not rounding."""
        self.dear, self.most = 0.0, self.most * (1 if helped else 2)
