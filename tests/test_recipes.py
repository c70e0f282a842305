"""What people do with runs: whatever xarray makes of them rebuilds to the run it shows, or is refused in words."""

import contextlib
import json

import numpy as np
import pytest
import xarray as xr
from fuzz import handles

import flowdyn as fd

# of xarray, about its coming defaults: both are tried here
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
RNG = np.random.default_rng(7)
DATA = [(RNG.standard_normal((6, 2)), RNG.standard_normal(6)) for _ in range(2)]
DEFAULTS = [False, True]
defaults = pytest.mark.parametrize("new", DEFAULTS, ids=["old defaults", "new defaults"])


@pytest.fixture(scope="module")
def runs():
    """Two runs that differ in step size, seed, data and start: none of it may come from the other."""
    made = []
    for i, (X, y) in enumerate(DATA):
        method = fd.SGD(fd.problems.LinearRegression(X, y), 0.1 / 2**i, batch_size=2)
        made.append(fd.solve(method, [1.0 + i, -1.0], t=1.0, saves=6, seed=3 + i))
    return made


def what_it_is(system, w0, options):
    """Number of the run that a recipe belongs to, from its step size, seed, data and start together."""
    i = options["seed"] - 3
    assert float(system.eta.eta) == 0.1 / 2**i
    assert np.array_equal(system.problem.X, DATA[i][0]) and np.array_equal(system.problem.y, DATA[i][1])
    assert np.array_equal(w0, [1.0 + i, -1.0])
    return i


def by(axis):
    return {"full": {"data_vars": "all", "coords": "different", "compat": "equals"}, "fd": None, "bare": {}}[axis]


def join(pair, dim, how):
    if how == "fd":
        return fd.concat(pair, dim)
    return xr.concat(pair, dim, **by(how))


# operation -> (Dataset of it, the run that it shows: 0, 1, or None where it cannot be told and must be refused)
def one(a, b):
    yield "itself", lambda: a, 0
    yield "sel", lambda: a.sel(t=0.5, method="nearest"), 0
    yield "isel", lambda: b.isel(t=-1), 1
    yield "a slice", lambda: b.isel(t=slice(2, 4)), 1
    yield "where", lambda: b.where(b.t > 0.4), 1
    yield "where, dropped", lambda: b.where(b.t > 0.4, drop=True), 1
    yield "mean over t", lambda: b.mean("t", keep_attrs=True), 1
    yield (
        "a variable with all that the message names",
        lambda: b[["w", "recipe_id", "recipe_id_t", "X", "w_initial", "y"]],
        1,
    )
    yield "a variable and its seals", lambda: b[["w", "recipe_id", "recipe_id_t"]], None
    yield "without the seals of its times", lambda: b.drop_vars("recipe_id_t"), None
    yield "a variable alone", lambda: b[["w"]], None
    yield "a cut feature", lambda: b.isel(feature=[0]), None
    yield "cut samples", lambda: b.isel(sample=slice(0, 3)), None
    yield "a difference", lambda: (a - b).assign_attrs(a.attrs), None
    yield "twice", lambda: (2 * b).assign_attrs(b.attrs), None
    yield "another's variable", lambda: a.assign(recipe_id=b.recipe_id), None
    yield "merge over", lambda: xr.merge([a[["w"]], b.drop_vars("w")], compat="override"), None
    yield "a copy in a tree", lambda: xr.DataTree.from_dict({"x/y": b, "x/z": a})["x/y"].to_dataset(), 1
    yield "moved in time", lambda: b.assign_coords(t=b.t + 5), None


