"""The shell's commands on files: info without anything heavy, diff, rerun; outputs that cannot be written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from kinds import KINDS, made

import flowdyn as fd
from flowdyn.cli.commands import main
from flowdyn.cli.results import loaded_header
from flowdyn.results.header import read_header


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two runs that differ in eta alone."""
    folder = tmp_path_factory.mktemp("files")
    p = fd.problems.Quadratic([[2.0, 0.0], [0.0, 1.0]])
    for name, eta in (("a", 0.1), ("b", 0.2)):
        fd.save(fd.solve(fd.GradientDescent(p, eta), [1.0, -1.0], steps=4, saves=5), folder / f"{name}.nc")
    return folder


def shell(*arguments, **more):
    """A process of the command itself."""
    code = "import sys; from flowdyn.cli.commands import main; sys.exit(main())"
    more = {"capture_output": True, "text": True, "timeout": 120} | more
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], **more)


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_is_what_load_finds(kind, tmp_path):
    path = fd.save(made(kind), tmp_path / "r.nc")
    assert read_header(path) == loaded_header(path)


def test_a_header_of_a_tree_is_what_load_finds(files, tmp_path):
    runs = {name: fd.load(files / f"{name}.nc") for name in "ab"}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"flowdyn_schema": "flowdyn/1", "title": "two"}), **runs})
    header = read_header(fd.save(tree, tmp_path / "t.nc"))
    assert header == loaded_header(tmp_path / "t.nc")
    assert header.groups == dict.fromkeys("ab", runs["a"].attrs["title"]) and header.fields == {}


def test_a_large_file_is_not_read_for_its_header(files, tmp_path, monkeypatch):
    from flowdyn.results import header

    monkeypatch.setattr(header, "EAGER_BYTES", 0)
    monkeypatch.setattr(header, "_is_whole", None)
    assert read_header(files / "a.nc") == loaded_header(files / "a.nc")


def test_what_is_not_as_save_writes_it_is_left_to_load():
    for old in sorted((Path(__file__).parent / "old_files").glob("*.nc")):
        header = read_header(old)
        assert header is None or header == loaded_header(old)


@pytest.mark.parametrize("what", ["content", "attribute", "schema", "variable"])
def test_damage_is_refused_as_by_load(what, files, tmp_path, capsys):
    path = tmp_path / "d.nc"
    path.write_bytes((files / "a.nc").read_bytes())
    with h5py.File(path, "a") as file:
        if what == "content":
            file["status"][...] = 3
        elif what == "variable":
            del file["loss"]
        else:
            file.attrs["title" if what == "attribute" else "flowdyn_schema"] = "other"
    with pytest.raises(fd.FileError) as refused:
        fd.load(path)
    assert main(["info", str(path)]) == 1
    assert capsys.readouterr().err == f"flowdyn: error: {refused.value}\n"


