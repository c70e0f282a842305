"""The ladder over d: SGD beside its homogenized equation, gap of order 1 in 1/d."""

import jax.numpy as jnp
import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd
from flowdyn import theory


def make(d, gamma=1.0):
    """l_i = i/d, m_i(0) = 1/d, sigma = .1."""
    p = fd.problems.Streaming(np.arange(1, d + 1) / d, np.ones(d) / np.sqrt(d), 0.1)
    return fd.SGD(p, gamma / d), fd.HomogenizedSGD(p, gamma / d), p.init()


def beside_flow(d):
    """The same method beside the flow of its mean."""
    method, _, w0 = make(d)
    return method, fd.GradientFlow(method.problem), w0


@pytest.mark.parametrize(("gamma", "when"), [(0.5, 1), (1.0, 5)])
def test_gap_of_order_one(gamma, when):
    dims = np.array([16, 32, 64, 128])
    ladder = fd.dimension_limit(lambda d: make(d, gamma), dims, t=gamma * when, progress=False)
    assert ladder.attrs["verdict"] == "resolved" and (ladder.members == 0).all() and (ladder.used == 1).all()
    assert abs(float(ladder.order[0]) - 1) < 0.05 and float(ladder.order_expected) == 1
    low, high = ladder.order_interval.values[0]
    assert low < 1 < high and high - low < 0.2
    for i, d in enumerate(dims):  # a plain loop over the recursion, and Volterra's equation
        l, m = np.arange(1, d + 1) / d, np.ones(d) / d  # noqa: E741
        for _ in range(when * d):
            m = m - 2 * gamma / d * l * m + (gamma / d) ** 2 * (2 * l**2 * m + l * (l @ m + 0.01))
        risk = theory.volterra_risk(l, np.ones(d) / d, gamma / d, 0.1, [gamma * when])[0] / 2
        assert float(ladder["mean"][i, 0]) == pytest.approx(l @ m / 2 + 0.005, rel=1e-11)
        assert float(ladder.mean_limit[i, 0]) == pytest.approx(risk + 0.005, rel=1e-10)
        assert float(ladder.error[i, 0]) == pytest.approx(l @ m / 2 - risk, abs=1e-11)
    slopes = np.log2(np.abs(ladder.error.values[:-1] / ladder.error.values[1:]))
    assert (np.abs(slopes[-1] - 1) < 0.1).all()


def test_a_ladder_is_labelled_saved_and_drawn(tmp_path, cf_failures):
    functions = {"last": lambda w: w.size * w[-1] ** 2, "risk": lambda w: jnp.sum(w**2)}
    ladder = fd.dimension_limit(make, [16, 8, 4], t=1.0, observable=functions)
    assert ladder.error.dims == ("d", "observable") and ladder.d.values.tolist() == [16, 8, 4]
    assert ladder.k.values.tolist() == [16, 8, 4] and ladder.observable.values.tolist() == ["last", "risk"]
    path = fd.save(ladder, tmp_path / "d.nc")
    assert cf_failures(path) == []
    with fd.load(path) as back:
        assert back.error.identical(ladder.error) and back.attrs["verdict"] == ladder.attrs["verdict"]
        axes = fd.plot(back).axes[0]
    assert axes.get_xlabel() == "1/d, d the dimension"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1/16", "1/8", "1/4"]
    assert_refused(lambda: fd.rebuild(ladder), "got a ladder over dimensions; call dimension_limit")


def test_means_that_are_not_quadratic_are_sampled():
    """The verdict has the words of `dims`, and no slope is fitted to noise."""
    smooth = {"tanh": lambda w: jnp.tanh(jnp.sum(w))}
    with pytest.warns(fd.FlowdynWarning, match="the order is not resolved.*(smaller|larger) `dims`"):
        ladder = fd.dimension_limit(beside_flow, [2, 3, 4], t=1.0, observable=smooth, realizations=100)
    assert (ladder.members > 0).all() and (ladder.standard_error > 0).all() and np.isnan(ladder.order[0])
    assert (np.abs(ladder["mean"] - ladder.mean_limit - ladder.error) < 1e-12).all()


def test_beside_a_flow():
    """Without noise in the limit the gap of the means of w is that of gradient descent: O(eta) = O(1/d)."""

    ladder = fd.dimension_limit(
        beside_flow, [8, 16, 32, 64], t=2.0, observable={"last": lambda w: jnp.sqrt(w.size) * w[-1]}
    )
    expected = [np.exp(-2.0) - (1 - 1 / d) ** (2 * d) for d in (8, 16, 32, 64)]  # l_d = 1
    assert np.abs(ladder.error.values[:, 0] - expected).max() < 1e-11


def two(d):
    """Not a triple."""
    return make(d)[:2]


REFUSED = {
    "few": (lambda: fd.dimension_limit(make, [4, 8], t=1.0), "`dims` must hold at least 3 dimensions"),
    "order": (lambda: fd.dimension_limit(make, [4, 16, 8], t=1.0), "`dims` must be whole numbers"),
    "halves": (lambda: fd.dimension_limit(make, [4, 8.5, 9], t=1.0), "`dims` must be whole numbers"),
    "clock": (lambda: fd.dimension_limit(make, [4, 8, 16], t=0.6), "`t` must be a whole number of steps of 0.25"),
    "early": (lambda: fd.dimension_limit(make, [4, 8, 16], t=0.01), "`t` must be a whole number of steps"),
    "time": (lambda: fd.dimension_limit(make, [4, 8, 16], t=-1.0), "`t` must be positive"),
    "function": (lambda: fd.dimension_limit(3, [4, 8, 16], t=1.0), r"`make` must be a function make\(d\)"),
    "pair": (lambda: fd.dimension_limit(two, [4, 8, 16], t=1.0), r"`make` must return \(method, limit, w0\)"),
    "method": (
        lambda: fd.dimension_limit(lambda d: (fd.GradientFlow(make(d)[0].problem), *make(d)[1:]), [4, 8, 16], t=1.0),
        "`make` must return a random recursion on a problem first",
    ),
    "limit": (
        lambda: fd.dimension_limit(lambda d: (make(d)[0], make(d)[0], make(d)[2]), [4, 8, 16], t=1.0),
        "`make` must return a flow or an equation second",
    ),
    "realizations": (
        lambda: fd.dimension_limit(make, [4, 8, 16], t=1.0, realizations=3), "`realizations` must be at least 100"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_words(case):
    assert_refused(*REFUSED[case])
