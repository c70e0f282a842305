"""Stiff flows of squared parametrisations, which the default solver takes in one unknown a sample (9.114)."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import flowdyn as fd

N, D = 6, 30


def data(seed=0):
    rng = np.random.default_rng(seed)
    X = 6 * rng.standard_normal((N, D))  # rates of some thousand: stiff
    return X, X[:, 0] - 2 * X[:, 1] + 1.5 * X[:, 2]


def network_at(X, y, w0, times):
    """w+, w- of the flow (9.92), by Radau's method on the weights themselves."""
    d = X.shape[1]

    def flow(t, w):
        g = 2 * X.T @ (X @ (w[:d] ** 2 - w[d:] ** 2) - y)
        return np.concatenate([-w[:d] * g, w[d:] * g])

    def jacobian(t, w):
        u, v, g, H = w[:d], w[d:], 2 * X.T @ (X @ (w[:d] ** 2 - w[d:] ** 2) - y), 4 * X.T @ X
        upper = [-np.diag(g) - u[:, None] * H * u, u[:, None] * H * v]
        return np.block([upper, [v[:, None] * H * u, np.diag(g) - v[:, None] * H * v]])

    found = solve_ivp(flow, (0, times[-1]), w0, "Radau", times, rtol=1e-11, atol=1e-14, jac=jacobian)
    return found.y.T


def weights(run):
    return np.concatenate([run.w_plus.values, run.w_minus.values], axis=-1)


def is_smaller(run):
    return f"on {N} unknowns for {2 * D}" in run.attrs["flowdyn_choice"]


def test_a_stiff_network_is_that_of_its_weights():
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    w0 = p.init(0.05)
    times = np.array([0.0, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0])
    run = fd.solve(fd.GradientFlow(p), w0, t=times)
    assert is_smaller(run)
    assert np.abs(weights(run) - network_at(X, y, np.asarray(w0), times)).max() < 1e-8
    # w+ ⊙ w- is kept, (9.93)
    assert np.abs(run.w_plus * run.w_minus / 0.05**2 - 1).max() < 1e-12
    assert run.theta.dims == ("t", "feature") and run.attrs["flowdyn_parameters"] == "w_plus w_minus"


def test_squared_regression_too_and_zeros_stay():
    X, y = data(1)
    y = X[:, 0] + 0.5 * X[:, 3]
    X, y = 6 * X, 6 * y
    p = fd.problems.SquaredRegression(X, y)
    w0 = np.full(D, 0.3)
    w0[[5, 7]] = 0.0
    times = np.linspace(0, 40, 5)
    run = fd.solve(fd.GradientFlow(p), w0, t=times)
    assert f"on {N} unknowns for {D}" in run.attrs["flowdyn_choice"]
    flow = lambda t, w: -w * (X.T @ (X @ w**2 - y)) / N  # noqa: E731 - L = |X w^2 - y|^2 / (4 n)
    truth = solve_ivp(flow, (0, 40), w0, "LSODA", times, rtol=1e-11, atol=1e-14).y.T
    assert np.abs(run.w.values - truth).max() < 1e-8
    assert (run.w.values[:, [5, 7]] == 0).all()


@pytest.mark.parametrize("end", [50.0, np.inf])
def test_stop_rules_hold_where_they_do_for_the_weights(end):
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    w0 = np.asarray(p.init(0.05))
    first = lambda w: w[0]  # noqa: E731
    level = 0.9 * float(fd.solve(fd.GradientFlow(p), w0, t=50.0, saves=2).w_plus[-1, 0])
    run = fd.solve(fd.GradientFlow(p), w0, t=end, observe={"first": first}, stop={"first": (">", level)})
    times = np.linspace(0, float(run.t_stop), 3)
    truth = network_at(X, y, w0, times)
    assert float(run.first[-1]) == pytest.approx(level, rel=1e-9)
    assert np.abs(weights(run)[-1] - truth[-1]).max() < 1e-7
    low = fd.solve(fd.GradientFlow(p), w0, t=end, stop={"loss": ("<", 1e-20)})
    assert is_smaller(low) and float(low.loss[-1]) == pytest.approx(1e-20, rel=1e-6)
    assert low.status == 1 and 0 < float(low.t_stop) < 50


def test_many_starts_have_the_bits_of_one():
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    flow = fd.GradientFlow(p)
    starts = np.stack([np.asarray(p.init(alpha)) for alpha in (0.02, 0.05, 0.1, 0.3)])
    many = fd.solve(flow, starts, t=100.0, saves=5)
    assert "4 of 4" in many.attrs["flowdyn_choice"]
    for i, start in enumerate(starts):
        one = fd.solve(flow, start, t=100.0, saves=5)
        assert (weights(one) == weights(many.isel(start=i))).all()
    swept = fd.sweep(lambda alpha: (flow, p.init(alpha), {"t": 100.0, "saves": 5}), {"alpha": [0.02, 0.05]})
    assert (swept.w_plus.values == many.w_plus.isel(start=[0, 1]).values).all()


class Decayed(fd.problems.DiagonalNetwork):
    def loss(self, w):
        return super().loss(w) + 0.5 * (w @ w)


def test_another_loss_is_not_taken_for_it():
    X, y = data()
    p = Decayed(X, y)
    w0 = np.asarray(p.init(0.05))
    run = fd.solve(fd.GradientFlow(p), w0, t=20.0, saves=3)
    assert "unknowns" not in run.attrs["flowdyn_choice"]

    def flow(t, w):
        g = 2 * X.T @ (X @ (w[:D] ** 2 - w[D:] ** 2) - y)
        return np.concatenate([-w[:D] * g, w[D:] * g]) - w

    truth = solve_ivp(flow, (0, 20), w0, "LSODA", np.linspace(0, 20, 3), rtol=1e-11, atol=1e-13).y.T
    assert np.abs(weights(run) - truth).max() < 1e-7


def test_budgets_hold_for_both_together():
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    with pytest.raises(fd.RunError, match="max_steps"):
        fd.solve(fd.GradientFlow(p), p.init(0.05), t=100.0, max_steps=80)
    whole = fd.solve(fd.GradientFlow(p), p.init(0.05), t=100.0)
    assert 80 < eval(whole.attrs["flowdyn_stats"])["n_steps"] < 1500  # thousands by explicit steps
