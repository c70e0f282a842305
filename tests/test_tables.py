"""Tables whose columns would shift, or whose names would be made up, are refused with line and column."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from refusal import assert_refused

import flowdyn as fd

BAD = {
    "a row one cell longer": ("x,y\n1,2\n3,4,5\n", r"must have 2 cells in each row, got 3 in line 3"),
    "every row one cell longer": ("x,y\n0,1,2\n1,3,4\n", r"must have 2 cells in each row, got 3 in line 2"),
    "a row one cell shorter": ("x,y,z\n1,2,3\n4,5\n", r"must have 3 cells in each row, got 2 in line 3"),
    "an index without a name": (",x,y\n0,1,2\n1,3,4\n", r"got none for column 1 .*index=False"),
    "a header twice": ("x,y,x\n1,2,3\n", r"must have each column once, got \['x'\] twice"),
    "an empty file": ("", "must be a readable .csv table"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_would_mislead_is_refused(name, tmp_path):
    text, words = BAD[name]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(fd.FileError, match=words):
        fd.problems.LinearRegression.from_file(tmp_path / "t.csv", target="y")


def test_quoted_cells_marks_and_blank_lines_are_read(tmp_path):
    (tmp_path / "t.csv").write_text('\ufeffx,"a, b",y\r\n1,2,3\r\n\r\n4,"5",6\r\n', encoding="utf-8")
    p = fd.problems.LinearRegression.from_file(tmp_path / "t.csv", target="y")
    assert np.array_equal(p.X, [[1, 2], [4, 5]]) and p.coords["feature"].tolist() == ["x", "a, b"]


MASS = {"target": "body_mass_g"}


def penguins():
    frame = pd.read_csv(fd.example_table())
    return frame, frame.drop(columns="body_mass_g").to_numpy(float), frame.body_mass_g.to_numpy(float)


def test_the_table_of_the_package_is_whole():
    """Means as the summary of R's palmerpenguins prints them."""
    frame, _, _ = penguins()
    assert frame.shape == (342, 4) and [f"{mean:.4g}" for mean in frame.mean()] == ["43.92", "17.15", "200.9", "4202"]


def test_an_intercept_is_what_the_bias_of_least_squares_is():
    _, X, y = penguins()
    p = fd.problems.LinearRegression.from_file(fd.example_table(), intercept=True, **MASS)
    assert p.coords["feature"].tolist() == ["intercept", "bill_length_mm", "bill_depth_mm", "flipper_length_mm"]
    w = np.linalg.lstsq(np.column_stack([np.ones(len(y)), X]), y, rcond=None)[0]
    assert np.linalg.norm(p.grad(w)) < 1e-6 * np.linalg.norm(p.grad(p.init()))


def test_centred_columns_have_the_slopes_of_a_fit_with_an_intercept():
    _, X, y = penguins()
    p = fd.problems.LinearRegression.from_file(fd.example_table(), center=True, **MASS)
    assert np.allclose(p.X.mean(axis=0), 0, atol=1e-10) and abs(float(p.y.mean())) < 1e-9
    assert np.allclose(p.X.std(axis=0), X.std(axis=0), rtol=1e-12)
    slopes = np.linalg.lstsq(np.column_stack([np.ones(len(y)), X]), y, rcond=None)[0][1:]
    assert np.linalg.norm(p.grad(slopes)) < 1e-8 * np.linalg.norm(p.grad(p.init()))


def test_standard_columns_with_an_intercept_keep_it_a_column_of_ones():
    p = fd.problems.LinearRegression.from_file(fd.example_table(), standardize=True, intercept=True, **MASS)
    assert np.array_equal(p.X[:, 0], np.ones(342)) and np.allclose(p.X[:, 1:].std(axis=0), 1)


FRAME = pd.DataFrame({"a": [0.5, 1.5, -2.0], "y": [1.0, 2.0, 4.0]})
INDICES = {  # how pandas writes an index, and what it is then called
    "without a name": (FRAME, "index"),
    "with a name": (FRAME.rename_axis("id"), "id"),
    "from 1": (FRAME.set_axis([1, 2, 3]).rename_axis("row"), "row"),
    "from 100": (FRAME.set_axis([100, 101, 102]).rename_axis("Id"), "Id"),
    "shuffled": (FRAME.set_axis([2, 0, 1]).rename_axis("row"), "row"),
    "read as a column and written again": (FRAME.set_axis([0, 1, 2]).rename_axis("Unnamed: 0"), "Unnamed: 0"),
}


