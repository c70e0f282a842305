"""Threads: saving, loading and lazy reading at once neither crash the interpreter nor mix numbers up."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xarray as xr

import flowdyn as fd

SCHEMA = {"flowdyn_schema": "flowdyn/1"}

# HDF5 that is entered twice kills the interpreter: only a child can be seen to die of it
WORK = """
    import sys, threading, numpy as np, xarray as xr
    from flowdyn._tools import checked_files
    from flowdyn.results.storage import load, save

    checked_files.EAGER_BYTES = int(sys.argv[3])
    folder, failures = sys.argv[1], []
    def values(i):
        return np.random.default_rng(i).random((300, 40))
    def result(i):
        ds = xr.Dataset({"w": (("t", "p"), values(i)), "n": ("p", [f"name {j}" for j in range(40)])})
        return ds.assign_attrs(flowdyn_schema="flowdyn/1")

    save(result(99), f"{folder}/shared.nc")
    plain = xr.open_dataset(f"{folder}/shared.nc", cache=False)  # xarray's own handle, with its own lock
    ours = load(f"{folder}/shared.nc", verify=False)

    def work(i):
        try:
            for turn in range(int(sys.argv[2])):
                name = f"{folder}/{i}.nc"
                save(result(i), name, overwrite=True)
                with load(name) as mine:
                    assert np.array_equal(mine.w[turn : turn + 50], values(i)[turn : turn + 50])
                assert np.array_equal(plain.w[i * 10 : i * 10 + 9], values(99)[i * 10 : i * 10 + 9])
                assert np.array_equal(ours.w[i * 10 + turn], values(99)[i * 10 + turn])
                assert load(f"{folder}/shared.nc").n.values[i] == f"name {i}"
        except BaseException as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    sys.exit("; ".join(failures) or 0)
"""


@pytest.mark.parametrize("eager_bytes", ["0", "1000000"])
def test_eight_threads_save_load_and_read_at_once(eager_bytes, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(WORK), str(tmp_path), "4", eager_bytes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_lazy_result_can_be_pickled_and_its_locks_nest(tmp_path):
    from flowdyn._tools.hdf5_lock import LOCK

    path = fd.save(xr.Dataset({"w": ("t", np.arange(5.0))}, attrs=SCHEMA), tmp_path / "r.nc")
    with fd.load(path) as lazy:
        assert pickle.loads(pickle.dumps(LOCK)) is LOCK
        with LOCK:  # as a save of a lazy result does
            assert pickle.loads(pickle.dumps(lazy)).w.values.tolist() == [0, 1, 2, 3, 4]


def test_a_result_that_xarray_reads_lazily_can_be_saved(tmp_path):
    ds = xr.Dataset({"w": (("t", "p"), np.arange(6.0).reshape(2, 3))}, attrs=SCHEMA)
    ds.to_netcdf(tmp_path / "plain.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "plain.nc", engine="netcdf4") as lazy:  # its reads take xarray's locks
        fd.save(lazy, tmp_path / "r.nc")
    with fd.load(tmp_path / "r.nc") as found:
        assert found.identical(ds)
