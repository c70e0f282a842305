"""The runner of the studies: verdicts, exit status, page."""

import ast
import json
import sys
import types
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import flowdyn as fd
import studies
from flowdyn.pages.formulas import formulas_in
from studies import NAMES, drawing
from studies.__main__ import main
from studies.claims import Findings, at_least, at_most, equal, not_applicable
from studies.page import CAPTION


def test_verdicts():
    assert equal("x", 1.0, 1.05, 0.1, "").holds and not equal("x", 1.0, 1.2, 0.1, "").holds
    assert at_most("x", 1.0, 1.0, "").holds and not at_most("x", 1.0, 1.1, "").holds
    assert at_least("x", 1.0, 1.0, "").holds and not at_least("x", 1.0, 0.9, "").holds
    nan = float("nan")
    assert not any(
        c.holds for c in (equal("x", 1.0, nan, 0.1, ""), at_most("x", 1, nan, ""), at_least("x", 1, nan, ""))
    )


def test_an_output_that_is_no_folder(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    with pytest.raises(SystemExit) as caught:
        main(["minimum_norm", "--out", str(tmp_path / "taken")])
    assert caught.value.code == 2 and "--out must be a folder that can be made" in capsys.readouterr().err


def test_a_bound_outside_its_window_neither_holds_nor_fails(tmp_path, monkeypatch, capsys):
    def study(quick):
        run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
        claims = [not_applicable("a bound", "t = 9 > 1", "Lemma"), at_most("b", 1.0, run.w[-1, 0], "")]
        return Findings("?", claims, fd.plot(run), {"run": run})

    monkeypatch.setitem(sys.modules, "studies.minimum_norm", types.SimpleNamespace(study=study))
    assert main(["minimum_norm", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 claims hold" in out and "t = 9 > 1" in out and "not applicable" in out
    assert '<td class="neutral">not applicable' in (tmp_path / "index.html").read_text()
    assert not not_applicable("a", "b", "c").holds


def test_every_study_is_a_short_script_that_the_runner_knows():
    helpers = {"__init__", "__main__", "claims", "page", "drawing", "exact", "networks"}
    files = {path.stem: path for path in Path(studies.__file__).parent.glob("*.py")}
    assert set(files) - helpers == set(NAMES)
    below = {name: files[name].read_text().split('"""\n', 1)[1] for name in NAMES}
    assert max(len(text.splitlines()) for text in below.values()) <= 120


@pytest.mark.parametrize("name", NAMES)
def test_every_study_has_its_formula_and_its_captions(name):
    text = ast.get_docstring(ast.parse((Path(studies.__file__).parent / f"{name}.py").read_text()))
    assert all("<math" in formula.text and "merror" not in formula.text for formula in formulas_in(text))
    assert formulas_in(text) and CAPTION.findall(text)


@pytest.mark.parametrize("holds", [True, False])
def test_page_file_and_exit_status(holds, tmp_path, monkeypatch, capsys):
    def study(quick):
        run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
        claim = equal("a <b> claim", 0.367879, run.w[-1, 0], 1e-5 if holds else 1e-9, "section 9.5")
        return Findings("what <i>if</i>?", [claim], fd.plot(run), {"run": run})

    monkeypatch.setitem(sys.modules, "studies.minimum_norm", types.SimpleNamespace(study=study))
    status = main(["minimum_norm", "--quick", "--out", str(tmp_path)])
    assert status == (0 if holds else 1)
    page = (tmp_path / "index.html").read_text()
    assert "a &lt;b&gt; claim" in page and "what &lt;i&gt;if" in page and "data:image/svg+xml;base64" in page
    assert ("holds" if holds else "FAILS") in capsys.readouterr().out
    with xr.open_datatree(tmp_path / "minimum_norm.nc", engine="netcdf4") as tree:
        assert "w" in tree["run"] and json.loads(tree.attrs["claims"])[0]["verdict"] == ("holds" if holds else "FAILS")


def test_unknown_study_is_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["maximum_norm"])
    assert stop.value.code == 2 and "no study is called maximum_norm" in capsys.readouterr().err


def test_a_short_logarithmic_axis_has_more_than_one_label():
    """The gaps of two studies span less than two powers of ten: their axis had one number."""
    figure, axis = plt.subplots()
    axis.loglog([1.0, 10.0], [0.012, 0.2])
    drawing.label_between(axis)
    figure.canvas.draw()
    low, high = axis.get_ylim()
    places = [place for place in axis.get_yticks() if low <= place <= high]
    assert np.allclose(places, [0.02, 0.05, 0.1, 0.2])
    shown = [axis.yaxis.get_major_formatter()(place) for place in places]
    plt.close(figure)
    assert shown == ["0.02", "0.05", "0.1", "0.2"]
