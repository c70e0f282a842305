"""One thread of BLAS while small matrices are worked on, without a search for its libraries each time."""

import sys
import types

import numpy as np
import pytest
import threadpoolctl

import flowdyn as fd
from flowdyn._tools import blas_threads
from flowdyn._tools.blas_threads import one_blas_thread


def of_blas():
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture
def searches(monkeypatch):
    """Searches for libraries that have been made."""
    made, search = [], blas_threads.ThreadpoolController
    monkeypatch.setattr(blas_threads, "ThreadpoolController", lambda: made.append(1) or search())
    blas_threads._controller.cache_clear()
    yield made
    blas_threads._controller.cache_clear()


def test_there_is_one_thread_and_then_as_many_as_before():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        for _ in range(2):
            with one_blas_thread(), one_blas_thread():
                assert set(of_blas()) == {1}
            assert set(of_blas()) == {2}


def test_libraries_are_looked_for_once(searches, monkeypatch):
    for _ in range(3):
        with one_blas_thread():
            pass
    assert len(searches) == 1
    monkeypatch.setitem(sys.modules, "imported_since", types.ModuleType("imported_since"))
    with one_blas_thread():
        pass
    assert len(searches) == 2


def test_runs_share_a_search(searches):
    def run():
        fd.solve(fd.ODE(lambda t, y: -y), np.ones(2), t=1.0, saves=3, solver=fd.solvers.Scipy("RK45"))

    run()  # what it imports is loaded after its own search
    run()
    found = len(searches)
    run()
    run()
    assert len(searches) == found
