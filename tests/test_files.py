"""Files: identical after a round trip, the same bits after a rebuild, CF-1.11, atomic, and nothing hostile gets in."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import PROBLEMS, SYSTEMS, custom_loss, start, start_of

import flowdyn as fd
from flowdyn.results.dataset import VOLATILE, provenance


def labelled_regression():
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.standard_normal((8, 3)), columns=["age", "bmi", "s1"], index=[f"p{i}" for i in range(8)])
    return fd.problems.LinearRegression(X, pd.Series(rng.standard_normal(8), index=X.index, name="target"))


def quartic():
    return fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4, np.ones(2))


def results():
    """Every kind of Dataset that flowdyn makes."""
    p = labelled_regression()
    gd = fd.GradientDescent(p, fd.schedules.PiecewiseConstant([0.02, 0.01], [10]))
    half = fd.solve(fd.GradientFlow(p), p.init(), t=1.0)
    return {
        "labelled": fd.solve(fd.GradientFlow(p), p.init(), t=1.0),
        "schedule": fd.solve(gd, p.init(), steps=30),
        "restart": fd.solve(fd.GradientFlow(p), half.isel(t=-1), t=2.0, solver=fd.solvers.Scipy()),
        "stopped": fd.solve(fd.GradientFlow(quartic()), [1.0, 0.5], t=np.inf, stop={"loss": ("<", 1e-3)}),
        "batch": fd.solve(fd.GradientFlow(p), np.eye(3), t=1.0, solver=fd.solvers.Diffrax()),
        "ends": fd.solve(fd.GradientFlow(p), p.init(), t=1.0, observe={"n": jnp.linalg.norm}, observe_only=True),
        "vector": fd.solve(fd.GradientFlow(p), p.init(), t=1.0, observe={"both": lambda w: w[:2] ** 2}),
        "diverged": fd.solve(fd.ODE(lambda t, y: y**2), [1.0], t=2.0, on_divergence="keep"),
        "momentum": fd.solve(fd.Nesterov(p, 1e-3), p.init(), t=1.0),
        "ladder": fd.eta_limit(fd.GradientDescent(p, 0.02), p.init(), t=1.0, order=1),
        "network": fd.solve(fd.GradientDescent(PROBLEMS["CustomRegression"](), 0.1), 0.1 * np.ones(5), steps=10),
    }


@pytest.fixture(scope="module")
def made():
    return results()


KINDS = [
    "labelled",
    "schedule",
    "restart",
    "stopped",
    "batch",
    "ends",
    "vector",
    "diverged",
    "momentum",
    "ladder",
    "network",
]


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_is_identical(made, kind, tmp_path):
    ds = made[kind]
    path = fd.save(ds, tmp_path / "r.nc")
    back = fd.load(path)
    xr.testing.assert_identical(back.load(), ds)
    assert list(back.attrs) == list(ds.attrs)
    assert os.listdir(tmp_path) == ["r.nc"]
    plain = xr.open_dataset(path)
    assert {name.removesuffix("_label") for name in plain.variables} == set(ds.variables)
    plain.close()
    back.close()


def test_labels_reach_the_file(made, tmp_path):
    back = fd.load(fd.save(made["labelled"], tmp_path / "r.nc"))
    assert back.feature.values.tolist() == ["age", "bmi", "s1"]
    assert back["sample"].values.tolist()[0] == "p0"
    assert float(back.w.sel(feature="bmi").isel(t=-1)) == float(made["labelled"].w[-1, 1])
    assert back.attrs["target"] == "target" and "target" in back.y.attrs["long_name"]


def failures(path):
    """Checks of CF-1.11 that a file fails, strictly."""
    from compliance_checker.runner import CheckSuite

    suite = CheckSuite()
    CheckSuite.load_all_available_checkers()
    groups, errors = suite.run_all(suite.load_dataset(str(path)), ["cf:1.11"], skip_checks=[])["cf:1.11"]
    assert not errors
    return [(group.name, group.msgs) for group in groups if group.value[0] < group.value[1]]


@pytest.mark.filterwarnings("ignore")  # the checker's own dependencies warn
@pytest.mark.parametrize("kind", KINDS)
def test_files_follow_cf_strictly(made, kind, tmp_path):
    assert failures(fd.save(made[kind], tmp_path / "r.nc")) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROBLEMS)
def test_files_of_every_problem_follow_cf(name, tmp_path):
    p = PROBLEMS[name]()
    assert failures(fd.save(fd.solve(fd.GradientFlow(p), start(p), t=0.1, saves=3), tmp_path / "p.nc")) == []


def again(ds, tmp_path, **custom):
    """Save, load, rebuild, solve."""
    with fd.load(fd.save(ds, tmp_path / "r.nc")) as back:
        system, w0, options = fd.rebuild(back.load(), **custom)
    return fd.solve(system, w0, **options)


def assert_same_bits(a, b):
    xr.testing.assert_identical(a.drop_attrs(), b.drop_attrs())
    fixed = [{k: v for k, v in ds.attrs.items() if k not in VOLATILE} for ds in (a, b)]
    assert fixed[0] == fixed[1]


@pytest.mark.parametrize("name", [n for n in SYSTEMS if n not in ("ODE", "SDE")])
@pytest.mark.parametrize("problem", ["DiagonalNetwork", "Quadratic", "SquaredPopulation", "LinearClassifier"])
def test_rebuild_gives_the_same_bits(name, problem, tmp_path):
    p = PROBLEMS[problem]()
    random = SYSTEMS[name](PROBLEMS["Quadratic"]()).is_random
    if random and problem != "Quadratic":
        pytest.skip("one problem is enough for the random systems")
    system = SYSTEMS[name](p)
    ds = fd.solve(system, start_of(system), t=0.5, saves=6, realizations=3 if random else None, seed=5)
    assert_same_bits(again(ds, tmp_path), ds)


@pytest.mark.parametrize("kind", ["labelled", "schedule", "restart", "batch", "momentum"])
def test_rebuild_of_every_kind(made, kind, tmp_path):
    assert_same_bits(again(made[kind], tmp_path), made[kind])


def square(w):
    """Plain loss with a source that can be found."""
    return jnp.sum(w["a"] ** 2) + w["b"] ** 4


def test_custom_functions_are_handed_in_again(tmp_path):
    p = fd.problems.CustomProblem(square, {"a": np.array([1.0, 2.0]), "b": 0.5})
    observe = {"norm": lambda w: jnp.sum(w["a"] ** 2)}
    ds = fd.solve(fd.GradientFlow(p), p.init(), t=np.inf, stop={"norm": ("<", 0.1)}, observe=observe)
    assert_same_bits(again(ds, tmp_path, loss=square, observe=observe), ds)
    with pytest.raises(fd.ArgumentError, match=r"`loss` must be handed in again.*square"):
        fd.rebuild(ds, observe=observe)
    with pytest.raises(fd.ArgumentError, match=r"`observe` must hand in the functions \['norm'\]"):
        fd.rebuild(ds, loss=square)
    with pytest.warns(fd.FlowdynWarning, match="differs in its source"):
        fd.rebuild(ds, loss=lambda w: jnp.sum(w["a"] ** 2), observe=observe)
    with pytest.raises(fd.ArgumentError, match="one run"):
        fd.rebuild(xr.Dataset())


def test_data_of_a_custom_problem_travel(tmp_path):
    def loss(w, data):
        return jnp.mean((data["x"] @ w - data["y"]) ** 2)

    data = {"x": np.arange(6.0).reshape(3, 2), "y": np.ones(3)}
    p = fd.problems.CustomProblem(loss, np.zeros(2), data=data)
    ds = fd.solve(fd.GradientDescent(p, 0.01), p.init(), steps=20)
    assert_same_bits(again(ds, tmp_path, loss=loss), ds)


def test_equal_runs_are_equal_but_for_times():
    p = PROBLEMS["CustomProblem"]()
    a, b = (fd.solve(fd.GradientFlow(p), [1.2, 0.3], t=1.0) for _ in range(2))
    assert_same_bits(a, b)


def test_provenance_holds_effective_settings(made):
    from flowdyn.results.recipes import read_json

    run = fd.solve(fd.GradientFlow(quartic()), [1.0, 0.5], t=1.0)
    solver = read_json(run.attrs["flowdyn_solver"], "flowdyn_solver")
    assert solver == {"class": "Scipy", "args": {"method": "LSODA", "rtol": 1e-8, "atol": 1e-12, "max_step": None}}
    assert run.attrs["jax_enable_x64"] == 1
    assert read_json(run.attrs["flowdyn_versions"], "v")["numpy"] == np.__version__
    assert read_json(run.attrs["flowdyn_stats"], "s")["nfev"] > 10
    assert run.attrs["Conventions"] == "CF-1.11" and run.attrs["flowdyn_schema"] == "flowdyn/1"


def test_no_overwrite_unless_asked(made, tmp_path):
    path = fd.save(made["labelled"], tmp_path / "r.nc")
    with pytest.raises(fd.FileError, match="overwrite=True"):
        fd.save(made["ladder"], path)
    fd.save(made["ladder"], path, overwrite=True)
    assert fd.load(path).attrs["flowdyn_kind"] == "ladder"
    for bad, words in (("no/r.nc", "existing folder"), ("r.txt", "must end in .nc")):
        with pytest.raises(fd.FlowdynError, match=words):
            fd.save(made["labelled"], tmp_path / bad)


WRITER = """
import sys, numpy as np, xarray as xr
from flowdyn.results.storage import save
path, attrs = sys.argv[1], {"flowdyn_schema": "flowdyn/1"}
n = 0
print("ready", flush=True)
while True:
    n += 1
    save(xr.Dataset({"w": ("t", np.full(400_000, float(n)))}, attrs=attrs), path, overwrite=True)
