"""The shell: what it prints, what it writes, how it fails."""

import contextlib
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr
from sklearn.datasets import load_diabetes

import flowdyn as fd
from flowdyn.cli.commands import main
from flowdyn.cli.inputs import method_class, method_of, runnable_methods, table_problems
from flowdyn.cli.parser import SHELLS, build_parser
from flowdyn.cli.printing import METHOD_OPTIONS, in_shell_terms
from flowdyn.problems.examples import generic_start, small_table


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def diabetes(folder):
    load_diabetes(as_frame=True).frame.to_csv("diabetes.csv", index=False)
    return "diabetes.csv"


def test_main_job(folder, capsys):
    assert main(["eta-limit", "--out", "e.nc", "--figure", "e.png"]) == 0
    out = capsys.readouterr().out
    assert "order 1.0" in out and "wrote e.nc" in out
    ladder = fd.load("e.nc")
    assert abs(float(ladder.order) - 1) < 0.01 and ladder.attrs["verdict"] == "resolved"
    assert (folder / "e.png").stat().st_size > 10_000
    assert main(["eta-limit", "--out", "e.nc", "--figure", "e.png"]) == 1
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    "extra", [[], ["--standardize"], ["--order", "1"], ["--problem", "DiagonalNetwork", "--standardize"]]
)
def test_a_real_data_set(diabetes, extra, capsys):
    assert main(["eta-limit", diabetes, "--target", "target", "--out", "d.nc", "--figure", "d.png", *extra]) == 0
    ladder = xr.open_dataset("d.nc")
    expected = 2 if "1" in extra else 1
    assert abs(float(ladder.order) - expected) < 0.05
    assert dict(ladder.X.sizes) == {"sample": 442, "feature": 10}
    assert ladder.feature_label.values.tolist() == ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
    if extra == ["--standardize"]:
        assert np.allclose(ladder.X.mean("sample"), 0, atol=1e-12) and np.allclose(ladder.X.std("sample"), 1)
    assert os.path.getsize("d.png") > 10_000
    ladder.close()


@pytest.mark.parametrize("shape", ["matrix", "columns"])
def test_netcdf_data(shape, capsys):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    if shape == "matrix":
        ds, extra = xr.Dataset({"X": (("s", "f"), X), "y": ("s", y)}, {"f": ["a", "b", "c"]}), []
    else:
        ds, extra = (
            xr.Dataset({"a": ("s", X[:, 0]), "b": ("s", X[:, 1]), "c": ("s", X[:, 2]), "z": ("s", y)}),
            ["--target", "z"],
        )
    ds.to_netcdf("data.nc", engine="netcdf4")
    assert main(["solve", "data.nc", "--t", "50", "--out", "run.nc", *extra]) == 0
    run = fd.load("run.nc")
    assert run.feature.values.tolist() == ["a", "b", "c"]
    assert np.allclose(run.w[-1], np.linalg.lstsq(X, y, rcond=None)[0], atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--method", "GradientFlow"],
        ["--method", "GradientDescent", "--eta", "0.01", "--steps", "50"],
        ["--method", "DualFlow"],
        ["--method", "KernelFlow"],
        ["--method", "ModifiedFlow", "--eta", "0.01", "--order", "2"],
    ],
    ids=lambda a: a[1],
)
def test_solve_info_and_plot(arguments, capsys):
    assert main(["solve", "--out", "r.nc", "--figure", "r.png", *arguments]) == 0
    assert main(["info", "r.nc"]) == 0
    out = capsys.readouterr().out
    assert arguments[1] in out and "w_plus(t, feature)" in out
    assert main(["plot", "r.nc", "-o", "again.svg"]) == 0
    assert os.path.getsize("again.svg") > 10_000


