"""Shared fixtures: data that several concerns use."""

import gc
import importlib.metadata
import os
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Programs that a worker, a child or an earlier run has compiled are read from pytest's cache.

    Compiling is more than half of the time. Runs before JAX is imported; the workers inherit it. A program is compiled
    by one thread: the workers keep the processors busy. XLA's older generator of loops, which jaxlib had until 0.10,
    takes half the time of its newer one; tests of nightly size, the studies and the site run with the newer, as users
    do.
    `pytest --cache-clear` empties the cache.
    """
    flags = ["--xla_cpu_parallel_codegen_split_count=1"]
    has_older = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11)
    if has_older and "not slow" in config.option.markexpr:
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")])
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    if config.pluginmanager.hasplugin("cacheprovider"):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("programs")))


def pytest_collection_finish():
    """What is imported by now stays: the collector need not walk it again after every few hundred objects of a trace.

    It took a sixth of the time of tests that trace large programs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def _close_figures():
    """What a test draws is gone after it; pyplot is not loaded for that."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


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
