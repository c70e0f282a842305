"""Texts and scales of pictures at any size: no text reaches out of the figure, lies over another, or over a curve."""

import io
import itertools
import pickle
from functools import cache
from itertools import combinations

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import flowdyn as fd
from flowdyn.pages.pictures import picture
from flowdyn.plotting.axes import show_literally

ROUNDING = 1.0  # pixels that a bounding box is rounded by


def ticks(axes):
    """Labels that are printed, of one side after the other."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        found = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        yield [tick.label1 for tick in found if low <= tick.get_loc() <= high and tick.label1.get_visible()]


def words(figure):
    """Headings, labels and entries of legends."""
    yield from figure.texts
    for axes in figure.axes:
        legend = axes.get_legend()
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label)
        yield from [*legend.get_texts(), legend.get_title()] if legend else []


def boxes(texts, renderer):
    """What is printed, and where."""
    return [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text() and t.get_visible()]


def overlapping(found):
    """Pairs that lie over one another by more than rounding."""
    pairs = combinations([(text, box, box.padded(-ROUNDING)) for text, box in found], 2)
    return [(a, b) for (a, _, p), (b, q, _) in pairs if p.overlaps(q) and a + b]


def faults(figure):
    """Texts out of the figure, over one another, or over a curve; as the figure is printed."""
    figure.canvas.draw()
    renderer, (width, height) = figure.canvas.get_renderer(), figure.bbox.size
    named = boxes(words(figure), renderer)
    numbered = [boxes(side, renderer) for axes in figure.axes for side in ticks(axes)]
    everything = named + [box for side in numbered for box in side]
    outside = [
        text
        for text, box in everything
        if min(box.x0, box.y0) < -ROUNDING or box.x1 > width + ROUNDING or box.y1 > height + ROUNDING
    ]
    over = overlapping(named) + [pair for side in numbered for pair in overlapping(side)]
    inside = [(text, box.padded(-ROUNDING)) for text, box in named]
    over += [(a, b) for a, p in inside for side in numbered for b, q in side if p.overlaps(q)]
    return {"outside": outside, "over another": over, "over a curve": list(over_curves(figure, renderer))}


def over_curves(figure, renderer):
    """Entries of legends that a line runs through."""
    for axes in figure.axes:
        legend = axes.get_legend()
        for text, box in boxes(legend.get_texts(), renderer) if legend else []:
            for line in axes.lines:
                points = line.get_transform().transform(np.asarray(line.get_xydata(), dtype=float))
                between = np.linspace(points[:-1], points[1:], 50).reshape(-1, 2) if len(points) > 1 else points
                if line.get_linestyle() == "None":
                    between = points
                if any(box.contains(x, y) for x, y in between):
                    yield text


NONE = {"outside": [], "over another": [], "over a curve": []}
rng = np.random.default_rng(3)
X = rng.standard_normal((10, 6)) / 3
LONG = [f"a feature with a very very long name number {i} in mg/dl (95%)" for i in range(6)]
NAMED = fd.problems.LinearRegression(pd.DataFrame(X, columns=LONG), X[:, 0])
NOISY = fd.problems.Quadratic(np.array([[2.0, 0.5], [0.5, 1.0]]), noise=np.eye(2))
FOREVER = "a_very_long_name_of_an_observable_that_goes_on_and_on_for_ever_and_ever"


def example(name, **options):
    """A run of the example of a registered method."""
    system, start = getattr(fd, name).example()
    return fd.solve(system, start, **({"t": 1.0, "saves": 9} | options))


@cache
def observed():
    seen = fd.observables.sharpness(NAMED, 0.05) | {FOREVER: lambda w: w[:3], "neg": lambda w: -jnp.sum(w)}
    return fd.solve(fd.GradientDescent(NAMED, 0.05), np.zeros(6), steps=40, observe=seen)


@cache
def normalised():
    p = fd.problems.LinearClassifier([[2.0, 0.5], [1.0, 1.0]], [1.0, 1.0])
    return fd.solve(fd.NormalizedFlow(p), [0.0, 0.0], t=2e3, saves=21)  # log t = 200 at the first save


def law():
    return example("OrnsteinUhlenbeck", realizations=30)


def blow_up():
    return fd.solve(fd.ODE(lambda t, y: y**2), [1.0], t=0.99999)


def grid():
    def make(curvature, eta):
        return fd.GradientDescent(fd.problems.Quadratic(curvature), eta), [1.0], {"steps": 40, "saves": 5}

    return fd.sweep(make, {"curvature": [1.0, 2.0, 4.0], "eta": [0.1, 0.2, 0.3, 0.4]})


PICTURES = {
    **{name: lambda name=name: example(name) for name in ("GradientFlow", "HeavyBall", "ODE")},
    "OrnsteinUhlenbeck": law,
    "long names": lambda: fd.solve(fd.GradientFlow(NAMED), np.zeros(6), t=10.0),
    "observed": observed,
    "ladder": lambda: fd.eta_limit(fd.GradientDescent(NAMED, 0.05), np.ones(6), t=2.0, order=1),
    "weak ladder": lambda: fd.eta_limit(
        fd.SGD(NOISY, 0.1), [1.0, -1.0], t=1.0, order=2, observable={"w0": lambda w: w[0], "sq": lambda w: w @ w}
    ),
    "normalised": normalised,
    "blow-up": blow_up,
    "less than two decades": lambda: fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.9),
    "many numbers": lambda: fd.solve(fd.ODE(lambda t, y: -y), np.linspace(-1.0, 1.0, 1001), t=1.0, saves=5),
    "map": grid,
    "line of a sweep": lambda: grid().isel(eta=1),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_texts_have_their_places_at_full_and_at_half_size(name):
    figure = fd.plot(PICTURES[name]())
    assert faults(figure) == NONE
    figure.set_size_inches(figure.get_size_inches() / 2)
    assert faults(figure) == NONE


def test_the_looker_sees_what_is_out_of_place():
    figure, (left, right) = plt.subplots(1, 2, figsize=(4, 2))
    figure.suptitle("heading")
    left.plot([0, 1], [0, 1], label="on the line")
    left.legend(loc="center")
    left.set_ylabel("a label that is longer than its figure is high")
    right.set_xticks([0.0, 0.01, 1.0], ["aaaa", "bbbb", "cccc"])
    found = faults(figure)
    assert left.get_ylabel() in found["outside"]
    assert ("aaaa", "bbbb") in found["over another"]
    assert found["over a curve"] == ["on the line"]


def labels(figure):
    return [axes.get_ylabel() for axes in figure.axes]


def entries(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_what_was_cut_is_whole_again_where_there_is_room_and_what_a_user_wrote_stays():
    figure = fd.plot(observed())
    whole = labels(figure)
    assert f"observable {FOREVER}" in whole
    place = whole.index(f"observable {FOREVER}")
    figure.savefig(io.BytesIO())
    short = figure.axes[place].get_ylabel()
    assert short.startswith("observable\na_very") and short.endswith("_and_ever") and "…" in short
    assert len(set(entries(figure.axes[place]))) == 3 and entries(figure.axes[place])[1].endswith("[1]")
    figure.axes[0].set_ylabel("loss of mine")
    figure.set_size_inches(figure.get_size_inches() * 4)
    figure.savefig(io.BytesIO(), dpi=30)
    assert labels(figure) == ["loss of mine", *whole[1:]]
    again = pickle.loads(pickle.dumps(figure))
    assert labels(again) == labels(figure) and faults(again) == NONE


def test_words_that_stand_for_a_picture_are_whole():
    assert f"{FOREVER}[2]" in picture(fd.plot(observed())).alt


def test_panels_keep_their_width_beside_long_names():
    def widths(ds):
        figure = fd.plot(ds)
        figure.canvas.draw()
        return [axes.get_window_extent().width / figure.bbox.width for axes in figure.axes]

    short = fd.problems.LinearRegression(X, X[:, 0])
    plain, long = (widths(fd.solve(fd.GradientFlow(p), np.zeros(6), t=1.0)) for p in (short, NAMED))
    assert min(long) > 0.75 * min(plain) > 0.15


def test_features_are_told_apart_by_their_own_names():
    figure = fd.plot(fd.solve(fd.GradientFlow(NAMED), np.zeros(6), t=1.0))
    assert sorted(entries(figure.axes[-1])) == LONG
    figure.canvas.draw()
    short = entries(figure.axes[-1])
    assert len(set(short)) == 6 and all("…" in text for text in short)


def test_a_panel_of_ones_own_figure_has_its_label_cut_too():
    _, axes = plt.subplots(figsize=(4, 2))
    other = observed().assign(loss=observed().loss.assign_attrs(long_name="loss " + "of a very long name " * 5))
    fd.plot(other, axes)
    assert "…" in axes.get_ylabel()
    assert axes.yaxis.label.get_window_extent().height <= axes.get_window_extent().height + ROUNDING


def test_a_constant_has_its_axis_from_zero_and_the_sharpness_its_limit():
    axes = {axes.get_ylabel(): axes for axes in fd.plot(observed()).axes}
    largest = np.linalg.eigvalsh(X.T @ X).max()  # of a loss that is a parabola
    low, high = axes["largest eigenvalue of the Hessian of the loss"].get_ylim()
    assert low == 0.0 and high == pytest.approx(2 * largest, rel=1e-6)
    edge = axes["step size times the largest eigenvalue of the Hessian"]
    assert edge.get_ylim() == (0.0, pytest.approx(2.2)) and entries(edge) == ["gradient descent is stable below 2"]
    assert np.array_equal(edge.lines[0].get_ydata(), [2.0, 2.0])
    (zero,) = fd.plot(fd.solve(fd.ODE(lambda t, y: 0 * y), [-3.0], t=1.0)).axes
    assert zero.get_ylim() == (-6.0, 0.0)


@pytest.mark.parametrize("made", [lambda: fd.solve(fd.GradientFlow(NAMED), np.zeros(6), t=1.0), law])
def test_a_run_of_one_time_is_drawn_as_dots(made):
    figure = fd.plot(made().isel(t=[5]))
    lines = [line for axes in figure.axes[:2] for line in axes.lines]
    assert lines and all(line.get_marker() == "o" and len(line.get_xdata()) == 1 for line in lines)
    assert faults(figure)["outside"] == []


def test_a_clock_of_logarithms_begins_where_its_data_begin():
    margin, loss = fd.plot(normalised()).axes
    for axes in (margin, loss):
        drawn = axes.lines[0].get_xdata()
        seen = drawn[np.isfinite(drawn)]
        low, high = axes.get_xlim()
        assert seen[0] / 2 < low < seen[0] and seen[-1] < high < 2 * seen[-1]
    low, high = loss.get_ylim()
    values = loss.lines[0].get_ydata()[np.isfinite(loss.lines[0].get_xdata())]
    assert 2 * values[-1] < low < values[-1] and values[0] < high < values[0] / 2 < 0
    margin.figure.canvas.draw()
    texts = [text.get_text() for text in margin.get_yticklabels()]
    assert margin.yaxis.get_offset_text().get_text() == "" and max(map(len, texts)) <= 4


def test_states_that_span_decades_are_drawn_on_logarithmic_axes():
    (grown,) = fd.plot(blow_up()).axes
    assert grown.get_yscale() == "log"
    descent = fd.GradientDescent(fd.problems.Quadratic(np.eye(2)), 3.0)  # w is doubled and turned over
    with pytest.warns(fd.FlowdynWarning, match="2/lambda_max"):
        run = fd.solve(descent, [1.0, -0.5], steps=40)
    weights = fd.plot(run).axes[-1]
    assert weights.get_yscale() == "symlog" and max(map(abs, weights.get_ylim())) > 2.0**40
    calm = fd.solve(fd.ODE(lambda t, y: jnp.stack([y[1], -y[0]])), [0.0, 1.0], t=6.0)
    assert fd.plot(calm).axes[0].get_yscale() == "linear"


def test_an_equation_of_a_users_own_has_a_time_and_its_names():
    named = fd.solve(fd.ODE(lambda t, y: -y, names=("angle", "speed")), [1.0, 2.0], t=1.0)
    figure = fd.plot(named)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), figure.get_suptitle()) == ("time t", "ODE of angle, speed")
    assert sorted(entries(axes)) == ["angle", "speed"]
    assert {axes.get_xlabel() for axes in fd.plot(example("GradientFlow")).axes} == {"training time t"}
    many = fd.solve(fd.ODE(lambda t, y: -y, names=("a", "b", "c", "d", "e")), np.ones(5), t=0.1, saves=2)
    assert many.title == "ODE of a, b, c, d, ..."


@pytest.mark.parametrize("length", [9, 12, 20])
def test_cut_texts_stay_apart(length):
    from flowdyn.plotting.shortening import cut, cut_apart

    assert cut("abcdefghij", 5) == "ab…ij" and cut("abc", 5) == "abc"
    for texts in (LONG, [f"{FOREVER}[{i}]" for i in range(3)], ["x" * 30 + "a" * i + "x" * 30 for i in (1, 40)]):
        short = cut_apart(texts, length)
        assert len(set(short)) == len(texts) and max(map(len, short)) <= length + 2


SYSTEMS = {  # what -> (a system, its start, whether it is one of training)
    "ODE": (lambda: fd.ODE(lambda t, y: -y), [1.0], False),
    "SDE": (lambda: fd.SDE(lambda t, x: -x, lambda t, x: x, noise="diagonal"), [1.0], False),
    "OrnsteinUhlenbeck": (lambda: fd.OrnsteinUhlenbeck(1.0, 0.1), [1.0], False),
    "average of an ODE": (lambda: fd.averaged(fd.ODE(lambda t, y: -y), "ema", rate=1.0), [1.0], False),
    "GradientFlow": (lambda: fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], True),
    "average of a flow": (lambda: fd.averaged(fd.GradientFlow(fd.problems.Quadratic(1.0))), [1.0], True),
    "Recursion": (lambda: fd.Recursion(lambda z, eta: z - eta * z, 0.1), [1.0], True),
}


@pytest.mark.parametrize("what", SYSTEMS)
def test_time_is_called_training_time_where_a_system_is_one_of_training(what, tmp_path):
    system, start, trains = SYSTEMS[what]
    run = fd.solve(system(), start, t=0.5, saves=3)
    name = "training time t" if trains else "time t"
    assert run.t.long_name.partition(" (")[0] == name
    fd.save(run, tmp_path / "run.nc")
    both = fd.concat([run, run], "start")
    for ds in (fd.load(tmp_path / "run.nc"), both, both.assign_attrs(title="ODE of one's own")):
        assert {axes.get_xlabel() for axes in fd.plot(ds).axes} == {name}


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_legend_in_one_row_leaves_no_gap_in_the_others(share):
    p = fd.problems.LinearRegression(np.eye(4), np.ones(4))
    obs = {"cube": lambda w: w**3, "energy": lambda w: w @ w, "root": jnp.abs, "two": lambda w: w[:2]}
    figure = fd.plot(fd.solve(fd.GradientDescent(p, 0.5), np.zeros(4), steps=20, observe=obs))
    figure.set_size_inches(share * figure.get_size_inches())
    figure.draw_without_rendering()
    rows = {}
    for axes in figure.axes:
        rows.setdefault(axes.get_subplotspec().rowspan.start, []).append(axes)
    assert len(rows) > 1 and any(axes.get_legend() for axes in rows[1][:-1])
    for left, right in ((a, b) for row in rows.values() for a, b in itertools.pairwise(row)):
        texts = [right.yaxis.label, *(t for t in right.get_yticklabels() if t.get_text())]
        begin = min(text.get_window_extent().x0 for text in texts)
        assert begin - left.get_window_extent().x1 < 0.05 * figure.bbox.width


@pytest.mark.parametrize(
    ("text", "is_type"),
    [("US$ to C$ rate", False), ("$5 to $6", False), ("a $x", False), (r"$\eta$ = 0.1", True), ("$10^{-3}$", True)],
)
def test_dollars_of_money_are_no_mathematical_type(text, is_type):
    figure, axis = plt.subplots()
    axis.set_xlabel(text)
    show_literally(figure)
    assert axis.xaxis.label.get_parse_math() == is_type
    plt.close(figure)
