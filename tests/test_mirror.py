"""Mirror descent: closed forms, the diagonal network, orders, what a start must be."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import flowdyn as fd

RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((4, 6)) / 2, RNG.standard_normal(4)
LINEAR = fd.problems.LinearRegression(X, Y)


def toy(w):
    return 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4


P = fd.problems.CustomProblem(toy, jnp.array([1.5, 0.2]))


def test_hypentropy_at_four_times_the_speed_is_the_flow_of_the_diagonal_network():
    alpha, times = 0.3, np.linspace(0, 1.5, 7)
    tight, slow = (fd.solvers.Scipy("DOP853", rtol=1e-12, atol=1e-15, max_step=s) for s in (0.02, 0.08))
    p = fd.problems.DiagonalNetwork(X, Y)
    network = fd.solve(fd.GradientFlow(p), p.init(alpha), t=times[1:], solver=tight).theta
    flow = fd.MirrorFlow(LINEAR, "hypentropy", 2 * alpha**2)
    mirror = fd.solve(flow, np.zeros(6), t=4 * times[1:], solver=slow).w
    assert np.abs(network.values[-6:] - mirror.values[-6:]).max() < 3e-13


def test_as_recursions_they_part_at_order_one():
    alpha, gaps = 0.3, []
    p = fd.problems.DiagonalNetwork(X, Y)
    for eta in (0.02, 0.01, 0.005, 0.0025):
        network = fd.solve(fd.GradientDescent(p, eta), p.init(alpha), t=1.0, saves=2).theta[-1]
        mirror = fd.solve(fd.MirrorDescent(LINEAR, 4 * eta, "hypentropy", 2 * alpha**2), np.zeros(6), t=4.0, saves=2).w[
            -1
        ]
        gaps.append(np.abs(network.values - mirror.values).max())
    slopes = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert abs(slopes[-1] - 1) < 0.05, slopes


def test_exponentiated_gradient_step_by_step():
    w, u, eta = np.array([0.5, 0.3, 0.2]), np.array([0.5, 0.3, 0.2]), 0.05
    A = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 3.0]])
    for _ in range(50):
        w = w * np.exp(-eta * A @ w)
        w /= w.sum()
        u = u * np.exp(-eta * A @ u)
    p = fd.problems.Quadratic(A)
    for name, end in (("simplex", w), ("entropy", u)):
        run = fd.solve(fd.MirrorDescent(p, eta, name), [0.5, 0.3, 0.2], steps=50, saves=2)
        assert np.allclose(run.w[-1], end, rtol=1e-13)
        assert np.isclose(run.loss[-1], 0.5 * end @ A @ end, rtol=1e-12)


def test_a_norm_of_power_two_is_plain_descent_and_a_flow_of_one_weight_has_a_closed_form():
    run = fd.solve(fd.MirrorDescent(P, 0.02, "norm", 2.0), [1.5, 0.2], steps=30, saves=2)
    assert np.allclose(run.w[-1], fd.solve(fd.GradientDescent(P, 0.02), [1.5, 0.2], steps=30, saves=2).w[-1])
    # (w^{p-1})' = -w, p = 3: 2 w w' = -w, so that w = w0 - t/2
    flow = fd.MirrorFlow(fd.problems.Quadratic(1.0), "norm", 3.0)
    assert np.isclose(fd.solve(flow, [1.0], t=1.0).w[-1, 0], 0.5, atol=1e-8)
    # entropy: (log w)' = -w, so that w = w0/(1 + w0 t)
    entropy = fd.MirrorFlow(fd.problems.Quadratic(1.0), "entropy")
    assert np.isclose(fd.solve(entropy, [2.0], t=3.0).w[-1, 0], 2 / 7, atol=1e-8)


def test_the_end_minimises_the_bregman_divergence_among_interpolants():
    """Entropy from w0: least sum w log(w/w0) - w, here by an independent convex solver on the dual."""
    A, w0 = np.abs(X), np.full(6, 0.2)
    y = A @ np.array([1.0, 0.5, 0.2, 0.1, 0.3, 0.7])
    dual = scipy.optimize.minimize(
        lambda nu: np.sum(w0 * np.exp(A.T @ nu)) - y @ nu,
        np.zeros(4),
        jac=lambda nu: A @ (w0 * np.exp(A.T @ nu)) - y,
        method="BFGS",
        options={"gtol": 1e-12},
    )
    flow = fd.MirrorFlow(fd.problems.LinearRegression(A, y), "entropy")
    run = fd.solve(flow, w0, t=np.inf, stop={"loss": ("<", 1e-22)}, solver=fd.solvers.Scipy("LSODA", rtol=1e-11))
    assert np.allclose(run.w[-1], w0 * np.exp(A.T @ dual.x), atol=1e-8)


CASES = [
    ("entropy", None, [1.5, 0.2], 1),
    ("simplex", None, [0.8, 0.2], 2),
    ("hypentropy", 0.1, [1.5, 0.2], 2),
    ("norm", 1.5, [1.5, 0.2], 1),
    ("entropy", None, [1.5, 0.2], 0),
]


@pytest.mark.parametrize(("name", "parameter", "start", "order"), CASES)
def test_orders(name, parameter, start, order):
    method = fd.MirrorDescent(P, 0.05, name, parameter)
    ladder = fd.eta_limit(method, start, t=1.0, etas=0.05 / 2.0 ** np.arange(4), order=order, saves=3)
    assert abs(float(ladder.order) - order - 1) < 0.05 and float(ladder.order_expected) == order + 1
    assert "w_limit" in ladder and "dual" in ladder


def test_rebuild_restart_and_names():
    method = fd.MirrorDescent(P, 0.05, "hypentropy", 0.1)
    run = fd.solve(method, [1.5, 0.2], steps=20, saves=3)
    assert fd.rerun(run, toy).dual.equals(run.dual)
    rest = fd.solve(method, run.isel(t=1), steps=10, saves=2)
    assert np.allclose(rest.w[-1], run.w[-1], rtol=1e-14)
    two = fd.problems.CustomProblem(lambda w: w["a"] ** 2 + w["b"] ** 2, {"a": 1.0, "b": 0.5})
    run = fd.solve(fd.MirrorFlow(two, "entropy"), two.init(), t=1.0)
    assert {"a", "b", "a_dual", "b_dual"} <= set(run.data_vars)


REFUSED = {
    "name": (lambda: fd.MirrorFlow(P, "entropie"), "`potential` must be one of .* did you mean 'entropy'"),
    "b": (lambda: fd.MirrorFlow(P, "hypentropy"), "`parameter` must be the scale b, above 0"),
    "p": (lambda: fd.MirrorDescent(P, 0.1, "norm", 1.0), "`parameter` must be the power p, above 1"),
    "none": (lambda: fd.MirrorFlow(P, "entropy", 2.0), "`parameter` must be None for the potential 'entropy'"),
    "sign": (lambda: fd.solve(fd.MirrorFlow(P, "entropy"), [1.0, -1.0], t=1.0), "`w0` must be positive"),
    "sum": (lambda: fd.solve(fd.MirrorFlow(P, "simplex"), [1.0, 1.0], t=1.0), "`w0` must sum to 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, message = REFUSED[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
