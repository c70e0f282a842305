"""What a hostile user found: joins of other times, deep trees, files that plain xarray read, cancelling constants."""

import multiprocessing
import warnings

import numpy as np
import pytest
import xarray as xr
from kinds import made
from refusal import assert_refused

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


RUNGS = 0.4 / 2.0 ** np.arange(5)


@pytest.mark.parametrize("share", [0.003, 0.01, 0.03])
def test_a_leading_constant_that_nearly_cancels_is_not_an_order(share):
    """Errors  share h + h^2 + h^3: the slopes are those of order 2, and drift."""
    fit = fit_order(RUNGS, share * RUNGS + RUNGS**2 + RUNGS**3, np.full(5, 1e-13), expected=1)
    assert np.isnan(fit.order) and fit.verdict == "not resolved: order 1.0 with a large correction, or 2.0; use " + (
        "smaller `etas`"
    )


def test_no_value_near_a_cancelling_constant_is_resolved_at_another_order():
    """E(w + c w^2) of SGD from 1 with noise of variance 1, w' = -w: closed forms, c within 1 % of the cancelling one.

    x = 1 - h:  E w = x^k,  E w^2 = x^{2k} + h^2 (1 - x^{2k})/(1 - x^2), beside e^{-t} and e^{-2t}; their gaps are
    -(t/2) e^{-t} h and (-t e^{-2t} + (1 - e^{-2t})/2) h to first order.
    """
    t, h = 2.0, RUNGS
    decay = (1 - h) ** (t / h)
    first = decay - np.exp(-t)
    second = decay**2 - np.exp(-2 * t) + h * (1 - decay**2) / (2 - h)
    c = (t / 2 * np.exp(-t)) / (-t * np.exp(-2 * t) + (1 - np.exp(-2 * t)) / 2)
    for off in (-0.01, -0.005, -0.001, -0.0001, 0.0001, 0.0003, 0.001, 0.005, 0.01):
        fit = fit_order(h, first + c * (1 + off) * second, np.full(5, 1e-15), expected=1)
        assert fit.verdict.startswith("not resolved: ")
    exact = fit_order(h, first + c * second, np.full(5, 1e-15), expected=1)
    assert exact.low < 2 < exact.high
    assert exact.verdict.startswith("not as expected: measured 2.00, expected 1: a term of order 1 is at most")
    assert "use smaller `etas`, or another observable" in exact.verdict


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 2.0), (2.0, 3.0)])
def test_an_order_below_the_expected_one_is_said(slope, expected):
    fit = fit_order(RUNGS, RUNGS**slope * (1 + RUNGS), np.full(5, 1e-13), expected=expected)
    assert fit.low < slope < fit.high
    assert fit.verdict.startswith(
        f"not as expected: measured {slope:.2f}, expected {expected:g}: the step or its loss may be less"
    )


def test_coarse_rungs_beyond_the_expansion_say_little():
    """Errors  h + 1e4 h^6 from h = 1 on: the slope of the coarsest rungs is 6, the order is 1."""
    h = 1.0 / 2.0 ** np.arange(5)
    fit = fit_order(h, h + 40.0 * h**6, np.full(5, 1e-13), expected=1)
    assert fit.verdict == "resolved" and fit.low < 1 < fit.high


def test_a_tolerance_that_changes_no_step_measures_no_error():
    """Over four steps of eta = .002 DOP853 takes the same ones at 1e-9 and 1e-10, and is off by 4e-11 between them."""
    rng = np.random.default_rng(2)
    p = fd.problems.DiagonalNetwork(rng.standard_normal((6, 3)), rng.standard_normal(6))
    ladder = fd.eta_limit(fd.GradientDescent(p, 0.002), np.linspace(0.5, 0.9, 6), t=0.008, order=3)
    assert (ladder.solver_error > 0).all()
    gap = ladder.sup_error.values
    assert np.allclose(np.log2(gap[:-1] / gap[1:]), 4, atol=0.1)


def test_an_interval_between_orders_is_none():
    fit = fit_order(RUNGS, RUNGS**1.8, np.full(5, 1e-13), expected=2)
    assert fit.verdict.startswith("not resolved: the slope 1.80 is that of no order")
    assert fit_order(RUNGS, RUNGS**1.5, np.full(5, 1e-13), expected=1.5).verdict == "resolved"


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
    [("a,y,y.1", r"got \['y.1'\] beside columns of the same name"), ("Unnamed: 0,a,y", "as pandas names an index")],
)
def test_headers_that_pandas_made(tmp_path, header, message):
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\n1,2,3\n2,3,5\n")
    with pytest.raises(fd.FileError, match=message):
        fd.problems.LinearRegression.from_file(path, target="y")


@pytest.mark.parametrize("dim", [3, None, "", "w", "w_initial", np.arange(2)])
def test_runs_are_joined_along_a_name(dim):
    run = made("labelled")
    assert_refused(lambda: fd.concat([run, run], dim), "`dim` must")


def test_runs_that_do_not_fit_together_are_not_joined():
    run = made("labelled")
    assert_refused(lambda: fd.concat([run, made("ladder")], "run"), "must be results of one kind")
    assert_refused(lambda: fd.concat([run, run.isel(t=slice(3))], "run", join="exact"), "must fit together along 'run'")


def test_a_relative_tolerance_is_a_share():
    for solver in (fd.solvers.Auto, fd.solvers.Scipy, fd.solvers.Diffrax):
        assert_refused(lambda solver=solver: solver(rtol=2.0), "`rtol` must be at least .* and below 1, got 2.0")


def test_a_ragged_start_is_no_start():
    ragged = [[1.0, 2.0], [3.0]]
    for system in (fd.GradientFlow(fd.problems.Quadratic(np.eye(2))), fd.ODE(lambda t, y: -y)):
        assert_refused(lambda system=system: fd.solve(system, ragged, t=1.0), "`w0` must be an array of numbers")
