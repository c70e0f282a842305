"""Equations of any random recursion: laws by linear algebra and by enumeration of all paths, numbers of a script."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from backward import means
from scipy.integrate import cumulative_simpson, simpson

import flowdyn as fd

A, SIGMA = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 0.5]])
R = np.linalg.cholesky(SIGMA)
W0 = [1.0, -1.0]
OBSERVED = {"w0": lambda w: w[0], "square": lambda w: w[0] ** 2}


def descent(w, h, x):
    return w - h * (A @ w - R @ x)


def ball(s, h, x):
    v = (1 - 1.5 * h) * s["v"] - h * (A @ s["w"] - R @ x)
    return {"w": s["w"] + h * v, "v": v}


def sgd(eta=0.1):
    return fd.RandomRecursion(descent, eta, normals=2)


def momentum(h=0.1):
    moving = {"init": lambda w: {"w": w, "v": 0 * w}, "params": lambda s: s["w"]}
    return fd.RandomRecursion(ball, h, jnp.zeros(2), normals=2, **moving)


def stationary(system, start, when):
    return system.exact_moments(np.asarray(start, dtype=float), np.array([when]))[1][-1]


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


LAWS = {(1, "plain"): 0.0531, (2, "plain"): 0.1029, (2, "matched"): 0.0043}


@pytest.mark.parametrize("order", LAWS)
def test_stationary_laws_of_descent(order):
    """The covariance of w - eta (A w - g) solves C = (1 - eta A) C (1 - eta A) + eta^2 Sigma."""
    gaps = []
    for eta in (0.1, 0.05, 0.025, 0.0125):
        step = np.eye(2) - eta * A
        exact = scipy.linalg.solve_discrete_lyapunov(step, eta**2 * SIGMA)
        assert np.allclose(stationary(sgd(eta), W0, int(80 / eta)), exact, rtol=1e-10)
        gaps.append(distance(stationary(sgd(eta).limit(*order), W0, 80.0), exact))
    assert abs(gaps[0] - LAWS[order]) < 6e-5
    slopes = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert abs(slopes[-1] - (2 if order[1] == "matched" else 1)) < 0.04


@pytest.mark.parametrize(
    ("order", "covariance", "expected"),
    [(0, None, 1), (1, None, 1), (2, None, 2), (2, "matched", 2), (3, "matched", 3)],
)
def test_weak_orders_of_descent(order, covariance, expected):
    ladder = fd.eta_limit(sgd(), W0, t=2.0, order=order, covariance=covariance, observable=OBSERVED)
    assert np.abs(ladder.order - expected).max() < 0.02 and (ladder.members == 0).all()


def test_the_variance_on_the_way():
    """Transient variance, which is O(eta) itself: slopes 2.02, 2.00, 3.00 with orders 1, 2 and 2 matched."""
    gaps = {law: [] for law in LAWS}
    for eta in (0.1, 0.05, 0.025, 0.0125):
        exact = stationary(sgd(eta), W0, round(1 / eta))
        for law, found in gaps.items():
            found.append(np.linalg.norm(stationary(sgd(eta).limit(*law), W0, 1.0) - exact))
    slopes = [np.log2(np.array(found[:-1]) / found[1:])[-1] for found in gaps.values()]
    assert np.allclose(slopes, [2.02, 2.00, 3.00], atol=0.03), slopes


def test_momentum_with_noise():
    order_1 = fd.eta_limit(momentum(), W0, t=2.0, etas=[0.1, 0.05, 0.025, 0.0125], order=1, observable=OBSERVED)
    slopes = np.log2(np.abs(order_1.error.values[:-1] / order_1.error.values[1:]))
    assert np.allclose(slopes[-1], [0.985, 0.958], atol=2e-3)
    order_2 = fd.eta_limit(momentum(), W0, t=2.0, etas=[0.1, 0.05, 0.025, 0.0125], order=2, observable=OBSERVED)
    slopes = np.log2(np.abs(order_2.error.values[:-1] / order_2.error.values[1:]))
    assert np.allclose(slopes[-1], [1.96, 1.985], atol=6e-3)


def test_stationary_laws_of_momentum():
    start, w = np.array([0.0, 0.0, 1.0, -1.0]), slice(2, 4)  # pieces in the order v, w
    recursion = stationary(momentum(0.1), start, 4000)[w, w]
    assert np.allclose(recursion, [[0.01950711, -0.01325314], [-0.01325314, 0.02443809]], atol=6e-9)
    first = stationary(momentum(0.1).limit(1), start, 400.0)[w, w]
    assert np.allclose(first, [[0.01937020, -0.01317972], [-0.01317972, 0.02443932]], atol=6e-9)
    plain = stationary(momentum(0.1).limit(2), start, 400.0)[w, w]
    assert np.allclose(plain, [[0.01444, -0.00982], [-0.00982, 0.01808]], atol=6e-6)
    gaps = []
    for h in (0.1, 0.05, 0.025):
        exact = stationary(momentum(h), start, int(400 / h))[w, w]
        gaps.append(100 * distance(stationary(momentum(h).limit(2, "matched"), start, 400.0)[w, w], exact))
    assert np.allclose(gaps, [0.27, 0.065, 0.016], rtol=0.05)


def cubic(w, h, x):
    """Descent on w^4/4 with a noise that grows with w: three outcomes."""
    return w - h * (w**3 - (0.5 + 0.2 * w) * x)


POINTS = np.array([[-1.0], [0.25], [0.75]])


def enumerated(eta, steps, g, step, points, start):
    total = 0.0
    for path in itertools.product(range(len(points)), repeat=steps):
        w = np.array(start)
        for i in path:
            w = np.asarray(step(w, eta, points[i]))
        total += float(g(w))
    return total / len(points) ** steps


def test_the_ensemble_and_the_mean_are_those_of_all_paths():
    method = fd.RandomRecursion(cubic, 0.25, samples=POINTS)
    exact = [enumerated(0.25, 4, lambda w, p=p: w[0] ** p, cubic, POINTS, [0.8]) for p in (1, 2)]
    run = fd.solve(method, [0.8], steps=4, realizations=200_000, seed=3, saves=2)
    last = run.w.isel(t=-1).values.ravel()
    for p, value in zip((1, 2), exact, strict=True):
        assert abs((last**p).mean() - value) < 5 * (last**p).std() / np.sqrt(len(last))
    linear = fd.RandomRecursion(lambda w, h, x: w - h * (1 + x) * w + h * x, 0.25, samples=POINTS)
    mean, cov = linear.exact_moments(np.array([0.8]), np.array([6]))
    values = [enumerated(0.25, 6, lambda w, p=p: w[0] ** p, linear.function, POINTS, [0.8]) for p in (1, 2)]
    assert np.allclose([mean[-1, 0], cov[-1, 0, 0] + mean[-1, 0] ** 2], values, rtol=1e-12)


@pytest.mark.parametrize(("order", "expected"), [(1, 1), (2, 2)])
def test_weak_orders_with_samples_that_multiply(order, expected):
    """Noise in the curvature: a step is affine in w, its means are exact and so are the equation's."""
    method = fd.RandomRecursion(lambda w, h, x: w - h * ((1 + x) * w - 0.3 * x), 0.2, samples=POINTS)
    ladder = fd.eta_limit(method, [0.8], t=2.0, order=order, observable={"square": lambda w: w[0] ** 2})
    assert abs(float(ladder.order.item()) - expected) < 0.03 and (ladder.members == 0).all()


