"""Pictures of sweeps whose cells have times of their own: each line over its own times, up to its own end."""

import numpy as np
import pytest

import flowdyn as fd

QUADRATIC = fd.problems.Quadratic(1.0)
STEPS = fd.solvers.Iteration()
STOP = {"loss": ("<", 1e-3)}


def descent(eta):
    options = {"t": np.inf, "stop": STOP, "saves": 12, "solver": STEPS}
    return fd.GradientDescent(QUADRATIC, eta), [1.0], options


def lines(axis):
    return [(line.get_xdata(), line.get_ydata()) for line in axis.lines if len(line.get_xdata())]


def test_each_line_has_its_own_times():
    etas = [0.05, 0.2, 0.5]
    sweep = fd.sweep(descent, {"eta": etas})
    assert "t" not in sweep.dims
    loss, *_ = fd.plot(sweep).axes
    drawn = lines(loss)
    assert len(drawn) == 3 and loss.get_legend().get_title().get_text() == "eta"
    for eta, (t, value) in zip(etas, drawn, strict=True):
        steps = np.ceil(np.log(np.sqrt(2e-3)) / np.log(1 - eta))  # w^2 / 2 < 1e-3
        assert t[-1] == pytest.approx(eta * steps)
        assert np.allclose(value, 0.5 * (1 - eta) ** (2 * np.rint(t / eta)), rtol=1e-12)


def test_one_cell_is_a_run():
    cell = fd.sweep(descent, {"eta": [0.05, 0.5]}).sel(eta=0.5)
    t, value = lines(fd.plot(cell).axes[0])[0]
    assert np.allclose(value, 0.5 * 0.25 ** np.rint(t / 0.5), rtol=1e-12)


def test_many_lines_of_own_times_are_quantiles_at_common_times():
    """Every cell is exp(-t) nearly, so that its median at any time is that."""
    etas = np.linspace(0.001, 0.002, 210)
    sweep = fd.sweep(lambda eta: (fd.GradientDescent(QUADRATIC, eta), [1.0], {"t": 1.0, "saves": 60}), {"eta": etas})
    axis = fd.plot(sweep).axes[-1]
    ((t, middle),) = lines(axis)
    assert np.abs(middle - np.exp(-t)).max() < 2e-3 and np.all(np.diff(t) > 0)


def test_ensembles_of_own_times_are_drawn_over_them():
    def make(eta):
        sgd = fd.SGD(fd.problems.LinearRegression([[1.0], [2.0]], [1.0, 1.0]), eta, batch_size=1)
        return sgd, [0.0], {"t": 1.0, "saves": 5, "realizations": 4}

    sweep = fd.sweep(make, {"eta": [0.05, 0.25]})
    axis = fd.plot(sweep).axes[0]
    (first, _), (second, mean) = lines(axis)
    assert np.allclose(second, 0.25 * np.arange(5)) and first[-1] == pytest.approx(1.0)
    assert np.allclose(mean, sweep.w.sel(eta=0.25).mean("realization").values[:, 0])


def test_time_that_spans_decades_is_logarithmic():
    def make(rate):
        return fd.GradientDescent(fd.problems.Quadratic(rate), 0.5 / rate), [1.0], {"steps": 40, "solver": STEPS}

    sweep = fd.sweep(make, {"rate": [1e-4, 1.0]})
    assert fd.plot(sweep).axes[0].get_xscale() == "symlog"


def test_axes_of_a_map_go_up_whatever_order_was_asked_for():
    p = fd.problems.Quadratic(1.0)
    grid = {"eta": [0.5, 0.1, 0.3], "alpha": [2.0, 1.0]}
    ds = fd.sweep(lambda eta, alpha: (fd.GradientDescent(p, eta), [alpha], {"steps": 2, "saves": 3}), grid)
    axis = fd.plot(ds).axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["0.1", "0.3", "0.5"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "2"]
    found = axis.collections[0].get_array().reshape(3, 2)
    exact = 0.5 * (np.array([[1.0, 2.0]]) * (1 - np.array([[0.1], [0.3], [0.5]])) ** 2) ** 2
    np.testing.assert_allclose(found, exact, rtol=1e-14)


