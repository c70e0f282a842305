"""The gap of one rung of a random ladder: what is measured, and how well."""

from typing import NamedTuple

import numpy as np


class Gap(NamedTuple):
    """What one rung gives: arrays over the observables (F,)."""

    mean: np.ndarray
    mean_limit: np.ndarray
    error: np.ndarray
    standard_error: np.ndarray
    solver_error: np.ndarray
    members: int


def columns(gaps: list[Gap]) -> dict[str, np.ndarray]:
    """The rungs' arrays stacked, (m, F) each."""
    return {name: np.stack([getattr(gap, name) for gap in gaps]) for name in Gap._fields[:-1]}
