"""Refused: step sizes, orders and noise that make no method."""

import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd

X, Y, W = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0]), np.ones(2)
TABLE = fd.problems.LinearRegression(np.cos(np.arange(24.0)).reshape(8, 3), np.sin(np.arange(8.0)))
Q2 = fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]], noise=[[1.0, 0.2], [0.2, 0.5]])


def quadratic():
    return fd.problems.Quadratic(np.eye(2))


def descent(eta=0.1):
    return fd.GradientDescent(quadratic(), eta)


CASES = {
    "problem": (lambda: fd.GradientFlow(X), "`problem` must be a flowdyn problem"),
    "eta zero": (lambda: descent(0.0), r"`eta` must be positive, got 0.0; eta = 0 is the flow"),
    "eta negative": (lambda: descent(-0.1), "`eta` must be positive, got -0.1"),
    "eta NaN": (lambda: descent(np.nan), "`eta` must be finite, got nan"),
    "eta text": (lambda: descent("fast"), "`eta` must be a number, got 'fast'"),
    "eta function": (lambda: descent(lambda k: 0.1), "`eta` must be a positive number or a .*Schedule"),
    "schedule values": (lambda: fd.schedules.PiecewiseConstant([0.1, -1.0], [5]), "`values` must be positive"),
    "schedule edges": (lambda: fd.schedules.PiecewiseConstant([0.1, 0.2], [5, 3]), "`boundaries` must be 1 increasing"),
    "order": (lambda: fd.ModifiedFlow(quadratic(), 0.1, -1), "`order` must be at least 0, got -1"),
    "order float": (lambda: fd.ModifiedFlow(quadratic(), 0.1, 1.5), "`order` must be a whole number, got 1.5"),
    "friction": (lambda: fd.HeavyBall(quadratic(), 0.1, -1.0), "`friction` must not be negative"),
    "momentum": (lambda: fd.HeavyBall(quadratic(), 0.25, 4.0), "`eta` must keep the momentum"),
    "momentum order": (lambda: fd.Nesterov(quadratic(), 0.1).limit(-1), "`order` must be at least 0"),
    "momentum schedule": (
        lambda: fd.Nesterov(quadratic(), fd.schedules.PowerDecay(0.1)),
        "`eta` must be one number for a momentum method",
    ),
    "eta is a truth value": (lambda: descent(eta=True), "`eta` must be a number, got True"),
    "eta is text": (lambda: fd.schedules.PowerDecay("0.1"), "`eta0` must hold real numbers"),
    "schedule of a number": (lambda: fd.schedules.Scaled(0.1, 2.0), "`base` must be a Schedule"),
    "f without t": (lambda: fd.ODE(lambda y: -y), r"`f` must be a function f\(t, y, \*args\)"),
    "g without t": (lambda: fd.SDE(lambda t, x: -x, lambda x: x), r"`g` must be a function g\(t, x, \*args\)"),
    "f without its argument": (lambda: fd.ODE(lambda t, y: -y, args=(1.0,)), "`f` must be a function"),
    "batch of the slow flow": (
        lambda: fd.LabelNoiseFlow(fd.problems.LinearRegression(X, Y), 0.5, batch_size=0),
        "`batch_size` must be at least 1",
    ),
    "D indefinite": (
        lambda: fd.OrnsteinUhlenbeck(np.eye(2), [[1.0, 2.0], [2.0, 1.0]]),
        "`D` must be positive semi-definite",
    ),
    "D of another shape": (lambda: fd.OrnsteinUhlenbeck(np.eye(2), np.eye(3)), "`D` must have shape"),
    "batch beyond the data": (lambda: fd.SGD(TABLE, 0.1, 9, "without"), "at most n = 8"),
    "batch of nothing": (lambda: fd.SGD(TABLE, 0.1, 0), "at least 1"),
    "sampling name": (lambda: fd.SGD(TABLE, 0.1, 1, "shuffle"), "did you mean 'reshuffle'"),
    "SGD without noise": (lambda: fd.SGD(fd.problems.Quadratic(1.0), 0.1), "must have samples or a gradient noise"),
    "batch of Gaussian noise": (lambda: fd.SGD(Q2, 0.1, 1, "without"), "Gaussian gradient noise"),
    "order of an equation": (lambda: fd.SGD(TABLE, 0.1).limit(3), "must be 1, 2, or 3 with covariance='matched'"),
    "label noise without labels": (lambda: fd.LabelNoiseSGD(Q2, 0.1, 1.0), "must be a regression"),
    "sigma negative": (lambda: fd.LabelNoiseSGD(TABLE, 0.1, -1.0), "`sigma` must not be negative"),
    "noise name": (lambda: fd.SDE(lambda t, x: -x, lambda t, x: x, noise="colored"), "`noise` must be one of"),
    "refinement": (lambda: fd.SVAG(TABLE, 0.1, l=0.5), "at least 1"),
    "dual of a quadratic": (lambda: fd.DualFlow(quadratic(), [1.0]), "must be a DiagonalNetwork"),
    "no stationary law": (
        lambda: fd.OrnsteinUhlenbeck(np.diag([1.0, 0.0]), np.eye(2)).stationary_cov(),
        "positive eigenvalues",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name):
    assert_refused(*CASES[name])
