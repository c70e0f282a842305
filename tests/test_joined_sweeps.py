"""fd.concat of sweeps gives what one sweep over all of their values gives, rows and times as well.

By hand: descent on w^2 / 2 is w_k = (1 - eta)^k w_0 at t_k = eta k.
"""

import warnings

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import flowdyn as fd

QUADRATIC = fd.problems.Quadratic(1.0)
STEPS = fd.solvers.Iteration()
DATA = np.random.default_rng(0).normal(size=(6, 3))
REGRESSION = fd.problems.LinearRegression(DATA[:, :2], DATA[:, 2])
TREE = fd.problems.CustomProblem(
    lambda w: jnp.sum(w["a"] ** 2) / 2 + w["b"][0] ** 4, {"a": np.array([1.0, 2.0]), "b": (0.5,)}
)


def descent(eta, seed=0):
    return fd.GradientDescent(QUADRATIC, eta), [1.0 + seed], {"t": 1.0, "solver": STEPS}


def noisy(eta, seed=0, **options):
    return fd.SGD(REGRESSION, eta, batch_size=2), [1.0, 2.0], {"t": 1.0, "saves": 5, "seed": seed} | options


def noisy_steps(eta, seed=0):
    return fd.SGD(REGRESSION, eta, batch_size=2), [1.0, 2.0], {"steps": round(1 / eta), "seed": seed}


def ensemble(eta, seed=0):
    return noisy(eta, seed, realizations=3)


def flow(eta, seed=0):
    return fd.GradientFlow(QUADRATIC), [eta + seed], {"t": 1.0, "saves": 3}


def stopped(eta, seed=0):
    return fd.GradientFlow(QUADRATIC), [eta + seed + 1], {"t": 9.0, "saves": 9, "stop": {"loss": ("<", 0.1)}}


def stiff(eta, seed=0):
    system = fd.GradientFlow(fd.problems.Quadratic([[1.0, 0.0], [0.0, 1e4]]))
    return system, [eta, 1.0 + seed], {"t": [0.0, eta, 1.0], "solver": fd.solvers.Auto()}


def tree(eta, seed=0):
    return fd.HeavyBall(TREE, eta, friction=1.0), TREE.init() + seed, {"t": 1.0}


def dataset(eta, seed=0):
    system, w0, options = noisy(eta, seed)
    return fd.solve(system, w0, **options)


def broken(eta, seed=0):
    """The first step from [1, 2] goes to 1e3, and the run breaks off, where eta = .05 of the seed 1."""
    if (eta, seed) == (0.025, 0):
        raise KeyError("no data")
    system, w0, options = noisy_steps(eta, seed)
    return (
        (fd.SGD(REGRESSION, 1e3, batch_size=2), w0, options | {"steps": 300})
        if (eta, seed) == (0.05, 1)
        else (
            system,
            w0,
            options,
        )
    )


def all_of(parts):
    return [eta for part in parts for eta in part]


def whole(found, expected):
    """Two sweeps with everything the same but for when they were made, numbers to rounding."""
    assert {n: v.dims for n, v in found.variables.items()} == {n: v.dims for n, v in expected.variables.items()}
    assert {n: v.dtype for n, v in found.variables.items()} == {n: v.dtype for n, v in expected.variables.items()}
    assert set(found.coords) == set(expected.coords) and set(found.indexes) == set(expected.indexes)
    xr.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    numbers = [name for name, v in expected.data_vars.items() if v.dtype.kind == "f" and name != "recipe_id"]
    gone = {"history": "", "date_created": ""}
    one, other = (ds.drop_vars(numbers).assign_attrs(gone) for ds in (found, expected))
    xr.testing.assert_identical(one, other)
    assert {n: found[n].attrs for n in numbers} == {n: expected[n].attrs for n in numbers}


MAKES = [descent, noisy, noisy_steps, ensemble, flow, stopped, stiff, tree, dataset]
PARTS = [
    [[0.1, 0.05], [0.025]],
    [[0.1], [0.05, 0.025]],
    [[0.1, 0.05], [0.025, 0.0125]],
    [[0.1], [0.05]],
    [[0.0125], [0.05, 0.025], [0.1]],
]


@pytest.mark.parametrize("parts", PARTS, ids=str)
@pytest.mark.parametrize("make", MAKES)
def test_parts_are_one_sweep(make, parts):
    found = fd.concat([fd.sweep(make, {"eta": part}) for part in parts], "eta")
    whole(found, fd.sweep(make, {"eta": all_of(parts)}))


