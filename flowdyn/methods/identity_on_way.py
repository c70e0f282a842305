r"""Whether a step of no length is the identity where the recursion goes, and not at its start alone.

    dS_0(z_k)/dz v = v,   v = z_{k+1} - z_k at h itself,   k = 0, 1, 2, 3

Heavy ball kept as (x, before) starts at rest, where F_0 = 0 says nothing of dS_0; its first step does: S_0 makes
(v, 0) the direction (2 v, v). So it is with columns of noise.
"""

from typing import Any

import numpy as np

from flowdyn.methods.ends_on_manifold import NOTHING
from flowdyn.methods.step_probes import StepProbes

FIRST = 4  # steps that are looked at
MOVES = 1e-6  # share of a move that is none
SHORTER = 1 / 16  # of h, at which the same share of a move is lost as at h, or less
KEEPS = 0.25  # share of it, below which it shrinks with h
_EPS = np.finfo(float).eps


def forgotten(flow: Any, state0: np.ndarray) -> np.ndarray:
    """What a step of no length changes of the directions of the first steps, as a share of each, shape (S,)."""
    if not flow.recursion.is_users:
        return np.zeros(len(state0))
    with np.errstate(all="ignore"):  # of steps that are not finite nothing is said
        return lasting(*_along_way(flow.recursion, state0), state0)


def lasting(moves: np.ndarray, changed: np.ndarray, state0: np.ndarray) -> np.ndarray:
    """Share of moves (2, N, S), those at h and at SHORTER h, that a step of no length changes at either, (S,).

    Steps along a curve leave it by O(h^2), which is a share O(h) of a move.
    """
    size = np.maximum(np.abs(moves).max(axis=2, keepdims=True), np.finfo(float).tiny)
    rounding = 8 * _EPS * np.abs(state0).max(initial=0.0) / size
    share = np.abs(changed) / size
    share = np.where(share > np.maximum(MOVES, rounding), share, 0.0).max(axis=1)  # not where it is not finite
    return np.where(share[1] > KEEPS * share[0], share[1], 0.0)


def _along_way(recursion: Any, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first moves (2, N, S) at h and at SHORTER h, and what a step of about no length changes of them."""
    probes = StepProbes(recursion)
    h, still = probes.h, np.zeros_like(state)
    moves, changed = np.empty((2, 2, FIRST, len(state)))
    for i, part in enumerate((1.0, SHORTER)):
        z = state
        for k in range(FIRST):
            after = probes.along(part * h, k + 1.0, z, still)[0]
            moves[i, k] = after - z
            changed[i, k] = probes.along(NOTHING * h, 1 / NOTHING, z, moves[i, k])[1] - moves[i, k]
            z = after
    return moves, changed
