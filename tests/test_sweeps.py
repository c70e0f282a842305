"""Sweeps: each cell is the run that it would be alone; a store is gone on with; what fails is told and kept."""

import concurrent.futures
import contextlib
import functools
import json
import os
import pickle
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from refusal import assert_refused

import flowdyn as fd
from flowdyn.plotting.figures import save_figure
from flowdyn.solvers import explicit_batch
from flowdyn.solvers.recursion_run import RecursionRun
from flowdyn.sweeps.grid import grid_of
from flowdyn.sweeps.planning import plan_of

X = np.random.default_rng(0).standard_normal((3, 5))
PROBLEM = fd.problems.DiagonalNetwork(X, [1.0, -1.0, 0.5])
GRID = {"eta": [0.01, 0.02, 0.03], "alpha": [0.1, 0.3]}


def descent(eta, alpha):
    return fd.GradientDescent(PROBLEM, eta), PROBLEM.init(alpha), {"t": 0.4, "saves": 3}


def flow(alpha, t=0.5):
    return fd.GradientFlow(PROBLEM), PROBLEM.init(alpha), {"t": t, "saves": 3}


@pytest.fixture
def made():
    """How often a `make` was called."""
    return []


def test_every_cell_is_its_own_run():
    result = fd.sweep(descent, GRID)
    assert dict(result.loss.sizes) == {"eta": 3, "alpha": 2, "save": 3} and result.t.dims == ("eta", "save")
    for eta in GRID["eta"]:
        for alpha in GRID["alpha"]:
            cell = result.sel(eta=eta, alpha=alpha)
            alone = fd.solve(*descent(eta, alpha)[:2], t=0.4, saves=3)
            assert int(cell.recipe_id) == int(alone.recipe_id)
            for name in ("w_plus", "w_minus", "theta", "loss", "t", "k"):
                assert np.allclose(cell[name], alone[name], rtol=1e-13, atol=1e-15), name
            system, w0, options = fd.rebuild(cell)
            assert float(system.eta.eta) == eta and np.allclose(w0, PROBLEM.init(alpha)) and options["t"] == 0.4


def test_numbers_are_those_of_the_recursion():
    result = fd.sweep(quadratic_of_start, {"eta": [0.1, 0.5, 1.5], "start_at": [1.0, -2.0]})
    assert result.k.values.tolist() == [0, 2, 4, 6]
    eta, start = result.eta.values[:, None, None], result.start_at.values[None, :, None]
    assert np.allclose(result.w.values[..., 0], start * (1 - eta) ** result.k.values, rtol=1e-13, atol=0)
    assert result.t.dims == ("eta", "save") and np.allclose(result.t.values, eta[:, 0] * result.k.values)


def quadratic_of_start(eta, start_at):
    """Descent by hand:  w_k = (1 - eta)^k w_0."""
    return fd.GradientDescent(fd.problems.Quadratic(1.0), eta), [start_at], {"steps": 6, "saves": 4, "solver": STEPS}


STEPS = fd.solvers.Iteration()


def test_times_that_all_share_are_t():
    result = fd.sweep(flow, {"alpha": [0.1, 0.2]})
    assert result.loss.dims == ("alpha", "t") and result.t.dims == ("t",)
    assert fd.rebuild(result.sel(alpha=0.2))[2]["t"] == 0.5


def test_zipped_names_are_one_dimension():
    result = fd.sweep(quadratic_of_start, {("eta", "start_at"): [(0.1, 1.0), (0.2, 3.0)]})
    assert result.w.dims[0] == "eta_start_at" and result.start_at.values.tolist() == [1.0, 3.0]
    assert np.allclose(result.w.values[:, -1, 0], [0.9**6, 3 * 0.8**6], rtol=1e-13)


