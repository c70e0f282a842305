"""Saving: no file is lost to another one, a kill or a full disk."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
from kinds import made

import flowdyn as fd

DESCENT = fd.GradientDescent(fd.problems.Quadratic(1.0), 0.1)


def test_no_overwrite_unless_asked(tmp_path):
    path = fd.save(made("labelled"), tmp_path / "r.nc")
    with pytest.raises(fd.FileError, match="overwrite=True"):
        fd.save(made("ladder"), path)
    fd.save(made("ladder"), path, overwrite=True)
    assert fd.load(path).attrs["flowdyn_kind"] == "ladder"
    for bad, words in (("no/r.nc", "existing folder"), ("r.txt", "must end in .nc")):
        with pytest.raises(fd.FlowdynError, match=words):
            fd.save(made("labelled"), tmp_path / bad)


UNHOLDABLE = {
    "a name that is a number": (lambda run: run.assign({1: ("t", run.t.values)}), r"ds.rename\({1: '1'}\)"),
    "dates": (lambda run: run.assign(day=("t", run.t.values.astype("M8[D]"))), "times as numbers in 'day'"),
    "differences of dates": (lambda run: run.assign(day=("t", run.t.values.astype("m8[s]"))), "times as numbers"),
    "a stacked index": (lambda run: run.stack(z=("t", "feature")), r"ds.unstack\('z'\)"),
    "a value that means none": (lambda run: run.assign(z=("t", run.t.values, {"_FillValue": 3.0})), "'_FillValue'"),
    "packed numbers": (lambda run: run.assign(z=("t", run.t.values, {"scale_factor": 3.0})), "decode them or drop"),
}


@pytest.mark.parametrize("case", UNHOLDABLE)
def test_what_would_not_come_back_is_refused_before_anything_is_written(case, tmp_path):
    spoil, words = UNHOLDABLE[case]
    with pytest.raises(fd.ArgumentError, match=words):
        fd.save(spoil(made("labelled")), tmp_path / "r.nc")
    assert not list(tmp_path.iterdir())


# one interpreter, which forks a writer for every line that it reads: a start costs more than the kill
WRITERS = """
import os, signal, sys, numpy as np, xarray as xr
from flowdyn.results.storage import save

def write(n):
    attrs = {"flowdyn_schema": "flowdyn/1"}
    save(xr.Dataset({"w": ("t", np.full(400_000, float(n)))}, attrs=attrs), sys.argv[1], overwrite=True)

write(1)  # what is imported late is imported by now
for line in sys.stdin:
    writer = os.fork()
    n = 1
    if writer == 0:
        signal.alarm(60)  # nobody came to kill it
    while writer == 0:
        n += 1
        write(n)
    print(writer, flush=True)
    print(os.WTERMSIG(os.waitpid(writer, 0)[1]), flush=True)
"""


def kills(path, count):
    """Kill that many writers, each at another moment of its work, and yield after each."""
    rng = np.random.default_rng(0)
    command = [sys.executable, "-c", WRITERS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(count):
            print("next", file=process.stdin, flush=True)
            writer = int(process.stdout.readline())
            time.sleep(float(rng.uniform(0.05, 0.4)))
            os.kill(writer, signal.SIGKILL)
            assert int(process.stdout.readline()) == signal.SIGKILL  # it was still writing
            yield
        process.stdin.close()


@pytest.mark.parametrize("count", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_kill_during_save_leaves_the_old_file_or_the_new_one(count, tmp_path):
    path = tmp_path / "k.nc"
    for _ in kills(path, count):
        values = fd.load(path).w.values
        assert values.shape == (400_000,) and (values == values[0]).all() and values[0] >= 1
    fd.save(xr.Dataset({"w": ("t", np.zeros(3))}, attrs={"flowdyn_schema": "flowdyn/1"}), path, overwrite=True)
    assert os.listdir(tmp_path) == ["k.nc"]  # what the killed writers left is swept


def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = fd.save(made("labelled"), tmp_path / "r.nc")

    def broken(*_, **__):
        raise RuntimeError("NetCDF: HDF error")

    monkeypatch.setattr(xr.Dataset, "dump_to_store", broken)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(fd.FileError, match=r"no space to write .*r\.nc") as caught:
        fd.save(made("ladder"), path, overwrite=True)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert fd.load(path).attrs["flowdyn_kind"] == "run" and os.listdir(tmp_path) == ["r.nc"]


# the limit on the size of a file acts as a full disk does, on this process alone
FULL = """
import os, resource, signal, sys, numpy as np, xarray as xr
from flowdyn import FileError
from flowdyn.results.storage import load, save