def test_seeds_are_no_side_of_a_map_where_there_are_others():
    problem = fd.problems.LinearRegression(np.eye(2), np.ones(2))

    def make(eta, seed, batch_size):
        return fd.SGD(problem, eta, batch_size=batch_size), np.zeros(2), {"steps": 3, "seed": seed}

    result = fd.sweep(make, {"eta": [0.1, 0.2], "seed": [0, 1], "batch_size": [1, 2]})
    axis = fd.plot(result).axes[0]
    assert {axis.get_xlabel(), axis.get_ylabel()} == {"eta", "batch_size"} and "seed = 0" in axis.get_title()
    with pytest.raises(
        fd.ArgumentError, match=r"a mean over runs of different times has none: take it over those that share"
    ):
        fd.plot(result.mean("eta"))


def test_a_mean_over_seeds_is_drawn_against_its_times():
    """w_k = (1 - eta)^k w_0: the mean of w^2 / 2 over starts 1 and 3 is 2.5 (1 - eta)^(2k), at t = eta k."""

    def make(eta, start):
        return fd.GradientDescent(QUADRATIC, eta), [start], {"steps": 4, "solver": STEPS}

    etas = [0.1, 0.5]
    loss, *_ = fd.plot(fd.sweep(make, {"eta": etas, "start": [1.0, 3.0]}).mean("start")).axes
    drawn = lines(loss)
    assert len(drawn) == 2 and loss.get_xlabel() == "training time t"
    for eta, (t, value) in zip(etas, drawn, strict=True):
        assert np.allclose(t, eta * np.arange(5)) and np.allclose(value, 2.5 * (1 - eta) ** (2 * np.arange(5)))


def test_ticks_of_one_axis_are_written_alike():
    def make(rate, start):
        return fd.GradientDescent(QUADRATIC, rate), [start], {"steps": 2, "solver": STEPS}

    axis = fd.plot(fd.sweep(make, {"rate": [1e-5, 1e-4, 0.125], "start": [0.0, 1.0]})).axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["1e-05", "1e-04", "1.25e-01"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0", "1"]
    axis = fd.plot(fd.sweep(make, {"rate": [0.1, 0.2], "start": [0.0, 1e-5, 3.0]})).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0", "1e-05", "3e+00"]
    lines = fd.plot(fd.sweep(lambda rate: make(rate, 1.0), {"rate": [1e-5, 1e-4]})).axes[0]
    assert [text.get_text() for text in lines.get_legend().get_texts()] == ["1e-05", "1e-04"]


@pytest.mark.parametrize(
    ("rates", "labels"),
    [
        ([0.1, 0.1000001, 0.1000002], ["0.1", "0.1000001", "0.1000002"]),
        ([1e-5, 1.00001e-5], ["1e-05", "1.00001e-05"]),
        ([0.125, 1 / 3], ["0.125", "0.333"]),
    ],
)
def test_close_values_have_labels_of_their_own(rates, labels):
    result = fd.sweep(lambda rate: descent(rate), {"rate": rates}, progress=False)
    legend = fd.plot(result).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == labels


def test_a_map_says_what_its_grey_cells_are_and_labels_every_row():
    problem = fd.problems.Quadratic(1.0)

    def make(scale, eta):
        return fd.GradientDescent(problem, eta), [scale], {"steps": 1000, "saves": 2}

    with pytest.warns(fd.FlowdynWarning):
        result = fd.sweep(make, {"scale": np.geomspace(1e-6, 1, 7), "eta": [0.1, 3.0]})
    figure = fd.plot(result)
    axis = figure.axes[0]
    assert axis.get_title() == "grey: diverged" and axis.get_legend() is None
    figure.canvas.draw()
    assert [text.get_text() for text in axis.get_yticklabels()] == [f"1e-0{n}" for n in range(6, 0, -1)] + ["1e+00"]