@pytest.mark.parametrize("order", [("eta", "seed"), ("seed", "eta")])
@pytest.mark.parametrize("make", MAKES)
def test_parts_of_a_grid_are_one_sweep(make, order):
    def swept(etas, seeds):
        grid = {"eta": etas, "seed": seeds}
        return fd.sweep(make, {name: grid[name] for name in order})

    by_eta = fd.concat([swept([0.1, 0.05], [1, 0]), swept([0.025], [1, 0])], "eta")
    by_seed = fd.concat([swept([0.1, 0.05, 0.025], [1]), swept([0.1, 0.05, 0.025], [0])], "seed")
    expected = swept([0.1, 0.05, 0.025], [1, 0])
    whole(by_eta, expected)
    whole(by_seed, expected)
    whole(fd.concat([expected.isel(eta=[0]), expected.isel(eta=[1, 2])], "eta"), expected)


def test_times_and_states_are_those_by_hand():
    found = fd.concat([fd.sweep(descent, {"eta": [0.5, 0.25]}), fd.sweep(descent, {"eta": [0.2]})], "eta")
    assert found.t.dims == ("eta", "save") and "t" not in found.indexes
    for eta, steps in [(0.5, 2), (0.25, 4), (0.2, 5)]:
        k = np.arange(steps + 1)
        own = found.sel(eta=eta).isel(save=k)
        assert np.allclose(own.t, eta * k) and np.allclose(own.w[:, 0], (1 - eta) ** k, rtol=1e-14)
        assert np.isnan(found.sel(eta=eta).t[steps + 1 :]).all()
    same = fd.concat([fd.sweep(flow, {"eta": [part]}) for part in (1.0, 3.0)], "eta")
    assert same.t.dims == ("t",) and np.allclose(same.w[1, :, 0], 3 * np.exp(-same.t))


@pytest.mark.parametrize("parts", PARTS[:3], ids=str)
def test_cells_that_failed_are_kept_with_their_reasons(parts):
    seeds = [0, 1, 2]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        expected, *swept = [fd.sweep(broken, {"eta": part, "seed": seeds}) for part in [all_of(parts), *parts]]
    assert "2 of" in str(said[0].message)
    found = fd.concat(swept, "eta")
    assert "no data" in str(found.failure.sel(eta=0.025, seed=0).item())
    assert found.failure.sel(eta=0.05, seed=1).item() and int((found.failure != "").sum()) == 2
    whole(found, expected)


def test_a_cell_that_is_in_no_part_says_so():
    found = fd.concat([fd.sweep(noisy, {"eta": [0.1], "seed": s}) for s in ([0, 1], [2])], "seed")
    found = fd.concat([found, fd.sweep(noisy, {"eta": [0.05], "seed": [1, 2]})], "eta")
    assert found.failure.values.tolist() == [["", "", ""], ["no such cell in the results that were joined", "", ""]]
    assert np.isnan(found.w.sel(eta=0.05, seed=0)).all() and np.isfinite(found.w.sel(eta=0.05, seed=2)).all()
    with pytest.raises(fd.ArgumentError, match="no such cell"):
        fd.rebuild(found.sel(eta=0.05, seed=0))


def test_runs_stand_beside_sweeps():
    one = fd.sweep(noisy, {"eta": [0.1, 0.05]})
    whole(fd.concat([dataset(0.025), one], "eta"), fd.sweep(noisy, {"eta": [0.025, 0.1, 0.05]}))
    whole(fd.concat([one.sel(eta=0.05), one.sel(eta=[0.1])], "eta"), fd.sweep(noisy, {"eta": [0.05, 0.1]}))


def test_numbers_that_go_together_are_joined_together():
    def make(eta, batch_size):
        return fd.SGD(REGRESSION, eta, batch_size=batch_size), [1.0, 2.0], {"t": 1.0, "saves": 3, "seed": 0}

    def swept(*pairs):
        return fd.sweep(make, {("eta", "batch_size"): list(pairs)})

    expected = swept((0.1, 1), (0.1, 2), (0.05, 2))
    whole(fd.concat([swept((0.1, 1), (0.1, 2)), swept((0.05, 2))], "eta_batch_size"), expected)
    with pytest.raises(fd.ArgumentError, match=r"must not name an array .* got 'eta'; it goes along 'eta_batch_size'"):
        fd.concat([expected] * 2, "eta")
    last = expected.isel(eta_batch_size=2)
    whole(fd.concat([expected.isel(eta_batch_size=[0, 1]), last], "eta_batch_size"), expected)


