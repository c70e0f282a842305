"""Sharpness-aware minimisation: its limits, and the one that is none; numbers of an independent script."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import flowdyn as fd

START, RUNGS, T = [1.5, 0.2], [0.04, 0.02, 0.01, 0.005], 0.4


def toy(w):
    """A saddle's valley with a weak quartic."""
    return 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4


def grad(w):
    r = w[0] * w[1] - 1
    return np.array([r * w[1] + 0.05 * (w[0] - 2) ** 3, r * w[0]])


def hessian(w):
    a, b = w
    return np.array([[b * b + 0.15 * (a - 2) ** 2, 2 * a * b - 1], [2 * a * b - 1, a * a]])


P = fd.problems.CustomProblem(toy, jnp.array(START))
QUADRATIC = fd.problems.Quadratic(1.0)


def end_errors(ladder):
    """Euclidean distance at the end."""
    return np.linalg.norm(ladder.w.isel(t=-1).values - ladder.w_limit.isel(t=-1).values, axis=-1)


def slopes(errors):
    return np.log2(errors[:-1] / errors[1:])


def test_radius_tied_to_eta_follows_the_penalised_loss_to_order_2():
    ladder = fd.eta_limit(fd.SAM(P, 0.04, 1.0, "eta"), START, t=T, etas=RUNGS, order=1, saves=2)
    errors = end_errors(ladder)
    assert errors[-1] == pytest.approx(3.336e-5, rel=2e-4) and slopes(errors)[-1] == pytest.approx(2.002, abs=1e-3)
    assert float(ladder.order_expected) == 2 and abs(float(ladder.order) - 2) < 0.05


def test_a_fixed_radius_has_a_limit_and_it_is_not_the_penalised_one():
    sam = fd.SAM(P, 0.04, 0.1)
    ladder = fd.eta_limit(sam, START, t=T, etas=RUNGS, order=0, saves=2)
    assert abs(float(ladder.order) - 1) < 0.05 and end_errors(ladder)[-1] < 1.2e-3
    penalised = fd.solve(fd.GradientPenaltyFlow(P, norm=0.1), START, t=T, saves=2).w[-1].values
    gaps = [np.linalg.norm(fd.solve(sam.with_eta(eta), START, t=T, saves=2).w[-1] - penalised) for eta in RUNGS]
    assert gaps[-1] == pytest.approx(0.0064, abs=5e-5) and gaps[-2] / gaps[-1] < 1.02
    message = r"`tied` must be 'eta' or 'root' for the flow of L \+ rho \|\|grad L\|\|: with rho fixed the gap"
    with pytest.raises(fd.ArgumentError, match=message):
        sam.penalty_flow()


CASES = {
    "fixed, order 1": (lambda: fd.SAM(P, 0.04, 0.1), 1, 2),
    "tied, order 2": (lambda: fd.SAM(P, 0.04, 1.0, "eta"), 2, 3),
    "tied, order 0": (lambda: fd.SAM(P, 0.04, 1.0, "eta"), 0, 1),
    "root, order 0": (lambda: fd.SAM(P, 0.0004, 0.1, "root"), 0, 0.5),
    "root, order 1": (lambda: fd.SAM(P, 0.01, 1.0, "root"), 1, 1),
    "root, order 2": (lambda: fd.SAM(P, 0.04, 0.2, "root"), 2, 2),
    "tied, plain gradient": (lambda: fd.SAM(P, 0.04, 1.0, "eta", normalized=False), 1, 2),
    "root, plain gradient": (lambda: fd.SAM(P, 0.0025, 0.5, "root", normalized=False), 1, 1),
    "fixed, plain gradient": (lambda: fd.SAM(P, 0.04, 0.1, normalized=False), 0, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_orders(name):
    make, order, expected = CASES[name]
    method = make()
    etas = float(method.eta.eta) / 2.0 ** np.arange(4)
    ladder = fd.eta_limit(method, START, t=T, etas=etas, order=order, saves=2)
    errors = end_errors(ladder)
    assert abs(slopes(errors)[-1] - expected) < 0.06, slopes(errors)
    assert float(ladder.order_expected) == expected


def test_flows_are_those_written_down():
    def penalised(t, w):
        g = grad(w)
        return -(g + hessian(w) @ (0.03 * g / np.linalg.norm(g) + 2 * 0.02 * g))

    def perturbed(t, w):
        g = grad(w)
        return -grad(w + 0.1 * g / np.linalg.norm(g))

    for drift, flow in ((penalised, fd.GradientPenaltyFlow(P, 0.03, 0.02)), (perturbed, fd.SAMFlow(P, 0.1))):
        end = solve_ivp(drift, (0, T), START, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        assert np.allclose(fd.solve(flow, START, t=T, saves=2).w[-1], end, rtol=0, atol=1e-8)
    flow = fd.SAM(P, 0.04, 2.0, "eta", normalized=False).limit(1)
    assert float(flow.norm) == 0 and float(flow.square) == pytest.approx(0.04 + 0.01)


def test_two_cycle_on_a_quadratic():
    run = fd.solve(fd.SAM(QUADRATIC, 0.1, 0.05), [1.0], steps=1001, saves=1002)
    assert np.allclose(np.abs(run.w[-2:, 0]), 0.00263157895, atol=1e-11) and run.w[-1, 0] * run.w[-2, 0] < 0


def test_a_start_in_the_valley_is_warned_of_and_a_minimum_is_stationary():
    sam = fd.SAM(QUADRATIC, 0.1, 0.05)
    with pytest.warns(fd.FlowdynWarning, match="is undefined at a minimum, and within r of it SAM goes to and fro"):
        run = fd.solve(sam, [0.0], steps=3)
    assert not run.w.values.any()


def test_rebuild():
    run = fd.solve(fd.SAM(P, 0.04, 1.0, "root"), START, t=T)
    assert fd.rerun(run, toy).w.equals(run.w)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fd.SAM(P, 0.1, -1.0), "`rho` must not be negative"),
        (lambda: fd.SAM(P, 0.1, 1.0, "squared"), "`tied` must be one of"),
        (lambda: fd.SAM(P, 0.1, 1.0, normalized=1), "`normalized` must be True or False"),
        (lambda: fd.SAMFlow(P, -1.0), "`rho` must not be negative"),
        (lambda: fd.GradientPenaltyFlow(P, square=-1.0), "`square` must not be negative"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(fd.ArgumentError, match=message):
        make()
