"""What a hostile user found: joins of other times, deep trees, files that plain xarray read, cancelling constants."""

import multiprocessing
import warnings

import numpy as np
import pytest
import xarray as xr

import flowdyn as fd
from flowdyn.convergence.order_fit import fit_order

P = fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]])


def descent(eta, t=1.0):
    return fd.solve(fd.GradientDescent(P, eta), [1.0, -1.0], t=t)


@pytest.mark.parametrize("times", [1.0, None])
def test_runs_of_other_times_come_apart_again(times):
    runs = [descent(0.1, times or [0.2, 0.4]), descent(0.05, times or [0.1, 0.2, 0.25])]
    both = fd.concat(runs, "eta")
    for run in runs:
        system, w0, options = fd.rebuild(both.sel(eta=float(run.eta)))
        assert fd.solve(system, w0, **options).w.equals(run.w)


def test_a_tree_of_any_depth(tmp_path):
    place = "/".join(f"level{i}" for i in range(40))
    run = descent(0.1)
    fd.save(xr.DataTree.from_dict({place: run}), tmp_path / "deep.nc")
    assert fd.load(tmp_path / "deep.nc")[place].to_dataset().w.equals(run.w)


def test_what_plain_xarray_read_is_saved_again(tmp_path):
    fd.save(descent(0.1), tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as found:
        fd.save(found.isel(t=slice(0, 4)), tmp_path / "b.nc")
    assert fd.load(tmp_path / "b.nc").sizes["t"] == 4


@pytest.mark.parametrize("share", [0.003, 0.01, 0.03])
def test_a_leading_constant_that_nearly_cancels_is_not_an_order(share):
    """Errors  share h + h^2 + h^3: the slopes are those of order 2, and drift."""
    h = 0.4 / 2.0 ** np.arange(5)
    fit = fit_order(h, share * h + h**2 + h**3, np.full(5, 1e-13))
    assert np.isnan(fit.order) and fit.verdict.startswith("not resolved")


def test_an_interval_between_orders_is_none():
    h = 0.4 / 2.0 ** np.arange(5)
    fit = fit_order(h, h**1.8, np.full(5, 1e-13))
    assert fit.verdict.startswith("not resolved: the slope 1.80 is that of no order")
    assert fit_order(h, h**1.5, np.full(5, 1e-13)).verdict == "resolved"


def in_child(queue):
    try:
        fd.GradientDescent(P, 0.1)
    except fd.RunError as error:
        queue.put(str(error))


def test_a_forked_child_is_refused_in_constructors_too():
    descent(0.1)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python and JAX warn of the fork itself
        child = context.Process(target=in_child, args=(queue,))
        child.start()
    try:
        assert "forked after JAX had run" in queue.get(timeout=60)
    finally:
        child.kill()


@pytest.mark.parametrize(
    ("header", "message"),
    [("a,y,y.1", r"each column once, got \['y.1'\]"), ("Unnamed: 0,a,y", "as pandas names an index")],
)
def test_headers_that_pandas_made(tmp_path, header, message):
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\n1,2,3\n2,3,5\n")
    with pytest.raises(fd.FileError, match=message):
        fd.problems.LinearRegression.from_file(path, target="y")