def test_seeds_stay_whole_and_ensembles_have_their_members():
    def make(seed, batch_size):
        sgd = fd.SGD(fd.problems.LinearRegression(X, [1.0, -1.0, 0.5]), 0.05, batch_size=batch_size)
        return sgd, np.zeros(5), {"steps": 8, "saves": 3, "seed": seed, "realizations": 4}

    result = fd.sweep(make, {"seed": [0, 3], "batch_size": [1, 2]})
    assert result.w.dims == ("seed", "batch_size", "realization", "t", "feature") and result.seed.dtype.kind == "i"
    alone = fd.solve(*make(3, 2)[:2], steps=8, saves=3, seed=3, realizations=4)
    assert np.array_equal(result.sel(seed=3, batch_size=2).w, alone.w)
    assert fd.rebuild(result.sel(seed=3, batch_size=2))[2]["seed"] == 3


def test_a_stop_rule_ends_each_cell_in_its_own_row():
    def make(rate):
        system, w0, options = quadratic_of_start(rate, 1.0)
        return system, w0, options | {"steps": 40, "stop": {"loss": ("<", 1e-3)}}

    with pytest.raises(fd.ArgumentError, match="must not name variables or dimensions of the results, got 'loss'"):
        fd.sweep(lambda loss: make(loss), {"loss": [0.1, 0.2]})
    result = fd.sweep(make, {"rate": [0.1, 0.5]})
    for rate in (0.1, 0.5):
        steps = int(np.ceil(np.log(np.sqrt(2e-3)) / np.log(1 - rate)))  # w^2 / 2 < 1e-3
        row = result.sel(rate=rate)
        assert float(np.nanmax(row.k)) == steps and float(row.t_stop) == pytest.approx(rate * steps)
        alone = fd.rerun(row)
        assert int(alone.recipe_id) == int(row.recipe_id) and np.allclose(alone.w, row.w.dropna("save"), rtol=1e-13)


STOP_AT = 1e-3  # loss w^2 / 2


def alone_is_refused(monkeypatch):
    """Fail where a run is made by itself."""

    def refuse(run):
        raise AssertionError("a run was made by itself")

    monkeypatch.setattr(RecursionRun, "alone", refuse)
    monkeypatch.setattr(explicit_batch, "run_alone", refuse)


def test_recursions_to_an_end_of_their_own_run_side_by_side(monkeypatch):
    alone_is_refused(monkeypatch)

    def make(rate, most):
        system, w0, options = quadratic_of_start(rate, 1.0)
        options = {"solver": STEPS, "t": np.inf, "max_steps": most, "saves": 8, "on_divergence": "keep"}
        return system, w0, options | {"stop": {"loss": ("<", STOP_AT)}}

    with pytest.warns(fd.FlowdynWarning, match="2 of 8 cells that were looked at are doubtful"):
        result = fd.sweep(make, {"rate": [0.01, 0.1, 0.5, 3.0], "most": [20, 10_000]})
    for rate in (0.01, 0.1, 0.5):
        steps = int(np.ceil(np.log(np.sqrt(2 * STOP_AT)) / np.log(1 - rate)))
        for most in (20, 10_000):
            row = result.sel(rate=rate, most=most)
            assert float(row.t_stop) == pytest.approx(rate * min(steps, most))
            assert int(row.status) == (4 if steps > most else 1)  # max_steps, stopped
            kept = row.k.values[~np.isnan(row.k.values)]
            assert kept[-1] == min(steps, most)
            assert np.allclose(row.w.values[: len(kept), 0], (1 - rate) ** kept, rtol=1e-12, atol=0)
    assert result.status.sel(rate=3.0).values.tolist() == [4, 2]  # 2^20 is no divergence, 2^10000 is


def test_recursions_with_a_budget_of_steps_run_side_by_side(monkeypatch):
    alone_is_refused(monkeypatch)

    def make(rate):
        system, w0, options = quadratic_of_start(rate, 2.0)
        return system, w0, options | {"max_steps": 5, "on_divergence": "keep"}

    result = fd.sweep(make, {"rate": [0.1, 0.2]})
    assert result.status.values.tolist() == [4, 4] and np.isnan(result.w.values[:, -1]).all()
    assert np.allclose(result.w.values[:, 2, 0], 2 * (1 - result.rate.values) ** 4, rtol=1e-13)


