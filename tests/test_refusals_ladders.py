"""Refused: ladders that have no order to measure."""

import jax.numpy as jnp
import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd

X, Y, W = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0]), np.ones(2)
TOY = fd.problems.LinearRegression([[1.0], [1.0]], [1.0, -1.0])
GAUSS = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), eta=0.1)


def descent(eta=0.1):
    return fd.GradientDescent(fd.problems.Quadratic(np.eye(2)), eta)


def flow():
    return fd.GradientFlow(fd.problems.Quadratic(np.eye(2)))


CASES = {
    "ladder of a flow": (lambda: fd.eta_limit(flow(), W, 1.0), "`method` must be a recursion"),
    "ladder of a schedule": (
        lambda: fd.eta_limit(descent(fd.schedules.PowerDecay(0.1)), W, 1.0),
        "`eta` must be one number for a ladder over eta",
    ),
    "two rungs": (lambda: fd.eta_limit(descent(), W, 1.0, [0.1, 0.05]), "`etas` must hold at least 3"),
    "rung negative": (
        lambda: fd.eta_limit(descent(), W, 1.0, [0.1, 0.05, -0.1]),
        "`etas` must be positive and increasing or",
    ),
    "rungs equal": (
        lambda: fd.eta_limit(descent(), W, 1.0, [0.1, 0.1, 0.05]),
        "`etas` must be positive and increasing or",
    ),
    "no common times": (
        lambda: fd.eta_limit(descent(), W, 1.0, [0.1, 0.037, 0.01]),
        "`etas` must have a common multiple",
    ),
    "weak error": (
        lambda: fd.eta_limit(descent(), W, 1.0, error="weak"),
        "`error` must be 'sup' for a deterministic method",
    ),
    "predict order": (lambda: fd.fast_forward(descent(), W, 1.0, order=-1), "`order` must be at least 0, got -1"),
    "observable of two": (
        lambda: fd.eta_limit(
            fd.SGD(fd.problems.LinearRegression(X, Y), 0.01), np.zeros(3), 1.0, observable=lambda w, v: w
        ),
        "`observable` must be a function",
    ),
    "strong without shared noise": (
        lambda: fd.eta_limit(fd.SGD(TOY, 0.1), [3.0], 1.0, error="strong"),
        "share no noise",
    ),
    "sup of noise": (lambda: fd.eta_limit(fd.SGD(TOY, 0.1), [3.0], 1.0, error="sup"), "`error` must be one of"),
    "weak of descent": (lambda: fd.eta_limit(fd.GradientDescent(TOY, 0.1), [3.0], 1.0, error="weak"), "must be 'sup'"),
    "order of noise": (
        lambda: fd.eta_limit(fd.SGD(TOY, 0.1), [3.0], 1.0, order=3),
        "must be 1, 2, or 3 with covariance='matched'",
    ),
    "observable of three numbers": (
        lambda: fd.eta_limit(fd.SGD(TOY, 0.1), [3.0], 1.0, observable=lambda w: jnp.zeros(3)),
        "one number",
    ),
    "reshuffled": (lambda: fd.eta_limit(fd.SGD(TOY, 0.1, sampling="reshuffle"), [3.0], 1.0), "not independent"),
    "ladder of noise and a schedule": (
        lambda: fd.eta_limit(fd.SGD(TOY, fd.schedules.PowerDecay(0.1)), [3.0], 1.0),
        "must be one number",
    ),
    "fast forward of noise": (lambda: fd.fast_forward(fd.SGD(TOY, 0.1), [3.0], 1.0), "deterministic recursion"),
    "observable of numpy": (
        lambda: fd.eta_limit(GAUSS, [3.0], 1.0, observable=lambda w: float(np.sin(w[0]))),
        "`observable` functions must be written with jax.numpy",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name):
    assert_refused(*CASES[name])


def test_an_observable_that_is_not_finite_is_an_error_of_the_run():
    """The paths are finite and the observable is not: told after the first members, not averaged away."""
    with pytest.raises(fd.FlowdynError, match="or its gradient is not finite on 2000 of 2000 finite paths"):
        fd.eta_limit(GAUSS, [3.0], 1.0, observable=lambda w: jnp.log(w[0] - 50.0), realizations=2000)