BAD = {
    "unknown column": (["eta-limit", "diabetes.csv", "--target", "tarket"], 2, "did you mean 'target'"),
    "no target": (["eta-limit", "diabetes.csv"], 2, "'target'], got none"),
    "a method by its initials": (["solve", "--method", "gd"], 2, "got 'gd'; did you mean 'GradientDescent'?"),
    "a method in small letters": (["solve", "--method", "gradientdecent"], 2, "did you mean 'GradientDescent'?"),
    "an unset problem": (
        ["solve", "diabetes.csv", "--target", "target", "--problem", ""],
        2,
        "`--problem` must be one",
    ),
    "an unset output": (["solve", "--t", "1", "--out", ""], 2, "`--out` must end in .nc, got ''"),
    "an unset picture": (["solve", "--t", "1", "--figure", ""], 1, "`--figure` must be a file, got"),
    "an unset store": (["sweep", "--alphas", "0.1", "--eta", "0.1", "--store", ""], 2, "`--store` must be the path"),
    "a sweep into text": (["sweep", "--alphas", "0.1", "--eta", "0.1", "--out", "a.txt"], 2, "`--out` must end in .nc"),
    "unknown problem": (
        ["solve", "diabetes.csv", "--target", "target", "--problem", "LinearRegresion"],
        2,
        "LinearRegression",
    ),
    "not a table problem": (["solve", "diabetes.csv", "--target", "target", "--problem", "Quadratic"], 2, "table"),
    "alpha without use": (["solve", "diabetes.csv", "--target", "target", "--alpha", "1"], 2, "--alpha"),
    "alpha negative": (["solve", "--alpha", "-1"], 2, "`--alpha`"),
    "eta negative": (["solve", "--method", "GradientDescent", "--eta", "-0.1"], 2, "`--eta`"),
    "eta missing": (["solve", "--method", "GradientDescent"], 2, "--eta"),
    "eta without use": (["solve", "--eta", "0.1"], 2, "--eta"),
    "unknown method": (["solve", "--method", "Adagrad"], 2, "--method"),
    "two etas": (["eta-limit", "--etas", "0.1,0.05"], 2, "at least 3"),
    "eta zero": (["eta-limit", "--etas", "0.1,0.05,0"], 2, "positive"),
    "unsorted etas": (["eta-limit", "--etas", "0.1,0.2,0.05"], 2, "increasing or decreasing"),
    "t nan": (["eta-limit", "--t", "nan"], 2, "finite"),
    "steps zero": (["eta-limit", "--steps", "0"], 2, "--steps"),
    "t and steps": (["eta-limit", "--steps", "5", "--t", "1"], 2, "excludes"),
    "order negative": (["eta-limit", "--order", "-1"], 2, "`--order`"),
    "missing file": (["eta-limit", "nothing.csv", "--target", "y"], 1, "existing"),
    "missing result": (["info", "nothing.nc"], 1, "existing"),
    "foreign result": (["plot", "diabetes.csv", "-o", "x.png"], 1, "not a NetCDF-4 file"),
    "hole": (["solve", "hole.csv", "--target", "y"], 1, "column x"),
    "text": (["solve", "text.csv", "--target", "y"], 1, "column name"),
    "text that labels": (["solve", "text.csv", "--target", "y"], 1, "; `--index name` makes it labels of the samples"),
    "classes": (["solve", "diabetes.csv", "--target", "target", "--problem", "linearclassifier"], 2, "`--target` must"),
    "eta of the flow": (["solve", "--method", "SGD", "--eta", "0"], 2, "is --method GradientFlow"),
    "members of a flow": (["solve", "--realizations", "3"], 2, "`--realizations` is not an option for a deterministic"),
    "store in a file": (["sweep", "--etas", "0.1", "--store", "diabetes.csv/no"], 1, "Not a directory)"),
    "etas of a flow": (["sweep", "--method", "GradientFlow", "--etas", "0.1", "--t", "1"], 2, "`--etas` is not an opt"),
    "alphas of none": (
        ["sweep", "diabetes.csv", "--target", "target", "--alphas", "1,2", "--eta", "0.1", "--steps", "3"],
        2,
        "`--alphas` is not an option of LinearRegression",
    ),
    "semicolons": (["solve", "semi.csv", "--target", "y"], 1, "separated by commas"),
    "header alone": (["solve", "header.csv", "--target", "y"], 1, "at least one row"),
    "unreadable": (["solve", "noise.csv", "--target", "y"], 1, "readable"),
    "suffix": (["solve", "table.xlsx", "--target", "y"], 1, ".csv or .nc"),
    "output folder": (["solve", "--out", "no/r.nc"], 1, "existing folder"),
    "output suffix": (["solve", "--out", "r.txt"], 2, "must end in .nc"),
    "figure suffix": (["solve", "--t", "1", "--figure", "r.xyz"], 2, "must end in one of"),
    "ladder of a flow": (["eta-limit", "--method", "GradientFlow"], 2, "`--method` must be a recursion"),
    "method of no problem": (["solve", "--method", "ODE"], 2, "use it from Python"),
    "t infinite": (["solve", "--t", "inf"], 2, "`--t` must be finite"),
    "noise without noise": (["eta-limit", "--relative-error", "0.1"], 2, "`--relative-error` is for random methods"),
    "batch of none": (["solve", "--method", "SGD", "--eta", "0.1", "--batch-size", "0"], 2, "`--batch-size` must be"),
    "saves": (["solve", "--saves", "1"], 2, "`--saves`"),
    "diverges": (["solve", "--method", "GradientDescent", "--eta", "50", "--steps", "100"], 1, "diverged"),
    "target of nothing": (["solve", "--target", "y"], 2, "--target"),
    "no command": ([], 2, "a command is needed"),
    "method of another problem": (["solve", "--method", "HomogenizedSGD", "--eta", "0.1"], 2, "use it from Python"),
    "an argument missing": (["solve", "--method", "SAM", "--eta", "0.1"], 2, "`--set rho=...` must be given for SAM"),
    "an argument wrong": (["solve", "--method", "SAM", "--eta", "0.1", "--set", "rho=-1"], 2, "`--set rho` must"),
    "no argument of it": (["solve", "--set", "rho=1"], 2, "`--set` is not an option of GradientFlow"),
    "numbers in brackets": (
        ["solve", "--method", "Adam", "--eta", "0.1", "--set", "rates=(1,2)"],
        2,
        "`--set` must hold numbers without brackets, e.g. rates=1,2, got '(1,2)'",
    ),
    "no value": (["solve", "--method", "SAM", "--eta", "0.1", "--set", "rho"], 2, "`--set` must be NAME=VALUE"),
    "unknown solver": (["solve", "--solver", "LSODE"], 2, "did you mean 'LSODA'"),
    "solver of another kind": (["solve", "--solver", "EulerMaruyama"], 2, "`--solver` EulerMaruyama cannot run"),
    "tolerance of none": (["solve", "--solver", "exact", "--rtol", "1e-9"], 2, "`--rtol` is for solvers with"),
    "tolerance zero": (["solve", "--rtol", "0"], 2, "`--rtol` must be positive"),
    "rule without number": (["solve", "--stop", "loss"], 2, "`--stop` must be NAME<VALUE or NAME>VALUE"),
    "rule of nothing": (["solve", "--stop", "lost<1"], 2, "did you mean 'loss'?"),
    "rule of a function": (["solve", "--stop", "bogus<1"], 2, "got 'bogus'; `--observe` records more"),
    "unknown observable": (["solve", "--observe", "sharpnes"], 2, "did you mean 'sharpness'"),
    "observable of another problem": (["solve", "--observe", "margins"], 2, "must be a LinearClassifier"),
    "divergence": (["solve", "--on-divergence", "kept"], 2, "`--on-divergence` must be one of ['raise', 'keep']"),
    "intercept of nothing": (["solve", "--intercept"], 2, "`--intercept` needs DATA"),
    "index of nothing": (["solve", "--no-index", "--index", "a"], 2, "`--index` needs DATA"),
    "index": (
        ["solve", "index.csv", "--target", "y"],
        2,
        "`--index id` makes it labels of the samples, `--no-index` a",
    ),
    "index without a name": (
        ["solve", "unnamed.csv", "--target", "y"],
        1,
        "`--index index` makes it labels of the samples, `--no-index` a feature, or",
    ),
    "index of another name": (
        ["solve", "unnamed.csv", "--target", "y", "--index", "bogus"],
        2,
        "`--index` must be one of ['index', 'x', 'y'], got 'bogus'",
    ),
    "no time scale": (["solve", "flat.csv", "--target", "y", "--problem", "SquaredRegression"], 1, "give `--t`"),
}


