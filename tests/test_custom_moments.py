"""A linear problem that a user wrote has exact moments: beside the built-in ones, and all sample paths enumerated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn.convergence import limits

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((3, 2)), RNG.standard_normal(3)
W0, ETA = np.array([0.8, -0.4]), 0.05
DATA = {"X": X, "y": Y}
BUILT_IN = fd.problems.LinearRegression(X, Y)  # l_i = 3/2 r_i^2


def samples(w, data):
    return 1.5 * (data["X"] @ w - data["y"]) ** 2


def loss(w, data):
    return jnp.mean(samples(w, data))


def predict(w, x):
    return x @ w


OWN = fd.problems.CustomProblem(loss, np.zeros(2), DATA, samples)
OWN_REGRESSION = fd.problems.CustomRegression(predict, Y, np.zeros(2), data=X, scale=0.5)


def methods(problem):
    """Every random method with exact moments."""
    sgd = fd.SGD(problem, ETA, 2)
    without = fd.SGD(problem, ETA, 2, "without")
    return [sgd, without, fd.SVAG(problem, ETA, 1, 3.0), sgd.limit(1), without.limit(2)]


@pytest.mark.parametrize("own", [OWN, OWN_REGRESSION], ids=["losses", "predictions"])
@pytest.mark.parametrize("which", range(5))
def test_moments_beside_the_built_in_regression(own, which):
    method, known = methods(own)[which], methods(BUILT_IN)[which]
    when = np.array([0.1, 0.7]) if which > 2 else np.array([1, 4])
    for ours, truth in zip(method.exact_moments(W0, when), known.exact_moments(W0, when), strict=True):
        assert np.allclose(ours, truth, rtol=1e-10, atol=1e-15)
    assert method.moments_work(2, when) > 0


@pytest.mark.parametrize("own", [OWN, OWN_REGRESSION], ids=["losses", "predictions"])
@pytest.mark.parametrize(("batch", "sampling"), [(1, "with"), (2, "without")])
def test_moments_of_all_sample_paths(own, batch, sampling):
    """Three steps, every sequence of batches with equal weight."""
    batches = [*itertools.combinations(range(3), 2)] if sampling == "without" else [(i,) for i in range(3)]
    ends = []
    for path in itertools.product(batches, repeat=3):
        w = W0
        for index in path:
            rows, y = X[list(index)], Y[list(index)]
            w = w - ETA * np.mean(3 * rows * (rows @ w - y)[:, None], axis=0)
        ends.append(w)
    run = fd.solve(fd.SGD(own, ETA, batch, sampling), W0, steps=3)
    assert np.allclose(run.w_mean_exact[-1], np.mean(ends, axis=0), rtol=1e-12)
    assert np.allclose(run.w_cov_exact[-1], np.cov(np.transpose(ends), bias=True), rtol=1e-10, atol=1e-15)


def test_moments_beside_a_quadratic():
    """Samples w A w / 2 + g_i w with mean_i g_i = 0 and Cov g = Sigma have the moments of Gaussian noise Sigma."""
    A, Sigma = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, 0.2], [0.2, 0.5]])
    root = np.linalg.cholesky(Sigma)
    pushes = np.sqrt(2) * np.concatenate([root.T, -root.T])  # (4, 2)

    def tilted(w, pushes):
        return 0.5 * w @ A @ w + pushes @ w

    own = fd.problems.CustomProblem(lambda w, pushes: 0.5 * w @ A @ w, np.zeros(2), pushes, tilted)
    known = fd.problems.Quadratic(A, noise=Sigma)
    for method, truth in zip(
        (fd.SGD(own, ETA, 2), fd.SGD(own, ETA).limit(1), fd.SGD(own, ETA).limit(2)),
        (fd.SGD(known, ETA, 2), fd.SGD(known, ETA).limit(1), fd.SGD(known, ETA).limit(2)),
        strict=True,
    ):
        when = np.array([0, 1, 20]) if isinstance(method, fd.SGD) else np.array([0.0, 0.3, 2.0])
        for ours, theirs in zip(method.exact_moments(W0, when), truth.exact_moments(W0, when), strict=True):
            assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-13)


def test_several_parameters_have_means_and_variances(tmp_path):
    """A slope matrix and an offset; all 9 paths of two steps."""
    start = {"slope": np.array([[0.5], [-0.3]]), "offset": np.array(0.2)}

    def line(w, x):
        return (x @ w["slope"])[:, 0] + w["offset"]

    own = fd.problems.CustomRegression(line, Y, start, data=X, scale=0.5)
    run = fd.solve(fd.SGD(own, ETA), own.init(), steps=2, realizations=4, saves=3)
    full, w0 = np.column_stack([X, np.ones(3)]), np.array([0.5, -0.3, 0.2])
    ends = []
    for path in itertools.product(range(3), repeat=2):
        w = w0
        for i in path:
            w = w - ETA * 3 * full[i] * (full[i] @ w - Y[i])
        ends.append(w)
    mean, var = np.mean(ends, axis=0), np.var(ends, axis=0)
    assert np.allclose(run.slope_mean_exact[-1].values.ravel(), mean[:2], rtol=1e-12)
    assert np.allclose(run.slope_var_exact[-1].values.ravel(), var[:2], rtol=1e-10)
    assert np.allclose([run.offset_mean_exact[-1], run.offset_var_exact[-1]], [mean[2], var[2]], rtol=1e-10)
    assert run.slope_mean_exact.dims == ("t", *run.slope.dims[2:]) and run.offset_var_exact.dims == ("t",)
    assert run.attrs["flowdyn_law"].startswith("variances only")
    assert fd.load(fd.save(run, tmp_path / "run.nc")).identical(run)
    fd.plot(run)


@pytest.mark.parametrize(("own", "order"), [(OWN, 2), (OWN_REGRESSION, 1)], ids=["losses", "predictions"])
def test_weak_ladders_are_exact(own, order):
    g = {"square": lambda w: w[0] ** 2}
    ours, known = (fd.eta_limit(fd.SGD(p, 0.02), W0, 0.5, order=order, observable=g) for p in (own, BUILT_IN))
    assert (ours.members == 0).all() and abs(float(ours.order[0]) - order) < 0.1
    assert np.allclose(ours.error, known.error, rtol=1e-7, atol=1e-15)


def test_the_error_of_an_integrated_flow_counts():
    """Order 0: the flow of a user's loss is integrated, that of the built-in problem is exact."""
    g = {"first": lambda w: w[0], "square": lambda w: w @ w}
    ours, known = (fd.eta_limit(fd.SGD(p, 0.02), W0, 0.5, order=0, observable=g) for p in (OWN, BUILT_IN))
    assert (ours.members == 0).all()
    off = np.abs(ours.mean_limit - known.mean_limit)
    assert (off <= ours.solver_error).all() and (ours.solver_error < 1e-9).all()
    assert (ours.solver_error >= known.solver_error).all() and (ours.solver_error > known.solver_error).any()
    assert np.allclose(ours.order, known.order, atol=1e-3)


