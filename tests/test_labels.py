"""Labels of pandas and xarray: data are matched by position, so labels that say otherwise are refused."""

import functools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from refusal import assert_refused

import flowdyn as fd

VALUES, Y = np.arange(9.0).reshape(3, 3) + np.eye(3), np.array([1.0, 2.0, 3.0])
FRAME = pd.DataFrame(VALUES, columns=list("uvw"), index=list("abc"))
ARRAY = xr.DataArray(VALUES, dims=("sample", "feature"), coords={"sample": [1, 2, 3], "feature": list("uvw")})
TARGETS = xr.DataArray(Y, dims="sample", coords={"sample": [1, 2, 3]})
Regression, Quadratic = fd.problems.LinearRegression, fd.problems.Quadratic
REFUSED = {
    "series in another order": lambda: Regression(FRAME, pd.Series(Y, index=list("cba"))),
    "series with other labels": lambda: Regression(FRAME, pd.Series(Y)),
    "default index reversed": lambda: Regression(pd.DataFrame(VALUES), pd.Series(Y)[::-1]),
    "array reversed": lambda: Regression(ARRAY, TARGETS[::-1]),
    "matrix rows and columns": lambda: Quadratic(pd.DataFrame(np.eye(2), index=["a", "b"], columns=["b", "a"])),
    "noise in another order": lambda: Quadratic(
        pd.DataFrame(np.eye(2), columns=["a", "b"]), pd.DataFrame(np.eye(2), columns=["b", "a"])
    ),
    "start in another order": lambda: fd.solve(
        fd.GradientFlow(Regression(FRAME, Y)), pd.Series([1.0, 2.0, 3.0], index=list("wvu")), t=1.0
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_labels_that_differ_are_refused(name):
    with pytest.raises(fd.ArgumentError, match=r"must carry the labels of .* in their order"):
        REFUSED[name]()


def test_a_dimension_that_is_not_shared_is_refused():
    with pytest.raises(fd.ArgumentError, match="`y` must share a dimension with `X`"):
        Regression(ARRAY, TARGETS.rename(sample="patient"))


@pytest.mark.parametrize("y", [TARGETS, Y], ids=["labelled", "plain"])
def test_features_first_are_transposed(y):
    p = Regression(ARRAY.T, y)
    assert np.array_equal(p.X, VALUES) and p.coords["feature"].tolist() == list("uvw")
    assert p.coords["sample"].tolist() == [1, 2, 3]


def test_a_shuffled_table_keeps_its_sample_labels():
    shuffled = FRAME.assign(y=Y).iloc[[2, 0, 1]]
    p = Regression(shuffled[list("uvw")], shuffled["y"])
    assert p.coords["sample"].tolist() == list("cab") and np.array_equal(p.y, Y[[2, 0, 1]])
    assert p.target_name == "y"
    backwards = pd.DataFrame(VALUES)[::-1]  # its index is a range too, but not 0, 1, 2
    assert Regression(backwards, Y).coords["sample"].tolist() == [2, 1, 0]


def test_a_start_with_the_problems_labels_is_taken():
    p = Regression(FRAME, Y)
    start = pd.Series([1.0, 2.0, 3.0], index=list("uvw"))
    first = fd.solve(fd.GradientFlow(p), start, t=1.0)
    again = fd.solve(fd.GradientFlow(p), first.w.isel(t=-1), t=1.0)
    assert np.array_equal(again.w[0], first.w[-1])


def test_greek_names_of_parameters_are_spelled_out():
    p = fd.problems.CustomProblem(lambda w: w["β_1"] ** 2 + w["Σ"] ** 2, {"β_1": 1.0, "Σ": 2.0})
    assert {v.name for v in p.variables} == {"beta_1", "Sigma"}


@pytest.mark.parametrize("names", [("a", "a_limit"), ("a", "solver_error")])
def test_a_parameter_named_as_another_variable_of_a_ladder(names):
    p = fd.problems.CustomProblem(lambda w: sum(v**2 / 2 for v in w.values()), dict.fromkeys(names, 1.0))
    with pytest.raises(fd.ArgumentError, match=f"names of other variables of this Dataset, got .*{names[1]}.*rename"):
        fd.eta_limit(fd.GradientDescent(p, 0.1), p.init(), t=1.0)


def swapped(frame):
    """The same columns in another order."""
    return fd.problems.LinearRegression(frame[["b", "a"]], [1.0, 0.0, 2.0])


TWO = pd.DataFrame({"a": [1.0, 2.0, 0.5], "b": [0.0, 1.0, -1.0]})


def test_a_start_whose_labels_are_those_of_another_problem_is_refused():
    problem = fd.problems.LinearRegression(TWO, [1.0, 0.0, 2.0])
    end = fd.solve(fd.GradientFlow(problem), [3.0, 4.0], t=1.0, saves=3).isel(t=-1)
    order = "in their order"
    for flow, start in (
        (fd.GradientFlow(swapped(TWO)), end),
        (fd.GradientFlow(problem), end.sel(feature=["b", "a"])),
        (fd.GradientFlow(problem), {"w": end.w.sel(feature=["b", "a"])}),
        (fd.GradientFlow(problem), {"w": end.w.to_series()[["b", "a"]]}),
        (fd.GradientFlow(problem), end.w.to_series()[["b", "a"]]),
    ):
        assert_refused(lambda flow=flow, start=start: fd.solve(flow, start, t=2.0), order)
    assert_refused(
        lambda: fd.eta_limit(fd.GradientDescent(problem, 0.1), {"w": end.w.sel(feature=["b", "a"])}, t=1.0), order
    )
    same = fd.solve(fd.GradientFlow(problem), {"w": end.w.to_series()}, t=1.0, saves=2)
    assert np.array_equal(same.w[0], end.w)


def test_a_restart_has_the_shape_of_the_state():
    run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(np.eye(3))), [1.0, 2.0, 3.0], t=1.0, saves=2)
    flow = fd.GradientFlow(fd.problems.LinearRegression(TWO, [1.0, 0.0, 2.0]))
    assert_refused(lambda: fd.solve(flow, run.isel(t=-1), t=2.0), r"must hold 'w' of shape \(2,\), got shape \(3,\)")


def test_runs_whose_labels_stand_in_another_order_are_not_compared():
    runs = [
        fd.solve(fd.GradientFlow(problem), problem.init(), t=1.0, saves=3)
        for problem in (fd.problems.LinearRegression(TWO, [1.0, 0.0, 2.0]), swapped(TWO))
    ]
    assert_refused(lambda: fd.comparison.sup_error(*runs), "the labels of `a` along 'feature' in their order")


def test_names_of_dimensions_and_columns_that_stand_twice_are_refused():
    problem = fd.problems.LinearRegression(TWO, [1.0, 0.0, 2.0])
    for name in ("feature", "sample"):
        observe = {name: lambda w: w[0]}
        solve = functools.partial(fd.solve, fd.SGD(problem, 0.1), [0.0, 0.0], steps=2, observe=observe)
        for more in ({}, {"realizations": 3, "seed": 0}):
            assert_refused(lambda solve=solve, more=more: solve(**more), "must not reuse a name of the Dataset")
    twice = TWO.set_axis(["a", "a"], axis=1)
    assert_refused(lambda: fd.problems.LinearRegression(twice, [1.0, 0.0, 2.0]), r"each column once, got \['a'\] twice")