@pytest.mark.parametrize("order", [1, 2])
def test_extragradient_with_the_same_sample(order):
    """Its mean step has a term h^2 of its own, without which the drift of order 2 would be of order 1."""

    def step(w, h, x):
        slope = lambda u: (1 + x) * u - 0.3 * x  # noqa: E731
        return w - h * slope(w - h * slope(w))

    method = fd.RandomRecursion(step, 0.2, samples=POINTS)
    ladder = fd.eta_limit(method, [0.8], t=2.0, order=order, observable=OBSERVED)
    assert np.abs(ladder.order - order).max() < 0.01 and (ladder.members == 0).all()


def nonlinear(w, h, x):
    """Descent on w^4/4 + w^2/4 with a two-point noise that grows with w, which has no third moments."""
    return w - h * (w**3 + 0.5 * w - (0.5 + 0.2 * w) * x)


@pytest.mark.parametrize("law", [(1,), (2,), (3, "matched")])
def test_weak_orders_of_a_nonlinear_recursion_over_all_paths(law):
    """E w over all 2^K paths, beside the backward equation on a grid: K = 5, 7, 10, 13."""
    gaps, rungs = [], (5, 7, 10, 13)
    for steps in rungs:
        paths, w = np.arange(2**steps), np.full(2**steps, 0.8)
        for k in range(steps):
            w = nonlinear(w, 1 / steps, np.where((paths >> k) & 1, 1.0, -1.0))
        equation = fd.RandomRecursion(nonlinear, 1 / steps, samples=np.array([[-1.0], [1.0]])).limit(*law)
        gaps.append(abs(means(equation, 0.8, 1.0, [lambda x: x], -1.6, 2.2, 401)[0] - w.mean()))
    slopes = -np.diff(np.log(gaps)) / np.diff(np.log(rungs))
    assert abs(slopes[-1] - law[0]) < 0.12 and (np.diff(abs(slopes - law[0])) < 0).all(), slopes


