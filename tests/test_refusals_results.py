"""Refused: pictures, files and comparisons of what is no result or does not belong together."""

import pytest
import xarray as xr
from refusal import assert_refused

import flowdyn as fd

SHARED = fd.solvers.EulerMaruyama


def run(t=1.0, **options):
    """Of descent, or of SGD where members are asked for."""
    p = fd.problems.Quadratic(1.0, noise=1.0)
    return fd.solve(fd.SGD(p, 0.1) if options else fd.GradientDescent(p, 0.1), [1.0], t=t, saves=3, **options)


def ladder(t):
    """Of descent."""
    return fd.eta_limit(fd.GradientDescent(fd.problems.Quadratic(1.0), 0.1), [1.0], t=t, saves=3)


def path(**options):
    """On Brownian motions in cells of 0.05."""
    options = {"solver": SHARED(0.1, 0.05), **options}
    return fd.solve(fd.OrnsteinUhlenbeck(1.0, 1.0), [1.0], t=1.0, saves=3, **options)


CASES = {
    "plot": (lambda: fd.plot(3), "`ds` must be a run or ladder or .* made by flowdyn, got a int"),
    "plot a path": (lambda: fd.plot("none/run.nc"), "`path` must be an existing file, got 'none/run.nc'", fd.FileError),
    "plot of no time": (lambda: fd.plot(run().isel(t=slice(0, 0))), "`ds` must have an entry along t to be drawn"),
    "plot of no member": (
        lambda: fd.plot(run(realizations=3).isel(realization=[])),
        "`ds` must have an entry along realization to be drawn",
    ),
    "unravel a number": (
        lambda: run().isel(t=-1).flowdyn.unravel(5),
        "`like` must be a problem or a pytree like the parameters, got 5",
    ),
    "plot a plane of one": (
        lambda: fd.plot(run(), kind="phase"),
        "`kind` = 'phase' needs two parameters, got 1 of them",
    ),
    "plot a map of one": (lambda: fd.plot(run(), kind="map"), "`kind` = 'map' needs runs over two dimensions"),
    "plot a density of a fan": (
        lambda: fd.plot(run(realizations=3), kind="fan", density=len),
        "`density` is drawn beside a histogram, got 'fan'",
    ),
    "plot two ladders": (
        lambda: fd.plot(fd.concat([ladder(1.0), ladder(2.0)], "end")),
        r"`ds` must hold one ladder to be drawn, got ladders over \['end'\]; select one, e.g. ds.isel\(end=0\)",
    ),
    "plot a number as density": (lambda: fd.plot(run(realizations=3), density=3), "`density` must be a function"),
    "plot what is not over t": (lambda: fd.plot(run()[["status", "recipe_id_t"]]), "must hold its loss, parameters or"),
    "plot into a number": (lambda: fd.plot(run(), ax=3), "`ax` must be a matplotlib Axes, got 3"),
    "plot a tree": (
        lambda: fd.plot(xr.DataTree.from_dict({"a": run(), "b": run()})),
        r"`ds` must be one result, got a DataTree of \['a', 'b'\]; take one of its nodes, e.g. tree\['a'\].to_dataset",
    ),
    "save a name that NetCDF has not": (
        lambda: fd.save(run().assign_attrs({"<b>k</b>": "x"}), "x.nc"),
        "`ds` must have names that begin with a letter.*, got '<b>k</b>'; rename it",
    ),
    "rebuild two": (
        lambda: fd.rebuild(fd.concat([run(), run(2.0)], "trial")),
        r"`ds` must hold one run, got 2 recipes along \['trial'\]; select one, e.g. ds.isel\(trial=0\)",
    ),
    "save": (lambda: fd.save(3, "x.nc"), "`ds` must be an xarray Dataset"),
    "plot without provenance": (lambda: fd.plot(run().drop_attrs()), "that flowdyn did not make"),
    "plot at one time": (lambda: fd.plot(run(realizations=3).isel(t=-1)), "`ds` must have the dimension t"),
    "load a number": (lambda: fd.load(3), "`path` must be a path"),
    "save to a number": (lambda: fd.save(run(), 3), "`path` must be a path"),
    "save to bytes": (lambda: fd.save(run(), b"a.nc"), "`path` must be a path"),
    "rebuild nothing": (
        lambda: fd.rebuild(xr.Dataset()),
        "`ds` must be a run or ladder or .* made by flowdyn",
    ),
    "rebuild a path": (lambda: fd.rebuild("run.nc"), "load it first"),
    "rebuild with a loss too many": (lambda: fd.rebuild(run(), loss=len), r"functions that the run names, \[\]"),
    "overwrite in words": (lambda: fd.save(run(), "tests/refusal.py", overwrite="no"), "must end in .nc"),
    "times that differ": (lambda: fd.comparison.sup_error(run(), run(t=2.0)), "`a` and `b` must have the same times"),
    "weak times that differ": (
        lambda: fd.comparison.weak_error(run(realizations=3), run(realizations=3, t=2.0), "loss"),
        "same times",
    ),
    "weak error of a number": (
        lambda: fd.comparison.weak_error(run(realizations=3), 3, "w"),
        "`b` must be an xarray Dataset",
    ),
    "functional of an array": (
        lambda: fd.comparison.weak_error(run(realizations=3), run(realizations=3), lambda ds: ds.w.values),
        "`g` must return a DataArray",
    ),
    "weak error of one member": (
        lambda: fd.comparison.weak_error(run(realizations=3), run(realizations=1), "w"),
        "at least 2 members",
    ),
    "strong error of unlike ensembles": (
        lambda: fd.comparison.strong_error(path(realizations=3), path(realizations=4)),
        "same members along 'realization', got 3 and 4",
    ),
    "strong error of an ensemble and a run": (
        lambda: fd.comparison.strong_error(path(realizations=3), path()),
        "must be an ensemble where `a` is one",
    ),
    "strong error of a law": (
        lambda: fd.comparison.strong_error(path(realizations=3), path(realizations=3, solver=None)),
        "share their Brownian paths",
    ),
    "strong error of two seeds": (
        lambda: fd.comparison.strong_error(path(realizations=3), path(realizations=3, seed=1)),
        "share their Brownian paths",
    ),
    "strong error of two grids": (
        lambda: fd.comparison.strong_error(path(realizations=3), path(realizations=3, solver=SHARED(0.1, 0.025))),
        "share their Brownian paths",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name):
    assert_refused(*CASES[name])
