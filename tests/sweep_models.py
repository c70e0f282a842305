"""Functions that spawned processes import: points of a grid to runs."""

import os

import numpy as np

import flowdyn as fd

X = np.random.default_rng(0).standard_normal((3, 5))
PROBLEM = fd.problems.DiagonalNetwork(X, [1.0, -1.0, 0.5])


def flow(alpha):
    """One flow after the other: nothing is fused."""
    return fd.GradientFlow(PROBLEM), PROBLEM.init(alpha), {"t": 0.5, "saves": 3}


def descent(eta, alpha):
    """Recursions, which run side by side."""
    return fd.GradientDescent(PROBLEM, eta), PROBLEM.init(alpha), {"steps": 10, "saves": 3}


def deadly(alpha):
    """As `flow`, but one point takes its process with it."""
    if alpha == 0.3:
        os._exit(9)
    return flow(alpha)
