"""Distances of cells of sweeps, and of sweeps, against closed forms; refusals by their reason."""

import numpy as np
import pytest

import flowdyn as fd
from flowdyn import comparison

RATE = 2.0
PROBLEM = fd.problems.Quadratic(RATE)
ETAS, STARTS = np.array([0.1, 0.2]), np.array([1.0, 2.0])


def descent(eta, start_at):
    return fd.GradientDescent(PROBLEM, eta), [start_at], {"t": 2.0}


def gap(eta, start):
    """Largest distance of w_k = (1 - eta RATE)^k start from exp(-RATE eta k) start, k eta <= 2."""
    k = np.arange(round(2 / eta) + 1)
    return start * np.abs((1 - eta * RATE) ** k - np.exp(-RATE * eta * k)).max()


@pytest.fixture(scope="module")
def cells():
    return fd.sweep(descent, {"eta": ETAS, "start_at": STARTS}, progress=False)


def flow(times, start):
    return fd.solve(fd.GradientFlow(PROBLEM), [start], t=times, progress=False)


def test_a_cell_of_numbered_rows_beside_a_run(cells):
    for i, eta in enumerate(ETAS):
        cell = cells.isel(eta=i, start_at=1)
        assert cell.w.dims[0] == "save"
        other = flow(cell.t.values[np.isfinite(cell.t.values)], 2.0)
        for pair in ((cell, other), (other, cell)):
            found = comparison.sup_error(*pair)
            assert found.dims == ()
            assert float(found) == pytest.approx(gap(eta, 2.0), rel=1e-6)
        assert float(comparison.sup_error(cell, cell)) == 0


def test_every_dimension_of_a_grid_is_kept(cells):
    row = cells.isel(eta=0)
    found = comparison.sup_error(row, flow(row.t.values, 1.0))
    assert found.dims == ("start_at",)
    assert float(found.sel(start_at=1.0)) == pytest.approx(gap(0.1, 1.0), rel=1e-6)
    assert float(found.sel(start_at=2.0)) == pytest.approx(
        np.abs(2 * 0.8 ** np.arange(21) - np.exp(-0.2 * np.arange(21))).max(), rel=1e-6
    )


def test_cells_of_other_times_are_refused(cells):
    with pytest.raises(fd.ArgumentError, match=r"`a` must hold runs of the same times, got .*'eta': 2.*; select one"):
        comparison.sup_error(cells, flow(cells.isel(eta=0).t.values, 1.0))


def test_midpoints_of_a_cell():
    def make(eta):
        return fd.GradientDescent(fd.problems.Quadratic(1.0), eta), [1.0], {"t": 8.0}

    cells = fd.sweep(make, {"eta": [2.0, 1.0]}, progress=False)
    assert comparison.midpoints(cells.isel(eta=0)).w.values.ravel() == pytest.approx([0.0, 0.0, 0.0])


def test_a_weak_error_of_a_cell_is_that_of_the_run():
    problem = fd.problems.Quadratic(2.0, noise=1.0)

    def noisy(eta):
        return fd.SGD(problem, eta), [1.0], {"t": 1.0, "realizations": 8, "seed": 0}

    cell = fd.sweep(noisy, {"eta": [0.1, 0.2]}, progress=False).isel(eta=0)
    found = comparison.weak_error(cell, flow(np.arange(11) * 0.1, 1.0), "loss")
    assert found.error.dims == ("t",)
    exact = cell.loss.values.mean(0)[:11] - np.exp(-4 * 0.1 * np.arange(11))  # RATE / 2 w^2 = exp(-2 RATE t)
    np.testing.assert_allclose(found.error, exact, atol=1e-6)


def test_a_cell_that_failed_says_so():
    def make(start):
        if start > 1:
            raise ValueError("no such start")
        return fd.GradientFlow(PROBLEM), [start], {"t": 1.0}

    with pytest.warns(fd.FlowdynWarning, match="1 of 2 cells failed"):
        cells = fd.sweep(make, {"start": [1.0, 2.0]}, progress=False)
    failed = cells.isel(start=1)
    for ask in (lambda: fd.rebuild(failed), lambda: fd.solve(fd.GradientFlow(PROBLEM), failed.isel(t=-1), t=2.0)):
        with pytest.raises(fd.ArgumentError, match=r"must hold a run, got a cell that failed: .*no such start"):
            ask()
