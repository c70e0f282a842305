"""The diagonal network that the benchmarks share: n = 40 samples, d = 200 features, a 3-sparse truth."""

import numpy as np

import flowdyn as fd


def data(scale: float = 1 / np.sqrt(40)) -> tuple[np.ndarray, np.ndarray]:
    """X (40, 200), Gaussian entries of standard deviation `scale`, and y (40,)."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 200)) * scale
    return X, X[:, 0] - 2 * X[:, 1] + 1.5 * X[:, 2]


def network(scale: float = 1 / np.sqrt(40)) -> fd.problems.DiagonalNetwork:
    """The problem."""
    return fd.problems.DiagonalNetwork(*data(scale))


def plain_loss(w, X, y):  # type: ignore[no-untyped-def]
    """The loss as one writes it by hand."""
    d = X.shape[1]
    r = X @ (w[:d] ** 2 - w[d:] ** 2) - y
    return 0.5 * (r @ r)