def many(a, b, how):
    refused = how == "bare"  # by the new defaults
    yield "sel", lambda: join([a, b], "eta", how).sel(eta=0.05), 1, refused
    yield "isel", lambda: join([a, b], "run", how).isel(run=1), 1, refused
    yield "isel of the first", lambda: join([a, b], "run", how).isel(run=0), 0, False
    yield (
        "where",
        lambda: join([a, b], "eta", how).where(lambda ds: ds.eta < 0.07, drop=True).squeeze("eta"),
        1,
        refused,
    )
    yield "groupby", lambda: next(iter(join([b, a], "eta", how).groupby("eta")))[1].squeeze("eta"), 1, False
    yield "stacked", lambda: join([a, b], "run", how).stack(z=("run", "t")).isel(z=-1), 1, refused
    yield "a slice of them", lambda: join([a, b], "run", how), None, False
    yield "a mean over them", lambda: join([a, b], "run", how).mean("run", keep_attrs=True), None, False
    yield "moved, along t", lambda: join([a, b.assign_coords(t=b.t + 2)], "t", how).isel(t=-1), None, False
    yield "along t, of the first", lambda: join([a, b], "t", how).isel(t=5), 0, False
    yield "along t, of the second", lambda: join([a, b], "t", how).isel(t=7), 1, refused
    yield "along t, unselected", lambda: join([a, b], "t", how), None, False
    yield "along t, a mean", lambda: join([a, b], "t", how).mean("t", keep_attrs=True), None, False
    yield "along t, of both", lambda: join([a, b], "t", how).isel(t=[0, 7]), None, False
    if how == "fd":  # by its new defaults xarray joins no runs of other times
        yield "missing times", lambda: join([a, b.isel(t=slice(2, 4))], "run", how).isel(run=0), 0, False
        yield "of the one that lacks them", lambda: join([a, b.isel(t=slice(2, 4))], "run", how).isel(run=1), 1, False


def check(ds, shown, may_refuse=False):
    if shown is None:
        with pytest.raises(fd.ArgumentError, match=r"^[^\n]*$"):
            fd.rebuild(ds)
        return
    with contextlib.suppress(fd.ArgumentError) if may_refuse else contextlib.nullcontext():
        assert what_it_is(*fd.rebuild(ds)) == shown


@defaults
def test_what_is_made_of_one_run(runs, new, tmp_path):
    with xr.set_options(use_new_combine_kwarg_defaults=new):
        for i, (name, make, shown) in enumerate(one(*runs)):
            ds = make()
            check(ds, shown)
            if ds.attrs.get("flowdyn_schema") and name != "where, dropped":
                first = fd.save(ds, tmp_path / f"{i}.nc")
                with fd.load(first) as back, fd.load(fd.save(back.load(), tmp_path / f"{i}b.nc")) as again:
                    check(again.load(), shown)


@defaults
@pytest.mark.parametrize("how", ["bare", "full", "fd"])
def test_what_is_made_of_two_runs(runs, new, how):
    with xr.set_options(use_new_combine_kwarg_defaults=new):
        for _, make, shown, refused in many(*runs, how):
            check(make(), shown, refused and new)


@defaults
@pytest.mark.parametrize("how", ["bare", "full"])
def test_files_that_are_opened_as_one(runs, new, how, tmp_path):
    paths = [fd.save(run, tmp_path / f"{i}.nc") for i, run in enumerate(runs)]
    with xr.set_options(use_new_combine_kwarg_defaults=new):
        for dim in ("run", "eta"):
            with xr.open_mfdataset(paths, combine="nested", concat_dim=dim, **by(how)) as both:
                check(both, None)
                check(both.isel({dim: 0}), 0)
                check(both.isel({dim: 1}), 1, how == "bare" and new)
        with xr.open_mfdataset(paths, combine="nested", concat_dim="t", **by(how)) as rows:
            check(rows, None)
            check(rows.isel(t=5), 0)
            check(rows.isel(t=7), 1, how == "bare" and new)
    assert all(handles(path) == [] for path in paths)


@defaults
def test_starts_that_are_joined_along_t(new):
    flow = fd.GradientFlow(fd.problems.Quadratic.example()[0])
    pair = [fd.solve(flow, np.array([[1.0, 2.0], [3.0, float(last)]]), t=1.0, saves=4) for last in (4, 5)]
    with xr.set_options(use_new_combine_kwarg_defaults=new):
        both = xr.concat(pair, "t")
    assert fd.rebuild(both.isel(start=1, t=2))[1].tolist() == [3.0, 4.0]
    assert fd.rebuild(both.isel(start=0, t=6))[1].tolist() == [1.0, 2.0]  # the same in both
    for own, last in (({"start": 1, "t": 6}, [3.0, 5.0]), ({"t": 6}, [[1.0, 2.0], [3.0, 5.0]]), ({"start": 1}, None)):
        if new or last is None:
            with pytest.raises(fd.ArgumentError):
                fd.rebuild(both.isel(own))
        else:
            assert fd.rebuild(both.isel(own))[1].tolist() == last


