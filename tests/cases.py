"""One instance of everything in the registries, for the tests that go across them."""

import jax.numpy as jnp
import numpy as np

import flowdyn as fd
from flowdyn.methods.systems import OnProblem

_rng = np.random.default_rng(7)
X = _rng.standard_normal((6, 4))
Y = _rng.standard_normal(6)


def custom_loss(w):
    """Loss of section 6 on a pytree."""
    return 0.5 * (w["a"] ** 2 * w["b"] - 1) ** 2 + 0.1 * (w["a"] ** 4 + w["b"] ** 4)


def network(w, x):
    """One hidden unit."""
    return jnp.tanh(x @ w["inner"]) * w["outer"]


PROBLEMS = {
    "LinearRegression": lambda: fd.problems.LinearRegression(X, Y),
    "SquaredRegression": lambda: fd.problems.SquaredRegression(X, np.abs(Y)),
    "SquaredPopulation": lambda: fd.problems.SquaredPopulation([1.0, 0.5, 0.0]),
    "DiagonalNetwork": lambda: fd.problems.DiagonalNetwork(X, Y),
    "LinearClassifier": lambda: fd.problems.LinearClassifier(X, np.sign(Y), loss="logistic"),
    "Quadratic": lambda: fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]], noise=[[1.0, 0.2], [0.2, 0.5]]),
    "CustomProblem": lambda: fd.problems.CustomProblem(custom_loss, {"a": 1.2, "b": 0.3}),
    "CustomRegression": lambda: fd.problems.CustomRegression(
        network, 0.3 * Y, {"inner": 0.2 * np.ones(4), "outer": 0.5}, data=X
    ),
}


def start(problem):
    """A generic start for a problem."""
    return 0.3 + 0.1 * np.cos(np.arange(problem.size))


DUAL = fd.problems.DiagonalNetwork([[2.0]], [1.0])
VALLEY = fd.problems.SquaredRegression([[1.0, 2.0]], [1.5])  # interpolated by (1, -1/2)
SEPARABLE = fd.problems.LinearClassifier([[2.0, 0.3], [0.2, 1.0]], [1, 1])
REGRESSION = fd.problems.SquaredRegression([[1.0, 2.0], [0.5, -1.0], [0.3, 0.3]], [1.0, 0.2, 0.4])

SYSTEMS = {
    "GradientDescent": lambda p: fd.GradientDescent(p, eta=0.01),
    "GradientFlow": lambda p: fd.GradientFlow(p),
    "ModifiedFlow": lambda p: fd.ModifiedFlow(p, eta=0.01, order=2),
    "HeavyBall": lambda p: fd.HeavyBall(p, eta=1e-4, friction=1.0),
    "HeavyBallFlow": lambda p: fd.HeavyBallFlow(p, friction=1.0),
    "Nesterov": lambda p: fd.Nesterov(p, eta=1e-4),
    "NesterovFlow": lambda p: fd.NesterovFlow(p),
    "ODE": lambda p: fd.ODE(lambda t, y: -y),
    "KernelFlow": lambda p: fd.KernelFlow(DUAL, [1.2, -0.5]),
    "LabelNoiseFlow": lambda p: fd.LabelNoiseFlow(VALLEY, sigma=1.0),
    "DualFlow": lambda p: fd.DualFlow(DUAL, [1.0, -0.5]),
    "NormalizedFlow": lambda p: fd.NormalizedFlow(SEPARABLE),
    "NormalizedGradientDescent": lambda p: fd.NormalizedGradientDescent(SEPARABLE, eta=0.01),
    "SGD": lambda p: fd.SGD(p, eta=0.01),
    "SVAG": lambda p: fd.SVAG(p, eta=0.01, l=2),
    "StochasticModifiedEquation": lambda p: fd.StochasticModifiedEquation(p, eta=0.01),
    "LabelNoiseSGD": lambda p: fd.LabelNoiseSGD(REGRESSION, eta=0.01, sigma=0.5),
    "LabelNoiseEquation": lambda p: fd.LabelNoiseEquation(REGRESSION, eta=0.01, sigma=0.5),
    "OrnsteinUhlenbeck": lambda p: fd.OrnsteinUhlenbeck([[2.0, 0.5], [0.5, 1.0]], 0.1 * np.eye(2)),
    "SDE": lambda p: fd.SDE(lambda t, x: -x, lambda t, x: 0.5 * x, noise="diagonal"),
}


def start_of(system):
    """A generic start for a system."""
    if isinstance(system, fd.DualFlow | fd.LabelNoiseFlow):
        return [1.0, -0.5]
    return start(system.problem) if isinstance(system, OnProblem) else np.array([0.3, 0.4])


SOLVERS = {
    "Exact": lambda: fd.solvers.Exact(),
    "Iteration": lambda: fd.solvers.Iteration(),
    "Scipy": lambda: fd.solvers.Scipy(rtol=1e-10),
    "EulerMaruyama": lambda: fd.solvers.EulerMaruyama(dt=0.01),
    "Heun": lambda: fd.solvers.Heun(dt=0.01),
    "Milstein": lambda: fd.solvers.Milstein(dt=0.01),
    "Diffrax": lambda: fd.solvers.Diffrax(rtol=1e-10),
    "DiffraxSDE": lambda: fd.solvers.DiffraxSDE(dt=0.05),
    "Sdeint": lambda: fd.solvers.Sdeint(dt=0.05),
}