def test_flows_of_one_form_run_together_each_at_its_own_pace(monkeypatch):
    alone_is_refused(monkeypatch)

    def make(rate, start_at):
        system = fd.GradientFlow(fd.problems.Quadratic(rate))
        return system, [start_at], {"t": 1.0, "saves": 3, "solver": fd.solvers.Auto(rtol=1e-10)}

    result = fd.sweep(make, {"rate": [0.1, 1.0, 30.0], "start_at": [1.0, -2.0, 1e-8]})
    share = result.w.isel(param=0) / result.start_at
    assert np.abs(share - np.exp(-result.rate * result.t)).max() < 1e-9


def test_flows_to_an_open_end_run_together(monkeypatch):
    alone_is_refused(monkeypatch)

    def make(start_at):
        options = {"t": np.inf, "saves": 20, "stop": {"loss": ("<", STOP_AT)}, "solver": fd.solvers.Auto(rtol=1e-10)}
        return fd.GradientFlow(fd.problems.Quadratic(2.0)), [start_at], options

    result = fd.sweep(make, {"start_at": [1.0, 3.0, 1e3]})
    wanted = np.log(result.start_at.values / np.sqrt(STOP_AT)) / 2  # w^2 = STOP_AT there
    assert np.allclose(result.t_stop, wanted, rtol=1e-7) and result.status.values.tolist() == [1, 1, 1]
    assert result.w.dims == ("start_at", "save", "param")
    monkeypatch.undo()
    alone = fd.rerun(result.sel(start_at=3.0))
    assert np.allclose(alone.t, result.t.sel(start_at=3.0).dropna("save"), rtol=1e-12)


def test_a_flow_that_fails_leaves_the_others_as_they_are():
    def make(start_at):
        blows_up = fd.GradientFlow(fd.problems.CustomProblem(cubic, 1.0))  # w' = w^2
        return blows_up, [start_at], {"t": 1.0, "saves": 3}

    with pytest.warns(fd.FlowdynWarning, match="1 of 3 cells failed; the first, start_at=2: the run"):
        result = fd.sweep(make, {"start_at": [0.5, 2.0, -1.0]})
    good = result.sel(start_at=[0.5, -1.0])
    assert np.allclose(good.w, 1 / (1 / good.start_at - result.t), rtol=1e-6)


def cubic(w):
    return -(w**3) / 3


def test_a_closed_form_that_holds_from_some_starts_is_taken_for_those():
    problem = fd.problems.DeepLinear([[2.0]], widths=[1])

    def make(tilt):
        return fd.GradientFlow(problem), [1.0, 1.0 + tilt], {"t": 0.5, "saves": 3}

    result = fd.sweep(make, {"tilt": [0.3, 0.0, 0.1]})
    solvers = [json.loads(str(recipe))["solver"]["class"] for recipe in result.recipe.values]
    assert solvers == ["Auto", "Exact", "Auto"]


def test_dear_flows_are_cut_into_small_blocks_in_a_store(tmp_path):
    """An interruption loses few; without a store it loses all, and the cores are kept busy by many."""
    grid = grid_of({"alpha": np.linspace(0.1, 0.9, 64)})
    assert plan_of(flow, grid, tmp_path, None, None, 1 << 25, 1).block == 16
    assert plan_of(flow, grid, None, None, None, 1 << 25, 1).block == 64
    assert plan_of(flow, grid, None, None, None, 1 << 25, 2).block == 16  # two a worker
    assert plan_of(lambda alpha: descent(0.01, alpha), grid, None, None, None, 1 << 25, 1).block == 64


def test_short_cells_are_cut_for_their_workers_and_a_store_stays_as_it_was_cut(tmp_path):
    """64 short random cells go through one program, but not through one worker."""
    problem = fd.problems.LinearRegression(np.eye(3), np.ones(3))

    def make(seed):
        return fd.SGD(problem, 0.1, batch_size=1), np.zeros(3), {"steps": 5, "seed": seed}

    grid = {"seed": range(64)}
    cut = [plan_of(make, grid_of(grid), None, None, None, 1 << 25, workers).block for workers in (1, 2, 8, 100)]
    assert cut == [64, 16, 4, 1]
    with ThreadPoolExecutor(2) as threads:
        begun = fd.sweep(make, grid, tmp_path, executor=threads)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.nc") if path.name != "sweep.nc"}
    assert len(files) == 4
    again = fd.sweep(make, grid, tmp_path)  # in this process alone: the same blocks, none of them run again
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.nc") if path.name != "sweep.nc"}
    assert after == files and again.w.equals(begun.w)
    assert again.w.equals(fd.sweep(make, grid).w)


