"""One small result of every kind that flowdyn makes, for the tests that go across them."""

import functools
import json

import jax.numpy as jnp
import numpy as np
import pandas as pd

import flowdyn as fd
from flowdyn.results.dataset import LabelledArray
from flowdyn.results.sealed_recipe import sealed


def labelled_regression():
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.standard_normal((8, 3)), columns=["age", "bmi", "s1"], index=[f"p{i}" for i in range(8)])
    return fd.problems.LinearRegression(X, pd.Series(rng.standard_normal(8), index=X.index, name="target"))


def quartic():
    return fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4, np.ones(2))


P = labelled_regression()
FLOW = fd.GradientFlow(P)
SCHEDULE = fd.schedules.PiecewiseConstant([0.02, 0.01], [10])

KINDS = {
    "labelled": lambda: fd.solve(FLOW, P.init(), t=1.0),
    "schedule": lambda: fd.solve(fd.GradientDescent(P, SCHEDULE), P.init(), steps=30),
    "restart": lambda: fd.solve(FLOW, made("labelled").isel(t=-1), t=2.0, solver=fd.solvers.Scipy()),
    "stopped": lambda: fd.solve(fd.GradientFlow(quartic()), [1.0, 0.5], t=np.inf, stop={"loss": ("<", 1e-3)}),
    "batch": lambda: fd.solve(FLOW, np.eye(3), t=1.0, solver=fd.solvers.Diffrax()),
    "ends": lambda: fd.solve(FLOW, P.init(), t=1.0, observe={"n": jnp.linalg.norm}, observe_only=True),
    "vector": lambda: fd.solve(FLOW, P.init(), t=1.0, observe={"both": lambda w: w[:2] ** 2}),
    "diverged": lambda: fd.solve(fd.ODE(lambda t, y: y**2), [1.0], t=2.0, on_divergence="keep"),
    "momentum": lambda: fd.solve(fd.Nesterov(P, 1e-3), P.init(), t=1.0),
    "ladder": lambda: fd.eta_limit(fd.GradientDescent(P, 0.02), P.init(), t=1.0, order=1),
    "network": lambda: fd.solve(
        fd.GradientDescent(fd.problems.CustomRegression.example()[0], 0.1), 0.1 * np.ones(5), steps=10
    ),
    "ensemble": lambda: fd.solve(sgd(), [1.0, 1.0], t=0.5, realizations=3),
    "random ladder": lambda: fd.eta_limit(
        sgd(), [1.0, 1.0], t=0.5, observable={"a": lambda w: w[0], "b": lambda w: w[1]}
    ),
    "dimension ladder": lambda: fd.dimension_limit(growing, [8, 16, 32], t=1.0),
}


def sgd():
    """On the quadratic that all cases share."""
    return fd.SGD(fd.problems.Quadratic.example()[0], 0.1)


def growing(d):
    """One-pass SGD in d dimensions, its homogenized equation and the start of both."""
    p = fd.problems.Streaming(np.arange(1, d + 1) / d, np.ones(d) / np.sqrt(d), sigma=0.1)
    return fd.SGD(p, 1 / d), fd.HomogenizedSGD(p, 1 / d), p.init()


def with_recipe(ds, **parts):
    """A result whose recipe has other parts, sealed as one that was made so."""
    recipe = json.loads(ds.recipe.item()) | parts
    arrays = [LabelledArray(name, ds[name].dims, ds[name].values, {}) for name in recipe.pop("arrays")]
    text, *seals = sealed(recipe, arrays, ds.sizes["t"])
    return ds.assign_coords(recipe=((), text.values)).assign({seal.name: (seal.dims, seal.values) for seal in seals})


@functools.cache
def made(kind):
    """Result of a kind, made once a process: nobody changes it."""
    return KINDS[kind]()
