"""Shared fixtures: data that several concerns use."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")


@pytest.fixture(scope="session")
def wide():
    """Overparametrised Gaussian data, n = 20 and d = 50."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((20, 50)), rng.standard_normal(20)


@pytest.fixture(scope="session")
def sparse():
    """n = 40 samples of a 3-sparse predictor in d = 200."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 200)) / np.sqrt(40)
    theta = np.zeros(200)
    theta[:3] = 1.0, -2.0, 1.5
    return X, X @ theta