@pytest.mark.parametrize("dim", ["system", pd.Index(["SGD", "descent"], name="system")])
def test_sweeps_of_two_methods_have_rows_of_their_own(dim, tmp_path):
    """20 and 40 steps of descent, beside 5 saves of SGD, which alone has a mean that is known."""

    def descents(eta, seed):
        return fd.GradientDescent(REGRESSION, eta), [1.0, 2.0], {"t": 2.0, "solver": STEPS}

    grid = {"eta": [0.1, 0.05], "seed": [0, 1]}
    parts = [fd.sweep(noisy, grid), fd.sweep(descents, grid)]
    found = fd.concat(parts, dim)
    assert found.t.dims == ("system", "eta", "save") and found.sizes["save"] == 41
    for i, part in enumerate(parts):
        own = found.isel(system=i, save=slice(part.sizes["save"]))
        assert np.array_equal(own.w, part.w, equal_nan=True) and np.array_equal(own.t, part.t, equal_nan=True)
    assert np.isnan(found.w_mean_exact.isel(system=1)).all()
    assert ("system" in found.coords) == (dim is not None and not isinstance(dim, str))
    assert fd.load(fd.save(found, tmp_path / "both.nc")).identical(found)
    more = fd.concat(
        [fd.sweep(noisy, {"eta": [0.15], "seed": [0, 1]}), fd.sweep(descents, {"eta": [0.15], "seed": [0, 1]})], dim
    )
    assert fd.concat([found, more], "eta").sizes["eta"] == 3


def test_what_is_done_with_a_sweep_is_done_with_joined_ones(tmp_path):
    grids = {"a": {"eta": [0.1, 0.05], "seed": [0, 1]}, "b": {"eta": [0.025], "seed": [0, 1]}}
    for name, grid in grids.items():
        fd.sweep(noisy, grid, tmp_path / name)
    found = fd.concat([fd.load(tmp_path / name) for name in grids], "eta")
    whole(found, fd.sweep(noisy, {"eta": [0.1, 0.05, 0.025], "seed": [0, 1]}))
    assert fd.load(fd.save(found, tmp_path / "both.nc")).identical(found)
    mean = found.mean("seed", keep_attrs=True)
    assert mean.t.dims == ("eta", "save") and fd.plot(mean) and fd.plot(found) and fd.report(found, tmp_path / "a.html")
    for eta in found.eta.values:
        one = found.sel(eta=eta, seed=1)
        assert np.array_equal(fd.rerun(one).w, dataset(eta, 1).w) and np.array_equal(one.w, dataset(eta, 1).w)
        later = fd.solve(noisy(eta)[0], one.isel(save=-1), t=2.0, saves=2, seed=1)
        assert later.t.values.tolist() == [1.0, 2.0]
    with pytest.raises(fd.ArgumentError, match=r"`ds` must hold one run, got .*ds.isel\(eta=0, seed=0\)"):
        fd.rerun(found)
    with pytest.raises(fd.ArgumentError, match=r"must be a Dataset at one time, .* run.isel\(save=-1\)"):
        fd.solve(noisy(0.1)[0], found, t=2.0)


def test_coordinates_of_some_dimensions_stay_there():
    def swept(etas, rates):
        return fd.sweep(noisy, {"eta": etas, "seed": [0, 1]}).assign_coords(rate=("eta", rates))

    found = fd.concat([swept([0.1, 0.05], ["a", "b"]), swept([0.025], ["c"])], "eta")
    assert found.rate.dims == ("eta",) and found.rate.values.tolist() == ["a", "b", "c"]
    ends = fd.concat([swept([0.1, 0.05], [1, 2]).isel(save=-1), swept([0.025], [3]).isel(t=-1)], "eta")
    assert ends.t.dims == () and ends.k.dims == ("eta",) and ends.k.values.tolist() == [10, 20, 40]


@pytest.mark.parametrize("order", [1, -1])
def test_values_that_some_parts_lack_are_no_places(order):
    """Seeds 0 and 1 beside 5 and 6: without their values the second would stand in the rows of the first."""
    parts = [fd.sweep(noisy, {"eta": [0.1], "seed": [0, 1]}), fd.sweep(noisy, {"eta": [0.05], "seed": [5, 6]})]
    parts[0] = parts[0].drop_vars("seed")
    with pytest.raises(fd.ArgumentError, match=r"must have values of seed, got .*; e.g. assign_coords\(seed=...\)$"):
        fd.concat(parts[::order], "eta")


