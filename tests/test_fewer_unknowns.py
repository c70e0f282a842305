"""Stiff flows of diagonal networks, which the default solver takes in one unknown a sample (9.114)."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

import flowdyn as fd

N, D = 10, 200


def data(seed=0):
    rng = np.random.default_rng(seed)
    X = 6 * rng.standard_normal((N, D))  # rates of some ten thousand: stiff
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

    with threadpool_limits(1, user_api="blas"):  # two of them wait for one another here
        found = solve_ivp(flow, (0, times[-1]), w0, "Radau", times, rtol=1e-11, atol=1e-14, jac=jacobian)
    return found.y.T


def weights(run):
    return np.concatenate([run.w_plus.values, run.w_minus.values], axis=-1)


def is_smaller(run):
    return f"as DualFlow, {N} unknowns in place of {2 * D}" in run.attrs["flowdyn_choice"]


def test_a_stiff_network_is_that_of_its_weights():
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    w0 = p.init(0.05)
    times = np.array([0.0, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0])
    run = fd.solve(fd.GradientFlow(p), w0, t=times)
    assert is_smaller(run)
    assert np.abs(weights(run) - network_at(X, y, np.asarray(w0), times)).max() < 5e-8
    # w+ ⊙ w- is kept, (9.93)
    assert np.abs(run.w_plus * run.w_minus / 0.05**2 - 1).max() < 1e-12
    assert run.theta.dims == ("t", "feature") and run.attrs["flowdyn_parameters"] == "w_plus w_minus"


def network(X, y):
    return fd.GradientFlow(fd.problems.DiagonalNetwork(X, y))


def test_zeros_stay_and_halves_of_other_signs_are_kept():
    X, y = data(1)
    w0 = np.full(2 * D, 0.3)
    w0[D:] *= -0.5
    w0[[5, 7, D + 7]] = 0.0
    times = np.linspace(0, 40, 5)
    run = fd.solve(network(X, y), w0, t=times)
    assert is_smaller(run)
    assert np.abs(weights(run) - network_at(X, y, w0, times)).max() < 5e-8
    assert (weights(run)[:, [5, 7, D + 7]] == 0).all()


def test_where_nu_has_no_limit_the_weights_are_run():
    """Samples that contradict one another, and features that do not move: residuals stay, and nu grows."""
    X, y = data()
    twice, targets = np.vstack([X, X[:1]]), np.append(y, y[0] + 1)
    w0 = np.full(2 * D, 0.05)
    asleep = np.where(np.arange(2 * D) % D < N - 1, w0, 0.0)
    for flow, start in ((network(twice, targets), w0), (network(X, y), asleep)):
        run = fd.solve(flow, start, t=1e7, saves=3)
        assert "unknowns" not in run.attrs["flowdyn_choice"]
        assert float(run.grad_norm[-1]) < 1e-6
    p = fd.problems.SquaredRegression(X, y)  # of one sign: targets may be out of reach
    assert "unknowns" not in fd.solve(fd.GradientFlow(p), np.full(D, 0.3), t=1e3, saves=3).attrs["flowdyn_choice"]


def test_a_start_at_rest_stays_there():
    X, y = data()
    end = weights(fd.solve(network(X, y), np.full(2 * D, 0.05), t=100.0, saves=2))[-1]
    for start in (end, end + 1e-13):
        run = fd.solve(network(X, y), start, t=1e4, saves=3)
        assert np.abs(weights(run) - start).max() < 1e-11
        assert eval(run.attrs["flowdyn_stats"])["n_steps"] < 1000


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
    assert is_smaller(low) == np.isfinite(end) and float(low.loss[-1]) == pytest.approx(1e-20, rel=1e-6)
    assert low.status == 1 and 0 < float(low.t_stop) < 50


def test_many_starts_have_the_bits_of_one():
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    flow = fd.GradientFlow(p)
    starts = np.stack([np.asarray(p.init(alpha)) for alpha in (0.02, 0.05, 0.1, 0.3)])
    many = fd.solve(flow, starts, t=100.0, saves=5)
    assert "4 of 4" in many.attrs["flowdyn_choice"]
    stiff_at = []
    for i, start in enumerate(starts):
        one = fd.solve(flow, start, t=100.0, saves=5)
        assert (weights(one) == weights(many.isel(start=i))).all()
        stiff_at.append(one.attrs["flowdyn_choice"].partition("(stiff at t = ")[2].partition(")")[0])
    first, last = sorted(stiff_at, key=float)[:: len(starts) - 1]
    assert f"(stiff at t = {first} to {last})" in many.attrs["flowdyn_choice"]
    swept = fd.sweep(lambda alpha: (flow, p.init(alpha), {"t": 100.0, "saves": 5}), {"alpha": [0.02, 0.05]})
    assert (swept.w_plus.values == many.w_plus.isel(start=[0, 1]).values).all()


class Decayed(fd.problems.DiagonalNetwork):
    def loss(self, w):
        return super().loss(w) + 0.5 * (w @ w)


class Pushed(fd.GradientFlow):
    def drift(self, t, state):
        return super().drift(t, state) - state


def test_another_loss_or_drift_is_not_taken_for_it():
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    w0 = np.asarray(p.init(0.05))
    assert fd.GradientFlow(p).in_fewer_unknowns(w0) is not None
    for other in (fd.GradientFlow(Decayed(X, y)), Pushed(p)):
        assert other.in_fewer_unknowns(w0) is None


def test_budgets_hold_for_both_together():
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    with pytest.raises(fd.RunError, match="max_steps"):
        fd.solve(fd.GradientFlow(p), p.init(0.05), t=100.0, max_steps=80)
    whole = fd.solve(fd.GradientFlow(p), p.init(0.05), t=100.0)
    assert 80 < eval(whole.attrs["flowdyn_stats"])["n_steps"] < 1500  # thousands by explicit steps


def test_a_budget_loses_nothing_that_was_reached():
    """More steps reach as far or further, though those of the other form begin at the start again."""
    X, y = data()
    p, budget = fd.problems.DiagonalNetwork(X, y), {"t": 100.0, "saves": 2001, "on_divergence": "keep"}
    reached = []
    for most in (40, 80, 160, 320, 640):
        run = fd.solve(fd.GradientFlow(p), p.init(0.05), max_steps=most, **budget)
        reached.append(float(run.t_stop) if "t_stop" in run else 100.0)
    assert sorted(reached) == reached and reached[-1] > reached[0]


SOLVERS = [None, *map(fd.solvers.Scipy, ("LSODA", "Radau", "BDF")), fd.solvers.Diffrax("Kvaerno5")]


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_dual_flow_at_rest_is_held_up_by_no_tolerance(solver):
    """theta(0) = 0 meets y = 0; errors beside the size of nu alone were beside rounding."""
    X, _ = data()
    p = fd.problems.DiagonalNetwork(X, np.zeros(N))
    run = fd.solve(fd.DualFlow(p, p.init(0.05)), p.init(0.05), t=100.0, saves=3, solver=solver, max_steps=500)
    assert np.abs(run.nu).max() < 1e-12 and np.abs(weights(run) / 0.05 - 1).max() < 1e-9


class BlowingUp(fd.DualFlow):
    def drift(self, t, state):
        return 1e3 + state**2


class Mistaken(fd.GradientFlow):
    def in_fewer_unknowns(self, state0):
        return BlowingUp(self.problem, state0)


def test_where_that_breaks_off_the_run_goes_on_by_itself():
    X, y = data()
    p = fd.problems.DiagonalNetwork(X, y)
    starts = np.stack([np.asarray(p.init(alpha)) for alpha in (0.05, 0.3)])
    many = fd.solve(Mistaken(p), starts, t=100.0, saves=3)
    assert "DualFlow" not in many.attrs["flowdyn_choice"] and (many.status == 0).all()
    one = fd.solve(Mistaken(p), starts[1], t=100.0, saves=3)
    assert (weights(one) == weights(many.isel(start=1))).all()
    assert np.abs(weights(many)[0, -1] - network_at(X, y, starts[0], np.array([0.0, 100.0]))[-1]).max() < 5e-8
