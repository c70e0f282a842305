"""Files: identical after a round trip, and CF-1.11 strictly."""

import os
import shutil
import subprocess
import sys
import textwrap

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from kinds import KINDS, made, quartic

import flowdyn as fd
from flowdyn.results.dataset import provenance


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_is_identical(kind, tmp_path):
    ds = made(kind)
    path = fd.save(ds, tmp_path / "r.nc")
    back = fd.load(path)
    xr.testing.assert_identical(back.load(), ds)
    assert list(back.attrs) == list(ds.attrs)
    assert os.listdir(tmp_path) == ["r.nc"]
    plain = xr.open_dataset(path)
    assert {name.removesuffix("_label") for name in plain.variables} == set(ds.variables)
    plain.close()
    back.close()


def test_labels_reach_the_file(tmp_path):
    back = fd.load(fd.save(made("labelled"), tmp_path / "r.nc"))
    assert back.feature.values.tolist() == ["age", "bmi", "s1"]
    assert back["sample"].values.tolist()[0] == "p0"
    assert float(back.w.sel(feature="bmi").isel(t=-1)) == float(made("labelled").w[-1, 1])
    assert fd.rebuild(back)[0].problem.target_name == "target" and "target" in back.y.attrs["long_name"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_follow_cf_strictly(cf_failures, kind, tmp_path):
    assert cf_failures(fd.save(made(kind), tmp_path / "r.nc")) == []


@pytest.mark.parametrize("name", sorted(fd.problems.REGISTRY))
def test_files_of_every_problem_follow_cf(cf_failures, name, tmp_path):
    p, w0 = getattr(fd.problems, name).example()
    assert cf_failures(fd.save(fd.solve(fd.GradientFlow(p), w0, t=0.1, saves=3), tmp_path / "p.nc")) == []


def joined(name):
    """Datasets of several results, and nodes of a tree."""
    p, w0 = fd.problems.Quadratic.example()
    runs = [fd.solve(fd.GradientDescent(p, eta), w0, steps=4) for eta in (0.1, 0.05)]
    later = runs[1].assign_coords(t=runs[1].t + 2)
    return {
        "over eta": lambda: fd.concat(runs, "eta"),
        "other methods and times": lambda: fd.concat([made("labelled"), made("momentum").isel(t=slice(5))], "run"),
        "along t": lambda: fd.concat([runs[0], later], "t"),
        "of xarray": lambda: xr.concat(runs, "run", data_vars="all", coords="different", compat="equals"),
        "ladders": lambda: fd.concat([made("ladder"), made("ladder")], "run"),
        "ensembles": lambda: fd.concat([made("ensemble"), made("ensemble")], "run"),
        "a node": lambda: xr.DataTree.from_dict({"a/b": made("labelled"), "c": runs[0]})["a/b"].to_dataset(),
    }[name]()


NAMES = ["over eta", "other methods and times", "along t", "of xarray", "ladders", "ensembles", "a node"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_joined_results_follow_cf_too(cf_failures, name, tmp_path):
    ds = joined(name)
    path = fd.save(ds, tmp_path / "j.nc")
    assert cf_failures(path) == []
    with netCDF4.Dataset(path) as file:
        assert file["recipe"].dtype is str  # NC_STRING
    assert ds.attrs["history"] and len(str(ds.attrs["title"]).split("; ")) == (2 if "other" in name else 1)


def test_provenance_holds_effective_settings():
    from flowdyn.results.recipes import read_json

    run = fd.solve(fd.GradientFlow(quartic()), [1.0, 0.5], t=1.0)
    solver = read_json(run.recipe.item(), "its recipe")["solver"]
    given = {"atol": None, "max_step": None, "breakpoints": []}
    assert solver == {"class": "Auto", "args": given | {"rtol": 1e-8}}
    assert run.attrs["jax_enable_x64"] == 1
    assert read_json(run.attrs["flowdyn_versions"], "v")["numpy"] == np.__version__
    assert read_json(run.attrs["flowdyn_stats"], "s")["n_steps"] > 5
    assert run.attrs["Conventions"] == "CF-1.11" and run.attrs["flowdyn_schema"] == "flowdyn/1"


def test_both_hdf5_libraries_in_either_order(tmp_path):
    path = fd.save(made("labelled"), tmp_path / "r.nc")
    for first in ("netCDF4", "h5py"):
        code = textwrap.dedent(f"""
            import {first}
            import flowdyn as fd
            ds = fd.load({str(path)!r}).load()
            fd.save(ds, {str(tmp_path / first)!r} + ".nc")
        """)
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("ncdump") is None, reason="ncdump is not installed")
def test_ncdump_reads_the_file(tmp_path):
    path = fd.save(made("ladder"), tmp_path / "r.nc")
    text = subprocess.run(["ncdump", "-h", str(path)], check=True, capture_output=True, text=True).stdout
    assert "double sup_error(eta)" in text and 'Conventions = "CF-1.11"' in text


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


def test_labels_come_back_where_a_file_no_longer_says_which_variables_are_coordinates(tmp_path):
    import h5py

    path = fd.save(made("labelled"), tmp_path / "r.nc")
    with h5py.File(path, "a") as file:
        for place in (file, *file.values()):
            place.attrs.pop("coordinates", None)
    with pytest.raises(fd.FileError, match="checksum"):
        fd.load(path)
    with fd.load(path, verify=False) as back:
        assert back.feature.values.tolist() == ["age", "bmi", "s1"] and back["sample"].values[0] == "p0"
