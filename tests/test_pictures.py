"""Pictures: axes with names, the curves of the Dataset on them, and no warnings."""

import io

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import flowdyn as fd


def words(axis):
    """Title and entries of a legend."""
    legend = axis.get_legend()
    return legend.get_title().get_text(), [text.get_text() for text in legend.get_texts()]


def overprinted(figure):
    """Pairs of tick labels of one axis that lie over one another, as they are printed."""
    figure.canvas.draw()
    found = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            low, high = sorted(axis.get_view_interval())
            shown = [t.label1 for t in ticks if low <= t.get_loc() <= high and t.label1.get_visible()]
            boxes = [(text.get_text(), text.get_window_extent()) for text in shown if text.get_text()]
            found += [
                (a[0], b[0]) for i, a in enumerate(boxes) for b in boxes[:i] if a[0] != b[0] and a[1].overlaps(b[1])
            ]
    return found


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


ALPHAS = [1e-3, 1e-2, 1e-1]


@pytest.fixture(scope="module")
def alphas(wide):
    p = fd.problems.DiagonalNetwork(*(part[..., :8] / 5 if part.ndim == 2 else part for part in wide))
    runs = [fd.solve(fd.GradientFlow(p), p.init(alpha=a), t=2.0, saves=11) for a in ALPHAS]
    return fd.concat(runs, pd.Index(ALPHAS, name="alpha"))


def test_runs_that_were_joined_are_named_by_their_coordinate(alphas):
    figure = fd.plot(alphas)
    assert all(words(axis) == ("alpha", ["0.001", "0.01", "0.1"]) for axis in figure.axes)
    loss, _, first, second = figure.axes
    assert np.array_equal([line.get_ydata() for line in loss.lines], alphas.loss)
    moved = (alphas.theta.max(("alpha", "t")) - alphas.theta.min(("alpha", "t"))).values
    best = sorted(np.argsort(-moved)[:2])
    assert [axis.get_ylabel() for axis in (first, second)] == [f"theta[{i}] (moves most of 8)" for i in best]
    assert np.array_equal(second.lines[2].get_ydata(), alphas.theta.isel(alpha=2, feature=best[1]))


def test_runs_at_other_times_are_whole_lines():
    p = fd.problems.Quadratic(np.diag([1.0, 2.0]))
    runs = [fd.solve(fd.GradientDescent(p, eta), [1.0, 1.0], t=1.2) for eta in (0.4, 0.3)]
    loss = fd.plot(fd.concat(runs, "eta")).axes[0]
    assert words(loss) == ("eta", ["0.4", "0.3"])
    for line, run in zip(loss.lines, runs, strict=True):
        assert np.array_equal(line.get_xdata(), run.t) and np.array_equal(line.get_ydata(), run.loss)
    nameless = fd.plot(fd.concat(runs, "run")).axes[0]  # eta tells them apart
    assert words(nameless) == ("eta", ["0.4", "0.3"])


def starts(count, **options):
    """A parabola from evenly spaced starts."""
    return fd.solve(
        fd.GradientFlow(fd.problems.Quadratic(1.0)), np.linspace(-1, 3, count)[:, None], 1.0, saves=5, **options
    )


def test_several_starts_and_many():
    few = fd.plot(starts(3)).axes[0]
    assert words(few) == ("start", ["0", "1", "2"])
    more = fd.plot(starts(20)).axes[0]
    assert words(more) == ("start (5 of 20)", ["0", "5", "10", "14", "19"]) and len(more.lines) == 20
    many = fd.plot(starts(401)).axes[2]  # w = w0 exp(-t): quantiles of the starts shrink with it
    assert len(many.lines) == 1 and words(many)[1] == ["all 401 starts", "95 %", "50 %", "median"]
    assert np.allclose(many.lines[0].get_ydata(), np.exp(-many.lines[0].get_xdata()), rtol=1e-6)
    tops = [band.get_paths()[0].vertices[:, 1].max() for band in many.collections]
    assert np.allclose(tops, [3.0, 2.9, 2.0], rtol=1e-12)


def test_many_parameters_are_drawn_as_quantiles():
    run = fd.solve(fd.ODE(lambda t, y: -y), np.linspace(-1.0, 1.0, 1001), t=1.0, saves=5)
    (axis,) = fd.plot(run).axes
    assert len(axis.lines) == 9  # the largest in colour, and a median
    title, entries = words(axis)
    assert title == "largest of 1,001" and {"w[0]", "w[1000]", "all 993 others"} <= set(entries)