def test_ladders_go_in_as_datasets():
    def make(scale):
        gd = fd.GradientDescent(fd.problems.Quadratic(scale), 0.1)
        return fd.eta_limit(gd, [1.0], t=1.0, etas=[0.1, 0.05, 0.025])

    result = fd.sweep(make, {"scale": [1.0, 2.0]})
    assert result.order.dims == ("scale",) and np.allclose(result.order, 1, atol=0.2)
    assert result.attrs["flowdyn_kind"] == "ladder"
    again = fd.rerun(result.sel(scale=2.0))
    assert float(again.order) == float(result.order.sel(scale=2.0))


def test_a_failed_cell_is_told_and_the_rest_goes_on():
    def make(rate):
        if rate == 0.3:
            raise KeyError("no data")
        system, w0, options = quadratic_of_start(rate, 1.0)
        return system, w0, options | {"steps": 1000}

    with pytest.warns(fd.FlowdynWarning) as said:
        result = fd.sweep(make, {"rate": [0.1, 0.3, 3.0, 0.2]})
    texts = [str(w.message) for w in said]
    assert texts[0].startswith("2 of 4 cells failed; the first, rate=0.3: KeyError: 'no data'")
    assert texts[1].startswith(
        "1 of 4 cells that were looked at are doubtful; the first: `eta` = 3 is above the stability threshold"
    )
    assert [bool(reason) for reason in result.failure.values] == [False, True, True, False]
    assert "diverged" in str(result.failure.values[2]) and np.isnan(result.w.values[1:3]).all()
    assert np.isfinite(result.w.values[[0, 3]]).all()
    assert result.status.values.tolist() == [0, -1, 2, 0]
    assert result.status.attrs["flag_meanings"].split()[-1] == "no_run" and result.status.attrs["flag_values"][-1] == -1
    with pytest.raises(fd.RunError, match=r"every cell failed; the first, rate=0\.3"):
        fd.sweep(make, {"rate": [0.3]})


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "`grid` must map names to their values"),
        ({"eta": []}, r"`grid\['eta'\]` must hold at least one value"),
        ({"eta": [0.1, 0.1]}, "must not repeat a value"),
        ({"eta": ["a"]}, r"must hold numbers, got \['a'\]; number the choices, {'eta': range\(1\)}"),
        ({"eta": [[1, 2], [3]]}, "must"),
        ({"eta": [True]}, "must hold numbers"),
        ({"eta": [[0.1]]}, "must be 1-dimensional"),
        ({"no name": [1.0]}, "must have names"),
        ({("a", "b"): [(1.0, 2.0), (1.0,)]}, "must hold tuples of 2 values"),
        ({("a", "b"): [1.0]}, "must hold tuples of 2 values"),
        ({("a", "b"): [(1.0, 2.0)], "a": [1.0]}, "must have each name once"),
        ({name: np.arange(1e5) for name in ("a", "b")}, "must have at most 1,000,000,000 cells"),
    ],
)
def test_a_grid_is_refused_in_words(grid, message):
    with pytest.raises(fd.ArgumentError, match=message):
        fd.sweep(descent, grid)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "`workers` must be at least 1"),
        ({"workers": 1, "executor": concurrent.futures.ThreadPoolExecutor(1)}, "`workers` must be None"),
        ({"executor": 3}, "`executor` must be one of concurrent.futures"),
        ({"block": 0}, "`block` must be at least 1"),
        ({"key": 3}, "`key` must be text"),
        ({"store": 3}, "`store` must be the path of a folder"),
        ({"store": "/proc/no/such"}, "`store` must be a folder that can be made"),
    ],
)
def test_arguments_are_refused_in_words(options, message):
    with pytest.raises((fd.ArgumentError, fd.FileError), match=message):
        fd.sweep(descent, GRID, **options)


