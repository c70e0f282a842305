"""Coordinates that are the rounding of others: tolerances of their own would hold every step to noise."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import flowdyn as fd
from flowdyn.solvers.explicit_run import ExplicitRun

N, T = 60, 0.5
X = 2 * np.pi * np.arange(N) / N
LAPLACIAN = (np.roll(np.eye(N), 1, 0) - 2 * np.eye(N) + np.roll(np.eye(N), -1, 0)) / X[1] ** 2
HEAT = fd.ODE(lambda t, y: (jnp.roll(y, 1) - 2 * y + jnp.roll(y, -1)) / X[1] ** 2)
MODES = np.sin(5 * X) + np.sin(20 * X)  # zeros of sines: 1e-16 beside neighbours of size 1


def _run(y0, solver=None, **options):
    run = fd.solve(HEAT, y0, t=T, saves=2, solver=solver, progress=False, **options)
    return np.asarray(run.w.isel(t=-1)), run.attrs


def _steps(attrs):
    stats = json.loads(attrs["flowdyn_stats"])
    return stats["n_steps"] + stats.get("n_rejected", 0), stats


EXPLICIT = ["Tsit5", "Dopri8", "Bosh3"]


@pytest.mark.parametrize("name", ["Auto", "LSODA", "DOP853", *EXPLICIT])
def test_a_zero_of_a_mode_costs_no_more_than_a_mode_without_zeros(name):
    assert np.sort(np.abs(MODES))[4] < 1e-14
    solver = (
        fd.solvers.Auto()
        if name == "Auto"
        else fd.solvers.Scipy(name)
        if name not in EXPLICIT
        else fd.solvers.Diffrax(name)
    )
    got, attrs = _run(MODES, solver)
    _, of_shifted = _run(MODES + 0.3, solver)
    assert _steps(attrs)[0] < 2 * _steps(of_shifted)[0] + 100
    np.testing.assert_allclose(got, scipy.linalg.expm(LAPLACIAN * T) @ MODES, rtol=0, atol=3e-10)


def test_members_of_a_batch_are_asked_about_one_by_one():
    """One of them alone has rounding beside its modes."""
    starts = np.array([MODES, MODES + 0.3])
    run = fd.solve(HEAT, starts, t=T, saves=2, solver=fd.solvers.Diffrax(), progress=False)
    exact = starts @ scipy.linalg.expm(LAPLACIAN * T).T
    for got, expected, size in zip(run.w[:, -1].values, exact, (0.01, 0.3), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=3e-8 * size)


def test_a_coordinate_beside_them_that_grows_by_itself_keeps_its_digits():
    """A saddle left by 1e-30, in the same state as the zeros of a mode."""

    def f(t, y):
        return jnp.append((jnp.roll(y[:N], 1) - 2 * y[:N] + jnp.roll(y[:N], -1)) / X[1] ** 2, y[N] * (40 - y[N]))

    run = fd.solve(fd.ODE(f), np.append(MODES, 1e-30), t=1.5, saves=2, progress=False)
    small, end = 1e-30, 40.0
    exact = end * small / (small + (end - small) * np.exp(-end * 1.5))
    assert float(run.w[-1, N]) == pytest.approx(exact, rel=1e-6)


def test_a_run_that_may_not_be_made_again_does_not_come_back_at_every_step(monkeypatch):
    calls = []
    absorb = ExplicitRun.absorb
    monkeypatch.setattr(ExplicitRun, "absorb", lambda run, *found: (calls.append(1), absorb(run, *found))[1])
    start = np.eye(N)[N // 2]  # all else is driven from zero, link by link
    got, _ = _run(start)
    np.testing.assert_allclose(got, scipy.linalg.expm(LAPLACIAN * T) @ start, rtol=1e-6)
    assert len(calls) < 200


def test_a_run_without_an_end_goes_on_for_as_long_as_it_may():
    turning = fd.ODE(lambda t, y: jnp.array([y[1] + 1e-3 * y[0], -y[0] + 1e-3 * y[1]]))
    run = fd.solve(turning, [1.0, 0.0], t=np.inf, stop={"y0": ("<", -2.0)}, observe={"y0": lambda y: y[0]})
    # exp(1e-3 t) cos t = -2 for the first time: a root by bisection near t = 223 pi
    times = np.linspace(690, 705, 2_000_001)
    first = times[np.argmax(np.exp(1e-3 * times) * np.cos(times) <= -2.0)]
    assert float(run.t[-1]) == pytest.approx(first, abs=1e-3)