@defaults
def test_merging_two_runs(runs, new):
    with xr.set_options(use_new_combine_kwarg_defaults=new):
        try:
            merged = xr.merge(runs)
        except xr.MergeError:
            return
        check(merged, 0, may_refuse=True)


def test_other_data_are_joined_too(runs):
    both = fd.concat(runs, "run")
    assert both.X.dims == ("run", "sample", "feature") and both.seed.values.tolist() == [3, 4]
    assert fd.concat(runs, "seed").sel(seed=4).w.equals(runs[1].w.drop_vars("seed").assign_coords(seed=4))


def test_a_run_is_selected_by_the_numbers_of_its_system(runs):
    assert float(runs[1].eta) == 0.05 and int(runs[1].batch_size) == 2 and int(runs[1].seed) == 4
    assert runs[0].w.coords["eta"].attrs["long_name"].startswith("step size")


def test_a_name_that_is_taken_stays_the_users():
    method = fd.SGD(fd.problems.LinearRegression(*DATA[0]), 0.1, batch_size=2)
    run = fd.solve(method, [1.0, 1.0], steps=3, observe={"batch_size": lambda w: w[0]})
    assert run.batch_size.dims == ("t",)


def test_tables_and_means_still_work(runs):
    table = runs[0].w.to_dataframe().reset_index()
    assert {"eta", "seed", "recipe"} <= set(table.columns) and len(table) == 12
    assert runs[0].mean("t").w.shape == (2,) and float(runs[0].mean("t").recipe_id) == float(runs[0].recipe_id)
    assert set((runs[0] - runs[0]).data_vars) == set(runs[0].data_vars)


def test_members_and_starts_keep_their_seals():
    method = fd.SGD(fd.problems.Quadratic.example()[0], 0.1)
    ensembles = [fd.solve(method, [1.0, 1.0], t=0.5, realizations=3, seed=seed) for seed in (1, 2)]
    for new in DEFAULTS:
        with xr.set_options(use_new_combine_kwarg_defaults=new):
            six = xr.concat(ensembles, "realization")
            for i, seed in enumerate([1, 1, 1, 2, 2, 2]):
                try:
                    assert fd.rebuild(six.isel(realization=i))[2]["seed"] == seed
                except fd.ArgumentError:
                    assert new and seed == 2
    averaged = ensembles[1].mean("realization", keep_attrs=True)
    assert fd.rebuild(averaged)[2]["seed"] == 2
    flow = fd.GradientFlow(fd.problems.Quadratic.example()[0])
    starts = fd.solve(flow, np.array([[1.0, 2.0], [3.0, 4.0]]), t=1.0)
    assert fd.rebuild(starts.isel(start=1))[1].tolist() == [3.0, 4.0]
    assert fd.rebuild(starts)[1].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(fd.ArgumentError, match="own recipe"):
        fd.rebuild(starts.assign_coords(w_initial=(starts.w_initial.dims, starts.w_initial.values[::-1])))


def test_seals_are_exact_in_floats(runs):
    assert all(0 <= int(run.recipe_id) < 2**53 for run in runs)
    assert int(np.float64(runs[0].recipe_id)) == int(runs[0].recipe_id)


def test_equal_runs_have_equal_seals_and_other_results_do_not_matter(runs):
    system, w0, options = fd.rebuild(runs[0])
    assert int(fd.solve(system, w0, **options).recipe_id) == int(runs[0].recipe_id)
    check(runs[0].assign(w=runs[1].w.drop_vars(["eta", "seed", "recipe"])), 0)  # results are not sealed


def test_concat_refuses_what_has_no_recipe(runs):
    with pytest.raises(fd.ArgumentError, match=r"`runs\[1\]` must be a result of flowdyn"):
        fd.concat([runs[0], runs[1][["w"]]], "run")
    with pytest.raises(fd.ArgumentError, match="`runs` must hold at least one"):
        fd.concat([], "run")


