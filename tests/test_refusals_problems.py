"""Refused: data and losses that are no problem."""

import jax.numpy as jnp
import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd

X, Y = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0])
NAN = np.array([[0.0, np.nan, 1.0], [1.0, 2.0, 3.0]])
W = np.ones(2)


def quadratic():
    return fd.problems.Quadratic(np.eye(2))


CASES = {
    "X with NaN": (lambda: fd.problems.LinearRegression(NAN, Y), r"`X` must be finite, got nan at X\[0, 1\]"),
    "y of another length": (
        lambda: fd.problems.LinearRegression(X, [1.0]),
        r"`X` and `y` .* \(2, 3\) and y of shape \(1,\)",
    ),
    "X flat": (lambda: fd.problems.DiagonalNetwork(Y, Y), r"`X` must be 2-dimensional, got shape \(2,\)"),
    "X of text": (lambda: fd.problems.LinearRegression([["a", "b"]], [1.0]), "`X` must hold real numbers"),
    "X complex": (lambda: fd.problems.LinearRegression(X + 1j, Y), "`X` must hold real numbers"),
    "X empty": (lambda: fd.problems.LinearRegression(np.zeros((0, 3)), []), "`X` must have at least one sample"),
    "X ragged": (lambda: fd.problems.LinearRegression([[1.0], [1.0, 2.0]], Y), "`X` must be an array"),
    "classes": (lambda: fd.problems.LinearClassifier(X, [0, 1]), r"`y` must hold -1 and \+1 only.*2\*y - 1"),
    "loss name": (
        lambda: fd.problems.LinearClassifier(X, [1, -1], loss="logistc"),
        "`loss` must be one of .*did you mean",
    ),
    "A asymmetric": (lambda: fd.problems.Quadratic([[1.0, 2.0], [0.0, 1.0]]), "`A` must be symmetric"),
    "A not square": (lambda: fd.problems.Quadratic(X), "`A` must be a square matrix"),
    "noise not PSD": (lambda: fd.problems.Quadratic(np.eye(2), -np.eye(2)), "`noise` must be positive semi-definite"),
    "noise indefinite": (
        lambda: fd.problems.Quadratic(np.eye(2), [[1.0, 2.0], [2.0, 1.0]]),
        "`noise` must be positive semi-definite",
    ),
    "noise shape": (lambda: fd.problems.Quadratic(np.eye(2), np.eye(3)), r"`noise` must have the shape \(2, 2\)"),
    "noise missing": (lambda: quadratic().noise_cov(W), "`noise` is not set"),
    "theta negative": (lambda: fd.problems.SquaredPopulation([-1.0]), "`theta_star` must not be negative"),
    "alpha": (lambda: fd.problems.DiagonalNetwork(X, Y).init(0.0), "`alpha` must be positive, got 0.0"),
    "vector loss": (lambda: fd.problems.CustomProblem(lambda w: w, W), "`loss` must return a real scalar"),
    "numpy loss": (
        lambda: fd.problems.CustomProblem(lambda w: np.sum(np.sin(np.asarray(w))), W),
        r"`loss` .*jax\.numpy",
    ),
    "no function": (lambda: fd.problems.CustomProblem(3.0, W), "`loss` must be a function"),
    "no parameters": (lambda: fd.problems.CustomProblem(lambda w: 1.0, {}), "`w0_like` must hold at least one"),
    "samples": (
        lambda: fd.problems.CustomProblem(lambda w: jnp.sum(w**2), W, sample_losses=lambda w: w**2),
        "`sample_losses` must have the loss as their mean",
    ),
    "predictions": (
        lambda: fd.problems.CustomRegression(lambda w: w, Y[:1], W),
        "`predict` must return one value per target",
    ),
    "no samples": (lambda: quadratic().sample_losses(W), "`sample_losses` is not defined for Quadratic"),
    "w0_like of no entry": (lambda: fd.problems.CustomProblem(jnp.sum, np.ones(0)), "`w0_like` must hold at least one"),
    "loss of nothing": (lambda: fd.problems.CustomProblem(lambda: 1.0, 1.0), r"`loss` must be a function loss\(w\)"),
    "loss without data": (
        lambda: fd.problems.CustomProblem(lambda w: w**2, 1.0, data=W),
        r"`loss` must be a function loss\(w, data\), got <Signature \(w\)>",
    ),
    "labels of one's own": (
        lambda: fd.problems.LinearRegression(X, Y, labels=["a"]),
        "`labels` must be what a problem's own `labels` are, .* leave it out: names come with the data",
    ),
    "labels of a matrix": (lambda: fd.problems.Quadratic(1.0, labels=5), "`labels` must be what a problem's own"),
    "X beyond squares": (lambda: fd.problems.LinearRegression(X * 1e200, Y), r"`X` must be at most 1e\+75 in size"),
    "a list for an array": (
        lambda: fd.problems.CustomProblem(lambda w: jnp.sum(w**2), [1.0]),
        r"`w0_like` must be an array where loss\(w\) computes with it as one \(.*list.*\), got a list of 1; np\.array",
    ),
    "X masked": (
        lambda: fd.problems.LinearRegression(np.ma.masked_greater([[1.0, 100.0]], 50), [1.0]),
        "`X` must have no masked",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name):
    assert_refused(*CASES[name])
