"""Files that are hostile or damaged: refused in one line, and nothing in a file is run."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from kinds import made, with_recipe

import flowdyn as fd


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
        xr.Dataset({"w": ("t", np.arange(5000.0))}, attrs={"flowdyn_schema": "flowdyn/2"}).to_netcdf(path)
        return path, "flowdyn/2"
    with h5py.File(path, "w") as f:
        if kind in ("cycle", "alias"):
            f["group/x"] = np.zeros(3)
            f["group/again"] = f["/"] if kind == "cycle" else f["group/x"]
            return path, "a second link to the same object"
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
        "cycle",
        "alias",
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


def test_opening_a_file_runs_nothing(tmp_path, monkeypatch):
    import builtins
    import pickle
    import socket

    path = fd.save(made("network"), tmp_path / "r.nc")
    fd.load(path).close()  # everything lazy is imported by now

    def never(*_, **__):
        raise AssertionError("a file must not run anything")

    for place, name in ((pickle, "loads"), (builtins, "eval"), (socket.socket, "connect"), (subprocess, "Popen")):
        monkeypatch.setattr(place, name, never)
    with fd.load(path) as ds:
        ds.load()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "valid JSON"),
        ("[" * 10_000, "valid JSON"),
        ('{"class": "GradientFlow", "class": "ODE"}', "duplicate"),
        ('{"solver": {"class": "Scipy", "args": {"rtol": NaN}}}', "NaN is not allowed"),
        ("[1]", "must name its arrays"),
        ('{"arrays": ["X", 3]}', "must name its arrays"),
        ('{"arrays": ["X", "zz"]}', r"must hold the arrays of its recipe, got none of \['zz'\]"),
        ('{"arrays": []}', "must hold a run with its own recipe"),
    ],
)
def test_a_damaged_recipe_is_refused_in_words(text, words):
    with pytest.raises(fd.FlowdynError, match=words):
        fd.rebuild(made("labelled").assign_coords(recipe=text))


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("system", {"class": "os.system", "args": {}}, "must be one of"),
        ("system", {"class": "GradientFlow", "args": {"__class__": 1}}, "arguments"),
        ("system", {"class": "GradientFlow"}, "must give the arguments of each class"),
        ("system", 3, "must describe a method"),
        ("solver", {"class": "Scipy", "args": {"zz": 1}}, r"arguments \['zz'\] that Scipy does not take"),
        ("solver", [1], "must describe a solver"),
        ("options", {"stop": {"loss": 3}}, "no such `observe` or `stop`"),
        ("options", {"stop": [1]}, "no such `observe` or `stop`"),
        ("options", {"observe": 3}, "no such `observe` or `stop`"),
        ("options", [1], "must describe the options"),
        ("options", {"zz": 1}, "which `solve` does not take"),
        ("span", "no", "span"),
        ("span", [0.0, 1.0, 2], "must hold times of its own recipe"),
    ],
)
def test_a_recipe_that_asks_for_nonsense_is_refused_in_words(part, value, words):
    with pytest.raises(fd.FlowdynError, match=words):
        fd.rebuild(with_recipe(made("labelled"), **{part: value}))


@pytest.mark.parametrize(
    ("attribute", "text", "words"),
    [
        ("flowdyn_system", "{", "attribute flowdyn_system must be valid JSON"),
        ("flowdyn_solver", "[1]", "must describe a solver"),
        ("flowdyn_options", "[1]", "must describe the options"),
    ],
)
def test_a_damaged_description_of_an_old_file_is_refused_in_words(attribute, text, words):
    with fd.load(Path(__file__).parent / "old_files" / "flow.nc") as old:
        ds = old.load().assign_attrs({attribute: text})
    with pytest.raises(fd.FlowdynError, match=words):
        fd.rebuild(ds)