def test_a_value_may_come_twice_where_no_cell_does():
    expected = fd.sweep(noisy, {"eta": [0.1, 0.05], "seed": [0, 1]})
    cells = [fd.sweep(noisy, {"eta": [eta], "seed": [seed]}) for eta in (0.1, 0.05) for seed in (0, 1)]
    whole(fd.concat(cells, "eta"), expected)
    whole(fd.concat(cells, "seed"), expected)
    runs = [dataset(0.05, seed) for seed in (0, 1)]
    whole(fd.concat([fd.sweep(noisy, {"eta": [0.1], "seed": [0, 1]}), *runs], "eta"), expected)
    holed = fd.concat(cells[:3], "eta")
    assert "no such cell" in holed.failure.sel(eta=0.05, seed=1).item()
    for last in (cells[3], runs[1]):
        for dim in ("eta", "seed"):
            found = fd.concat([holed, last], dim)
            ids = {name: found[name].astype(int) for name in ("recipe_id", "recipe_id_t")}  # floats where a hole was
            whole(found.assign(ids).assign_coords(k=found.k.astype(int)), expected)
    with pytest.raises(fd.ArgumentError, match=r"each cell of the grid once, got {'eta': 0.05, 'seed': 0}; keep it"):
        fd.concat([holed, *cells[2:]], "eta")


NUMBERS = {
    "z": np.array(1 + 2j),
    "short": np.float32(0.5),
    "day": np.datetime64("2020-01-02", "ns"),
    "span": np.timedelta64(3, "ns"),
    "yes": np.True_,
    "many": np.int64(7),
}


def typed(eta, seed=0):
    return dataset(eta, seed).assign({name: ((), value) for name, value in NUMBERS.items()})


@pytest.mark.parametrize(
    "join",
    [
        lambda: fd.concat([fd.sweep(typed, {"eta": [0.1]}), fd.sweep(noisy, {"eta": [0.05]})], "eta"),
        lambda: fd.sweep(lambda eta: typed(eta) if eta > 0.07 else noisy(eta), {"eta": [0.1, 0.05]}),
        lambda: fd.sweep(lambda eta: typed(eta) if eta > 0.07 else noisy(eta), {"eta": [0.1, 0.05]}, block=1),
    ],
)
def test_numbers_that_only_some_cells_have_keep_their_types(join):
    """As xarray's reindex has it: NaN, NaT, and floats for what has neither."""
    found = join()
    for name, value in NUMBERS.items():
        expected = xr.DataArray(value[None], {"eta": [0.1]}, ["eta"]).reindex(eta=[0.1, 0.05])
        assert found[name].dtype == expected.dtype and np.array_equal(found[name][0], expected[0]), name
        assert found[name].isnull().values.tolist() == [False, True], name


def test_whole_types_stay_where_every_cell_has_them():
    for found in (
        fd.concat([fd.sweep(typed, {"eta": [eta]}) for eta in (0.1, 0.05)], "eta"),
        fd.sweep(typed, {"eta": [0.1, 0.05]}, block=1),
    ):
        for name in NUMBERS:
            assert found[name].dtype == NUMBERS[name].dtype and (found[name] == NUMBERS[name]).all()


def ladder(top, seed=0):
    return fd.eta_limit(fd.GradientDescent(QUADRATIC, top), [1.0 + seed], t=1.0)


def of_features(kind, seed=0):
    """The same data with its columns named, in another order, or not at all."""
    names = [["a", "b"], ["b", "a"], None][kind]
    data = DATA[:, :2] if names is None else pd.DataFrame(DATA[:, :2], columns=names)
    return (
        fd.SGD(fd.problems.LinearRegression(data, DATA[:, 2]), 0.1, batch_size=2),
        [1.0, 2.0],
        {"t": 1.0, "seed": seed},
    )


@pytest.mark.parametrize("parts", [[0.1, 0.05], [[0.1, 0.2], [0.05]]], ids=str)
def test_ladders_of_other_step_sizes_are_one_sweep(parts):
    found = fd.concat([fd.sweep(ladder, {"top": np.atleast_1d(part), "seed": [0, 1]}) for part in parts], "top")
    expected = fd.sweep(ladder, {"top": np.hstack(parts), "seed": [0, 1]})
    assert found.eta.dims[-1] == "eta" and set(found.sizes) == set(expected.sizes)
    for i, top in enumerate(np.hstack(parts)):  # halved again and again
        assert np.allclose(found.eta.isel(top=i, seed=0), top / 2.0 ** np.arange(found.sizes["eta"]))
    whole(found, expected)


