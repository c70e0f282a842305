"""Shared fixtures: data that several concerns use."""

import os
import warnings

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Programs that a worker, a child or an earlier run has compiled are read from pytest's cache.

    Compiling is more than half of the time. Runs before JAX is imported; the workers inherit it. A program is compiled
    by one thread: the workers keep the processors busy. `pytest --cache-clear` empties it.
    """
    os.environ["XLA_FLAGS"] = f"--xla_cpu_parallel_codegen_split_count=1 {os.environ.get('XLA_FLAGS', '')}"
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    if config.pluginmanager.hasplugin("cacheprovider"):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("programs")))


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


@pytest.fixture(scope="session")
def cf_failures():
    """Function (path) -> checks of CF-1.11 that a file fails, strictly; the checkers are loaded once."""
    from compliance_checker.runner import CheckSuite

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the checker's own dependencies say of themselves
        CheckSuite.load_all_available_checkers()

    def failures(path):
        suite = CheckSuite()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            groups, errors = suite.run_all(suite.load_dataset(str(path)), ["cf:1.11"], skip_checks=[])["cf:1.11"]
        assert not errors
        return [(group.name, group.msgs) for group in groups if group.value[0] < group.value[1]]

    return failures