@pytest.mark.parametrize("case", INDICES)
def test_an_index_that_pandas_wrote_is_asked_about_and_may_label_the_samples(case, tmp_path):
    frame, name = INDICES[case]
    frame.to_csv(tmp_path / "t.csv")
    read = fd.problems.LinearRegression.from_file
    assert_refused(lambda: read(tmp_path / "t.csv", "y"), f"`index='{name}'` makes it labels", fd.FlowdynError)
    p = read(tmp_path / "t.csv", "y", index=name)
    assert p.coords["feature"].tolist() == ["a"] and np.array_equal(p.X, FRAME[["a"]])
    assert p.coords["sample"].tolist() == frame.index.tolist()
    if name != "Unnamed: 0":
        assert read(tmp_path / "t.csv", "y", index=False).coords["feature"].tolist() == [name, "a"]


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
def test_a_column_that_pandas_named_is_a_feature_where_that_is_asked_for(first, tmp_path):
    (tmp_path / "t.csv").write_text(f"{first},a,y\n0,0.5,1\n1,1.5,2\n2,-2,4\n")
    read = fd.problems.LinearRegression.from_file
    p = read(tmp_path / "t.csv", "y", index=False)
    assert p.coords["feature"].tolist() == [first or "index", "a"] and np.array_equal(p.X[:, 0], [0, 1, 2])
    wrong = f"`index` must be one of \\['{first or 'index'}', 'a', 'y'\\], got 'bogus'"
    assert_refused(lambda: read(tmp_path / "t.csv", "y", index="bogus"), wrong)
    (tmp_path / "t.csv").write_text(f"a,{first},y\n0,0.5,1\n1,1.5,2\n2,-2,4\n")
    assert_refused(lambda: read(tmp_path / "t.csv", "y", index=False), "`data` must have", fd.FileError)


def test_text_may_label_the_samples(tmp_path):
    (tmp_path / "t.csv").write_text("x,who,y\n1,ann,2\n4,bob,3\n")
    p = fd.problems.LinearRegression.from_file(tmp_path / "t.csv", "y", index="who")
    assert p.coords["sample"].tolist() == ["ann", "bob"] and p.X.shape == (2, 1)


def test_samples_of_a_netcdf_table_have_labels(tmp_path):
    FRAME.set_axis([5, 7, 9]).rename_axis("day").to_xarray().to_netcdf(tmp_path / "t.nc", engine="netcdf4")
    read = fd.problems.LinearRegression.from_file
    assert read(tmp_path / "t.nc", "y", index="day").coords["sample"].tolist() == [5, 7, 9]
    assert_refused(lambda: read(tmp_path / "t.nc", "y", index="dya"), "did you mean 'day'")
    ds = xr.Dataset({"X": (("s", "f"), np.eye(2)), "y": ("s", [1.0, 2.0])}, {"s": ["p", "q"]})
    ds.to_netcdf(tmp_path / "m.nc", engine="netcdf4")
    assert read(tmp_path / "m.nc", index="s").coords["sample"].tolist() == ["p", "q"]


def test_what_a_table_cannot_be_asked():
    read = fd.problems.LinearRegression.from_file
    path = fd.example_table()
    assert_refused(lambda: read(path, ["body_mass_g"]), "`target` must be the name of one column")
    assert_refused(lambda: read(None, "body_mass_g"), "`path` must name a .csv or .nc file, got None")
    assert_refused(lambda: read(path, "body_mass_g", index=True), "`index` must name a column, or be False")
    assert_refused(lambda: read(path, "body_mass_g", index="bil_depth_mm"), "did you mean 'bill_depth_mm'")
    assert_refused(lambda: read(path, "body_mass_g", center="no"), "`center` must be True or False")
    assert_refused(lambda: read(path, "body_mass_g", intercept=1), "`intercept` must be True or False")


def test_a_column_called_intercept_is_in_the_way_of_one(tmp_path):
    (tmp_path / "t.csv").write_text("intercept,y\n1,2\n1,3\n")
    read = fd.problems.LinearRegression.from_file
    assert_refused(lambda: read(tmp_path / "t.csv", "y", intercept=True), "rename it")


def test_a_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    p = fd.problems.LinearRegression.from_file("~/t.csv", "y")
    run = fd.solve(fd.GradientFlow(p), p.init(), t=1.0, saves=3)
    assert fd.save(run, "~/r.nc") == tmp_path / "r.nc" and fd.load("~/r.nc").identical(run)
