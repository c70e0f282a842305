"""The order of every solver, measured on closed forms with at least four step sizes."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd

# y' = -y^2 (1 + cos t) / 2: y = 1 / (1 + (t + sin t) / 2)
SYSTEM = fd.ODE(lambda t, y: -(y**2) * (1 + jnp.cos(t)) / 2)
TRUTH = 1 / (1 + (2.0 + np.sin(2.0)) / 2)


def slope(steps, solver_of):
    errors = [abs(fd.solve(SYSTEM, [1.0], t=[2.0], solver=solver_of(h)).w.item() - TRUTH) for h in steps]
    if errors[-1] < 1e-11 and len(steps) == 4 and steps[0] > 0.5:  # order 8: few steps before rounding, fit them all
        return np.polyfit(np.log(steps), np.log(errors), 1)[0], errors
    return np.log(errors[-2] / errors[-1]) / np.log(steps[-2] / steps[-1]), errors


DIFFRAX = {"Euler": 1, "Heun": 2, "Midpoint": 2, "Ralston": 2, "Bosh3": 3, "Tsit5": 5, "Dopri5": 5, "Dopri8": 8}


@pytest.mark.parametrize(("method", "order"), DIFFRAX.items())
def test_fixed_steps_of_diffrax(method, order):
    steps = 2.0 / np.array({1: [128, 256, 512, 1024], 8: [3, 4, 6, 8]}.get(order, [16, 32, 64, 128]))
    measured, errors = slope(steps, lambda h: fd.solvers.Diffrax(method, dt=h))
    assert measured > order - 0.35, errors
    if order < 8:
        assert measured < order + 0.5, errors


@pytest.mark.parametrize(("method", "order"), [("RK23", 3), ("RK45", 5), ("DOP853", 8), ("Radau", 5)])
def test_limited_steps_of_scipy(method, order):
    counts = {8: [2, 3, 4, 6], 5: [8, 12, 16, 24]}.get(order, [16, 32, 64, 128])
    steps = 2.0 / np.array(counts)
    measured, errors = slope(steps, lambda h: fd.solvers.Scipy(method, rtol=0.9, atol=10.0, max_step=h))
    assert measured > order - 0.6, errors


@pytest.mark.parametrize(
    "solver_of",
    [lambda r, m=m: fd.solvers.Scipy(m, rtol=r) for m in ("LSODA", "BDF", "RK45", "DOP853")]
    + [lambda r, m=m: fd.solvers.Diffrax(m, rtol=r) for m in ("Tsit5", "Kvaerno3", "Kvaerno4", "Kvaerno5")],
    ids=["LSODA", "BDF", "RK45", "DOP853", "Tsit5", "Kvaerno3", "Kvaerno4", "Kvaerno5"],
)
def test_error_follows_the_tolerance(solver_of):
    tolerances = np.array([1e-4, 1e-6, 1e-8, 1e-10])
    errors = np.array([abs(fd.solve(SYSTEM, [1.0], t=[2.0], solver=solver_of(r)).w.item() - TRUTH) for r in tolerances])
    assert (errors < 200 * tolerances).all()
    assert errors[-1] < 1e-3 * errors[0]


def test_iteration_is_euler_of_its_flow():
    # gradient descent with eta = h is the Euler method of the flow: the same numbers, two solvers
    p = fd.problems.CustomProblem(lambda w: w**4 / 4, 1.0)
    for eta in (0.25, 0.125, 0.0625, 0.03125):
        gd = fd.solve(fd.GradientDescent(p, eta), 1.0, t=[1.0])
        euler = fd.solve(fd.GradientFlow(p), 1.0, t=[1.0], solver=fd.solvers.Diffrax("Euler", dt=eta))
        assert gd.w.item() == pytest.approx(euler.w.item(), abs=1e-15)