path = sys.argv[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
large = xr.Dataset({"w": ("t", np.random.default_rng(0).random(800_000))}, attrs={"flowdyn_schema": "flowdyn/1"})
small = large.isel(t=slice(9))
# HDF5 fails midway; nothing can be written; not even the file's own structure
for ds, limit in ((large, 4_500_000), (large, 0), (large.isel(t=slice(300)), 8192)):
    save(small, path, overwrite=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    before = sorted(os.listdir("/dev/fd"))
    for _ in range(3):
        try:
            save(ds, path, overwrite=True)
        except FileError as error:
            assert "cannot write" in str(error) and len(str(error).splitlines()) == 1, error
        else:
            raise AssertionError("the disk was not full")
    assert sorted(os.listdir("/dev/fd")) == before  # and with it the space is free again
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    assert load(path).equals(small)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    save(ds, path, overwrite=True)
    assert load(path).equals(ds)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limits there")
def test_full_disk_leaves_no_handle_and_no_file(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path / "f.nc")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("empty", ["eta", "seed", "save"])
@pytest.mark.parametrize("stored", [False, True])
def test_a_selection_of_no_cells_is_told_as_that(tmp_path, empty, stored):
    def make(eta, seed):
        return fd.GradientDescent(fd.problems.Quadratic(1.0), eta), [1.0], {"steps": 2}

    result = fd.sweep(make, {"eta": [0.1, 0.2], "seed": [0, 1]}, tmp_path / "store" if stored else None)
    with pytest.raises(fd.ArgumentError, match=f"^`ds` must have an entry along {empty} to be saved, got .*; select"):
        fd.save(result.isel({empty: []}), tmp_path / "none.nc")
    assert not (tmp_path / "none.nc").exists()


NONE = {
    "t": lambda ds: ds.isel(t=[]),
    "times": lambda ds: ds.sel(t=slice(5.0, 6.0)),
    "start": lambda ds: ds.isel(start=[]),
}


@pytest.mark.parametrize("select", NONE.values(), ids=NONE)
@pytest.mark.parametrize(
    ("use", "purpose"),
    [
        (lambda ds, path: fd.save(ds, path), "`ds` must have an entry along .* to be saved"),
        (
            lambda ds, path: fd.save(xr.DataTree.from_dict({"a/b": ds}), path),
            "`ds` must have an entry along .* to be saved",
        ),
        (lambda ds, path: fd.rebuild(ds), "`ds` must have an entry along .* to be rebuilt"),
        (lambda ds, path: fd.rerun(ds), "`ds` must have an entry along .* to be rebuilt"),
        (lambda ds, path: fd.solve(DESCENT, ds, steps=3), "`w0` must have an entry along .* to be a start"),
        (lambda ds, path: fd.comparison.sup_error(ds, ds), "`a` must have an entry along .* to be compared"),
        (lambda ds, path: fd.concat([ds, ds], "run"), r"`runs\[0\]` must have an entry along .* to be joined"),
    ],
)
def test_nothing_is_done_with_what_has_no_entry(tmp_path, select, use, purpose):
    """A run always has a time: what has none was selected, and is nobody's result."""
    run = fd.solve(DESCENT, [[1.0], [2.0]], steps=2)
    with pytest.raises(fd.ArgumentError, match=f"^{purpose}, got .*; select some$"):
        use(select(run), tmp_path / "none.nc")
    assert not (tmp_path / "none.nc").exists()
    with pytest.raises(fd.ArgumentError, match="`t` must hold at least one time"):
        fd.solve(fd.GradientFlow(DESCENT.problem), [1.0], t=[])


def test_a_block_of_cells_that_failed_has_no_rows_and_is_kept(tmp_path):
    """A step of eta = 2 turns w to -w: the loss w^2 / 2 is never below 1e-3."""

    def make(eta):
        system = fd.GradientDescent(fd.problems.Quadratic(1.0), eta)
        return system, [1.0], {"t": float("inf"), "stop": {"loss": ("<", 1e-3)}, "max_steps": 50}

    with pytest.warns(fd.FlowdynWarning, match="1 of 2 cells failed"):
        fd.sweep(make, {"eta": [2.0, 0.5]}, tmp_path / "store", block=1)
    found = fd.load(tmp_path / "store")
    assert found.failure.sel(eta=2.0).item() and np.isclose(found.w.sel(eta=0.5)[-1].item(), 0.5**5)
    assert min(fd.load(path).sizes.get("save", 9) for path in (tmp_path / "store").glob("*.nc")) == 0


def test_an_observable_without_entries_is_saved(tmp_path):
    p = fd.problems.Quadratic(1.0)
    run = fd.solve(fd.GradientFlow(p), [1.0], t=1.0, saves=3, observe={"none": lambda w: w[:0]})
    assert run.none.shape == (3, 0)
    assert fd.load(fd.save(run, tmp_path / "run.nc")).none.shape == (3, 0)
    with pytest.raises(fd.ArgumentError, match="`ds` must have an entry along t to be saved"):
        fd.save(run.drop_vars("none").isel(t=[]), tmp_path / "rows.nc")