"""


def test_kill_during_save_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "k.nc"
    rng = np.random.default_rng(0)
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(float(rng.uniform(0.05, 0.4)))
            process.send_signal(signal.SIGKILL)
        if path.exists():
            values = fd.load(path).w.values
            assert (values == values[0]).all() and values[0] >= 1
    fd.save(xr.Dataset({"w": ("t", np.zeros(3))}, attrs={"flowdyn_schema": "flowdyn/1"}), path, overwrite=True)
    assert os.listdir(tmp_path) == ["k.nc"]  # what the killed writers left is swept


def test_full_disk_keeps_the_old_file(made, tmp_path, monkeypatch):
    path = fd.save(made["labelled"], tmp_path / "r.nc")

    def broken(*_, **__):
        raise RuntimeError("NetCDF: HDF error")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", broken)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(fd.FileError, match=r"no space to write .*r\.nc") as caught:
        fd.save(made["ladder"], path, overwrite=True)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert fd.load(path).attrs["flowdyn_kind"] == "run" and os.listdir(tmp_path) == ["r.nc"]


def hostile(kind, folder):
    """Write one file that must not be opened, and the words that refuse it."""
    import h5py

    path = folder / "h.nc"
    if kind in ("pickle", "empty", "classic"):
        path.write_bytes({"pickle": b"\x80\x04N.", "empty": b"", "classic": b"CDF\x01" + bytes(40)}[kind])
        return path, "not a NetCDF-4 file"
    if kind == "truncated":
        fd.save(xr.Dataset({"w": ("t", np.arange(5000.0))}, attrs={"flowdyn_schema": "flowdyn/1"}), path)
        path.write_bytes(path.read_bytes()[:3000])
        return path, "damaged or truncated"
    if kind == "flipped":
        fd.save(xr.Dataset({"w": ("t", np.arange(5000.0))}, attrs={"flowdyn_schema": "flowdyn/2"}), path)
        return path, "flowdyn/2"
    with h5py.File(path, "w") as f:
        if kind == "external storage":
            f.create_dataset("x", (8,), dtype="u1", external=[("/etc/passwd", 0, 8)])
            return path, "outside the file"
        if kind == "virtual":
            layout = h5py.VirtualLayout((4,), dtype="f8")
            layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4,))
            f.create_virtual_dataset("x", layout)
            return path, "outside the file"
        if kind == "bomb":
            f.create_dataset("x", (1 << 28,), dtype="f8", chunks=(1 << 20,))
            return path, "declares"
        if kind == "named type":
            f["x"] = np.dtype("f8")
            return path, "named type"
        f["x"] = h5py.SoftLink("/y") if kind == "soft link" else h5py.ExternalLink("other.h5", "/y")
        return path, "soft or external link"


@pytest.mark.parametrize(
    "kind",
    [
        "pickle",
        "empty",
        "classic",
        "truncated",
        "flipped",
        "external storage",
        "virtual",
        "bomb",
        "named type",
        "soft link",
        "external link",
    ],
)
def test_hostile_files_are_refused(kind, tmp_path):
    path, words = hostile(kind, tmp_path)
    with pytest.raises(fd.FileError, match=words) as caught:
        fd.load(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("path", ["http://host/x.nc", "[log]http://host/x.nc", "x.nc#mode=bytes", "missing.nc"])
def test_remote_and_missing_paths_are_refused(path):
    with pytest.raises(fd.FileError, match=r"local file|existing file"):
        fd.load(path)


def test_a_flipped_byte_is_noticed(tmp_path):
    path = fd.save(
        xr.Dataset({"w": ("t", np.random.default_rng(0).random(5000))}, attrs={"flowdyn_schema": "flowdyn/1"}),
        tmp_path / "f.nc",
    )
    raw = bytearray(path.read_bytes())
    for i in range(len(raw) // 2, len(raw) // 2 + 16):
        raw[i] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises((OSError, RuntimeError)), fd.load(path) as ds:
        ds.load()


def test_opening_a_file_runs_nothing(made, tmp_path, monkeypatch):
    import builtins
    import pickle
    import socket

    path = fd.save(made["network"], tmp_path / "r.nc")
    fd.load(path).close()  # everything lazy is imported by now

    def never(*_, **__):
        raise AssertionError("a file must not run anything")

    for place, name in ((pickle, "loads"), (builtins, "eval"), (socket.socket, "connect"), (subprocess, "Popen")):
        monkeypatch.setattr(place, name, never)
    with fd.load(path) as ds:
        ds.load()


@pytest.mark.parametrize(
    ("attribute", "text", "words"),
    [
        ("flowdyn_system", "{", "valid JSON"),
        ("flowdyn_system", '{"class": "os.system", "args": {}}', "must be one of"),
        ("flowdyn_system", '{"class": "GradientFlow", "args": {"__class__": 1}}', "arguments"),
        ("flowdyn_system", '{"class": "GradientFlow", "class": "ODE"}', "duplicate"),
        ("flowdyn_solver", '{"class": "Scipy", "args": {"rtol": NaN}}', "NaN is not allowed"),
        ("flowdyn_system", "[" * 10_000, "valid JSON"),
    ],
)
def test_a_damaged_description_is_refused_in_words(made, attribute, text, words):
    ds = made["labelled"].assign_attrs({attribute: text})
    with pytest.raises(fd.FlowdynError, match=words):
        fd.rebuild(ds)


def test_both_hdf5_libraries_in_either_order(made, tmp_path):
    path = fd.save(made["labelled"], tmp_path / "r.nc")
    for first in ("netCDF4", "h5py"):
        code = textwrap.dedent(f"""
            import {first}
            import flowdyn as fd
            ds = fd.load({str(path)!r}).load()
            fd.save(ds, {str(tmp_path / first)!r} + ".nc")
        """)
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("ncdump") is None, reason="ncdump is not installed")
def test_ncdump_reads_the_file(made, tmp_path):
    path = fd.save(made["ladder"], tmp_path / "r.nc")
    text = subprocess.run(["ncdump", "-h", str(path)], check=True, capture_output=True, text=True).stdout
    assert "double sup_error(eta)" in text and 'Conventions = "CF-1.11"' in text


def test_pytree_loss_of_the_theory_travels(tmp_path):
    p = fd.problems.CustomProblem(custom_loss, {"a": 1.2, "b": 0.3})
    ds = fd.solve(fd.ModifiedFlow(p, 0.01, 3), {"a": 1.0, "b": 0.5}, t=1.0)
    assert ds.a.dims == ("t",)
    assert_same_bits(again(ds, tmp_path, loss=custom_loss), ds)


def test_a_tree_of_runs_is_saved_and_loaded_whole(tmp_path):
    p = fd.problems.LinearRegression(pd.DataFrame({"age": [1.0, 2.0], "size": [0.0, 1.0]}), [1.0, 2.0])
    run = fd.solve(fd.GradientFlow(p), p.init(), t=1.0, saves=3)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=provenance("study", "t", "q", "r")), "a": run, "b": run})
    path = fd.save(tree, tmp_path / "tree.nc")
    with fd.load(path) as found:
        assert sorted(found.children) == ["a", "b"] and found["a"].to_dataset().identical(run)
        system, w0, options = fd.rebuild(found["b"].to_dataset())
        assert fd.solve(system, w0, **options).w.identical(run.w)
    with pytest.raises(fd.FileError, match="must not exist yet"):
        fd.save(tree, path)
