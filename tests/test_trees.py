"""Trees of results: any depth saves and loads; what cannot be loaded is not saved."""

import numpy as np
import pytest
import xarray as xr

import flowdyn as fd


@pytest.fixture(scope="module")
def run():
    return fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0, saves=3)


@pytest.mark.parametrize("paths", [["a", "b"], ["a/b/c", "a/d"], ["/", "a"], ["a", "a/b/c/d"], ["deep/er/and/deeper"]])
def test_any_tree_comes_back(run, paths, tmp_path):
    tree = xr.DataTree.from_dict(dict.fromkeys(paths, run))
    with fd.load(fd.save(tree, tmp_path / "t.nc")) as found:
        assert isinstance(found, xr.DataTree) and found.identical(tree)
        system, w0, options = fd.rebuild(found[paths[-1]].to_dataset())
        assert fd.solve(system, w0, **options).w.identical(run.w)


@pytest.mark.parametrize(
    "thing",
    [
        xr.Dataset({"w": ("t", np.zeros(3))}),
        xr.DataTree.from_dict({"a": xr.Dataset({"w": ("t", np.zeros(3))})}),
        xr.DataTree.from_dict({"/": xr.Dataset(attrs={"flowdyn_schema": "flowdyn/1"}), "a/b": xr.Dataset({"w": 1.0})}),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(thing, tmp_path):
    with pytest.raises(fd.ArgumentError, match="`ds` must hold results with the attribute flowdyn_schema"):
        fd.save(thing, tmp_path / "t.nc")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_node_of_a_file_is_refused(run, tmp_path):
    tree = xr.DataTree.from_dict({"a": run, "b": xr.Dataset({"w": ("t", np.zeros(3))})})
    tree.to_netcdf(tmp_path / "t.nc", engine="netcdf4")
    with pytest.raises(fd.FileError, match="not written by flowdyn at '/b'"):
        fd.load(tmp_path / "t.nc")