def test_what_make_returns_is_refused_in_words():
    with pytest.raises(fd.ArgumentError, match=r"`make` must return \(system, w0, options\), as fd.rebuild does"):
        fd.sweep(lambda a: a, {"a": [1.0]})
    with pytest.raises(fd.ArgumentError, match="`make` must be a function of b"):
        fd.sweep(lambda a: a, {"b": [1.0]})
    with pytest.raises(fd.ArgumentError, match="`make` must be importable by other processes"):
        fd.sweep(lambda a: a, {"a": [1.0]}, workers=1)
    with pytest.raises(fd.ArgumentError, match="or a Dataset made by flowdyn, got a Dataset of another origin"):
        fd.sweep(lambda a: xr.Dataset({"q": a}), {"a": [1.0]})
    with pytest.raises(fd.RunError, match=r"`options` must be arguments of solve"):
        fd.sweep(lambda a: (*quadratic_of_start(a, 1.0)[:2], {"stepz": 1}), {"a": [0.1]})


def of_size(d):
    return fd.GradientDescent(fd.problems.Quadratic(np.eye(d)), 0.1), np.ones(d), {"steps": 2}


@pytest.mark.parametrize("block", [None, 1])
def test_failed_cells_leave_the_times_of_the_others_as_they_are(block):
    """The dimension of what was saved is t in whatever blocks the sweep is cut; a cell that diverged says when."""

    def make(eta):
        if eta == 0.3:
            raise KeyError("no data")
        return fd.GradientDescent(fd.problems.Quadratic(1.0), eta), [1.0], {"t": 1200.0, "saves": 3}

    with pytest.warns(fd.FlowdynWarning) as said:
        result = fd.sweep(make, {"eta": [0.1, 0.2, 0.3, 3.0]}, block=block)
    assert str(said[0].message).startswith("2 of 4 cells failed")
    assert result.w.dims == ("eta", "t", "param") and result.t.values.tolist() == [0.0, 600.0, 1200.0]
    assert np.isnan(result.t_stop.values).tolist() == [True, True, True, False]
    assert np.isnan(result.w.values[2:]).all() and np.isfinite(result.w.values[:2]).all()


@pytest.mark.parametrize("block", [None, 1, 3])
def test_cells_of_another_size_are_failures_and_the_rest_is_kept(block, made, tmp_path):
    """Eight cells, the fourth and the last of two features in place of three: what ran is not lost."""
    sizes = [3, 3, 3, 2, 3, 3, 3, 2]

    def make(i):
        made.append(i)
        return of_size(sizes[i])

    with pytest.warns(fd.FlowdynWarning, match=r"2 of 8 cells failed; the first, i=3: `make` must return results of"):
        result = fd.sweep(make, {"i": range(8)}, tmp_path, block=block).load()
    good = [i for i, d in enumerate(sizes) if d == 3]
    assert [i for i, reason in enumerate(result.failure.values) if reason == ""] == good
    assert result.failure.values[7].endswith(
        "w of save x param 2 where others have save x param 3; sweep each size by itself"
    )
    # by hand: w <- (1 - 0.1) w from 1, three times the number 0.9^k
    assert np.allclose(result.w.values[good], 0.9 ** np.arange(3)[None, :, None], rtol=1e-13)
    assert np.isnan(result.w.values[[3, 7]]).all() and result.w.shape == (8, 3, 3)
    assert fd.rebuild(result.isel(i=4))[1].shape == (3,)
    with pytest.warns(fd.FlowdynWarning, match="2 of 8 cells failed"):
        again = fd.sweep(make, {"i": range(8)}, tmp_path, block=block).load()
    assert again.drop_attrs().identical(result.drop_attrs()) and fd.load(tmp_path).failure.equals(result.failure)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.nc") if path.name != "sweep.nc"}


