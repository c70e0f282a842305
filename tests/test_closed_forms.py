"""Closed forms keep the digits of what has decayed: mpmath, and the recursion step by step, beside them."""

import math

import mpmath as mp
import numpy as np
import pytest

import flowdyn as fd

H = np.array([[2.0, 0.5], [0.5, 1.0]])
W0 = np.array([1.0, -1.0])


def _flow(t):
    mp.mp.dps = 60
    state = mp.expm(-mp.matrix(H.tolist()) * t) * mp.matrix(W0.tolist())
    return np.array([float(x) for x in state])


def test_a_flow_keeps_the_digits_of_what_is_left():
    times = np.array([0.0, 0.1, 1.0, 20.0, 60.0])
    run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(H)), W0, t=times)
    np.testing.assert_array_equal(run.w[0], W0)
    np.testing.assert_allclose(run.w, [_flow(t) for t in times], rtol=2e-13)


def test_descent_keeps_them_too():
    run = fd.solve(
        fd.GradientDescent(fd.problems.Quadratic(H), 0.1), W0, steps=1000, saves=2, solver=fd.solvers.Exact()
    )
    w = W0
    for _ in range(1000):
        w = w - 0.1 * H @ w
    np.testing.assert_allclose(run.w[-1], w, rtol=1e-11)


def test_modes_of_very_different_rates_are_each_at_their_own_pace():
    """One has decayed to e^-200 while another has moved by 2e-12 and a third, of curvature 0, never moves."""
    problem = fd.problems.Quadratic(np.diag([1e2, 1e-12, 0.0]))
    run = fd.solve(fd.GradientFlow(problem), [1.0, 5.0, 7.0], t=2.0, saves=2)
    assert float(run.w[-1, 0]) == pytest.approx(math.exp(-200.0), rel=1e-12)
    assert float(run.w[-1, 1]) == pytest.approx(5.0 - 1e-11, rel=1e-15) and float(run.w[-1, 2]) == 7.0


def test_a_stop_rule_far_below_rounding_is_met_in_time():
    flow = fd.GradientFlow(fd.problems.Quadratic(1.0))
    run = fd.solve(flow, [1.0], t=math.inf, stop={"loss": ("<", 1e-40)})
    assert float(run.t[-1]) == pytest.approx(-0.5 * math.log(2e-40), rel=1e-12)  # w^2 / 2 = 1e-40


@pytest.mark.parametrize("solver", [fd.solvers.Auto(), fd.solvers.Scipy("LSODA"), fd.solvers.Scipy("DOP853")])
def test_a_stop_below_the_tolerance_is_looked_for_with_relative_errors(solver):
    flow = fd.GradientFlow(fd.problems.Quadratic(1.0))
    run = fd.solve(flow, [1.0], t=math.inf, stop={"loss": ("<", 1e-40)}, solver=solver)
    assert float(run.t[-1]) == pytest.approx(-0.5 * math.log(2e-40), rel=1e-6)
    assert '"reruns": 1' in run.attrs["flowdyn_stats"]


def test_what_is_at_its_goal_stays_where_other_modes_overflow():
    """eta lambda = 2.4 and 1.2: the first mode grows by 1.4 a step, the second shrinks by 0.2."""
    descent = fd.GradientDescent(fd.problems.Quadratic(np.diag([2.0, 1.0])), 1.2)
    with pytest.warns(fd.FlowdynWarning, match="threshold"):
        run = fd.solve(descent, [[0.0, 0.0], [0.0, 3.0]], steps=3000, saves=3)
    assert (run.w[0] == 0).all() and (run.w[:, :, 0] == 0).all() and abs(run.w[1, -1, 1]) < 1e-300


@pytest.mark.parametrize("solver", [fd.solvers.Auto(), fd.solvers.Scipy("Radau"), None])
def test_a_strict_rule_does_not_hold_where_both_sides_are_equal(solver):
    """From 1 towards 0: w > 1 never holds, and w < 1 does at once."""
    for sign, end in ((">", 2.0), ("<", 0.0)):
        flow = fd.GradientFlow(fd.problems.Quadratic(1.0))
        observed = {"w_0": lambda w: w[0]}
        run = fd.solve(flow, [1.0], t=2.0, stop={"w_0": (sign, 1.0)}, observe=observed, solver=solver)
        assert float(run.t[-1]) == pytest.approx(end, abs=1e-12)
