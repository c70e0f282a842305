"""Tables whose columns would shift, or whose names would be made up, are refused with line and column."""

import numpy as np
import pytest

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