def test_what_was_observed_is_drawn():
    observe = {"size": lambda w: jnp.abs(w).sum(), "pair": lambda w: w[:2] ** 2}
    p = fd.problems.Quadratic(np.diag([1.0, 2.0, 3.0]))
    run = fd.solve(fd.GradientFlow(p), np.ones(3), t=1.0, saves=5, observe=observe)
    axes = {axis.get_ylabel(): axis for axis in fd.plot(run).axes}
    assert list(axes)[2:4] == ["observable pair", "observable size"]
    assert np.array_equal(axes["observable size"].lines[0].get_ydata(), run["size"])
    assert words(axes["observable pair"])[1] == ["pair[0]", "pair[1]"]
    alone = fd.solve(fd.GradientFlow(p), np.ones(3), t=1.0, observe=observe, observe_only=True)
    assert [axis.get_ylabel() for axis in fd.plot(alone).axes][2:] == ["observable pair", "observable size"]
    noisy = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), 0.1)
    members = fd.solve(noisy, [1.0], t=1.0, realizations=20, observe={"square": lambda w: w[0] ** 2})
    assert [axis.get_ylabel() for axis in fd.plot(members).axes] == ["w", "observable square", "density"]


def test_ensembles_that_were_joined():
    p = fd.problems.Quadratic(1.0, noise=1.0)
    runs = [fd.solve(fd.SGD(p, eta), [1.0], t=1.0, realizations=20) for eta in (0.5, 0.25)]
    (axis,) = fd.plot(fd.concat(runs, "eta")).axes
    assert words(axis) == ("eta", ["0.5", "0.25"]) and axis.get_ylabel() == "w, mean and 95 %"
    for line, run in zip(axis.lines, runs, strict=True):
        assert np.array_equal(line.get_xdata(), run.t)
        assert np.allclose(line.get_ydata(), run.w[..., 0].mean("realization"), rtol=1e-12)


def spiral(t, y):
    """Inwards."""
    return jnp.stack([-0.2 * y[0] - y[1], y[0] - 0.2 * y[1]])


def test_a_phase_portrait_of_named_states():
    ode = fd.ODE(spiral, names=("x", "v"))
    run = fd.solve(ode, [[1.0, 0.0], [0.0, 2.0]], t=3.0)
    figure = fd.plot(run, kind="phase")
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel(), figure.get_suptitle()) == ("x", "v", "ODE spiral")
    assert words(axis) == ("start", ["0", "1", "start", "end"])
    assert np.array_equal(axis.lines[3].get_xydata().T, [run.x[1], run.v[1]])
    noisy = fd.solve(fd.SDE(spiral, lambda t, y: 0.1 + 0 * y, noise="additive"), [1.0, 0.0], t=1.0, realizations=3)
    assert words(fd.plot(noisy, kind="phase").axes[0]) == ("member", ["0", "1", "2", "start", "end"])
    assert [axis.get_ylabel() for axis in fd.plot(run.isel(start=0)).axes] == ["state"]


def test_paths_left_out_of_a_phase_portrait_are_counted():
    problem = fd.problems.Quadratic(np.eye(2), noise=np.eye(2))
    many = fd.solve(fd.SGD(problem, 0.1), np.ones(2), steps=3, saves=4, realizations=300)
    assert words(fd.plot(many, kind="phase").axes[0])[0] == "member (200 of 300)"


def test_the_way_to_two_parameters_can_be_gone():
    network = fd.problems.DiagonalNetwork([[1.0, 0.5, 0.2]], [1.0])
    run = fd.solve(fd.GradientFlow(network), network.init(0.1), t=1.0)
    with pytest.raises(fd.ArgumentError, match=r"select two, e.g. ds.drop_vars\(\['w_minus'\]\).isel\(feature="):
        fd.plot(run, kind="phase")
    assert fd.plot(run.drop_vars(["w_minus"]).isel(feature=[0, 1]), kind="phase").axes


def test_a_cell_that_failed_has_no_place_in_a_legend():
    problem = fd.problems.Quadratic(1.0)

    def make(eta):
        return fd.GradientDescent(problem, eta), [1.0], {"steps": 1000, "saves": 5}

    with pytest.warns(fd.FlowdynWarning, match="1 of 3 cells"):  # one doubt, one failure
        result = fd.sweep(make, {"eta": [0.1, 0.2, 3.0]})
    assert words(fd.plot(result).axes[0]) == ("eta", ["0.1", "0.2"])


