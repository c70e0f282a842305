"""Pictures: axes with names, the curves of the Dataset on them, and no warnings."""

import io

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import flowdyn as fd


@pytest.fixture(autouse=True)
def closed():
    """No figure outlives its test."""
    yield
    plt.close("all")


def test_runs_and_ladders(wide):
    p = fd.problems.LinearRegression(*wide)
    run = fd.solve(fd.GradientFlow(p), p.init(), t=np.inf, stop={"loss": ("<", 1e-20)})
    figure = fd.plot(run)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["loss L(w)", "Euclidean norm of the gradient", "weights w"]
    assert figure.axes[0].get_yscale() == "log"
    ladder = fd.eta_limit(fd.GradientDescent(p, 2.0**-8), p.init(), t=1.0)
    figure = fd.plot(ladder)
    main = figure.axes[0]
    assert (main.get_xscale(), main.get_yscale()) == ("log", "log")
    words = [text.get_text() for text in main.get_legend().get_texts()]
    assert f"fitted slope {float(ladder.order):.3f}" in " ".join(words) and "expected slope 1" in words
    drawn = main.lines[0]
    assert np.array_equal(drawn.get_xdata(), ladder.eta) and np.array_equal(drawn.get_ydata(), ladder.sup_error)
    _, ax = plt.subplots()
    assert fd.plot(ladder, ax) is ax.figure


@pytest.mark.parametrize("kind", ["weak", "strong", "fan", "histogram", "ellipse"])
def test_every_kind_names_its_axes(kind, tmp_path):
    if kind in ("weak", "strong"):
        p = fd.problems.Quadratic(1.0, noise=1.0)
        ds = fd.eta_limit(fd.SGD(p, 0.1), [1.0], t=0.4, error=kind, realizations=200, saves=3)
        fd.save(ds, tmp_path / "l.nc")
        ds, kind = fd.load(tmp_path / "l.nc"), None
    else:
        p = fd.problems.Quadratic(np.eye(2), noise=np.eye(2))
        ds = fd.solve(fd.SGD(p, 0.1), [1.0, 1.0], t=1.0, realizations=50)
    figure = fd.plot(ds, kind=kind)
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in figure.axes)


def test_a_diverged_ensemble_and_a_ladder_without_gaps_are_drawn_without_warnings():
    sgd = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), 3.0)
    with pytest.warns(fd.FlowdynWarning, match="2/lambda_max"):
        run = fd.solve(sgd, [1.0], steps=3000, realizations=5, on_divergence="keep")
    fd.plot(run).savefig(io.BytesIO())
    step = {"g": lambda w: jnp.where(w[0] > 5.0, 1.0, 0.0)}
    with pytest.warns(fd.FlowdynWarning, match="only 0 of 5 errors stand out"):  # they are rounding
        ladder = fd.eta_limit(sgd.with_eta(0.1), [20.0], 1.0, observable=step, realizations=200)
    fd.plot(ladder).savefig(io.BytesIO())