def stationary_mean(equation):
    """Mean of the density exp(int 2b/s^2)/s^2 of a scalar equation, by quadrature."""
    x = np.linspace(-1.5, 1.5, 3001)
    b, G = jax.jit(jax.vmap(lambda z: (equation.drift(0.0, z)[0], equation.diffusion(0.0, z)[0, 0])))(x[:, None])
    s = np.asarray(G) ** 2
    exponent = cumulative_simpson(2 * np.asarray(b) / s, x=x, initial=0.0)
    density = np.exp(exponent - exponent.max()) / s
    return simpson(density * x, x=x) / simpson(density, x=x)


def test_the_stationary_mean_of_a_nonlinear_recursion_is_not_mended():
    """Relative errors: matching mends covariances; the plain equation of order 2 has the mean to eta^2."""

    def slope(w):
        return w + w**2 / 2 + w**3

    gaps, x = [], np.linspace(-1.5, 1.5, 601)
    for eta in (0.2, 0.1, 0.05, 0.025):
        after, spread = x - eta * slope(x), 0.5 * eta
        kernel = np.exp(-((x - after[:, None]) ** 2) / (2 * spread**2))
        system = (kernel / kernel.sum(axis=1, keepdims=True)).T - np.eye(len(x))
        system[-1] = 1.0
        mean = np.linalg.solve(system, np.eye(len(x))[-1]) @ x
        method = fd.RandomRecursion(lambda w, h, y: w - h * (slope(w) - 0.5 * y), eta, normals=1)
        gaps.append([abs(stationary_mean(method.limit(*law)) - mean) / eta for law in ((1,), (2,), (2, "matched"))])
    slopes = np.log2(np.divide(gaps[:-1], gaps[1:]))
    assert np.allclose(slopes[-1], [1.0, 2.0, 0.95], atol=0.04), slopes


def test_descent_on_samples_is_our_own_sgd():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    p = fd.problems.LinearRegression(X, y)

    def step(w, h, i):
        return w - h * jax.grad(lambda v: p.batch_losses(v, i[None])[0])(w)

    ours, theirs = fd.SGD(p, 0.1), fd.RandomRecursion(step, 0.1, samples=jnp.arange(5))
    z = np.array([0.3, -0.2])
    for order in (1, 2):
        a, b = ours.limit(order), theirs.limit(order)
        assert np.allclose(a.diffusion(0.0, z), -b.diffusion(0.0, z), rtol=1e-12)  # of the gradient, of its step
        assert np.allclose(a.drift(0.0, z), b.drift(0.0, z), rtol=1e-12)
    for m, n in zip(ours.exact_moments(z, np.array([7])), theirs.exact_moments(z, np.array([7])), strict=True):
        assert np.allclose(m, n, rtol=1e-12)


def test_our_own_sgd_matched():
    """Stationary laws of SGD on a quadratic and on samples, where noise is multiplicative too."""
    sgd = fd.SGD(fd.problems.Quadratic(A, noise=SIGMA), 0.1)
    exact = fd.theory.stationary_cov(A, SIGMA, 0.1)
    assert abs(distance(stationary(sgd.limit(2, "matched"), W0, 80.0), exact) - 0.0043) < 6e-5
    rng = np.random.default_rng(1)
    p, gaps = fd.problems.LinearRegression(rng.standard_normal((6, 2)), rng.standard_normal(6)), []
    for eta in (0.1, 0.05, 0.025, 0.0125):
        method = fd.SGD(p, eta, batch_size=2, sampling="without")
        law = stationary(method, W0, round(100 / eta))
        pair = [distance(stationary(method.limit(2, name), W0, 100.0), law) for name in ("plain", "matched")]
        gaps.append(pair)
        z = np.array([0.3, -0.2])
        equation, increment = method.limit(2, "matched"), np.arange(1.0, 7.0)
        product = equation.diffusion_product(0.0, z, increment)
        assert np.allclose(product, equation.diffusion(0.0, z) @ increment, rtol=1e-10)
    slopes = np.log2(np.array(gaps[:-1]) / gaps[1:])[-1]
    assert abs(slopes[0] - 1) < 0.1 and abs(slopes[1] - 2) < 0.1


