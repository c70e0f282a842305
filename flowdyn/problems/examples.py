"""Small data that the classes' own examples are built from, and the embedded data of the shell."""

import numpy as np

SEED = 7


def small_table() -> tuple[np.ndarray, np.ndarray]:
    """Gaussian X (6, 4) and y (6,), always the same."""
    rng = np.random.default_rng(SEED)
    return rng.standard_normal((6, 4)), rng.standard_normal(6)


def generic_start(size: int) -> np.ndarray:
    """Start (size,) in general position: nothing vanishes, nothing is equal."""
    return 0.3 + 0.1 * np.cos(np.arange(size))


def sparse_table(seed: int, n: int = 20, d: int = 40, nonzero: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian samples (n, d) of a sparse predictor, and its targets (n,): the data of section 9.3 in small."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(n)
    theta = np.zeros(d)
    theta[:nonzero] = np.resize([1.0, -1.0], nonzero)
    return X, X @ theta
