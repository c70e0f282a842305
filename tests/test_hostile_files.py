"""Files that are hostile or damaged: refused in one line, and nothing in a file is run."""

import subprocess
import zlib
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from fuzz import handles
from kinds import made, with_recipe

import flowdyn as fd
from flowdyn._tools import checked_files, hdf5_scan

ATTRIBUTES = {
    "_Netcdf4Dimid": 2**62,
    "_Netcdf4Coordinates": [0, 1],
    "DIMENSION_LIST": [1.0],
    "square": np.zeros((2, 2)),
}


def aliased_text(path):
    """One string of a megabyte, 7,500 times by reference."""
    import h5py

    with h5py.File(path, "w") as f:
        x = f.create_dataset("x", (7500,), dtype=h5py.string_dtype())
        x[0] = "a" * 1_000_000
        x[1:] = "b"
        offset = x.id.get_offset()
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 7500 * 16] = raw[offset : offset + 16] * 7500
    path.write_bytes(raw)


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
    if kind == "aliased text":
        aliased_text(path)
        return path, "more text than the file can hold"
    with h5py.File(path, "w") as f:
        if kind in ATTRIBUTES:
            f.create_dataset("x", (3,), dtype="f8").attrs[kind] = ATTRIBUTES[kind]
            return path, kind
        if kind == "unstored":
            for i in range(60):
                f.create_dataset(f"x{i}", (63 << 17,), dtype="f8", chunks=(1 << 17,))
            return path, r"the file declares 3,963,617,280 bytes and stores 0"
        if kind == "text in rows":
            f.create_dataset("x", (1, 2), dtype=h5py.vlen_dtype(np.int32))
            return path, "neither numbers nor text"
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
        "unstored",
        "aliased text",
        "text in rows",
        *ATTRIBUTES,
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


@pytest.mark.parametrize("lazy", [False, True])
def test_a_flipped_byte_is_noticed_and_no_handle_is_left(lazy, monkeypatch, tmp_path):
    monkeypatch.setattr(checked_files, "EAGER_BYTES", 0 if lazy else 1 << 20)
    ds = xr.Dataset({"w": ("t", np.random.default_rng(0).random(5000))}, attrs={"flowdyn_schema": "flowdyn/1"})
    path = fd.save(ds, tmp_path / "f.nc")
    sound = path.read_bytes()
    for place in (len(sound) // 2, 100, sound.index(b"flowdyn/1"), sound.index(b"crc32")):
        raw = bytearray(sound)
        raw[place : place + 16] = bytes(byte ^ 0xFF for byte in raw[place : place + 16])
        path.write_bytes(raw)
        with pytest.raises(fd.FileError) as caught, fd.load(path) as found:
            found.load()
        assert len(str(caught.value).splitlines()) == 1 and handles(path) == []
    fd.save(ds, path, overwrite=True)
    with fd.load(path) as found:
        assert found.equals(ds)


def test_an_endless_heap_is_refused_before_it_is_read(tmp_path):
    ds = xr.Dataset({"w": ("t", ["a", "bc"] * 20)}, attrs={"flowdyn_schema": "flowdyn/1"})
    path = fd.save(ds, tmp_path / "h.nc")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"GCOL") + 16 + 24 * 3  # the fourth string: index, count, nothing, size, eight bytes
    raw[at : at + 24] = bytes(24)  # of no size: HDF5 never comes to the fifth
    path.write_bytes(raw)
    with pytest.raises(fd.FileError, match="a heap of text in it is damaged"):
        fd.load(path)


@pytest.mark.parametrize("shift", [8, -4, 1])
def test_references_to_text_that_lead_nowhere_are_refused(shift, tmp_path):
    import h5py

    path = fd.save(xr.Dataset({"w": ("t", ["a", "bc"] * 20)}, attrs={"flowdyn_schema": "flowdyn/1"}), tmp_path / "r.nc")
    with h5py.File(path) as file:
        offset = file["w"].id.get_offset()
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 600] = raw[offset + shift : offset + shift + 600]
    path.write_bytes(raw)
    with pytest.raises(fd.FileError, match="the text of /w is damaged"):
        fd.load(path)


CHUNKED = {
    "chunks": {"encoding": {"w": {"chunksizes": (7,)}}},
    "open end": {"unlimited_dims": ["t"]},
    "packed": {"encoding": {"w": {"zlib": True, "chunksizes": (7,)}}},
    "all filters": {"encoding": {"w": {"zlib": True, "shuffle": True, "fletcher32": True}}},
}


@pytest.mark.parametrize("kind", CHUNKED)
def test_text_in_chunks_is_counted_before_it_is_read(kind, tmp_path):
    import h5py

    path, words = tmp_path / "c.nc", ["a", "bc", "", "é" * 5] * 10
    xr.Dataset({"w": ("t", words)}, attrs={"flowdyn_schema": "flowdyn/1"}).to_netcdf(path, **CHUNKED[kind])
    with fd.load(path) as found:
        assert found.w.values.tolist() == words
    with h5py.File(path, "r+") as file:
        chunk = file["w"].id
        place = chunk.get_chunk_info(0).chunk_offset
        _, raw = chunk.read_direct_chunk(place)
        chunk.write_direct_chunk(place, raw[:8] + bytes([raw[8] ^ 0x40]) + raw[9:])
    with pytest.raises(fd.FileError, match="the text of /w is damaged"):
        fd.load(path)


@pytest.mark.parametrize("packed", [False, True])
def test_one_long_text_again_and_again_is_refused_in_chunks_too(packed, tmp_path):
    import h5py

    path = tmp_path / "c.nc"
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (7500,), dtype=h5py.string_dtype(), chunks=(7500,), compression=6 * packed or None)
        x[0] = "a" * 1_000_000
        _, raw = x.id.read_direct_chunk((0,))
        one = (zlib.decompress(raw) if packed else raw)[:16]
        x.id.write_direct_chunk((0,), zlib.compress(one * 7500) if packed else one * 7500)
    with pytest.raises(fd.FileError, match="asks for more text than the file can hold"):
        fd.load(path)


def test_a_slow_structure_is_refused(monkeypatch, tmp_path):
    path = fd.save(made("labelled"), tmp_path / "r.nc")
    monkeypatch.setattr(hdf5_scan, "MAX_SECONDS", -1.0)
    with pytest.raises(fd.FileError, match="takes more than"):
        fd.load(path)


def test_the_budget_is_raised_by_who_trusts_the_file(tmp_path):
    ds = xr.Dataset({"w": ("t", np.arange(5000.0))}, attrs={"flowdyn_schema": "flowdyn/1"})
    path = fd.save(ds, tmp_path / "r.nc")
    with pytest.raises(fd.FileError, match="max_bytes = 10,000; raise max_bytes if you trust it"):
        fd.load(path, max_bytes=10_000)
    with fd.load(path, max_bytes=1_000_000) as found:
        assert found.equals(ds)


@pytest.mark.parametrize("value", [np.arange(3), 0.5])
def test_an_attribute_of_another_type_is_refused(value, tmp_path):
    path = fd.save(made("labelled"), tmp_path / "r.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.setncattr("flowdyn_schema" if np.ndim(value) == 0 else "flowdyn_kind", value)
    with pytest.raises(fd.FileError, match=r"schema 0\.5|flowdyn_kind must be text or a number, got \[0 1 2\]"):
        fd.load(path, verify=False)


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