@pytest.mark.slow
def test_our_own_sgd_to_order_3():
    """Means and squares: the recursion by its map, the equation by its coefficients, both taken by linear algebra."""
    gaps = []
    for eta in (0.1, 0.05, 0.025, 0.0125):
        method = fd.SGD(fd.problems.Quadratic(A, noise=SIGMA), eta, batch_size=2)
        equation = method.limit(3, "matched")
        step, m, C = np.eye(2) - eta * A, np.array(W0), np.zeros((2, 2))
        for _ in range(round(2 / eta)):
            m, C = step @ m, step @ C @ step.T + eta**2 * SIGMA / 2
        F = np.stack([np.asarray(equation.drift(0.0, e)) for e in np.eye(2)], axis=1)
        G = np.asarray(equation.diffusion(0.0, np.zeros(2)))
        rest = scipy.linalg.solve_continuous_lyapunov(F, -G @ G.T)
        flow = scipy.linalg.expm(2 * F)
        mean, cov = flow @ W0, rest - flow @ rest @ flow.T
        known = equation.exact_moments(np.array(W0), np.array([2.0]))
        assert np.allclose(known[0][0], mean, rtol=1e-10) and np.allclose(known[1][0], cov, rtol=1e-10)
        gaps.append([abs(mean[0] - m[0]), abs(cov[0, 0] + mean[0] ** 2 - C[0, 0] - m[0] ** 2), np.abs(cov - C).max()])
    slopes = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert np.abs(slopes[-1] - 3).max() < 0.05 and np.abs(slopes - 3).max() < 0.25
    ladder = fd.eta_limit(method, W0, t=2.0, order=3, covariance="matched", observable=OBSERVED)
    assert np.abs(ladder.order - 3).max() < 0.02 and float(ladder.order_expected) == 3 and (ladder.members == 0).all()
    run = fd.solve(equation, W0, t=0.1, realizations=2)
    assert fd.rerun(run).w.equals(run.w)


def coin_losses(values):
    """Samples with a slope of their own each, of mean 0, beside w^4/4: the noise is theirs."""
    loss = lambda w: w[0] ** 4 / 4  # noqa: E731
    return fd.problems.CustomProblem(loss, np.ones(1), sample_losses=lambda w: loss(w) + jnp.array(values) * w[0])


NO_ORDER_3 = {
    "plain": (lambda: fd.SGD(coin_losses([1.0, -1.0]), 0.1).limit(3), "1, 2, or 3 with covariance='matched'"),
    "four": (lambda: fd.SGD(coin_losses([1.0, -1.0]), 0.1).limit(4, "matched"), "1, 2, or 3 with covariance='matched'"),
    "skewed": (
        lambda: fd.solve(fd.SGD(coin_losses([1.0, -0.5, -0.5]), 0.1).limit(3, "matched"), [1.0], t=1.0),
        "must be at most 2 where the noise has third moments",
    ),
    "reshuffled": (
        lambda: fd.SGD(coin_losses([1.0, -1.0]), 0.1, sampling="reshuffle").limit(3, "matched"),
        "reshuffled steps are not independent",
    ),
    "fresh": (
        lambda: fd.SGD(fd.problems.Streaming([1.0], [1.0]), 0.1).limit(3, "matched"),
        "must be at most 2 on fresh samples, whose gradients have third moments",
    ),
}


