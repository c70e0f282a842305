"""The order that every solver declares, measured on a closed form with at least four step sizes."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn.methods.systems import ODESystem, SDESystem

# y' = (1 + sin(t)/2) ||y||^2 J y with J a quarter turn: from (1, 0) the angle is t + (1 - cos t)/2
END = 2.75


def turn(t, y):
    """Nonlinear in y, and not autonomous: every order condition takes part."""
    return (1 + jnp.sin(t) / 2) * jnp.sum(y**2) * jnp.stack([-y[1], y[0]])


TURN = fd.ODE(turn)
ANGLE = END + (1 - np.cos(END)) / 2
TRUTH = np.array([np.cos(ANGLE), np.sin(ANGLE)])

# steps in END by order: small enough for the leading term, large enough for it to stand above rounding
COUNTS = {
    1: (512, 1024, 2048, 4096), 2: (128, 256, 512, 1024), 3: (128, 256, 512, 1024), 4: (256, 384, 512, 768),
    5: (160, 208, 272, 352), 6: (64, 80, 96, 112), 7: (40, 48, 56, 64), 8: (24, 28, 32, 36),
}  # fmt: skip


def ode_solvers():
    """Every method of every solver of the registry that integrates ordinary equations."""
    for name in fd.solvers.REGISTRY:
        cls = getattr(fd.solvers, name)
        if ODESystem in cls.example().support.kinds:
            yield from cls.variants()


def label(solver):
    return f"{type(solver).__name__} {getattr(solver, 'method', '')}".strip()


FIXED = [solver for solver in ode_solvers() if solver.order is not None]
VARIABLE = [solver for solver in ode_solvers() if solver.order is None]


def error(solver):
    return float(np.linalg.norm(fd.solve(TURN, [1.0, 0.0], t=[END], solver=solver).w.values[0] - TRUTH))


@pytest.mark.parametrize("solver", FIXED, ids=label)
def test_declared_order(solver):
    steps = END / np.array(COUNTS[solver.order])
    errors = [error(solver.with_step(h)) for h in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - solver.order) < 0.1, (slope, errors)


def sde_solvers():
    """Every fixed-step scheme of the registry, at the calculus that it solves."""
    for name in fd.solvers.REGISTRY:
        solver = getattr(fd.solvers, name).example()
        if SDESystem in solver.support.kinds and solver.order is not None:
            yield solver


@pytest.mark.parametrize("solver", list(sde_solvers()), ids=label)
def test_declared_order_without_noise(solver):
    """What is left of a stochastic scheme where the noise is zero."""
    still = fd.SDE(turn, lambda t, y: jnp.zeros((2, 1)), noise="additive")
    steps = END / np.array(COUNTS[solver.order])
    ends = [fd.solve(still, [1.0, 0.0], t=[END], solver=solver.with_step(h)).w.values[0] for h in steps]
    slope = np.polyfit(np.log(steps), np.log([np.linalg.norm(end - TRUTH) for end in ends]), 1)[0]
    assert abs(slope - solver.order) < 0.1


def test_methods_that_change_their_order_declare_none():
    assert {label(solver) for solver in VARIABLE} == {"Scipy LSODA", "Scipy BDF"}


@pytest.mark.parametrize("solver", [s for s in ode_solvers() if s.at_tolerance(1e-6, True) is not None], ids=label)
def test_error_follows_the_tolerance(solver):
    if solver.order == 1:  # no error estimate
        with pytest.raises(fd.ArgumentError, match="`dt` must be given"):
            type(solver)(solver.method, rtol=1e-4)
        return
    tolerances = np.array([1e-4, 1e-6, 1e-8, 1e-10])[: 4 if (solver.order or 8) > 2 else 2]
    errors = np.array([error(type(solver)(solver.method, rtol=r)) for r in tolerances])
    # the angle adds up the errors of all steps: their number, up to ||f|| END / h, stands between error and tolerance
    assert (errors < 3000 * tolerances).all()
    assert errors[-1] < errors[0] * (tolerances[-1] / tolerances[0]) ** 0.5


def test_iteration_is_euler_of_its_flow():
    # gradient descent with eta = h is the Euler method of the flow: the same numbers, two solvers
    p = fd.problems.CustomProblem(lambda w: w**4 / 4, 1.0)
    for eta in (0.25, 0.125, 0.0625, 0.03125):
        gd = fd.solve(fd.GradientDescent(p, eta), 1.0, t=[1.0])
        euler = fd.solve(fd.GradientFlow(p), 1.0, t=[1.0], solver=fd.solvers.Diffrax("Euler", dt=eta))
        assert gd.w.item() == pytest.approx(euler.w.item(), abs=1e-15)
