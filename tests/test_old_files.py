"""Files written before the layout of folders still load, rebuild and run again to the same bits."""

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import flowdyn as fd

FOLDER = Path(__file__).parent / "old_files"
sys.path.insert(0, str(FOLDER))

import make  # noqa: E402 - the script beside the files

HANDED = {"custom": {"loss": make.loss, "observe": {"size": make.size}}}


def has_its_jaxlib(old):
    return json.loads(old.attrs["flowdyn_versions"])["jaxlib"] == importlib.metadata.version("jaxlib")


@pytest.mark.parametrize("name", make.MADE)
def test_an_old_file_runs_again_to_the_same_bits(name):
    path = FOLDER / f"{name}.nc"
    assert path.stat().st_size < 100_000
    with fd.load(path) as old:
        old.load()
    system, w0, options = fd.rebuild(old, **HANDED.get(name, {}))
    new = fd.solve(system, w0, **options)
    assert set(old.data_vars) <= set(new.variables)
    for variable in old.data_vars:
        was, now = old[variable].values, new[variable].values
        if old.attrs["processor"] == make.processor() and has_its_jaxlib(old):
            assert np.array_equal(was, now, equal_nan=was.dtype.kind == "f"), variable
        else:  # sums are added up in another order there, and by another jaxlib
            assert np.allclose(was, now, rtol=1e-9, atol=1e-12, equal_nan=True), variable
    for dim in old.indexes:
        assert np.array_equal(old[dim].values, new[dim].values)


def test_an_old_store_opens_with_its_times_over_the_whole_grid():
    """Closed forms: t = eta k and w_k = (1 - eta)^k scale at k = 0, 2, 4."""
    old, k = fd.load(FOLDER / "store"), np.array([0, 2, 4])
    assert old.t.dims == ("eta", "scale", "save") and np.array_equal(old.k, k)
    for eta in make.GRID["eta"]:
        for scale in make.GRID["scale"]:
            cell = old.sel(eta=eta, scale=scale)
            assert np.array_equal(cell.t, eta * k) and np.allclose(cell.w[:, 0], scale * (1 - eta) ** k, rtol=1e-14)
            assert float(fd.rebuild(cell)[0].eta.eta) == eta
