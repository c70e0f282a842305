"""Steps of order 8 inside the compiled loop: their tableau, their order, and when the default takes them."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from scipy.integrate._ivp import dop853_coefficients as theirs

import flowdyn as fd
from flowdyn.solvers import dormand_prince
from flowdyn.solvers.explicit_state import Method
from flowdyn.solvers.order_eight import Dop853
from flowdyn.solvers.trial_steps import inside

TIGHT = 1e-12
COUNTS = np.array([10, 14, 20, 28, 40])  # of steps


def turning(t, y):
    return (1 + jnp.sin(t) / 2) * jnp.stack([-y[1], y[0]])


def truth(t):
    angle = t + (1 - np.cos(t)) / 2
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def slope(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.fixture
def high(monkeypatch):
    """The method of order 8 at any tolerance."""
    monkeypatch.setattr("flowdyn.solvers.explicit_state.TIGHT", 1.0)


def test_the_tableau_is_that_of_scipy():
    for ours, row in zip(dormand_prince.A, theirs.A, strict=False):
        assert np.array_equal(ours, row[: len(ours)]) and not row[len(ours) :].any()
    assert np.array_equal(dormand_prince.B, theirs.B) and np.array_equal(dormand_prince.C, theirs.C[:12])
    assert np.array_equal(dormand_prince.MORE_STAGES, theirs.A[13:])
    assert np.array_equal(dormand_prince.MORE_C, theirs.C[13:])
    assert np.array_equal(dormand_prince.FIFTH, theirs.E5) and np.array_equal(dormand_prince.THIRD, theirs.E3)
    assert np.array_equal(dormand_prince.INNER, theirs.D)


def test_the_conditions_of_order_eight_hold():
    b, c, a = np.array(dormand_prince.B), np.array(dormand_prince.C), np.zeros((12, 12))
    a[1:] = dormand_prince.STAGES
    assert np.abs(a.sum(axis=1) - c).max() < 1e-14
    for power in range(8):
        assert b @ c**power == pytest.approx(1 / (power + 1), abs=1e-14)
    # tall trees, and branches of two kinds: b.(c^i a c^j), b.(c^i a a c^j), b.((ac)(ac^2))
    for i in range(7):
        for j in range(1, 7 - i):
            assert b @ (c**i * (a @ c**j)) == pytest.approx(1 / ((j + 1) * (i + j + 2)), abs=1e-14)
            if i + j < 6:
                found = b @ (c**i * (a @ (a @ c**j)))
                assert found == pytest.approx(1 / ((j + 1) * (j + 2) * (i + j + 3)), abs=1e-14)
    assert b @ ((a @ c) * (a @ c**2)) == pytest.approx(1 / 36, abs=1e-14)
    tall = c
    for order in range(3, 9):
        tall = a @ tall
        assert b @ tall == pytest.approx(1 / float(np.prod(np.arange(1, order + 1))), abs=1e-14)


def test_states_inside_of_a_step_begin_and_end_where_it_does():
    assert np.array_equal(inside(0.0, Method.DOP853), np.zeros(7))
    assert np.array_equal(inside(1.0, Method.DOP853), np.eye(7)[0])


def test_steps_have_order_eight_and_states_inside_seven(high):
    end = 4.0
    steps, at_end, within = end / COUNTS, [], []
    for h in steps:
        times = np.append(h * np.arange(0.5, end / h), end)  # in the middle of each step
        run = fd.solve(fd.ODE(turning), [1.0, 0.0], t=times, solver=fd.solvers.Auto(rtol=0.9, atol=10.0, max_step=h))
        assert run.attrs["flowdyn_choice"] == "DOP853"
        errors = np.abs(run.w.values - truth(times))
        at_end.append(errors[-1].max())
        within.append(errors[:-1].max())
    assert slope(steps, at_end) == pytest.approx(8, abs=0.5)
    assert 6.5 < slope(steps, within) < 8.5


def swing(t, y):
    return np.array([y[1], -np.sin(y[0]) - 0.1 * y[1] * np.cos(t), y[0] * y[2]])


@pytest.mark.parametrize("more", [{}, {"first_step": 1e-6}, {"max_step": 0.1, "first_step": 0.1}, {"first_step": 2.0}])
@pytest.mark.parametrize("rtol", [1e-3, 1e-10])
def test_the_stepper_takes_the_steps_of_scipy_to_the_last_bit(rtol, more):
    steppers = [
        make(swing, 0.5, np.array([2.0, 0.1, 1e-3]), 7.0, rtol=rtol, atol=np.array([1e-12, 1e-9, 1e-8]), **more)
        for make in (Dop853, scipy.integrate.DOP853)
    ]
    while steppers[1].status == "running":
        for stepper in steppers:
            stepper.step()
        ours, scipys = steppers
        assert ours.t == scipys.t and ours.step_size == scipys.step_size and ours.status == scipys.status
        assert np.array_equal(ours.y, scipys.y)
        times = np.linspace(ours.t_old, ours.t, 5)
        inner, theirs = ours.dense_output(), scipys.dense_output()
        assert np.array_equal(inner(times), theirs(times)) and np.array_equal(inner(times[1]), theirs(times[1]))
        assert ours.nfev == scipys.nfev
    assert ours.status == "finished" and ours.t == 7.0


def test_the_stepper_fails_where_scipys_does():
    pole = lambda t, y: np.where(t < 1, 1.0, np.nan) * np.ones(1)  # noqa: E731
    steppers = [
        make(pole, 0.0, np.ones(1), 2.0, rtol=1e-6, atol=np.ones(1)) for make in (Dop853, scipy.integrate.DOP853)
    ]
    for stepper in steppers:
        while stepper.status == "running":
            stepper.step()
    assert steppers[0].status == steppers[1].status and steppers[0].t == steppers[1].t
    assert steppers[0].nfev == steppers[1].nfev


@pytest.mark.parametrize("rtol", [1e-10, 1e-12, 1e-13])
def test_the_default_takes_them_at_tight_tolerances(rtol):
    times = np.linspace(0, 9, 50)
    run = fd.solve(fd.ODE(turning), [1.0, 0.0], t=times, solver=fd.solvers.Auto(rtol=rtol))
    assert run.attrs["flowdyn_choice"] == ("Tsit5" if rtol > 1e-12 else "DOP853")
    assert np.abs(run.w.values - truth(times)).max() < max(300 * rtol, 2e-13)
    assert fd.solvers.Auto(rtol=rtol).order == (5 if rtol > 1e-12 else 8)


def test_a_stiff_run_at_a_tight_tolerance_is_handed_over():
    steep = 1e5
    pulled = fd.ODE(lambda t, y: -steep * (y - jnp.cos(t)))
    run = fd.solve(pulled, [1.0], t=[1.0], solver=fd.solvers.Auto(rtol=TIGHT))
    assert run.attrs["flowdyn_choice"].startswith("DOP853, from t = ") and "stiff" in run.attrs["flowdyn_choice"]
    closed = (steep**2 * np.cos(1) + steep * np.sin(1)) / (steep**2 + 1)
    assert run.w.item() == pytest.approx(closed, abs=1e-11)


def test_stops_and_several_starts_at_a_tight_tolerance():
    swing = fd.HeavyBallFlow(fd.problems.Quadratic(1.0), 0.0)  # w = a cos t
    run = fd.solve(swing, [1.0], t=20.0, stop={"loss": ("<", 1e-6)}, solver=fd.solvers.Auto(rtol=TIGHT))
    assert run.attrs["flowdyn_choice"] == "DOP853"
    assert run.t[-1].item() == pytest.approx(np.arccos(np.sqrt(2e-6)), abs=1e-11)
    starts = np.array([[1.0], [2.0], [1e-20]])
    many = fd.solve(swing, starts, t=3.0, saves=31, solver=fd.solvers.Auto(rtol=TIGHT))
    exact = starts[:, 0, None] * np.cos(many.t.values)
    assert np.abs((many.w.values.reshape(3, -1) - exact) / starts).max() < 1e-11


def test_long_oscillations_are_not_called_stiff():
    for rtol in (1e-12, 1e-13):
        run = fd.solve(fd.ODE(turning), [1.0, 0.0], t=[300.0], solver=fd.solvers.Auto(rtol=rtol))
        assert run.attrs["flowdyn_choice"] == "DOP853"
        assert np.abs(run.w.values - truth(300.0)).max() < max(3e4 * rtol, 1e-11)
