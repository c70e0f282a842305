"""Threads: saving, loading and lazy reading at once neither crash the interpreter nor mix numbers up."""

import pickle
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import xarray as xr
from fuzz import handles
from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK

import flowdyn as fd
from flowdyn._tools import checked_files
from flowdyn._tools.hdf5_lock import LOCK

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


@pytest.mark.parametrize("eager_bytes", [0, 1000])
def test_a_result_can_be_pickled_and_its_locks_nest(eager_bytes, monkeypatch, tmp_path):
    monkeypatch.setattr(checked_files, "EAGER_BYTES", eager_bytes)
    path = fd.save(xr.Dataset({"w": ("t", np.arange(5.0))}, attrs=SCHEMA), tmp_path / "r.nc")
    with fd.load(path) as lazy:
        assert pickle.loads(pickle.dumps(LOCK)) is LOCK
        with LOCK:
            assert pickle.loads(pickle.dumps(lazy)).w.values.tolist() == [0, 1, 2, 3, 4]


def test_a_file_is_open_once_until_its_last_reader_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(checked_files, "EAGER_BYTES", 0)
    path = fd.save(xr.Dataset({"w": ("t", list("abc"))}, attrs=SCHEMA), tmp_path / "r.nc")
    first, second = fd.load(path), fd.load(path)
    assert len(handles(path)) == 1
    first.close()
    first.close()
    assert len(handles(path)) == 1 and second.w.values.tolist() == ["a", "b", "c"]
    second.close()
    assert handles(path) == []


def test_another_file_in_its_place_is_not_read(monkeypatch, tmp_path):
    monkeypatch.setattr(checked_files, "EAGER_BYTES", 0)
    path = fd.save(xr.Dataset({"w": ("t", np.zeros(3))}, attrs=SCHEMA), tmp_path / "r.nc")
    lazy = fd.load(path)
    fd.save(xr.Dataset({"w": ("t", np.ones(3))}, attrs=SCHEMA), path, overwrite=True)
    again = fd.load(path)
    assert lazy.w[:2].values.tolist() == [0, 0] and again.w[:2].values.tolist() == [1, 1]
    lazy.close()  # as xarray does with the files that were not read for long
    with pytest.raises(fd.FileError, match="another file has taken its place"):
        lazy.w.load()
    again.close()


def test_a_nested_lock_is_free_again_and_refuses_others_meanwhile():
    got = []
    with LOCK, LOCK:
        other = threading.Thread(target=lambda: got.append(LOCK.acquire(blocking=False)))
        other.start()
        other.join()
    assert got == [False] and not NETCDFC_LOCK.locked() and not HDF5_LOCK.locked()
    with HDF5_LOCK:  # somebody who reads with xarray
        assert LOCK.acquire(blocking=False) is False
    assert LOCK.acquire(blocking=False) is True
    LOCK.release()


def test_a_result_that_xarray_reads_lazily_can_be_saved(tmp_path):
    ds = xr.Dataset({"w": (("t", "p"), np.arange(6.0).reshape(2, 3))}, attrs=SCHEMA)
    ds.to_netcdf(tmp_path / "plain.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "plain.nc", engine="netcdf4") as lazy:  # its reads take xarray's locks
        fd.save(lazy, tmp_path / "r.nc")
    with fd.load(tmp_path / "r.nc") as found:
        assert found.identical(ds)