def test_cells_of_other_labels_are_one_sweep():
    found = fd.concat([fd.sweep(of_features, {"kind": [kind]}) for kind in (0, 1, 2)], "kind")
    whole(found, fd.sweep(of_features, {"kind": [0, 1, 2]}))
    assert found.feature.dims == ("kind", "feature") and found.feature.values.tolist() == [
        ["a", "b"],
        ["b", "a"],
        [""] * 2,
    ]


def test_one_value_for_each_part_stands_along_the_joined_dimension():
    grid = fd.sweep(noisy, {"eta": [0.1, 0.05], "seed": [0, 1]})
    rows = [grid.isel(eta=i).assign_coords(lab=name) for i, name in enumerate("xy")]
    for dim, own in [("eta", ("eta",)), (pd.Index([3, 4], name="who"), ("who",))]:
        found = fd.concat(rows, dim)
        assert found.lab.dims == own and found.lab.values.tolist() == ["x", "y"] and found.eta.dims == own
    assert found.swap_dims(who="eta").sel(eta=0.05).lab == "y"
    parts = [fd.sweep(noisy, {"eta": etas, "seed": [0, 1]}) for etas in ([0.1, 0.05], [0.025])]
    found = fd.concat([part.assign_coords(lab=name) for part, name in zip(parts, "xy", strict=True)], "eta")
    assert found.lab.dims == ("eta",) and found.lab.values.tolist() == ["x", "x", "y"]


def test_rows_of_cells_that_are_gone_go_too():
    full = fd.sweep(noisy_steps, {"eta": [0.1, 0.05, 0.025], "seed": [0, 1]})
    found = fd.concat([full.sel(eta=[0.1]), full.sel(eta=[0.05])], "eta")
    assert found.sizes["save"] == 21  # 1 / .05 steps, and the start
    assert fd.concat([full.sel(eta=[0.1])], "eta").sizes["t"] == 11


def test_dimensions_may_come_in_another_order():
    parts = [fd.sweep(ensemble, {"eta": etas, "seed": [0, 1]}) for etas in ([0.1, 0.05], [0.025])]
    expected = fd.concat(parts, "eta")
    found = fd.concat([parts[0], parts[1].transpose()], "eta")
    whole(found, expected)
    one = found.isel(eta=2, seed=0)
    assert np.array_equal(fd.rerun(one).w, one.w)  # its data are in order again
    found = fd.concat([parts[0].transpose(), parts[1]], "eta")
    assert found.w.dims != expected.w.dims and np.array_equal(found.w.transpose(*expected.w.dims), expected.w, True)