def test_info_loads_nothing_heavy(files):
    code = (
        "import sys; from flowdyn.cli.commands import main; assert main(['info', sys.argv[1]]) == 0\n"
        "heavy = {'jax', 'equinox', 'xarray', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code, files / "a.nc"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "dimensions: t = 5, param = 2" in run.stdout and "\n  w(t, param): " in run.stdout


def test_info_and_rerun_of_the_folder_of_a_sweep(tmp_path, capsys):
    p = fd.problems.Quadratic([[2.0, 0.0], [0.0, 1.0]])

    def make(eta, scale):
        return fd.GradientDescent(p, eta), [scale, scale], {"steps": 3}

    fd.sweep(make, {"eta": [0.1, 0.2], "scale": [1.0, 2.0]}, tmp_path / "store")
    assert main(["info", str(tmp_path / "store")]) == 0
    assert "eta = 2, scale = 2" in capsys.readouterr().out
    assert main(["rerun", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert "`FILE` must hold one run, got one for each eta and scale; make one of them again from Python" in said
    assert len(said.splitlines()) == 1


def test_info_as_json(files, capsys):
    assert main(["info", "--json", str(files / "a.nc")]) == 0
    found = json.loads(capsys.readouterr().out)
    with xr.open_dataset(files / "a.nc") as plain:
        assert found["dimensions"] == dict(plain.sizes) and set(found["variables"]) == set(plain.variables)
    assert found["attributes"]["flowdyn_kind"] == "run" and found["variables"]["w"]["dims"] == ["t", "param"]


def test_diff_tells_recipes_and_numbers_and_ends_as_diff_does(files, capsys):
    a, b = str(files / "a.nc"), str(files / "b.nc")
    assert main(["diff", a, a]) == 0
    assert capsys.readouterr().out == "recipe: the same\nnumbers: the same\n"
    assert main(["diff", a, b, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"]["system.args.eta"] == [0.1, 0.2] and not found["same_recipe"]
    x = np.array([[(1 - 0.1 * lam) ** k for lam in (2, 1)] for k in range(5)])
    y = np.array([[(1 - 0.2 * lam) ** k for lam in (2, 1)] for k in range(5)])
    gap = found["differences"]["w"]
    at = tuple(gap["where"][dim] for dim in ("t", "param"))
    assert np.isclose(gap["largest"], np.abs(x - y).max()) and np.isclose(np.abs(x - y)[at], gap["largest"])
    assert np.isclose(gap["relative"], np.abs(x - y).max())  # the largest |w| is 1
    assert main(["diff", a, b, "--rtol", "10", "--quiet"]) == 1  # the recipes still differ
    assert main(["diff", a, str(files / "none.nc")]) == 2
    assert capsys.readouterr().err.startswith("flowdyn: error: `FILE` must be an existing file")


def test_diff_of_what_cannot_be_subtracted(files, tmp_path, capsys):
    a = fd.load(files / "a.nc")
    other = a.isel(t=slice(0, 3)).drop_vars("grad_norm").assign_coords(param=["u", "v"])
    fd.save(other, tmp_path / "o.nc")
    assert main(["diff", "--json", str(files / "a.nc"), str(tmp_path / "o.nc")]) == 1
    found = json.loads(capsys.readouterr().out)["differences"]
    assert found["grad_norm"] == {"missing_in": "B"} and found["param"] == {"missing_in": "A"}
    assert found["w"] == {"shapes": [{"t": 5, "param": 2}, {"t": 3, "param": 2}]}
    broken = a.copy(deep=True)
    broken.loss[-1] = np.nan
    fd.save(broken, tmp_path / "n.nc")
    assert main(["diff", "--json", str(files / "a.nc"), str(tmp_path / "n.nc")]) == 1
    assert json.loads(capsys.readouterr().out)["differences"] == {"loss": {"missing_values": [0, 1]}}


def test_diff_is_by_labels_and_of_one_place(files, tmp_path, capsys):
    problem = fd.problems.Quadratic(1.0)

    def make(eta):
        return fd.GradientDescent(problem, eta), [1.0], {"steps": 4, "saves": 3}

    grid = fd.sweep(make, {"eta": [0.1, 0.2, 0.4]})
    turned, tree = tmp_path / "turned.nc", tmp_path / "tree.nc"
    fd.save(grid, tmp_path / "grid.nc")
    fd.save(grid.isel(eta=[2, 0, 1]), turned)
    assert main(["diff", "--json", str(tmp_path / "grid.nc"), str(turned)]) == 1
    assert json.loads(capsys.readouterr().out)["differences"] == {"eta": {"order": "another"}}
    run = fd.load(files / "a.nc")
    fd.save(xr.DataTree.from_dict({"one": run, "two": run}), tree)
    assert main(["diff", str(files / "a.nc"), str(tree)]) == 2
    assert "results of the same places" in capsys.readouterr().err
    for first, second in ((files / "a.nc", f"{tree}:/two"), (tree, tree)):
        assert main(["diff", str(first), str(second)]) == 0
    assert main(["plot", str(tree), "-o", str(tmp_path / "x.png")]) == 2
    assert f"name one: {tree}:/one" in capsys.readouterr().err
    assert main(["plot", f"{tree}:/one", "-o", str(tmp_path / "x.png")]) == 0
    assert main(["info", f"{tree}:/two"]) == 0 and "w(t, param)" in capsys.readouterr().out


@pytest.mark.parametrize("chosen", [{"eta": 1}, {"eta": [1]}])
def test_a_cell_of_a_sweep_is_rerun_as_the_run_that_it_is(chosen, tmp_path, capsys):
    problem = fd.problems.Quadratic(1.0)

    def make(eta):
        return fd.GradientDescent(problem, eta), [1.0], {"steps": 4, "saves": 3}

    fd.save(fd.sweep(make, {"eta": [0.1, 0.2]}).isel(chosen), tmp_path / "cell.nc")
    assert main(["rerun", str(tmp_path / "cell.nc")]) == 0
    assert capsys.readouterr().out.splitlines() == ["recipe: the same", "numbers: the same"]


def test_members_and_starts_are_rerun_as_what_they_are(tmp_path, capsys):
    problem = fd.problems.Quadratic(np.eye(2), noise=np.eye(2))
    starts = fd.solve(fd.GradientFlow(problem), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], t=1.0, saves=3)
    members = fd.solve(fd.SGD(problem, 0.1), [1.0, 1.0], steps=4, realizations=4)
    grid = fd.sweep(lambda alpha, eta: (fd.GradientDescent(problem, eta), [alpha, 1.0], {"steps": 4}), {
        "alpha": [1.0, 2.0], "eta": [0.1, 0.2]
    })  # fmt: skip
    parts = [starts.isel(start=[2, 0, 1]), starts.isel(start=[1, 2]), starts.isel(start=1), starts.isel(t=[0, 2])]
    parts += [members.isel(realization=[2, 1]), members.isel(realization=3)]
    parts += [grid.sel(alpha=2.0, eta=0.1), grid.isel(alpha=[0], eta=[1])]
    methods = fd.GradientDescent(problem, 0.1), fd.HeavyBall(problem, 0.1, 0.5), fd.Adam(problem, 0.1, rates=(1.0, 1.0))
    joined = fd.concat([fd.solve(method, [1.0, 2.0], steps=4) for method in methods], "method")
    parts += [joined.isel(method=i) for i in range(3)]
    for i, part in enumerate(parts):
        fd.save(part, tmp_path / f"{i}.nc")
        assert main(["rerun", str(tmp_path / f"{i}.nc")]) == 0, i
        assert capsys.readouterr().out.splitlines() == ["recipe: the same", "numbers: the same"], i


def test_rerun_makes_the_same_again_and_says_what_changed(files, tmp_path, capsys):
    a = files / "a.nc"
    assert main(["rerun", str(a), "--out", str(tmp_path / "r.nc")]) == 0
    assert capsys.readouterr().out.startswith("recipe: the same\nnumbers: the same\nwrote ")
    assert fd.load(tmp_path / "r.nc").w.identical(fd.load(a).w)
    changed = fd.load(a)
    changed.w[2, 1] += 1e-3
    fd.save(changed, tmp_path / "c.nc")
    assert main(["rerun", str(tmp_path / "c.nc"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["differences"]
    assert found["w"]["where"] == {"t": 2, "param": 1} and np.isclose(found["w"]["largest"], 1e-3)


def test_rerun_hands_in_the_observables_of_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = ["solve", "--method", "GradientDescent", "--eta", "0.01", "--steps", "3", "--saves", "2"]
    assert main([*run, "--observe", "sharpness", "--observe", "invariant", "--out", "r.nc"]) == 0
    assert main(["rerun", "r.nc"]) == 0
    p = fd.problems.Quadratic(1.0)
    own = fd.solve(fd.GradientFlow(p), [1.0], t=1.0, saves=2, observe={"mine": lambda w: w[0]})
    fd.save(own, "own.nc")
    assert main(["rerun", "own.nc"]) == 2
    assert "`FILE` must record no functions of your own, got ['mine']" in capsys.readouterr().err


UNWRITABLE = {
    "no folder of files": ("/proc/x.nc", "`--out` must lie in a writable folder"),
    "a long name": ("n" * 300 + ".nc", "`--out` cannot be written"),
    "a null": ("a\0b.nc", "`--out` cannot be written"),
}


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_place_that_cannot_be_written_is_refused_before_the_run(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fd, "solve", None)
    path, words = UNWRITABLE[case]
    assert main(["solve", "--t", "1", "--out", path]) == 1
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1
    assert main(["solve", "--t", "1", "--figure", path.replace(".nc", ".png")]) == 1
    assert words.replace("--out", "--figure") in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_names_that_leave_no_room_for_a_temporary_one_are_written(files, tmp_path):
    path = tmp_path / f"{'ö' * 120}.nc"  # 243 bytes of at most 255
    (tmp_path / ".12345678.1.x.tmp.nc").touch()
    fd.save(fd.load(files / "a.nc"), path)
    assert fd.load(path).w.identical(fd.load(files / "a.nc").w)
    assert sorted(os.listdir(tmp_path)) == [".12345678.1.x.tmp.nc", path.name]


def test_a_long_name_to_read_is_none_of_a_file(capsys):
    for command in (["info", "n" * 300], ["solve", "n" * 300 + ".csv", "--target", "y"]):
        assert main(command) == 1
        assert "must be an existing" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_traceback(files):
    script = f'"{sys.executable}" -m flowdyn info "{files / "a.nc"}" | head -n 0; echo "${{PIPESTATUS[0]}}"'
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert run.stderr == "" and run.stdout.strip() in ("0", "1")


def test_streams_that_are_closed_stop_nothing(tmp_path):
    out = tmp_path / "run.nc"
    script = f'"{sys.executable}" -m flowdyn solve --t 1 --out "{out}" >&- 2>&-'
    assert subprocess.run(["bash", "-c", script], timeout=120).returncode == 0
    with fd.load(out) as run:
        assert float(run.t[-1]) == 1.0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(files):
    with open("/dev/full", "w") as full:
        run = shell("info", files / "a.nc", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert run.returncode == 1 and run.stderr == "flowdyn: error: cannot write: No space left on device\n"
