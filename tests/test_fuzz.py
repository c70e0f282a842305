"""Damaged files and tables: what is read is what was saved, or one error of ours; never a crash, a hang or a handle."""

import subprocess
import sys
from pathlib import Path

import fuzz
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from kinds import made

import flowdyn as fd
from flowdyn._tools import checksums


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder of results of several kinds, and of tables."""
    folder = tmp_path_factory.mktemp("originals")
    for kind in ("labelled", "ladder", "ensemble"):
        fd.save(made(kind), folder / f"{kind}.nc")
    fd.save(xr.DataTree.from_dict({"a": made("labelled"), "b/c": made("ends")}), folder / "tree.nc")
    rng = np.random.default_rng(0)
    blocks = xr.Dataset({"w": (("t", "p"), rng.random((600, 5))), "e": ("t", np.arange(600.0))})
    blocks = blocks.assign(word=("p", ["η", "b", "cc", "", " d"])).assign_attrs(flowdyn_schema="flowdyn/1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "BLOCK", 1 << 12)  # many chunks
        fd.save(blocks, folder / "blocks.nc")
    table = pd.DataFrame(rng.standard_normal((12, 3)).round(3), columns=["a", "b", "y"])
    table.to_csv(folder / "a.csv", index=False)
    pd.DataFrame({"y": np.arange(5) * 0.5, "x": [1e-3, 2e10, 3, -4, 5]}).to_csv(folder / "b.csv", index=False)
    return folder


def run(what, folder, first, count):
    """Output of the child, without its last line; nothing else was wrong."""
    code = f"import sys; sys.path.insert(0, {str(Path(fuzz.__file__).parent)!r}); import fuzz; "
    code += f"fuzz.main({what!r}, {str(folder)!r}, {first}, {count})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=1200)
    case = (folder / "mutated" / f"{first}.{what}").read_text()
    assert done.returncode == 0, f"ended with {done.returncode} in case {case}: {done.stderr[-1000:]}"
    *wrong, last = done.stdout.splitlines()
    refused, equal = (int(word) for word in last.split()[1::2])
    assert wrong == [] and refused + equal == count and refused > equal > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the child's limits are Linux's")
@pytest.mark.parametrize(
    ("what", "first", "count"),
    [
        ("files", 0, 150),
        ("lazy", 10_000, 100),
        ("tables", 0, 150),
        *(pytest.param("files", first, 2000, marks=pytest.mark.slow) for first in range(100_000, 108_000, 2000)),
        pytest.param("lazy", 200_000, 2000, marks=pytest.mark.slow),
        pytest.param("tables", 100_000, 5000, marks=pytest.mark.slow),
    ],
)
def test_what_is_damaged_is_equal_or_refused(what, first, count, originals):
    run(what, originals, first, count)