@pytest.mark.parametrize(
    ("join", "message"),
    [
        (
            lambda a, b: fd.concat([a, b, a.isel(eta=[0])], "eta"),
            r"`runs` must have each cell of the grid once, got {'eta': 0.1}; keep it in one of them",
        ),
        (lambda a, b: fd.concat([a, b], "eta", join="inner"), r'must fit together .*; .* take join="outer"'),
        (lambda a, b: fd.concat([a.stack(z=["eta"]), b.stack(z=["eta"])], "z"), r"unstack them first"),
        (
            lambda a, b: fd.concat([a, fd.sweep(descent, {"eta": [0.2]})], "eta"),
            r"same variables and sizes, got .* by itself",
        ),
        (lambda a, b: fd.concat([a.isel(eta=[]), b], "eta"), r"`runs\[0\]` must have an entry along eta to be joined"),
        (
            lambda a, b: fd.concat([a.isel(save=[]), b], "eta"),
            r"`runs\[0\]` must have an entry along save to be joined",
        ),
        (
            lambda a, b: fd.concat([a, b.drop_vars("eta")], "eta"),
            r"`runs\[1\]` must have values of eta, .*pandas.Index",
        ),
        (
            lambda a, b: fd.concat([a.drop_vars("eta"), b], "eta"),
            r"`runs\[0\]` must have values of eta, .*pandas.Index",
        ),
        (
            lambda a, b: fd.concat([a.drop_vars("eta"), dataset(0.15)], "eta"),
            r"`runs\[0\]` must have values of eta, .*pandas.Index",
        ),
        (lambda a, b: fd.concat([a, b], pd.Index([1, 2], name="eta")), r"`dim` must have the 3 values of the runs"),
        (lambda a, b: fd.concat([a.mean("eta"), b], "eta"), r"with 'recipe' and 'recipe_id', got .*join first"),
        (
            lambda a, b: fd.concat([fd.concat([a] * 2, "run"), fd.concat([b] * 3, "run")], "eta"),
            r"must have one size along 'run', which has no values, got \[2, 3\]; give it values",
        ),
        (lambda a, b: fd.concat(a, "eta"), r"`runs` must be a list of results, got a Dataset; give \[run\]"),
        (lambda a, b: fd.concat({"a": a}, "eta"), r"must be a list of results, got a dict; give its values\(\)"),
        (
            lambda a, b: fd.concat(xr.DataTree(a), "eta"),
            r"must be a list .* a DataTree; give \[node.to_dataset\(\) for",
        ),
        (lambda a, b: fd.concat("a.nc", "eta"), r"must be a list .* a str; give \[fd.load\(path\), ...\]"),
        (lambda a, b: fd.concat(None, "eta"), r"must be a list of results, got a NoneType; e.g. \[run, other\]"),
        (lambda a, b: fd.concat([xr.DataTree(a)], "eta"), r"`runs\[0\]` must be .*; give node.to_dataset\(\)"),
        (lambda a, b: fd.concat(["a.nc"], "eta"), r"`runs\[0\]` must be .* got 'a.nc'; give fd.load\(path\)"),
        (lambda a, b: fd.concat([b, b], "save"), r"`dim` must not name something else .* got 'save'; e.g. \"run\""),
        (lambda a, b: fd.concat([a, b], "cell"), r"`dim` must not name something else .* got 'cell'; e.g. \"run\""),
        (
            lambda a, b: fd.concat([a.isel(eta=0), b.isel(eta=0)], "status"),
            r"`dim` must not name something else .* got 'status'; e.g. \"run\"",
        ),
        (
            lambda a, b: fd.concat([a, b], xr.DataArray(1.0, name="run")),
            r"`dim` must have one dimension, got {}; give the values along it",
        ),
        (
            lambda a, b: fd.concat([a, b], xr.DataArray([[1.0], [2.0]], dims=("u", "v"), name="run")),
            r"`dim` must have one dimension, got {'u': 2, 'v': 1}; give the values along it",
        ),
        (
            lambda a, b: fd.concat([a.drop_vars("failure"), b.drop_vars("failure")], "eta"),
            r"must fit together .*; keep 'failure', which says what the cells of a sweep are",
        ),
        (
            lambda a, b: fd.concat([a, b], "feature"),
            r"must fit together .*; join sweeps along a dimension of their grid, or a new one",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused_with_a_way_out(join, message):
    with pytest.raises(fd.ArgumentError, match=message) as refused:
        join(fd.sweep(noisy, {"eta": [0.1, 0.05]}), fd.sweep(noisy, {"eta": [0.025]}))
    assert "\n" not in str(refused.value)


def test_a_row_without_numbers_is_no_start():
    cell = fd.sweep(descent, {"eta": [0.5, 0.25]}).sel(eta=0.5)
    with pytest.raises(
        fd.ArgumentError, match=r"`w0` must be finite, .*; .*run.dropna\('save', how='all'\).isel\(save=-1\)$"
    ):
        fd.solve(descent(0.5)[0], cell.isel(save=-1), t=2.0)
    found = fd.solve(descent(0.5)[0], cell.dropna("save", how="all").isel(save=-1), t=2.0, solver=STEPS)
    assert found.t.values.tolist() == [1.0, 1.5, 2.0] and np.allclose(found.w[:, 0], [1 / 4, 1 / 8, 1 / 16])
    runs = [fd.solve(system, w0, **options) for system, w0, options in (descent(0.5), descent(0.4))]
    row = fd.concat(runs, "eta").sel(eta=0.5, t=0.4)  # a time of the other run
    with pytest.raises(fd.ArgumentError, match=r"`w0` must be finite, .*; .*run.dropna\('t'\).isel\(t=-1\)$"):
        fd.solve(descent(0.5)[0], row, t=2.0)
    lost = runs[0].isel(t=1).assign_coords(k=np.nan)
    with pytest.raises(fd.ArgumentError, match=r"`w0` must be finite, got nan; .*run.dropna\('t'\)"):
        fd.solve(descent(0.5)[0], lost, t=2.0)