@pytest.mark.filterwarnings("default::flowdyn.FlowdynWarning")
@pytest.mark.parametrize("name", BAD)
def test_wrong_use_is_told_in_one_line(name, diabetes, folder, capsys):
    (folder / "hole.csv").write_text("x,y\n1,2\n,3\n4,5\n")
    (folder / "text.csv").write_text("name,y\nann,2\nbob,3\n")
    (folder / "semi.csv").write_text("x;y\n1;2\n3;4\n")
    (folder / "header.csv").write_text("x,y\n")
    (folder / "noise.csv").write_bytes(b'"a\n\xff\xfe\x00,1')
    (folder / "table.xlsx").write_bytes(b"PK")
    (folder / "index.csv").write_text("id,x,y\n0,1,2\n1,3,3\n2,5,3\n")
    (folder / "unnamed.csv").write_text(",x,y\n0,1,2\n1,3,3\n2,5,3\n")
    (folder / "flat.csv").write_text("x,y\n1,2\n3,4\n")
    before = sorted(os.listdir(folder))
    arguments, status, words = BAD[name]
    assert main(arguments) == status
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("flowdyn: error:")]
    assert len(errors) == 1 and words in errors[0], captured.err
    assert "Traceback" not in captured.err
    rest = [line for line in captured.err.splitlines() if line not in errors]
    assert all(line.startswith(("usage:", "flowdyn: warning:")) for line in rest), rest
    assert sorted(os.listdir(folder)) == before


