"""`flowdyn sweep`: a grid on a table, from the shell."""

import warnings

import numpy as np
import pytest

import flowdyn as fd
from flowdyn.cli.commands import main

rng = np.random.default_rng(0)
X = rng.standard_normal((12, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(12)


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        ",".join(["a", "b", "c", "y"]),
        *(",".join(repr(float(x)) for x in [*row, y]) for row, y in zip(X, Y, strict=True)),
    ]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return "table.csv"


def test_a_grid_of_step_sizes_and_seeds(table, capsys):
    common = ["sweep", table, "--target", "y", "--steps", "20", "--saves", "3"]
    assert main([*common, "--etas", "0.01,0.02", "--out", "s.nc", "--store", "folder"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "GradientDescent of LinearRegression" and printed[1].split() == ["eta", "loss"]
    with fd.load("s.nc") as result:
        w = np.zeros(3)
        for _ in range(20):  # by hand, on the loss of the chapter
            w = w - 0.02 * np.asarray(fd.problems.LinearRegression(X, Y).grad(w))
        assert np.allclose(result.w.sel(eta=0.02).isel(save=-1), w, rtol=1e-12)
        assert float(printed[3].split()[1]) == pytest.approx(float(result.loss.sel(eta=0.02).isel(save=-1)), rel=1e-5)
    assert fd.load("folder").w.dims == ("eta", "save", "feature")
    sgd = [*common, "--method", "sgd", "--eta", "0.01", "--seeds", "0,1", "--batch-sizes", "1,4", "--realizations", "3"]
    assert main([*sgd, "--out", "sgd.nc"]) == 0
    with fd.load("sgd.nc") as result:
        assert result.w.dims == ("seed", "batch_size", "realization", "t", "feature")
        alone = fd.SGD(fd.problems.LinearRegression(X, Y), 0.01, batch_size=4)
        run = fd.solve(alone, np.zeros(3), steps=20, saves=3, seed=1, realizations=3)
        assert np.array_equal(result.w.sel(seed=1, batch_size=4), run.w)


def test_scales_of_the_start_and_a_cell_that_fails(table, capsys):
    network = ["sweep", table, "--target", "y", "--problem", "DiagonalNetwork", "--steps", "400"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # they are printed, and not raised as in other tests
        assert main([*network, "--alphas", "0.1,0.01", "--etas", "0.001,10", "--out", "n.nc"]) == 1
    said = capsys.readouterr()
    assert "warning: 2 of 4 cells failed; the first, alpha=0.1, eta=10" in said.err
    with fd.load("n.nc") as result:
        assert np.allclose(result.w_plus.isel(eta=0, t=0), np.array([0.1, 0.01])[:, None])
        assert [bool(text) for text in result.failure.values[:, 1]] == [True, True]


@pytest.mark.parametrize("option", ["--alphas", "--etas", "--seeds", "--batch-sizes"])
@pytest.mark.parametrize("text", ["", " ", ","])
def test_a_list_without_values_is_told_by_its_option(table, capsys, option, text):
    """An unset variable of the shell is empty text."""
    for command in ("sweep", "eta-limit") if option == "--etas" else ("sweep",):
        with pytest.raises(SystemExit) as end:
            main([command, table, "--target", "y", "--method", "sgd", "--steps", "5", option, text])
        said = capsys.readouterr().err
        assert end.value.code == 2 and len(said.splitlines()) == 1
        assert f"argument {option}: must hold at least one value" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a sweep must have one of --alphas, --etas, --seeds, --batch-sizes"),
        (["--etas", "0.1", "--t", "1", "--steps", "3"], "`--steps` excludes --t"),
        (["--seeds", "0,1", "--steps", "3"], "`--eta` must be given for GradientDescent"),
        (["--etas", "0.1,0.2", "--eta", "0.1"], "`--etas` excludes --eta, got 0.1; give one of both"),
        (["--batch-sizes", "1,2", "--batch-size", "4"], "`--batch-sizes` excludes --batch-size, got 4"),
        (["--alphas", "0.1", "--eta", "0.1"], "`--alphas` is not an option of LinearRegression"),
        (["--etas", "0.1", "--batch-size", "3"], "`--batch-size` is not an option of GradientDescent"),
        (["--etas", "0.1", "--workers", "0"], "`--workers` must be at least 1"),
        (["--etas", "0.1,0.1"], "`--etas` must not repeat a value"),
        (["--etas", "0.1,-1"], "`--etas` must be positive, got -1.0"),
        (["--etas", "0.1,nan"], "`--etas` must be finite, got nan"),
        (["--etas", "0.1", "--seeds", "0,1"], "`--seeds` is not an option of GradientDescent, which has no noise"),
        (["--method", "sgd", "--eta", "0.1", "--seeds", "0,-1"], "`--seeds` must be a whole number from 0 to 2**63"),
        (["--method", "sgd", "--eta", "0.1", "--batch-sizes", "1,0"], "`--batch-sizes` must be at least 1, got 0"),
    ],
)
def test_refusals_name_the_options(table, capsys, arguments, message):
    assert main(["sweep", table, "--target", "y", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_shell_advises_only_what_it_has(table, capsys):
    assert main(["sweep", table, "--target", "y", "--etas", "1000", "--steps", "400", "--store", "lost"]) == 1
    said = capsys.readouterr().err
    assert "diverged" in said and "on_divergence" not in said
    assert main(["info", "lost"]) == 1
    assert "run `flowdyn sweep` with this --store again to finish it" in capsys.readouterr().err
