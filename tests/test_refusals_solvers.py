"""Refused: options that are no solver, and solvers that cannot run a system."""

import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd

TABLE = fd.problems.LinearRegression(np.cos(np.arange(24.0)).reshape(8, 3), np.sin(np.arange(8.0)))
Q2 = fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]], noise=[[1.0, 0.2], [0.2, 0.5]])
STRAT = fd.SDE(lambda t, x: -x, lambda t, x: 0.5 * x, calculus="stratonovich", noise="diagonal")
OU = fd.OrnsteinUhlenbeck(1.0, 1.0)
E = fd.solvers.EulerMaruyama


def solve(t=1.0, **options):
    return fd.solve(fd.GradientFlow(fd.problems.Quadratic(np.eye(2))), [1.0, 1.0], t, **options)


CASES = {
    "solver name": (lambda: solve(solver="LSODA"), r"`solver` must be a solver object, got 'LSODA'; one of"),
    "solver misfit": (
        lambda: solve(solver=fd.solvers.Iteration()),
        "`solver` Iteration cannot run GradientFlow: it runs recursions",
    ),
    "exact misfit": (
        lambda: fd.solve(fd.ODE(lambda t, y: -y), [1.0], 1.0, solver=fd.solvers.Exact()),
        "`solver` Exact cannot run ODE: it has no closed form",
    ),
    "method name": (lambda: fd.solvers.Scipy("LSODE"), "`method` must be one of .*did you mean 'LSODA'"),
    "rtol": (
        lambda: fd.solvers.Scipy(rtol=1e-16),
        "`rtol` must be at least 2.2e-14, in float64, and below 1, got 1e-16",
    ),
    "rtol negative": (lambda: fd.solvers.Scipy(rtol=-1.0), "`rtol` must be positive"),
    "rtol is text": (lambda: fd.solvers.Scipy(rtol="1e-6"), "`rtol` must be a number"),
    "dt and rtol": (lambda: fd.solvers.Diffrax(dt=0.1, rtol=1e-3), "`dt` means fixed steps"),
    "Euler": (lambda: fd.solvers.Diffrax("Euler"), "`dt` must be given for Euler"),
    "diffrax inf": (
        lambda: solve(t=np.inf, stop={"loss": ("<", 0.1)}, solver=fd.solvers.Diffrax()),
        "`solver` Diffrax cannot run GradientFlow: it needs a finite `t`; use Exact or Auto or Scipy",
    ),
    "Ito scheme for Stratonovich": (
        lambda: fd.solve(STRAT, [1.0], t=1.0, solver=E(0.1)),
        "solves ito equations, and this one is stratonovich",
    ),
    "Stratonovich scheme for Ito": (
        lambda: fd.solve(fd.SGD(TABLE, 0.1).limit(1), np.ones(3), t=1.0, solver=fd.solvers.Heun(0.1)),
        "stratonovich",
    ),
    "Milstein on general noise": (
        lambda: fd.solve(fd.SGD(TABLE, 0.1).limit(1), np.ones(3), t=1.0, solver=fd.solvers.Milstein(0.1)),
        "general",
    ),
    "Scipy on noise": (lambda: fd.solve(OU, [1.0], t=1.0, solver=fd.solvers.Scipy()), "it integrates ODEs"),
    "Diffrax on noise": (lambda: fd.solve(OU, [1.0], t=1.0, solver=fd.solvers.Diffrax()), "it integrates ODEs"),
    "noise scheme on a flow": (
        lambda: fd.solve(fd.GradientFlow(Q2), [1.0, 1.0], t=1.0, solver=E(0.1)),
        "stochastic differential equations",
    ),
    "cell that does not divide": (lambda: E(0.1, 0.03), "multiple of `brownian_dt`"),
    "two points on shared paths": (lambda: E(0.1, 0.1, increments="rademacher"), "no path to share"),
    "dt negative": (lambda: E(-0.1), "`dt` must be positive"),
    "increments name": (lambda: E(0.1, increments="gausian"), "did you mean 'gaussian'"),
    "sdeint name": (lambda: fd.solvers.Sdeint("stratKP2iS"), "must be one of"),
    "dt and rtol of noise": (lambda: fd.solvers.DiffraxSDE(dt=0.1, rtol=1e-3), "excludes"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name):
    assert_refused(*CASES[name])


@pytest.mark.parametrize("t", [1e6, np.inf])
@pytest.mark.parametrize(
    "solver", [fd.solvers.Scipy("DOP853"), fd.solvers.Scipy("RK45"), fd.solvers.Diffrax("Tsit5")], ids=str
)
def test_explicit_methods_are_refused_where_the_normalised_flow_is_stiff(solver, t):
    p = fd.problems.LinearClassifier([[2.0, 0.3], [0.2, 1.0]], [1, 1])
    assert_refused(
        lambda: fd.solve(fd.NormalizedFlow(p), p.init(), t=t, stop={"log_t": (">", 1e6)}, solver=solver),
        r"`solver` \w+ cannot run NormalizedFlow: it (needs|takes explicit steps).*use Auto or Scipy",
    )
