"""Small data that the classes' own examples are built from, the embedded data of the shell, a real table."""

from pathlib import Path

import numpy as np

from flowdyn._tools.calls import told

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


@told
def example_table() -> Path:
    """Path of a table that comes with the package: four measures of 342 penguins, to learn one from the others.

    Returns
    -------
    pathlib.Path
        A .csv file with the columns ``bill_length_mm``, ``bill_depth_mm``, ``flipper_length_mm`` and ``body_mass_g``;
        ``flowdyn example-data`` copies it to the folder where you are.

    Raises
    ------
    FileError
        By the reader of tables, if the package was installed without its data.

    Notes
    -----
    The table is in the public domain (CC0 1.0, by the data policy of Palmer Station LTER): all birds whose measures
    were taken, without their species, sex and island. Source: Gorman, Williams and Fraser (2014), Ecological sexual
    dimorphism and environmental variability within a community of Antarctic penguins, PLoS ONE 9(3), e90081; Horst,
    Hill and Gorman (2020), palmerpenguins: Palmer Archipelago (Antarctica) penguin data.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearRegression.from_file(fd.example_table(), target="body_mass_g", intercept=True)
    >>> p.X.shape, p.coords["feature"].tolist()[:2]
    ((342, 4), ['intercept', 'bill_length_mm'])
    """
    return Path(__file__).with_name("penguins.csv")
