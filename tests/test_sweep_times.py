"""Times of a sweep stand over those dimensions of its grid along which they differ, so that a mean over others keeps t.

By hand: descent on w^2 / 2 is w_k = (1 - eta)^k w_0 at t_k = eta k.
"""

import json

import numpy as np
import pytest

import flowdyn as fd

QUADRATIC = fd.problems.Quadratic(1.0)
STEPS = fd.solvers.Iteration()
GRID = {"eta": [0.1, 0.5], "seed": [0, 1, 2], "scale": [1.0, 3.0]}
K = np.array([0, 2, 4])


def descent(eta, seed, scale):
    return fd.GradientDescent(QUADRATIC, eta), [scale], {"steps": 4, "saves": 3, "solver": STEPS}


def both(make, grid, folder, block):
    """The sweep in memory, after a look at the one in a folder: by itself, opened again, in one file."""
    whole = fd.sweep(make, grid, block=block)
    stored = fd.sweep(make, grid, folder, block=block)
    opened = fd.load(folder)
    for found in (stored, opened):
        assert {name: v.dims for name, v in found.variables.items()} == {n: v.dims for n, v in whole.variables.items()}
        assert found.load().drop_attrs().identical(whole.drop_attrs())
    assert fd.load(fd.save(whole, folder / "all.nc")).identical(whole)
    return whole


@pytest.mark.parametrize("block", [None, 1, 5])
def test_times_of_each_step_size_stand_over_step_sizes_alone(tmp_path, block):
    result = both(descent, GRID, tmp_path, block)
    assert result.t.dims == ("eta", "save") and result.k.dims == ("save",)
    assert np.array_equal(result.t, result.eta.values[:, None] * K) and np.array_equal(result.k, K)
    cell = result.sel(eta=0.5, seed=2, scale=3.0)
    assert np.array_equal(cell.t, 0.5 * K) and np.allclose(cell.w[:, 0], 3 * 0.5**K, rtol=1e-14)
    system, w0, options = fd.rebuild(cell)
    assert np.array_equal(fd.solve(system, w0, **options).t, 0.5 * K)


def test_times_in_a_folder_are_read_when_they_are_asked_for(tmp_path):
    fd.sweep(descent, GRID, tmp_path, block=1)
    opened = fd.load(tmp_path)
    assert not opened.t.variable._in_memory
    assert np.array_equal(opened.t.isel(eta=1, save=[2, 0]), [2.0, 0.0])
    assert np.array_equal(opened.t[::-1, 1:], [[1.0, 2.0], [0.2, 0.4]])
    assert opened.isel(seed=0).t.variable.identical(opened.isel(seed=1).t.variable)


@pytest.mark.parametrize(
    "part",
    [
        lambda ds: ds.mean("seed"),
        lambda ds: ds.quantile(0.5, ["seed", "scale"]),
        lambda ds: ds.groupby("seed").mean(),
        lambda ds: ds.groupby("scale").mean("seed"),
        lambda ds: ds.isel(seed=0, scale=[1]),
        lambda ds: ds.sel(seed=2),
        lambda ds: ds.where(ds.seed > 0, drop=True),
        lambda ds: ds.stack(run=("seed", "scale")),
    ],
)
def test_what_does_not_vary_with_t_goes_and_t_stays(part):
    found = part(fd.sweep(descent, GRID))
    assert np.array_equal(found.t.transpose("eta", "save"), np.array([[0.1], [0.5]]) * K)
    one = found.sel(eta=0.1)
    assert one.t.dims == ("save",) and np.array_equal(one.t, 0.1 * K)


@pytest.mark.parametrize("block", [None, 1, 3])
@pytest.mark.parametrize("bad", [[(0.1, 0)], [(0.5, 2)], [(0.1, 0), (0.5, 1), (0.5, 2)]])
def test_a_failed_cell_has_no_times_and_those_of_others_are_told(tmp_path, block, bad):
    def make(eta, seed):
        if (eta, seed) in bad:
            raise KeyError("no data")
        return descent(eta, seed, 1.0)

    with pytest.warns(fd.FlowdynWarning, match=f"{len(bad)} of 6 cells failed"):
        result = both(make, {"eta": [0.1, 0.5], "seed": [0, 1, 2]}, tmp_path, block)
    assert result.t.dims == ("eta", "save") and np.array_equal(result.t, np.array([[0.1], [0.5]]) * K)
    assert result.k.dims == ("save",) and np.array_equal(result.k, K)
    assert int(np.isnan(result.loss).all("save").sum()) == len(bad)


