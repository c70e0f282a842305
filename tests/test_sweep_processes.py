"""Sweeps by other processes: the same numbers, a death is survived, a killed sweep is gone on with."""

import concurrent.futures
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sweep_models import deadly, descent, flow

import flowdyn as fd

HERE = Path(__file__).parent


def test_spawned_processes_give_the_same_numbers(tmp_path):
    grid = {"eta": [0.01, 0.02], "alpha": [0.1, 0.2]}
    here = fd.sweep(descent, grid, block=2)
    there = fd.sweep(descent, grid, tmp_path, workers=1, block=2)
    assert there.drop_attrs().identical(here.drop_attrs())


def test_a_worker_that_dies_takes_its_cell_alone(tmp_path):
    with pytest.warns(fd.FlowdynWarning, match=r"1 of 4 cells failed; the first, alpha=0.3: its worker died"):
        result = fd.sweep(deadly, {"alpha": [0.1, 0.2, 0.3, 0.4]}, tmp_path, workers=2, key="v1", block=1)
    assert np.isnan(result.w_plus.sel(alpha=0.3)).all() and result.status.sel(alpha=0.3) == -1
    assert np.isfinite(result.w_plus.sel(alpha=[0.1, 0.2, 0.4])).all()
    assert "its worker died" in fd.load(tmp_path).failure.sel(alpha=0.3).item()
    assert len(list(tmp_path.glob("[0-9a-f]*.nc"))) == 3  # it is tried again the next time


def test_a_pool_of_ones_own_that_breaks_is_told():
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool,
        pytest.raises(fd.RunError, match="a process of `executor` died at cells"),
    ):
        fd.sweep(deadly, {"alpha": [0.2, 0.3]}, executor=pool, block=1)


def test_dask_runs_a_sweep(tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        result = fd.sweep(flow, {"alpha": [0.1, 0.2, 0.3]}, tmp_path, executor=client.get_executor(), block=1)
    assert result.drop_attrs().identical(fd.sweep(flow, {"alpha": [0.1, 0.2, 0.3]}, block=1).drop_attrs())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dask_worker_that_is_killed_in_the_middle_changes_nothing(tmp_path):
    """Its nanny starts another; the block that it had goes to one that lives."""
    distributed = pytest.importorskip("distributed")
    grid = {"alpha": np.linspace(0.1, 0.9, 24)}
    store, killed = tmp_path / "store", []

    def kill(pid):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and len(list(store.glob("[0-9a-f]*.nc"))) < 4:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        killed.append(len(list(store.glob("[0-9a-f]*.nc"))))

    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(sys.path.insert, 0, str(HERE))
        pid = next(iter(client.run(os.getpid).values()))
        killer = threading.Thread(target=kill, args=(pid,))
        killer.start()
        result = fd.sweep(flow, grid, store, executor=client.get_executor(), block=1)
        killer.join()
        alive = set(client.run(os.getpid).values())
    assert killed and killed[0] < 24 and pid not in alive, "it was not killed in the middle"
    assert result.drop_attrs().identical(fd.sweep(flow, grid, block=1).drop_attrs())


SCRIPT = """
import sys, warnings
sys.path.insert(0, sys.argv[2])
import numpy as np, flowdyn as fd
from sweep_models import flow
fd.sweep(flow, {"alpha": np.linspace(0.1, 0.9, 40)}, sys.argv[1], block=1, progress=False)
"""


@pytest.mark.slow
def test_a_sweep_that_is_killed_eight_times_ends_as_the_undisturbed_one(tmp_path):
    """Killed as soon as a random number of further blocks are there, once in the middle of a write in between."""
    whole = fd.sweep(flow, {"alpha": np.linspace(0.1, 0.9, 40)}, tmp_path / "whole", block=1)
    store, rng, kills = tmp_path / "killed", random.Random(0), 0
    arguments = [sys.executable, "-c", SCRIPT, str(store), str(HERE)]
    while True:
        process = subprocess.Popen(arguments)
        before = len(list(store.glob("[0-9a-f]*.nc"))) if store.exists() else 0
        wanted, deadline = before + rng.randint(1, 5), time.monotonic() + 300
        while kills < 8 and process.poll() is None and time.monotonic() < deadline:
            if store.exists() and len(list(store.glob("[0-9a-f]*.nc"))) >= wanted:
                time.sleep(rng.uniform(0, 0.2))
                process.send_signal(signal.SIGKILL)
                kills += 1
            time.sleep(0.01)
        if process.wait() == 0:
            break
        if kills == 4:
            victim = sorted(store.glob("[0-9a-f]*.nc"))[0]
            os.truncate(victim, victim.stat().st_size // 2)
    assert kills == 8
    killed = fd.load(store)
    assert killed.drop_attrs().identical(whole.drop_attrs())
    names = {path.name for path in store.iterdir()}
    assert names == {path.name for path in (tmp_path / "whole").iterdir()}, "leftovers"