def test_a_sweep_over_two_quantities_is_a_map():
    def run(eta, curvature):
        method = fd.GradientDescent(fd.problems.Quadratic(curvature), eta)
        return fd.solve(method, [1.0], steps=400, saves=5, on_divergence="keep")

    etas, curvatures = [0.1, 0.2, 0.5], [1.0, 2.0, 400.0]
    with pytest.warns(fd.FlowdynWarning, match="2/lambda_max"):
        rows = [fd.concat([run(eta, c) for eta in etas], "eta") for c in curvatures]
    figure = fd.plot(fd.concat(rows, pd.Index(curvatures, name="curvature")))
    axis, _, bar, _ = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel(), bar.get_ylabel()) == ("eta", "curvature", "loss L(w) at the end")
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0.1", "0.2", "0.5"]
    shown = axis.collections[0].get_array()
    assert np.array_equal(np.ma.getmaskarray(shown), [[False] * 3, [False] * 3, [True] * 3])
    exact = [[0.5 * c * (1 - eta * c) ** 800 for eta in etas] for c in curvatures[:2]]
    assert np.allclose(shown[:2].filled(), exact, rtol=1e-8) and axis.get_title() == "grey: diverged"
    assert not overprinted(figure)


def test_a_normalised_flow_is_drawn_over_log_t():
    p = fd.problems.LinearClassifier([[2.0, 0.5], [1.0, 1.0]], [1, 1])
    run = fd.solve(fd.NormalizedFlow(p), p.init(), t=np.inf, stop={"log_t": (">", 1e6)})
    figure = fd.plot(run)
    margin, loss = figure.axes
    assert {axis.get_xlabel() for axis in figure.axes} == {"log t, t the time of the gradient flow"}
    assert margin.get_ylabel().startswith("margin min_i") and loss.get_ylabel() == "log L(w)"
    assert words(margin)[1] == ["margin", "smooth margin"]
    low, high = margin.get_ylim()
    assert 0 < low < float(run.margin[-1]) < high < 3 * float(run.margin[-1])
    assert loss.get_ylim()[0] < -0.9e6 and loss.get_ylim()[1] < 100
    assert not overprinted(figure)


PARABOLA = fd.problems.Quadratic(1.0, noise=1.0)
TICKED = {
    "ladder": lambda: fd.eta_limit(fd.GradientDescent(PARABOLA, 2e-2), [1.0], t=1.0, etas=2e-2 / 2.0 ** np.arange(8)),
    "rungs that are near": lambda: fd.eta_limit(
        fd.GradientDescent(PARABOLA, 0.2), [1.0], t=4.0, etas=[0.2, 0.16, 0.1, 0.08, 0.05, 0.04, 0.02]
    ),
    "weak ladder": lambda: fd.eta_limit(fd.SGD(PARABOLA, 0.1), [1.0], t=1.0, observable={"w": lambda w: w[0]}),
    "decades": lambda: fd.solve(
        fd.GradientFlow(fd.problems.CustomProblem(lambda w: jnp.sum(w**4), np.ones(1))),
        [1.0], t=np.inf, stop={"loss": ("<", 1e-16)},
    ),
    "a little more than a decade": lambda: fd.solve(fd.GradientFlow(PARABOLA), [1.0], t=1.9),
    "growth": lambda: fd.solve(
        fd.SDE(lambda t, x: 40 * x, lambda t, x: x, noise="diagonal"), [1.0], 1.0, realizations=9
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TICKED)
def test_no_tick_label_is_printed_over_another(name):
    figure = fd.plot(TICKED[name]())
    assert not overprinted(figure)
    assert all(len([text for text in axis.get_xticklabels() if text.get_text()]) >= 2 for axis in figure.axes)


def test_the_looker_sees_overprinted_labels():
    figure, axis = plt.subplots()
    axis.set_xticks([0.0, 0.01, 1.0], ["aaaa", "bbbb", "cccc"])
    assert overprinted(figure) == [("bbbb", "aaaa")]


def test_a_file_is_drawn(tmp_path):
    run = fd.solve(fd.GradientFlow(PARABOLA), [1.0], t=1.0, saves=3)
    path = fd.save(run, tmp_path / "run.nc")
    for place in (path, str(path)):
        assert np.array_equal(fd.plot(place).axes[0].lines[0].get_ydata(), run.loss)
    tree = fd.save(xr.DataTree.from_dict({"a": run}), tmp_path / "tree.nc")
    with pytest.raises(fd.ArgumentError, match=r"take one of its nodes|that flowdyn did not make"):
        fd.plot(tree)


def test_a_density_of_ones_own_beside_a_histogram():
    run = fd.solve(fd.SGD(PARABOLA, 0.1), [0.0], t=4.0, realizations=50)
    (axis,) = fd.plot(run, density=lambda x: 0 * x + 0.5).axes
    assert words(axis)[1] == ["50 members", "normal law, exact moments", "given density"]
    assert np.array_equal(axis.lines[1].get_ydata(), np.full(400, 0.5))