def test_what_failed_cells_leave_open_is_not_guessed():
    """One step size is left of each seed: times may vary along either; that they do not along scale is seen."""

    def make(eta, seed, scale):
        if (eta == 0.1) != (seed == 0):
            raise KeyError("no data")
        return descent(eta, seed, scale)

    with pytest.warns(fd.FlowdynWarning, match="4 of 8 cells failed"):
        result = fd.sweep(make, {"eta": [0.1, 0.5], "seed": [0, 1], "scale": [1.0, 3.0]})
    assert result.t.dims == ("eta", "seed", "save") and np.isnan(result.t.sel(eta=0.1, seed=1)).all()
    assert np.array_equal(result.t.sel(eta=0.5, seed=1), 0.5 * K)
    with pytest.warns(fd.FlowdynWarning, match="2 of 4 cells failed"):  # one step size is left of all
        result = fd.sweep(lambda eta, scale: make(eta, 0, scale), {"eta": [0.1, 0.5], "scale": [1.0, 3.0]})
    assert result.t.dims == ("t",) and np.array_equal(result.t, 0.1 * K)


@pytest.mark.parametrize("block", [None, 1])
def test_a_random_run_that_breaks_off_does_not_take_t_from_the_others(tmp_path, block):
    """The step w <- w - eta (2 w - c) grows by |1 - 2 eta| = 19: to 1e255 in 200 steps."""
    problem = fd.problems.LinearRegression([[1.0], [1.0]], [1.0, 2.0])

    def make(seed, eta):
        sgd = fd.SGD(problem, eta if seed == 0 else 0.1, batch_size=1)
        return sgd, [0.0], {"t": 2000.0, "saves": 3, "seed": seed}

    with pytest.warns(fd.FlowdynWarning) as said:
        result = both(make, {"seed": [0, 1], "eta": [10.0, 0.1]}, tmp_path, block)
    assert str(said[0].message).startswith("1 of 4 cells failed")
    assert result.t.dims == ("t",) and np.allclose(result.t, [0.0, 1000.0, 2000.0])
    assert np.isnan(result.loss.sel(seed=0, eta=10.0)).all() and np.isfinite(result.loss.sel(seed=1)).all()


@pytest.mark.parametrize("block", [None, 1, 4])
def test_stop_rules_leave_t_what_it_varies_with(tmp_path, block):
    """The loss w^2 / 2 < 1e-3 where (1 - eta)^k scale < sqrt(2e-3)."""

    def make(eta, scale, seed):
        system, w0, options = descent(eta, seed, scale)
        return system, w0, options | {"steps": 200, "saves": 4, "stop": {"loss": ("<", 1e-3)}}

    grid = {"eta": [0.1, 0.5], "scale": [1.0, 3.0], "seed": [0, 1]}
    result = both(make, grid, tmp_path, block)
    assert result.t.dims == ("eta", "scale", "save") and result.k.dims == ("eta", "scale", "save")
    for eta in grid["eta"]:
        for scale in grid["scale"]:
            last = eta * np.ceil(np.log(np.sqrt(2e-3) / scale) / np.log(1 - eta))
            own = result.sel(eta=eta, scale=scale).mean("seed").t
            assert own.dims == ("save",) and float(own.max()) == pytest.approx(last)
    assert "t" not in result.mean("scale").coords


def test_a_number_of_steps_that_some_runs_do_not_have_is_not_given_to_them(tmp_path):
    def make(is_flow, scale):
        if is_flow:
            return fd.GradientFlow(QUADRATIC), [scale], {"t": [0.0, 0.2, 0.4]}
        return descent(0.1, 0, scale)

    result = both(make, {"is_flow": [0, 1], "scale": [1.0, 3.0]}, tmp_path, None)
    assert result.t.dims == ("t",) and result.k.dims == ("is_flow", "t")
    assert np.array_equal(result.k.isel(is_flow=0), K) and np.isnan(result.k.isel(is_flow=1)).all()
    assert np.array_equal(result.t, 0.1 * K)


def test_a_longer_row_in_another_block_is_no_other_row(tmp_path):
    """Rows are filled up to the longest of their block, which is not the longest of all."""

    def make(steps, scale):
        return fd.GradientDescent(QUADRATIC, 0.1), [scale], {"steps": steps, "solver": STEPS}

    result = both(make, {"steps": [2, 4], "scale": [1.0, 3.0]}, tmp_path, 3)
    assert result.t.dims == ("steps", "save")
    assert np.array_equal(result.t, [[0.0, 0.1, 0.2, np.nan, np.nan], 0.1 * np.arange(5)], equal_nan=True)