@pytest.mark.parametrize("name", NO_ORDER_3)
def test_sgd_without_an_order_3_is_refused(name):
    make, message = NO_ORDER_3[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()


def test_deterministic_uses():
    mean = fd.MeanRecursion(sgd())
    run = fd.solve(mean, W0, t=1.0)
    assert np.allclose(run.w, fd.solve(fd.GradientDescent(fd.problems.Quadratic(A), 0.1), W0, t=1.0).w, rtol=1e-12)
    ladder = fd.eta_limit(mean, W0, t=1.0, order=1)
    assert abs(float(ladder.order) - 2) < 0.02


def test_made_again_from_its_recipe(tmp_path):
    method = momentum()
    run = fd.solve(method, W0, t=1.0, realizations=3, seed=5)
    fd.save(run, tmp_path / "run.nc")
    names = {"step": ball, "init": method.init, "params": method.params}
    again = fd.rerun(fd.load(tmp_path / "run.nc"), **names)
    assert np.array_equal(again.w, run.w) and {"v", "w"} <= set(run.data_vars)
    ladder = fd.eta_limit(sgd(), W0, t=1.0, order=2, covariance="matched", observable=OBSERVED)
    assert fd.rerun(ladder, step=descent, observable=OBSERVED).error.equals(ladder.error)
    equation = sgd().limit(2, "matched")
    run = fd.solve(equation, W0, t=0.5, realizations=2)
    assert fd.rerun(run, step=descent).w.equals(run.w)


BAD = {
    "both": (lambda: fd.RandomRecursion(descent, 0.1, samples=[[1.0]], normals=2), "`samples` or `normals` must say"),
    "none": (lambda: fd.RandomRecursion(descent, 0.1), "`samples` or `normals` must say"),
    "lengths": (
        lambda: fd.RandomRecursion(descent, 0.1, samples={"a": jnp.ones(3), "b": jnp.ones(2)}),
        "must be arrays with one leading axis",
    ),
    "square of normals": (
        lambda: fd.solve(fd.RandomRecursion(lambda w, h, x: w + h * x**2, 0.1, normals=1), [1.0], t=1.0),
        "`step` must be affine in its normals",
    ),
    "order 3 plain": (lambda: sgd().limit(3), "`order` must be 1, 2, or 3 with covariance='matched'"),
    "order 3 of skewed noise": (
        lambda: fd.solve(
            fd.RandomRecursion(cubic, 0.1, samples=np.array([[-1.0], [0.5], [0.5]])).limit(3, "matched"), [0.8], t=1.0
        ),
        "third moments",
    ),
    "order 3 of momentum": (lambda: fd.solve(momentum().limit(3, "matched"), W0, t=1.0), "not affine in its length"),
    "a root": (
        lambda: fd.solve(
            fd.RandomRecursion(lambda w, h, x: w - jnp.sqrt(h) * h * x - h * w, 0.1, normals=1).limit(2, "matched"),
            [1.0],
            t=1.0,
        ),
        "must have derivatives in eta at 0",
    ),
    "fixed beta": (
        lambda: fd.solve(fd.RandomRecursion(lambda w, h, x: 0.9 * w + h * x, 0.1, normals=1).limit(1), [1.0], t=1.0),
        "must tend to the identity",
    ),
    "covariance of a flow": (
        lambda: fd.eta_limit(fd.GradientDescent(fd.problems.Quadratic(A), 0.1), W0, t=1.0, covariance="matched"),
        "`covariance` is for equations with noise",
    ),
    "no observable": (lambda: fd.eta_limit(sgd(), W0, t=1.0), "`observable` must be given where there is no loss"),
}


HAS_NO_EQUATION = {
    "a root": (lambda w, h, x: w - h * w + jnp.sqrt(h) * x, {"normals": 1}, 1, "noise in proportion to the time step"),
    "a momentum that stays": (
        lambda z, h, x: jnp.array([z[0] - h * z[1], 0.9 * z[1] + x[0]]), {"normals": 1}, 1, "tend to the identity"
    ),
    "skewed noise": (lambda w, h, x: w - h * (w - x), {"samples": [2.0, -1.0, -1.0]}, 3, "third moments"),
}  # fmt: skip


@pytest.mark.parametrize("name", HAS_NO_EQUATION)
def test_a_ladder_refuses_a_recursion_without_an_equation_before_it_samples(name):
    """It ended as NaN, with the advice to change `etas`: solve alone looked."""
    step, noise, order, message = HAS_NO_EQUATION[name]
    method = fd.RandomRecursion(step, 0.1, **noise)
    start = [1.0, 0.5] if "momentum" in name else [1.0]
    more = {"observable": {"cube": lambda w: w[0] ** 3}, "covariance": "matched" if order == 3 else None}
    with pytest.raises(fd.ArgumentError, match=message):
        fd.eta_limit(method, start, t=1.0, order=order, **more)


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
