"""The embedded default problem of the shell: sparse regression by a diagonal network, small enough for a coffee sip."""

from typing import Any

import numpy as np


def sparse_network(seed: int, n: int = 20, d: int = 40, nonzero: int = 3) -> Any:
    """Diagonal network on n Gaussian samples of a predictor with `nonzero` entries of size 1 among d (section 9.3)."""
    from flowdyn.problems import DiagonalNetwork

    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(n)
    theta = np.zeros(d)
    theta[:nonzero] = 1.0, -1.0, 1.0
    return DiagonalNetwork(X, X @ theta)