def test_shared_noise_is_read_from_each_run_itself():
    ou = fd.OrnsteinUhlenbeck(1.0, 1.0)
    pair = [
        fd.solve(
            ou, [1.0], t=1.0, saves=3, realizations=5, seed=s, solver=fd.solvers.EulerMaruyama(0.1, brownian_dt=0.1)
        )
        for s in (1, 2)
    ]
    both = fd.concat(pair, "seed")
    assert float(fd.comparison.strong_error(both.sel(seed=1), pair[0]).max()) == 0
    with pytest.raises(fd.ArgumentError, match="must share their Brownian paths"):
        fd.comparison.strong_error(both.sel(seed=2), pair[0])
    assert json.loads(pair[0].recipe.item())["noise"]["seed"] == 1


def cost(w):
    return w[0] ** 2


def ladders():
    p = fd.problems.LinearRegression(*DATA[0])
    gd, sgd = fd.GradientDescent(p, 0.02), fd.SGD(p, 0.05, batch_size=2)
    yield "sup", gd, {"order": 1, "saves": 11, "solver": fd.solvers.Scipy("DOP853", rtol=1e-12)}
    yield "given etas", gd, {"etas": [0.04, 0.02, 0.01, 0.005], "max_steps": 100_000}
    yield "exact means", sgd, {"observable": {"a": cost, "b": lambda w: w[1]}}
    yield "sampled", sgd, {"observable": cost, "realizations": 400, "seed": 5}


@pytest.mark.filterwarnings("ignore::flowdyn.FlowdynWarning")
@pytest.mark.parametrize(("method", "options"), [pytest.param(*more, id=name) for name, *more in ladders()])
def test_a_ladder_runs_again_to_the_same_bits(method, options, tmp_path):
    w0 = [1.0, -1.0]
    ladder = fd.eta_limit(method, w0, 1.0, **options)
    handed = {"observable": options["observable"]} if "observable" in options else {}
    with fd.load(fd.save(ladder, tmp_path / "l.nc")) as back:
        back.load()
    made_from, start, again = fd.rebuild(back, **handed)
    assert type(made_from) is type(method) and start.tolist() == w0
    assert {name: again[name] for name in options if name not in ("etas", "solver")} == {
        name: value for name, value in options.items() if name not in ("etas", "solver")
    }
    anew = fd.rerun(back, **handed)
    assert int(anew.recipe_id) == int(ladder.recipe_id)
    for name in ladder.data_vars:
        assert np.array_equal(anew[name], ladder[name], equal_nan=True), name


def test_ladders_and_runs_take_their_own_functions(runs):
    ladder = fd.eta_limit(fd.GradientDescent(fd.problems.LinearRegression(*DATA[0]), 0.02), [1.0, 1.0], 1.0)
    with pytest.raises(fd.ArgumentError, match="`observable` must be left out"):
        fd.rebuild(ladder, observable=cost)
    with pytest.raises(fd.ArgumentError, match="`observable` is for weak ladders"):
        fd.rebuild(runs[0], observable=cost)
    sampled = fd.eta_limit(
        fd.SGD(fd.problems.LinearRegression(*DATA[0]), 0.05), [1.0, 1.0], 1.0, observable={"a": cost}
    )
    with pytest.raises(fd.ArgumentError, match=r"`observable` must hand in the functions \['a'\] again"):
        fd.rerun(sampled)
    with pytest.raises(fd.ArgumentError, match="own recipe"):
        fd.rebuild(ladder.assign_coords(w_initial=ladder.w_initial + 1))
    assert fd.rebuild(ladder.isel(eta=[0, 1]))[2]["etas"] == ladder.eta.values.tolist()


def test_a_run_runs_again(runs):
    assert fd.rerun(runs[1]).w.equals(runs[1].w)
    assert fd.rerun(fd.concat(runs, "eta").sel(eta=0.05)).w.equals(runs[1].w)


def test_a_prediction_is_rebuilt_as_the_flow_it_is():
    gd = fd.GradientDescent(fd.problems.LinearRegression(*DATA[0]), 0.02)
    predicted = fd.fast_forward(gd, [1.0, 1.0], t=1.0, order=2)
    system, w0, options = fd.rebuild(predicted)
    assert system.kind == gd.limit(2).kind and fd.solve(system, w0, **options).w.equals(predicted.w)