def test_help_is_light():
    """One interpreter asks for help three times: what the first would have imported is still seen after the last."""
    code = (
        "import sys, runpy\n"
        "for arguments in (['--help'], ['eta-limit', '--help'], ['solve', '--help']):\n"
        "    sys.argv = ['flowdyn', *arguments]\n"
        "    try:\n        runpy.run_module('flowdyn', run_name='__main__')\n"
        "    except SystemExit as end:\n        assert not end.code\n"
        "    heavy = {'jax', 'xarray', 'matplotlib', 'scipy', 'pandas', 'diffrax', 'netCDF4'} & set(sys.modules)\n"
        "    assert not heavy, (arguments, heavy)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("usage: flowdyn") == 3


def test_usage_errors_exit_with_two(capsys):
    with pytest.raises(SystemExit) as end:
        main(["solve", "--steps", "many"])
    assert end.value.code == 2
    errors = "flowdyn: error: argument --steps: invalid int value: 'many'; see flowdyn solve --help\n"
    assert capsys.readouterr().err == errors
    assert main(["--version"]) == 0 and capsys.readouterr().out.startswith("flowdyn ")


def test_control_characters_of_a_file_do_not_reach_the_terminal(capsys):
    run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    fd.save(run.assign_attrs(title="\x1b[31mred\x07"), "r.nc")
    assert main(["info", "r.nc"]) == 0
    out = capsys.readouterr().out
    assert "red" in out and "\x1b" not in out and "\x07" not in out


def test_a_picture_of_no_format_is_refused_before_the_run(tmp_path, capsys):
    out = tmp_path / "l.nc"
    assert main(["eta-limit", "--figure", str(tmp_path / "l.foo"), "--out", str(out)]) == 2
    assert "`--figure` must end in one of" in capsys.readouterr().err and not out.exists()


@pytest.mark.filterwarnings("default::flowdyn.FlowdynWarning")
def test_an_order_that_is_not_resolved_is_one_line_of_warning(capfd, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` sets its own
    assert main(["eta-limit", "--etas", "1e-4,5e-5,2.5e-5", "--order", "6", "--t", "0.01"]) == 0
    printed = capfd.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("flowdyn: warning: the order is not resolved: ") and "use larger `--etas`" in line
    assert "order nan" in printed.out and "not resolved" not in printed.out


def recipe(path):
    return json.loads(str(fd.load(path).recipe.item()))


def test_solver_tolerance_observables_and_rules_reach_the_run(capsys):
    rules = ["--stop", "loss<0.4", "--stop", "sharpness > 100"]
    choice = ["--solver", "dop853", "--rtol", "1e-11", "--observe", "sharpness", "--max-steps", "5000"]
    assert main(["solve", *rules, *choice, "--saves", "5", "--out", "r.nc"]) == 0
    assert "(stopped)" in capsys.readouterr().out
    run, made = fd.load("r.nc"), recipe("r.nc")
    assert abs(float(run.loss[-1]) - 0.4) < 1e-9 and run.sharpness.dims == ("t",)
    assert made["solver"]["class"] == "Scipy" and made["solver"]["args"]["method"] == "DOP853"
    assert made["solver"]["args"]["rtol"] == 1e-11 and made["options"]["t"] == "inf"
    assert made["options"]["stop"] == {"loss": ["<", 0.4], "sharpness": [">", 100.0]}
    assert made["options"]["max_steps"] == 5000


def test_a_tolerance_alone_is_that_of_the_solver_that_is_chosen():
    assert main(["solve", "--t", "1", "--saves", "3", "--rtol", "1e-5", "--out", "r.nc", "--quiet"]) == 0
    assert recipe("r.nc")["solver"]["args"]["rtol"] == 1e-5


def test_a_ladder_takes_a_solver_for_its_limit():
    ladder = ["eta-limit", "--etas", "0.1,0.05,0.025", "--t", "1", "--out", "l.nc", "--quiet"]
    assert main([*ladder, "--solver", "Tsit5", "--rtol", "1e-9"]) == 0
    solver = recipe("l.nc")["options"]["solver"]
    assert solver["class"] == "Diffrax" and solver["args"]["method"] == "Tsit5" and solver["args"]["rtol"] == 1e-9


@pytest.mark.filterwarnings("default::flowdyn.FlowdynWarning")
def test_what_was_good_before_a_divergence_is_kept(capsys):
    run = ["solve", "--method", "GradientDescent", "--eta", "50", "--steps", "100", "--out", "r.nc"]
    assert main([*run, "--on-divergence", "keep"]) == 0
    assert "(diverged)" in capsys.readouterr().out and np.isnan(fd.load("r.nc").loss[-1])


@pytest.mark.filterwarnings("default::flowdyn.FlowdynWarning")
def test_a_loss_that_has_grown_is_said(folder, capsys):
    """By hand: e <- -4 e from e = -2, a loss of 2.5 e^2 = 10 * 16^k."""
    (folder / "two.csv").write_text("x,y\n1,2\n2,4\n")
    common = ["two.csv", "--target", "y", "--steps", "100"]
    assert main(["solve", *common, "--method", "GradientDescent", "--eta", "1"]) == 0
    assert f"loss = {10 * 16.0**100:.6g} (up from 10), grad_norm" in capsys.readouterr().out
    assert main(["solve", *common, "--method", "GradientDescent", "--eta", "0.1"]) == 0
    assert "up from" not in capsys.readouterr().out
    assert main(["sweep", *common, "--etas", "1,0.1"]) == 0
    assert "1 of 2 cells end above the loss that they began with" in capsys.readouterr().out


def test_json_and_quiet(capsys):
    run = ["solve", "--method", "sgd", "--eta", "0.01", "--steps", "3", "--realizations", "4", "--out", "r.nc"]
    assert main([*run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    loss = fd.load("r.nc").loss.isel(t=-1).mean()
    assert np.isclose(found["loss"], loss) and found["status"] == {"reached_end": 4} and found["wrote"] == ["r.nc"]
    ladder = ["eta-limit", "--etas", "0.1,0.05,0.025", "--t", "1"]
    assert main([*ladder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [rung["steps"] for rung in found["rungs"]] == [10, 20, 40] and found["verdict"] == "resolved"
    assert main([*ladder, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_index_is_taken_as_labels_and_an_intercept_put_in(capsys):
    with open("t.csv", "w") as file:
        file.write("id,x,y\n" + "".join(f"{i},{i * i},{3 + 2 * i * i}\n" for i in range(5)))
    run = ["solve", "t.csv", "--target", "y", "--intercept", "--t", "1000", "--out", "r.nc", "--overwrite"]
    assert main([*run, "--index", "id"]) == 0
    found = fd.load("r.nc")
    assert found.feature.values.tolist() == ["intercept", "x"] and found["sample"].values.tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(found.w.isel(t=-1), [3, 2], atol=1e-5)  # y = 3 + 2 x
    assert main([*run, "--no-index"]) == 0
    assert fd.load("r.nc").feature.values.tolist() == ["intercept", "id", "x"]


@pytest.mark.parametrize("command", ["solve", "eta-limit"])
def test_every_method_that_is_listed_can_be_made(command):
    """From options and --set alone, on some problem of a table."""
    values = {"rates": "1,2", "potential": "norm"}
    more = {"RMSProp": ["rate=1"], "Adam": ["rates=1,2"], "AdamW": ["rates=1,2"], "AdamFlow": ["t0=1"]}
    more |= {name: ["parameter=3"] for name in ("MirrorDescent", "MirrorFlow")}
    p = [cls(*small_table()) for name, cls in table_problems().items() if name != "LinearClassifier"]
    p.append(fd.problems.LinearClassifier(np.eye(2), [1.0, -1.0]))
    listed = runnable_methods(command)
    assert len(listed) > 18 and "ODE" not in listed and ("GradientFlow" in listed) == (command == "solve")
    for name, cls in listed.items():
        options = build_parser().parse_args([command, "--method", name.lower()])
        assert method_class(options) is cls
        options.set = list(more.get(name, ()))
        for argument, parameter in inspect.signature(cls).parameters.items():
            if parameter.default is parameter.empty and argument in METHOD_OPTIONS.values():
                setattr(options, argument, 0.1)
            elif parameter.default is parameter.empty and argument not in ("problem", "w0"):
                options.set.append(f"{argument}={values.get(argument, 0.1)}")
        given = {"eta": 0.1} if command == "eta-limit" else {}
        made = []
        for problem in p:
            with contextlib.suppress(fd.ArgumentError):
                made.append(method_of(options, cls, problem, w0=generic_start(problem.size), **given))
        assert made and all(isinstance(method, cls) for method in made), name


def test_a_message_is_put_in_the_shell_s_terms():
    options = build_parser().parse_args(["solve", "t.csv"])
    for words, said in {
        "`batch_size` must be": "`--batch-size` must be",
        "`l` must be": "`--refinement` must be",
        "`index='a b'` or `index=False`": "`--index a b` or `--no-index`",
        "`overwrite=True` replaces": "`--overwrite` replaces",
        "`on_divergence='keep'` keeps": "`--on-divergence keep` keeps",
        "`observe={'bogus': g}` records": "`--observe` records",
        "`data` must be": "`DATA` must be",
        "`w0` and `observe_only=True`": "`w0` and `observe_only=True`",
    }.items():
        assert in_shell_terms(words, options) == said


@pytest.fixture(scope="module")
def scripts():
    """What `completion` prints, by shell."""
    found = {}
    for name in SHELLS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(["completion", name]) == 0
        found[name] = out.getvalue()
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flowdyn so", {"solve"}),
        ("flowdyn solve --inte", {"--intercept"}),
        ("flowdyn solve --method Nest", {"Nesterov", "NesterovFlow"}),
        ("flowdyn eta-limit --method Nest", {"Nesterov"}),
        ("flowdyn solve --solver Kv", {"Kvaerno3", "Kvaerno4", "Kvaerno5"}),
        ("flowdyn plot here", {"here.nc"}),
        ("flowdyn completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(scripts, folder, line, expected):
    (folder / "here.nc").touch()
    words = line.split(" ")
    ask = f'COMP_WORDS=({" ".join(words[:-1])} "{words[-1]}"); COMP_CWORD={len(words) - 1}; _flowdyn\n'
    run = subprocess.run(
        ["bash"], input=scripts["bash"] + ask + 'echo "${COMPREPLY[@]}"', capture_output=True, text=True
    )
    assert run.stderr == "" and set(run.stdout.split()) == expected


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_take_their_script(scripts, folder, name):
    assert "Nesterov" in scripts[name] and "example-data" in scripts[name]
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    (folder / "script").write_text(scripts[name])
    run = subprocess.run([name, "-n", "script"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.filterwarnings("default::flowdyn.FlowdynWarning")
def test_a_weak_ladder_compares_what_it_is_asked_to(capsys):
    """Of two samples, with few members: what is compared and written is asked here, not its resolution."""
    with open("t.csv", "w") as file:
        file.write("x,y\n1,1\n2,1\n")
    ladder = ["eta-limit", "t.csv", "--target", "y", "--problem", "SquaredRegression", "--method", "SGD"]
    ladder += [
        "--etas",
        "0.04,0.02,0.01",
        "--t",
        "0.08",
        "--realizations",
        "100",
        "--out",
        "l.nc",
        "--observe",
        "sharpness",
    ]
    assert main([*ladder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        list(found["observables"]) == fd.load("l.nc").observable.values.tolist() and "sharpness" in found["observables"]
    )
    assert [rung["steps"] for rung in found["observables"]["sharpness"]["rungs"]] == [2, 4, 8]
    assert main(["rerun", "l.nc"]) == 0
    assert capsys.readouterr().out.splitlines() == ["recipe: the same", "numbers: the same"]


def test_a_node_of_a_tree_is_made_again(capsys):
    p = fd.problems.Quadratic(1.0)
    flow, descent = fd.solve(fd.GradientFlow(p), [1.0], t=1.0), fd.solve(fd.GradientDescent(p, 0.1), [1.0], steps=5)
    fd.save(xr.DataTree.from_dict({"flow": flow, "many/gd": descent}), "tree.nc")
    for file in (["tree.nc:/many/gd"], ["tree.nc", "--node", "flow"], ["tree.nc", "--node", "/many/gd"]):
        assert main(["rerun", *file]) == 0
        assert capsys.readouterr().out.splitlines() == ["recipe: the same", "numbers: the same"]
    fd.save(flow, "run.nc")
    for file, message in [
        (["tree.nc"], "`FILE` holds several results, got ['flow', 'many/gd']; name one: tree.nc:/flow"),
        (["tree.nc", "--node", "flo"], "did you mean 'flow'"),
        (["tree.nc:/gd"], "`NODE` must be one of ['flow', 'many/gd'], got 'gd'"),
        (["run.nc", "--node", "flow"], "`NODE` is for a file of several results"),
        (["none.nc:/gd"], "`FILE` must be an existing file, got 'none.nc'"),
    ]:
        assert main(["rerun", *file]) > 0
        assert message in capsys.readouterr().err


def test_means_are_compared_of_random_methods_alone(capsys):
    assert main(["eta-limit", "--observe", "sharpness"]) == 2
    assert "`--observe` is for random methods, whose means are compared" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("flowdyn so", {"solve"}),
        ("flowdyn sweep --method Nest", {"Nesterov", "NesterovFlow"}),
        ("flowdyn completion ", {"bash", "zsh", "fish"}),
        ("flowdyn rerun --nod", {"--node"}),
    ],
)
def test_fish_completes(line, wanted, capsys, tmp_path):
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    assert main(["completion", "fish"]) == 0
    (tmp_path / "flowdyn.fish").write_text(capsys.readouterr().out)
    asked = f"source {tmp_path / 'flowdyn.fish'}; complete -C '{line}'"
    found = subprocess.run([fish, "--no-config", "-c", asked], capture_output=True, text=True, check=True).stdout
    assert {name.split("\t")[0] for name in found.splitlines()} == wanted


def test_a_command_that_was_meant_is_named(capsys):
    with pytest.raises(SystemExit) as end:
        main(["solv"])
    assert end.value.code == 2 and "; did you mean 'solve'?; see flowdyn --help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eta-limit", "--eta", "0.1"], "unrecognized arguments: --eta; did you mean --etas?; see flowdyn eta-limit"),
        (["solve", "--seeds=0,1", "--t", "1"], "did you mean --seed?; see flowdyn solve --help"),
        (["--verson"], "did you mean --version?; see flowdyn --help"),
        (["solve", "--data", "a.csv"], "; DATA is given by its place: flowdyn solve DATA; see flowdyn solve --help"),
        (["sweep", "--etas", "0.1,,0.2"], "argument --etas: must be numbers separated by commas, got '0.1,,0.2'"),
        (["solve", "--xyzw=red"], "unrecognized arguments: --xyzw=red; see flowdyn solve --help"),
    ],
)
def test_an_unknown_option_is_told_with_the_one_that_was_meant(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().err
    assert end.value.code == 2 and message in said and len(said.splitlines()) == 1


def test_what_a_method_does_not_take_is_told(capsys):
    assert main(["solve", "--set", "foo=3", "--t", "1"]) == 2
    assert "`--set` is not an option of GradientFlow, which takes no other arguments" in capsys.readouterr().err
    few = ["solve", "--method", "SGD", "--eta", "0.01", "--batch-size", "1000", "--sampling", "without", "--t", "1"]
    assert main(few) == 2
    assert "got 1000; use `--sampling with`" in capsys.readouterr().err
