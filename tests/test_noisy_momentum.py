"""Momentum with noisy gradients: laws by matrix equations, numbers of a script, flows by scipy, batches by counting."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

import flowdyn as fd

A, SIGMA = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 0.5]])
P = fd.problems.Quadratic(A, noise=SIGMA)
W0 = [1.0, -1.0]
OBSERVED = {"w0": lambda w: w[0], "square": lambda w: w[0] ** 2}
H = np.array([0.1, 0.05, 0.025, 0.0125])


def slopes(ladder):
    return np.log2(np.abs(ladder.error.values[:-1] / ladder.error.values[1:])).reshape(len(ladder.eta) - 1, -1)


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def stationary(system, when):
    return system.exact_moments(np.array([1.0, -1.0, 0.0, 0.0]), np.array([when]))[1][-1][:2, :2]


def ladder(method, order, etas, **more):
    return fd.eta_limit(method, W0, t=2.0, order=order, etas=etas, observable=OBSERVED, **more)


@pytest.mark.parametrize(("order", "expected"), [(1, [0.985, 0.958]), (2, [1.96, 1.985])])
def test_weak_orders_of_the_heavy_ball(order, expected):
    """Slopes of E w[0] and E w[0]^2 at the finest pair of rungs, in h = sqrt(eta)."""
    found = ladder(fd.NoisyHeavyBall(P, 0.01, 1.5), order, H**2)
    assert (found.members == 0).all() and np.allclose(slopes(found)[-1], expected, atol=1e-3)


def test_weak_orders_of_nesterov():
    for order, covariance in ((1, None), (2, "matched")):
        found = ladder(fd.NoisyNesterov(P, 0.01, 1.5), order, H**2, covariance=covariance)
        assert (found.members == 0).all() and np.abs(slopes(found)[-1] - order).max() < 0.08
        assert np.abs(found.order - order).max() < 0.03


def test_stationary_laws_of_the_heavy_ball():
    ball = fd.NoisyHeavyBall(P, 0.01, 1.5)
    assert np.allclose(stationary(ball, 4000), [[0.01950711, -0.01325314], [-0.01325314, 0.02443809]], atol=6e-9)
    first, plain = stationary(ball.limit(1), 400.0), stationary(ball.limit(2), 400.0)
    assert np.allclose(first, [[0.01937020, -0.01317972], [-0.01317972, 0.02443932]], atol=6e-9)
    assert np.allclose(plain, [[0.01444, -0.00982], [-0.00982, 0.01808]], atol=6e-6)
    gaps = []
    for h in H[:3]:
        ball = fd.NoisyHeavyBall(P, h**2, 1.5)
        gaps.append(100 * distance(stationary(ball.limit(2, "matched"), 400.0), stationary(ball, round(400 / h))))
    assert np.allclose(gaps, [0.27, 0.065, 0.016], rtol=0.05)


def step_matrices(h, friction, is_ahead):
    """One step of [w, v] as z -> M z + B xi on the quadratic."""
    one, beta = np.eye(2), 1 - friction * h
    kick = np.hstack([-h * A, beta * (one - h * h * A) if is_ahead else beta * one])
    M = np.vstack([np.hstack([one, 0 * one]) + h * kick, kick])
    root = np.linalg.cholesky(SIGMA)
    return M, np.vstack([h * h * root, h * root])


@pytest.mark.parametrize("cls", [fd.NoisyHeavyBall, fd.NoisyNesterov])
def test_the_law_of_the_recursion_solves_its_own_equation(cls):
    M, B = step_matrices(0.1, 1.5, cls is fd.NoisyNesterov)
    exact = scipy.linalg.solve_discrete_lyapunov(M, B @ B.T)[:2, :2]
    assert np.allclose(stationary(cls(P, 0.01, 1.5), 4000), exact, rtol=1e-9)
    errors = [distance(stationary(cls(P, 0.01, 1.5).limit(*law), 400.0), exact) for law in ((2,), (2, "matched"))]
    assert errors[1] < 0.03 * errors[0]


def samples():
    rng = np.random.default_rng(2)
    return fd.problems.LinearRegression(rng.standard_normal((4, 2)), rng.standard_normal(4))


@pytest.mark.parametrize("sampling", ["with", "without"])
def test_batches_have_the_moments_of_all_batches(sampling):
    """Mean and covariance after two steps over all pairs of batches of two of four samples."""
    p = samples()
    ball = fd.NoisyHeavyBall(p, 0.04, 1.0, batch_size=2, sampling=sampling)
    pick = itertools.product if sampling == "with" else None
    batches = list(pick(range(4), repeat=2)) if pick else list(itertools.combinations(range(4), 2))
    X, y = np.asarray(p.X), np.asarray(p.y)
    scale = float(p.loss(np.zeros(2))) / np.sum(y**2)

    def after(path):
        w, v = np.array([0.5, -0.3]), np.zeros(2)
        for batch in path:
            rows = list(batch)
            v = 0.8 * v - 0.2 * 2 * 4 * scale * X[rows].T @ (X[rows] @ w - y[rows]) / 2
            w = w + 0.2 * v
        return np.concatenate([w, v])

    ends = np.array([after(path) for path in itertools.product(batches, repeat=2)])
    mean, cov = ball.exact_moments(np.array([0.5, -0.3, 0.0, 0.0]), np.array([2]))
    assert np.allclose(mean[-1], ends.mean(axis=0), rtol=1e-12)
    assert np.allclose(cov[-1], np.cov(ends.T, bias=True), rtol=1e-10, atol=1e-14)
    run = fd.solve(ball, [0.5, -0.3], steps=2, realizations=4000, seed=1, saves=2)
    last = run.w.isel(t=-1).values
    assert np.abs(last.mean(axis=0) - ends[:, :2].mean(axis=0)).max() < 5 * last.std() / np.sqrt(4000)
    whole = {tuple(np.round(end[:2], 9)) for end in ends}
    assert {tuple(np.round(end, 9)) for end in last} <= whole


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("order", "tracked"), [(1, "w"), (1, "shadow"), (2, "shadow")])
def test_weak_orders_at_a_fixed_momentum(nesterov, order, tracked):
    method = fd.FixedMomentum(P, 0.004, 0.8, nesterov, tracked)
    found = ladder(method, order, [0.004, 0.002, 0.001, 0.0005])
    assert (found.members == 0).all() and np.abs(found.order - order).max() < 0.03


def test_samples_at_a_fixed_momentum():
    method = fd.FixedMomentum(samples(), 0.02, 0.5, tracked="shadow", batch_size=2, sampling="without")
    found = ladder(method, 2, [0.02, 0.01, 0.005, 0.0025])
    assert (found.members == 0).all() and np.abs(found.order - 2).max() < 0.05


def toy(w):
    return 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4


# two samples whose noise cancels in the mean step
TOY = fd.problems.CustomProblem(toy, np.ones(2), sample_losses=lambda w: toy(w) + jnp.array([0.1, -0.1]) * w[0])


def toy_gaps(nesterov, tracked):
    """Distance at t = 1 of the recursion of means from the drift of the equation of order 2, solved by scipy."""
    gaps = []
    for e in (0.02, 0.01, 0.005, 0.0025):
        method = fd.FixedMomentum(TOY, 0.2 * e, 0.8, nesterov, tracked)
        equation = fd.ShadowEquation(TOY, 0.2 * e, 0.8, nesterov, order=2)
        run = fd.solve(fd.MeanRecursion(method), [1.5, 0.2], t=1.0, saves=2)
        flow = solve_ivp(
            jax.jit(lambda t, y, e=equation: e.drift(t, y)), (0, 1), [1.5, 0.2], "DOP853", rtol=1e-10, atol=1e-12
        )
        gaps.append(np.abs(run.isel(t=-1)["w"].values - flow.y[:, -1]).max())
    return gaps[-1], np.log2(np.array(gaps[:-1]) / gaps[1:])


def test_the_shadow_has_order_2_and_w_has_not():
    last, found = toy_gaps(nesterov=False, tracked="shadow")
    assert abs(last - 1.167e-4) < 6e-8 and np.allclose(found, [2.01, 1.98, 1.99], atol=0.006)
    assert abs(toy_gaps(nesterov=False, tracked="w")[1][-1] - 0.67) < 0.006
    assert np.abs(toy_gaps(nesterov=True, tracked="shadow")[1] - 2).max() < 0.03


def test_made_again_from_a_file(tmp_path):
    for method in (fd.NoisyNesterov(P, 0.01, 1.5), fd.FixedMomentum(P, 0.01, 0.5, nesterov=True)):
        run = fd.solve(method, W0, t=0.5, realizations=2, seed=3)
        fd.save(run, tmp_path / f"{type(method).__name__}.nc")
        assert fd.rerun(fd.load(tmp_path / f"{type(method).__name__}.nc")).w.equals(run.w)


BAD = {
    "no noise": (lambda: fd.NoisyHeavyBall(fd.problems.Quadratic(A), 0.01, 1.0), "`problem` must have given samples"),
    "large step": (lambda: fd.NoisyHeavyBall(P, 1.0, 1.5), "must keep the momentum"),
    "order": (lambda: fd.NoisyNesterov(P, 0.01, 1.0, sampling="reshuffle"), "steps are not independent"),
    "momentum of 1": (lambda: fd.FixedMomentum(P, 0.01, 1.0), "`beta` must be below 1"),
    "order 2 of w": (lambda: fd.FixedMomentum(P, 0.01, 0.5).limit(2), 'use tracked="shadow"'),
    "matched": (lambda: fd.FixedMomentum(P, 0.01, 0.5).limit(1, "matched"), "`covariance` must be"),
    "order 3": (lambda: fd.FixedMomentum(P, 0.01, 0.5, tracked="shadow").limit(3), "`order` must be 1 or 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
