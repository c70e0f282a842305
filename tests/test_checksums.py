"""Checksums of content: what differs from what was saved is refused, wherever in the file it was changed."""

import json
import zlib

import netCDF4
import numpy as np
import pytest
import xarray as xr

import flowdyn as fd
from flowdyn._tools import checked_files, checksums

SCHEMA = {"flowdyn_schema": "flowdyn/1"}


def result(rows=6):
    """Every kind of content: numbers of several types and byte orders, not-a-number, truth values and text."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((rows, 3))
    w[0] = np.nan, np.inf, -0.0
    return xr.Dataset(
        {
            "w": (("t", "p"), w),
            "big": ("t", np.arange(rows, dtype=">f8")),
            "single": ("t", np.arange(rows, dtype="f4")),
            "flag": ("t", np.arange(rows) % 2 == 0),
            "count": ((), np.int8(3)),
            "none": ("empty", np.zeros(0)),
            "word": ((), "η"),
        },
        {"t": np.arange(rows), "p": ["a", "", "é" * 300]},
        SCHEMA,
    )


@pytest.fixture(params=["read whole", "lazy"])
def size(request, monkeypatch):
    if request.param == "lazy":
        monkeypatch.setattr(checked_files, "EAGER_BYTES", 0)
        monkeypatch.setattr(checksums, "BLOCK", 64)  # two or three rows of w
    return request.param


def in_place(path, name, index, value):
    """Change one entry without flowdyn."""
    with netCDF4.Dataset(path, "a") as file:
        file[name][index] = value


@pytest.mark.parametrize("tree", [False, True])
def test_what_was_saved_is_loaded_and_the_checksums_are_gone(size, tree, tmp_path):
    ds = xr.DataTree.from_dict({"/": xr.Dataset(attrs=SCHEMA), "a/b": result()}) if tree else result()
    path = fd.save(ds, tmp_path / "r.nc")
    with netCDF4.Dataset(path) as file:
        assert checksums.ATTRIBUTE in (file["a/b"] if tree else file).ncattrs()
    for verify in (None, True, False):
        with fd.load(path, verify=verify) as found:
            nodes = found.subtree if tree else [found]
            assert found.equals(ds) and all(checksums.ATTRIBUTE not in node.attrs for node in nodes)


def test_a_checksum_is_of_the_little_endian_bytes_of_rows():
    values = np.arange(6.0).reshape(2, 3)
    made = checksums.record(("t", "p"), values.astype(">f8"))
    assert made == {
        "type": "<f8",
        "dims": [["t", 2], ["p", 3]],
        "rows": 2,
        "crc32": [f"{zlib.crc32(values.tobytes()):08x}"],
    }
    assert checksums.digest(np.array(["ab", ""], object)) == checksums.digest(np.array(["ab", ""]))
    assert checksums.digest(np.array(["ab", "c"])) != checksums.digest(np.array(["a", "bc"]))


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("w", (5, 2), 1e-300),
        ("w", (0, 2), 0.0),  # from -0.0
        ("big", 3, 2.5),
        ("flag", 1, 1),
        ("count", (), 4),
        ("word", 0, "μ"),
        ("t", 2, 7),
        ("p_label", 1, "b"),
    ],
)
def test_one_changed_entry_is_refused(size, name, index, value, tmp_path):
    path = fd.save(result(), tmp_path / "r.nc")
    in_place(path, name, index, value)
    with pytest.raises(fd.FileError, match=f"variable '{name}' .* differs from its checksum; .* verify=False"):
        fd.load(path, verify=True)
    with pytest.raises(fd.FileError, match="checksum"), fd.load(path) as found:
        found.load()
    fd.load(path, verify=False).close()


ATTRIBUTES = {
    "units": "µm",
    "flag_values": np.arange(2, dtype="i1"),
    "scale": 0.1,
    "count": 3,
    "names": ["é", "b"],
}
ATTRIBUTES |= {"empty": "", "single": np.float32(0.1), "long": "ab " * 30_000}


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("w", "units", "m"),
        ("w", "flag_values", np.arange(3, dtype="i1")),
        ("w", "scale", 0.1 + 1e-16),
        ("w", "names", "é"),
        ("w", "new", 1),
        ("w", "units", None),
        ("", "title", "other"),
        ("", "title", None),
        ("w", "coordinates", "single"),  # no coordinate was one before
        ("w", "_FillValue", np.inf),  # found by the content
        ("flag", "dtype", "boo"),
    ],
)
def test_a_changed_attribute_is_refused(size, where, name, value, tmp_path):
    ds = result().assign_attrs(title="τ")
    ds["w"].attrs.update(ATTRIBUTES)
    path = fd.save(ds, tmp_path / "r.nc")
    with fd.load(path) as found:
        assert found.identical(ds)
    import h5py

    with h5py.File(path, "r+") as file:
        attrs = file[where or "/"].attrs
        if value is None:
            del attrs[name]
        else:
            attrs[name] = value
    with pytest.raises(fd.FileError, match=r"checksum; .* verify=False"), fd.load(path) as found:
        found.load()
    fd.load(path, verify=False).close()


def test_a_flipped_byte_of_text_in_an_attribute_is_refused(size, tmp_path):
    ds = result()
    ds["w"].attrs["units"] = "µ³"  # text beyond ASCII lies in a heap, which has no checksum in HDF5
    path = fd.save(ds, tmp_path / "r.nc")
    raw = path.read_bytes()
    assert raw.count("µ³".encode()) == 1
    path.write_bytes(raw.replace("µ³".encode(), "µ²".encode()))
    with pytest.raises(fd.FileError, match="the attributes of variable 'w' differ from their checksum"):
        fd.load(path)


def test_checksums_without_those_of_attributes_are_read(tmp_path):
    path = fd.save(result(), tmp_path / "r.nc")
    with netCDF4.Dataset(path, "a") as file:
        records = json.loads(file.getncattr(checksums.ATTRIBUTE))
        del records[""]
        file.setncattr(checksums.ATTRIBUTE, json.dumps(records))
        file["w"].units = "m"
    assert fd.load(path).w.attrs == {"units": "m"}


def test_files_that_xarray_wrote_anew_are_loaded(tmp_path):
    path, changed = fd.save(result(), tmp_path / "r.nc"), tmp_path / "changed.nc"
    with xr.open_dataset(path) as plain:  # with its checksums, which still hold
        plain.to_netcdf(tmp_path / "plain.nc")
    assert fd.load(tmp_path / "plain.nc", verify=True).equals(result())
    fd.load(path).assign_attrs(title="mine").isel(t=[1, 2]).to_netcdf(changed)
    assert fd.load(changed, verify=True).attrs["title"] == "mine"


def test_a_block_is_checked_when_it_is_first_read(monkeypatch, tmp_path):
    monkeypatch.setattr(checked_files, "EAGER_BYTES", 0)
    monkeypatch.setattr(checksums, "BLOCK", 64)  # two rows of w
    ds = result(rows=9)
    path = fd.save(ds, tmp_path / "r.nc")
    in_place(path, "w", (5, 1), 0.5)
    for rows in (slice(0, 4), slice(6, None, 2), [8, 0], 3, slice(8, 5, -1)):
        with fd.load(path) as found:
            assert found.w.isel(t=rows).equals(ds.w.isel(t=rows))
    for rows in (slice(3, 5), slice(None, None, 4), [8, 4], 5, slice(None), slice(8, 2, -1)):
        with fd.load(path) as found, pytest.raises(fd.FileError, match="checksum"):
            found.w.isel(t=rows).load()


def test_a_lost_chunk_is_refused_rather_than_filled(monkeypatch, tmp_path):
    import h5py

    monkeypatch.setattr(checksums, "BLOCK", 1 << 13)
    path = fd.save(xr.Dataset({"w": ("t", np.arange(9000.0))}, attrs=SCHEMA), tmp_path / "r.nc")
    with h5py.File(path) as file:
        address = file["w"].id.get_chunk_info(3).byte_offset.to_bytes(8, "little")
    raw = path.read_bytes()
    assert raw.count(address) == 1  # in the index, which has no checksum of its own
    path.write_bytes(raw.replace(address, b"\xff" * 8))
    with fd.load(path, verify=False) as found:
        assert found.w.max() > 1e36  # nobody but the checksum notices
    with pytest.raises(fd.FileError, match=r"'w' .* checksum"):
        fd.load(path)


@pytest.mark.parametrize("text", ["{", "[]", '{"w": {"type": "<f8"}}', '{"w": 3}', "[" * 10_000])
def test_damaged_checksums_are_refused(text, tmp_path):
    path = fd.save(result(), tmp_path / "r.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.setncattr(checksums.ATTRIBUTE, text)
    with pytest.raises(fd.FileError, match="checksums are damaged"):
        fd.load(path)


def test_a_missing_variable_is_refused(tmp_path):
    path = fd.save(result(), tmp_path / "r.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("w", "v")
    with pytest.raises(fd.FileError, match=r"variables \['v', 'w'\] are missing or have come in"):
        fd.load(path)


def test_a_part_that_xarray_wrote_is_loaded(tmp_path):
    with fd.load(fd.save(result(), tmp_path / "r.nc")) as found:
        found.isel(t=slice(2, 4)).drop_vars("p").to_netcdf(tmp_path / "part.nc", engine="netcdf4")
    with fd.load(tmp_path / "part.nc", verify=True) as part:
        assert part.w.equals(result().drop_vars("p").w.isel(t=slice(2, 4)))


def test_large_rows_and_many_blocks_survive(tmp_path):
    rng = np.random.default_rng(1)
    ds = xr.Dataset(
        {"wide": (("r", "p"), rng.random((2, 700_000))), "long": ("t", rng.random(1_500_000))}, attrs=SCHEMA
    )
    path = fd.save(ds, tmp_path / "r.nc")
    with fd.load(path) as found:
        assert found.encoding["source"] == str(path) and found.equals(ds)


def test_what_no_file_can_hold_is_refused_in_words(tmp_path):
    for bad in (np.array([1j]), np.array([object()])):
        with pytest.raises(fd.ArgumentError, match="`ds` must hold numbers and text"):
            fd.save(xr.Dataset({"w": ("t", bad)}, attrs=SCHEMA), tmp_path / "r.nc")
    assert list(tmp_path.iterdir()) == []
