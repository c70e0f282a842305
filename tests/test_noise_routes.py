"""Every scheme for noise, from whatever library, in its own calculus and with the right variance between its steps."""

import numpy as np
import pytest

import flowdyn as fd

N = 20_000  # their mean is uncertain by 4 / sqrt(N) deviations, 6e-3; steps of 4e-3 displace it by 8e-4


ITO = {
    "EulerMaruyama": (lambda: fd.solvers.EulerMaruyama(dt=4e-3), N),
    "float32": (lambda: fd.solvers.EulerMaruyama(dt=4e-3, precision="float32"), N),
    "rademacher": (lambda: fd.solvers.EulerMaruyama(dt=4e-3, increments="rademacher"), N),
    "three-point": (lambda: fd.solvers.EulerMaruyama(dt=4e-3, increments="three-point"), N),
    "Milstein": (lambda: fd.solvers.Milstein(dt=4e-3), N),
    "adaptive SPaRK": (lambda: fd.solvers.DiffraxSDE(rtol=1e-2, atol=1e-3), 2000),
    "adaptive ItoMilstein": (lambda: fd.solvers.DiffraxSDE("ItoMilstein", rtol=1e-2, atol=1e-2), 1000),
    "fixed SPaRK": (lambda: fd.solvers.DiffraxSDE(dt=0.05), 2000),
    "fixed Heun": (lambda: fd.solvers.DiffraxSDE("Heun", dt=0.02), 2000),
    "itoEuler": (lambda: fd.solvers.Sdeint("itoEuler", dt=0.05), 600),
    "itoSRI2": (lambda: fd.solvers.Sdeint("itoSRI2", dt=0.05), 600),
}


STRATONOVICH = {
    "Heun": (lambda: fd.solvers.Heun(dt=4e-3), N),
    "adaptive SPaRK": (lambda: fd.solvers.DiffraxSDE(rtol=1e-2, atol=1e-3), 2000),
    "stratHeun": (lambda: fd.solvers.Sdeint("stratHeun", dt=0.05), 600),
    "stratSRS2": (lambda: fd.solvers.Sdeint("stratSRS2", dt=0.05), 600),
}


# a program of diffrax takes five to ten seconds to compile: one adaptive and one with fixed steps are enough here
LONG = [("ito", "adaptive ItoMilstein"), ("ito", "fixed SPaRK"), ("stratonovich", "adaptive SPaRK")]
ROUTES = [("ito", r) for r in ITO] + [("stratonovich", r) for r in STRATONOVICH]


@pytest.mark.parametrize(
    ("calculus", "route"), [pytest.param(*r, marks=pytest.mark.slow if r in LONG else ()) for r in ROUTES]
)
def test_every_route_has_its_own_calculus(calculus, route):
    """dX = -X dt + 0.8 X dW: E X_1 = exp(-1) for Ito, exp(-0.68) for Stratonovich; variances known too."""
    make, count = (ITO if calculus == "ito" else STRATONOVICH)[route]
    sde = fd.SDE(lambda t, x: -x, lambda t, x: 0.8 * x, calculus=calculus, noise="diagonal")
    run = fd.solve(sde, [1.0], t=[1.0], solver=make(), realizations=count, seed=21)
    mean = np.exp(-1.0 if calculus == "ito" else -0.68)
    deviation = mean * np.sqrt(np.exp(0.64) - 1)
    assert abs(run.w.values.mean() - mean) < 4 * deviation / np.sqrt(count) + 2e-3


@pytest.mark.parametrize(
    "solver",
    [
        fd.solvers.EulerMaruyama(dt=0.1),
        fd.solvers.DiffraxSDE(dt=0.1),
        pytest.param(fd.solvers.DiffraxSDE(), marks=pytest.mark.slow),
        fd.solvers.Sdeint(dt=0.1),
    ],
    ids=lambda s: f"{type(s).__name__} {s.dt}",
)
def test_variance_between_steps_is_right(solver):
    # Brownian motion at t = 0.05 and 0.13 with steps of 0.1: interpolation would halve the variance
    sde = fd.SDE(lambda t, x: 0 * x, lambda t, x: 1.0 + 0 * x, noise="diagonal")
    count = 1000 if isinstance(solver, fd.solvers.Sdeint) else 4000
    x = fd.solve(sde, [0.0], t=[0.05, 0.13], solver=solver, realizations=count, seed=5).w.values[:, :, 0]
    for j, t in enumerate((0.05, 0.13)):
        assert abs(x[:, j].var() - t) < 4.5 * t * np.sqrt(2 / count)