def test_one_flow_a_ladder_is_integrated(monkeypatch):
    solves = []
    original = limits.solved
    monkeypatch.setattr(limits, "solved", lambda *a, **k: solves.append(1) or original(*a, **k))
    fd.eta_limit(fd.SGD(OWN, 0.02), W0, 0.5, order=0)
    assert len(solves) == 2


@jax.custom_jvp
def straight(r):
    return r


straight.defjvp(lambda primals, tangents: (primals[0], 2 * tangents[0]))  # derivatives that are not its own


@pytest.mark.parametrize(
    "function",
    [
        lambda w, data: jnp.abs(data["X"] @ w - data["y"]),
        lambda w, data: (data["X"] @ w - data["y"]) ** 4,
        lambda w, data: straight(data["X"] @ w - data["y"]) ** 2,
        lambda w, data: jax.lax.stop_gradient(data["X"] @ w) * (data["X"] @ w),
        lambda w, data: jnp.where(w[0] > 50.0, 1.0, (data["X"] @ w) ** 2),
    ],
    ids=["absolute", "quartic", "own derivatives", "stopped", "piece"],
)
def test_what_is_not_linear_has_no_moments(function):
    p = fd.problems.CustomProblem(lambda w, data: function(w, data).mean(), np.zeros(2), DATA, function)
    sgd = fd.SGD(p, 0.001)
    assert p.linear_work is None and sgd.exact_moments(W0, np.array([1])) is None
    run = fd.solve(sgd, 0.1 * W0, steps=2)
    assert "w_cov_exact" not in run and "flowdyn_law" not in run.attrs


def test_samples_whose_mean_is_the_loss_at_one_point_only_have_no_moments():
    """SGD follows the samples, its equation the loss: where these differ no law is both's."""
    p = fd.problems.CustomProblem(lambda w, data: 2 * loss(w, data) - loss(0 * w, data), np.zeros(2), DATA, samples)
    assert fd.SGD(p, ETA).exact_moments(W0, np.array([1])) is None


def test_a_nonlinear_predictor_has_no_moments():
    p = fd.problems.CustomRegression(lambda w, x: jnp.tanh(x @ w), Y, np.zeros(2), data=X)
    assert p.linear_work is None and fd.SGD(p, ETA).limit(1).exact_moments(W0, np.array([1.0])) is None


def test_what_the_gradients_take_is_counted_before():
    """Residuals of 2,000 samples: X w - y is 2 n d + n operations, taken along d axes with its value."""
    g = np.random.default_rng(0)
    own = fd.problems.CustomRegression(predict, g.standard_normal(2000), np.zeros(5), data=g.standard_normal((2000, 5)))
    work = own.linear_work
    assert work.size == (2000, 5, True) and 5 * (2 * 2000 * 5) <= work.operations <= 4 * 5 * (2 * 2000 * 5 + 2 * 2000)
    assert fd.SGD(own, ETA).moments_work(5, np.array([10**6])) < 5e8
    assert OWN.linear_gradients() is OWN.linear_gradients()  # read off once a problem
