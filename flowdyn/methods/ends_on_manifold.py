r"""Whether every step ends on a manifold that a step of no length keeps, as one that ends by a projection does.

    S_0(S_h(z)) = S_h(z)                             and S_0 smooth: then S_0 is a projection onto M = {z: S_0(z) = z}

On M the recursion is a map M -> M that tends to the identity, so that its flows of every order exist there. Off M a
step does not tend to the identity, but the difference form needs no more than M: from z at a distance n it has the
slopes (-n/h, 0, 0, ...), F_p(z) = -(1 + 1/2 + ... + 1/(p+1)) n/h + O(h^{p+1}), which holds the flow within O(h^{p+2})
of M, and its gap along M is O(h^{p+1}) as that of any flow is.
"""

from typing import Any, NamedTuple

import numpy as np

from flowdyn.methods.step_probes import StepProbes

NOTHING = 2.0**-30  # of h: a step of no length, where one may be defined only for h > 0
ASIDE = 2.0**-10  # of the state, how far off M a step begins
KEPT = 1e-6  # share of what a step moves that one of no length may move after it
KINKED = 0.05  # share of a difference that two sides may differ by


class Ending(NamedTuple):
    """What a step of no length does with what steps end on."""

    is_kept: bool  # where any step ends it changes nothing
    has_kink: np.ndarray  # (S,) which entries of it turn at the state itself, as a maximum at a tie does


def ending_of(recursion: Any, state: np.ndarray) -> Ending:
    """What a step of no length does after a step from a state (S,), and from one beside it."""
    with np.errstate(all="ignore"):
        found = _ending(recursion, state)
    rounding = 8 * np.finfo(float).eps * np.abs(state).max(initial=0.0)
    is_kept = bool((found["again"] <= KEPT * found["moved"] + rounding).all())  # not so where it is not finite
    return Ending(is_kept, found["apart"] > KINKED * found["aside"] + rounding)


def _ending(recursion: Any, state: np.ndarray) -> dict[str, np.ndarray]:
    """How far a step of no length moves the ends of two steps, and how it differs on two sides of the state."""
    probes = StepProbes(recursion)
    h, of_no_length = probes.h, lambda z: probes.after(NOTHING * probes.h, 1 / NOTHING, z)
    size = np.abs(state).max()  # beside a state of zeros a step of no size would say nothing
    shift = ASIDE * (size if size > 0 else 1.0) * np.cos(1.0 + np.arange(state.size))
    starts = np.stack([state, state + shift])
    ends = np.stack([probes.after(h, 1.0, z) for z in starts])
    again = np.abs(np.stack([of_no_length(z) for z in ends]) - ends).max(axis=1)
    small = ASIDE * shift  # a smooth step's second difference is of the order of its square
    here, up, down = of_no_length(state), of_no_length(state + small), of_no_length(state - small)
    return {
        "again": again,
        "moved": np.abs(ends - starts).max(axis=1),
        "apart": np.abs(up + down - 2 * here),
        "aside": np.abs(small).max(),
    }