@pytest.mark.parametrize("block", [None, 1, 3])
def test_whole_numbers_of_rows_that_are_not_there_are_nan_in_any_blocks(tmp_path, block):
    """Two and four steps; the run of the seed 2 is none."""
    problem = fd.problems.LinearRegression([[1.0], [1.0]], [1.0, 2.0])

    def make(steps, seed):
        if seed == 2:
            raise KeyError("no data")
        return fd.SGD(problem, 0.1, batch_size=1), [0.0], {"steps": steps, "seed": seed}

    with pytest.warns(fd.FlowdynWarning, match="2 of 6 cells failed"):
        result = both(make, {"steps": [2, 4], "seed": [0, 1, 2]}, tmp_path, block)
    assert np.array_equal(result.k, [[0, 1, 2, np.nan, np.nan], range(5)], equal_nan=True)
    assert np.isnan(result.recipe_id_t.sel(steps=2)[:, 3:]).all() and np.isnan(result.recipe_id.sel(seed=2)).all()
    assert (result.recipe_id_t.sel(steps=4, seed=1) == result.recipe_id.sel(steps=4, seed=1)).all()


@pytest.mark.parametrize("block", [None, 1])
def test_what_some_cells_alone_have_is_as_long_as_the_rows_of_all(tmp_path, block):
    """SGD has an exact mean, at its 3 saves; descent, of 5 saves, has none."""
    problem = fd.problems.LinearRegression([[1.0], [1.0]], [1.0, 2.0])

    def make(is_random, scale):
        if is_random:
            return fd.SGD(problem, 0.25, batch_size=1), [scale], {"steps": 2, "seed": 0}
        return fd.GradientDescent(problem, 0.25), [scale], {"steps": 4, "solver": STEPS}

    result = both(make, {"is_random": [0, 1], "scale": [1.0, 3.0]}, tmp_path, block)
    mean = result.w_mean_exact.sel(is_random=1).squeeze("feature")  # w - 1.5 is halved: the curvature is 2
    expected = 1.5 + np.array([[-0.5], [1.5]]) * 0.5 ** np.arange(3)
    assert np.allclose(mean[:, :3], expected, rtol=1e-12) and np.isnan(mean[:, 3:]).all()
    assert np.isnan(result.w_mean_exact.sel(is_random=0)).all() and result.k.sel(is_random=0).max() == 4


def test_ladders_have_their_times_over_what_they_vary_with(tmp_path):
    def make(end, scale):
        return fd.eta_limit(fd.GradientDescent(QUADRATIC, 0.1), [scale], t=end, saves=3)

    with pytest.warns(fd.FlowdynWarning, match="pass key"):  # not in its file's name
        result = fd.sweep(make, {"end": [1.0, 2.0], "scale": [1.0, 2.0]}, tmp_path)
    assert result.t.dims == ("end", "save") and np.allclose(result.t, [[0.0, 0.5, 1.0], [0.0, 1.0, 2.0]])


def altered(folder, change):
    """The index of a store, changed and written again."""
    index = fd.load(folder / "sweep.nc")
    layout = json.loads(index.attrs["flowdyn_layout"])
    index = change(index.load(), layout)
    fd.save(index.assign_attrs(flowdyn_layout=json.dumps(layout)), folder / "sweep.nc", overwrite=True)


def test_a_store_of_before_opens_as_it_was_and_is_told_anew_by_the_same_call(tmp_path):
    fd.sweep(descent, GRID, tmp_path, block=5)

    def older(index, layout):
        names = layout.pop("rows")
        return index.drop_vars([f"cells_of_{name}" for name in names])

    altered(tmp_path, older)
    before = fd.load(tmp_path)
    assert before.t.dims == ("eta", "seed", "scale", "save") and before.k.dims == ("save",)
    assert np.array_equal(before.t, np.broadcast_to(before.eta.values[:, None, None, None] * K, before.t.shape))
    assert fd.sweep(descent, GRID, tmp_path, block=5).t.dims == fd.load(tmp_path).t.dims == ("eta", "save")


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.assign(cells_of_t=("eta", [0, 12])),
        lambda index: index.assign(cells_of_t=("eta", [-1, 0])),
        lambda index: index.assign(cells_of_t=("block", [0, 1, 2])),
        lambda index: index.assign(cells_of_t=("eta", [0.0, 1.0])),
        lambda index: index.drop_vars("cells_of_t"),
    ],
)
def test_an_index_of_cells_that_there_are_not_is_refused(tmp_path, change):
    fd.sweep(descent, GRID, tmp_path, block=5)
    altered(tmp_path, lambda index, layout: change(index))
    with pytest.raises(fd.FileError, match="its index is damaged"):
        fd.load(tmp_path)


def test_a_start_is_one_run():
    ends = fd.sweep(descent, GRID).sel(eta=0.5).isel(save=-1)
    with pytest.raises(fd.ArgumentError, match=r"`w0` must hold one run, got .*; select one, e.g. ds.isel\(scale=0\)"):
        fd.solve(fd.GradientDescent(QUADRATIC, 0.5), ends.isel(seed=0), steps=6)
    later = fd.solve(fd.GradientDescent(QUADRATIC, 0.5), ends.isel(seed=0, scale=1), steps=2, solver=STEPS)
    assert later.k.values.tolist() == [4, 5, 6] and np.allclose(later.w[:, 0], 3 * 0.5 ** np.arange(4, 7))