def test_a_store_is_read_lazily_and_gone_on_with(tmp_path, made):
    def make(eta, alpha):
        made.append(eta)
        return descent(eta, alpha)

    whole = fd.sweep(make, GRID)
    stored = fd.sweep(make, GRID, tmp_path / "store", block=2)
    assert not stored.w_plus.variable._in_memory and "xarray" in type(stored.w_plus.variable._data).__module__
    assert float(stored.loss[2, 1, 0]) == pytest.approx(float(whole.loss[2, 1, 0])) and stored.status[2, 1].item() == 0
    assert stored.isel(alpha=1, eta=[2, 0]).w_plus.dims == ("eta", "save", "feature")
    assert np.allclose(stored.isel(eta=[2, 0]).w_plus, whole.isel(eta=[2, 0]).w_plus, rtol=1e-13, atol=1e-15)
    assert np.allclose(stored.w_plus[::-1, 1, ::2, 3], whole.w_plus[::-1, 1, ::2, 3], rtol=1e-13, atol=1e-15)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.nc") if path.name != "sweep.nc"}
    again = fd.sweep(make, GRID, tmp_path / "store", block=2)
    assert len(before) == 3 and all(path.stat().st_mtime_ns == t for path, t in before.items())
    assert again.drop_attrs().identical(stored.drop_attrs())
    assert fd.load(tmp_path / "store").drop_attrs().identical(stored.drop_attrs())
    assert pickle.loads(pickle.dumps(fd.load(tmp_path / "store"))).w_plus.equals(stored.w_plus)


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "foreign"])
def test_a_damaged_block_is_made_again(tmp_path, harm):
    first = fd.sweep(descent, GRID, tmp_path, block=2).load()
    victim = sorted(tmp_path.glob("[0-9a-f]*.nc"))[0]
    raw = victim.read_bytes()
    flipped = bytearray(raw)
    flipped[len(raw) // 2] ^= 0xFF
    victim.write_bytes({"truncate": raw[:-100], "flip": bytes(flipped), "empty": b"", "foreign": b"hello"}[harm])
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("[0-9a-f]*.nc") if path != victim}
    again = fd.sweep(descent, GRID, tmp_path, block=2).load()
    assert again.drop_attrs().identical(first.drop_attrs())
    assert all(path.stat().st_mtime_ns == t for path, t in kept.items()), "a whole block was made again"
    assert fd.load(victim, verify=True).sizes["cell"] == 2


def test_a_block_that_was_copied_over_another_is_made_again(tmp_path):
    """What it holds is whole: nothing but its name says that its cells are not those asked for."""
    first = fd.sweep(descent, GRID, tmp_path, block=2).load()
    one, other, _ = sorted(tmp_path.glob("[0-9a-f]*.nc"))
    kept = one.stat().st_mtime_ns
    other.write_bytes(one.read_bytes())
    with pytest.raises(fd.FileError, match=f"{other.name}: it holds another block, '{one.stem}'; call sweep"):
        fd.load(tmp_path).load()
    again = fd.sweep(descent, GRID, tmp_path, block=2).load()
    assert again.drop_attrs().identical(first.drop_attrs()) and one.stat().st_mtime_ns == kept
    assert fd.load(tmp_path).load().drop_attrs().identical(first.drop_attrs())
    assert "flowdyn_block" not in again.attrs


def test_another_sweep_has_other_files(tmp_path):
    fd.sweep(descent, GRID, tmp_path, block=2)
    before = set(files(tmp_path))
    fd.sweep(descent, GRID | {"alpha": [0.1, 0.5]}, tmp_path, block=2)
    assert not before & (set(files(tmp_path)) - before) and len(files(tmp_path)) == 6


def test_functions_of_ones_own_need_a_key(tmp_path, made):
    def make(a):
        made.append(a)
        return fd.GradientDescent(fd.problems.CustomProblem(loss, jnp.ones(2)), a), jnp.ones(2), {"steps": 3}

    with pytest.warns(
        fd.FlowdynWarning, match=r"cannot go on from them: functions of your own cannot be hashed; pass key"
    ):
        unkeyed = fd.sweep(make, {"a": [0.1, 0.2]}, tmp_path / "a")
    keyed = fd.sweep(make, {"a": [0.1, 0.2]}, tmp_path / "b", key="v1")
    assert np.array_equal(unkeyed.w, keyed.w)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "b").glob("[0-9a-f]*.nc")}
    fd.sweep(make, {"a": [0.1, 0.2]}, tmp_path / "b", key="v1")
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "b").glob("[0-9a-f]*.nc")}
    fd.sweep(make, {"a": [0.1, 0.2]}, tmp_path / "b", key="v2")
    assert len(list((tmp_path / "b").glob("[0-9a-f]*.nc"))) == 2 * len(times)


