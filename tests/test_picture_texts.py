"""Texts of pictures at any size: none reaches out of the figure, lies over another, or over a curve."""

from itertools import combinations

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import flowdyn as fd

ROUNDING = 1.0  # pixels that a bounding box is rounded by


@pytest.fixture(autouse=True)
def closed():
    """No figure outlives its test."""
    yield
    plt.close("all")


def ticks(axes):
    """Labels that are printed, of one side after the other."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        found = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        yield [tick.label1 for tick in found if low <= tick.get_loc() <= high and tick.label1.get_visible()]


def words(figure):
    """Headings, labels and entries of legends."""
    yield figure._suptitle
    for axes in figure.axes:
        legend = axes.get_legend()
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label)
        yield from [*legend.get_texts(), legend.get_title()] if legend else []


def boxes(texts, renderer):
    """What is printed, and where."""
    return [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text() and t.get_visible()]


def overlapping(found):
    """Pairs that lie over one another by more than rounding."""
    pairs = combinations(found, 2)
    return [(a, b) for (a, p), (b, q) in pairs if p.padded(-ROUNDING).overlaps(q) and a + b]


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
    over += [(a, b) for a, p in named for side in numbered for b, q in side if p.padded(-ROUNDING).overlaps(q)]
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
CLASSES = fd.problems.LinearClassifier([[1.0, 2.0], [2.0, 0.3], [-1.0, -1.0]], [1.0, 1.0, -1.0])
FOREVER = "a_very_long_name_of_an_observable_that_goes_on_and_on_for_ever_and_ever"


def example(name, **options):
    """A run of the example of a registered method."""
    system, start = getattr(fd, name).example()
    return fd.solve(system, start, **({"t": 1.0, "saves": 9} | options))


def observed():
    seen = fd.observables.sharpness(NAMED, 0.05) | {FOREVER: lambda w: w[:3], "neg": lambda w: -jnp.sum(w)}
    return fd.solve(fd.GradientDescent(NAMED, 0.05), np.zeros(6), steps=40, observe=seen)


def grid():
    def make(curvature, eta):
        return fd.GradientDescent(fd.problems.Quadratic(curvature), eta), [1.0], {"steps": 40, "saves": 5}

    return fd.sweep(make, {"curvature": [1.0, 2.0, 4.0], "eta": [0.1, 0.2, 0.3, 0.4]})


PICTURES = {
    **{name: lambda name=name: example(name) for name in ("GradientFlow", "HeavyBall", "Adam", "ODE", "Nesterov")},
    **{name: lambda name=name: example(name, realizations=30) for name in ("OrnsteinUhlenbeck", "SDE", "SGD")},
    "long names": lambda: fd.solve(fd.GradientFlow(NAMED), np.zeros(6), t=10.0),
    "observed": observed,
    "ladder": lambda: fd.eta_limit(fd.GradientDescent(NAMED, 0.05), np.ones(6), t=2.0, order=1),
    "weak ladder": lambda: fd.eta_limit(
        fd.SGD(NOISY, 0.1), [1.0, -1.0], t=1.0, order=2, observable={"w0": lambda w: w[0], "sq": lambda w: w @ w}
    ),
    "ensemble": lambda: fd.solve(fd.SGD(NOISY, 0.05), [1.0, -1.0], steps=100, realizations=100, seed=0),
    "normalised": lambda: fd.solve(fd.NormalizedFlow(CLASSES), [0.0, 0.0], t=np.inf, stop={"log_t": (">", 2e4)}),
    "blow-up": lambda: fd.solve(fd.ODE(lambda t, y: y**2), [1.0], t=0.99999),
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