def loss(w):
    return jnp.sum(w**4) / 4


def test_a_sweep_of_datasets_makes_each_once(tmp_path, made):
    def make(w):
        made.append(w)
        return fd.solve(*quadratic_of_start(0.1, w)[:2], steps=3)

    result = fd.sweep(lambda start_at: make(start_at), {"start_at": [1.0, 2.0, 3.0]}, tmp_path, key="a")
    assert made == [1.0, 2.0, 3.0]
    again = fd.sweep(lambda start_at: make(start_at), {"start_at": [1.0, 2.0, 3.0]}, tmp_path, key="a")
    assert again.drop_attrs().identical(result.drop_attrs())
    assert result.w.isel(t=0, param=0).values.tolist() == [1.0, 2.0, 3.0]


def test_an_interrupted_sweep_goes_on(tmp_path, made):
    def make(eta, alpha):
        made.append((eta, alpha))
        if len(made) == 5:
            raise KeyboardInterrupt
        return descent(eta, alpha)

    with pytest.raises(KeyboardInterrupt):
        fd.sweep(make, GRID, tmp_path, block=1)
    assert 0 < len(files(tmp_path)) < 6 and not (tmp_path / "sweep.nc").exists()
    with pytest.raises(fd.FileError, match=r"without sweep.nc; call sweep\(make, grid, store\) again"):
        fd.load(tmp_path)
    result = fd.sweep(make, GRID, tmp_path, block=1)
    assert np.allclose(result.w_plus, fd.sweep(descent, GRID).w_plus, rtol=1e-13, atol=1e-15)


def test_threads_and_progress(tmp_path):
    said = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        result = fd.sweep(descent, GRID, executor=pool, block=1, progress=said.append)
    assert np.allclose(result.w_plus, fd.sweep(descent, GRID).w_plus, rtol=1e-13, atol=1e-15)
    assert len(said) == 6 and said == sorted(said) and said[-1] == 1.0


@contextlib.contextmanager
def as_nobody():
    """Without the rights of root, which may write to a folder that is read-only."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_what_is_read_only_is_told_before_anything_is_computed():
    made = []

    def make(eta):
        made.append(eta)
        return fd.GradientDescent(fd.problems.Quadratic(1.0), eta), [1.0], {"steps": 3}

    with tempfile.TemporaryDirectory() as name:  # which another user can see into
        folder = Path(name) / "ro"
        whole = fd.sweep(make, {"eta": [0.1, 0.2]}, folder)
        run = whole.isel(eta=0)
        figure = fd.plot(run)
        before, count = sorted(folder.iterdir()), len(made)
        Path(name).chmod(0o555)
        folder.chmod(0o555)
        page, file = folder / "page.html", folder / "run.nc"
        refused = functools.partial(assert_refused, error=fd.FileError)
        with as_nobody():
            refused(
                lambda: fd.sweep(make, {"eta": [0.1, 0.2, 0.3]}, folder), "`store` .* written to.*Permission denied"
            )
            refused(lambda: fd.sweep(make, {"eta": [0.1]}, folder / "new"), "`store` .*Permission denied")
            refused(lambda: fd.save(run, file), "`path` must lie in a writable folder")
            refused(lambda: fd.report(run, page), "`path` must lie in a writable folder")
            refused(lambda: save_figure(figure, folder / "run.png"), "writable folder")
            assert fd.load(folder).sizes["eta"] == 2
        assert sorted(folder.iterdir()) == before and len(made) == count
        folder.chmod(0o755)
        Path(name).chmod(0o755)


def test_a_later_start_beyond_all_bounds_is_told_too():
    problem = fd.problems.Quadratic(1.0)

    def make(size):
        return fd.GradientDescent(problem, 0.1), np.array([size]), {"steps": 3}

    with pytest.warns(fd.FlowdynWarning, match="`w0` must be at most 1e"):
        result = fd.sweep(make, {"size": [1.0, 2.0, 1e200]})
    assert (result.failure.values == "").tolist() == [True, True, False]
