"""Label noise on a linear model: moments of every path of samples and signs, by enumeration."""

import itertools

import numpy as np
import pytest

import flowdyn as fd

X, Y = np.array([[1.0, 0.5], [-0.3, 0.8]]), np.array([0.7, -0.2])
P, W0 = fd.problems.LinearRegression(X, Y), np.array([0.4, -0.1])
ETA, SIGMA = 0.2, 0.6


def all_paths(steps, batch):
    """Mean and covariance over every sequence of batches and signs; L = sum r^2/2, so that grad l_i = 2 r_i x_i."""
    draws = list(itertools.product(itertools.product(range(2), (-1, 1)), repeat=batch))
    states = np.array([W0])
    for _ in range(steps):
        rows = [
            np.mean([(states @ X[i] - Y[i] - SIGMA * s)[:, None] * 2 * X[i] for i, s in draw], axis=0) for draw in draws
        ]
        states = np.concatenate([states - ETA * row for row in rows])
    return states.mean(axis=0), np.cov(states.T, bias=True)


@pytest.mark.parametrize("noise", ["sign", "gaussian"])
@pytest.mark.parametrize("batch", [1, 2])
def test_moments_are_those_of_all_paths(batch, noise):
    mean, cov = all_paths(3, batch)
    found = fd.LabelNoiseSGD(P, ETA, SIGMA, batch, noise).exact_moments(W0, np.array([3]))
    assert found is not None
    assert np.abs(found[0][0] - mean).max() < 1e-14
    assert np.abs(found[1][0] - cov).max() < 1e-14


@pytest.mark.parametrize("order", [1, 2])
def test_ladders_need_no_sampling(order):
    method = fd.LabelNoiseSGD(P, ETA, SIGMA, noise="sign")
    etas = 0.1 / 2.0 ** np.arange(5)
    ladder = fd.eta_limit(method, W0, t=1.0, etas=etas, order=order, observable={"w": lambda w: w[0]})
    assert ladder.order_expected == order
    assert abs(float(ladder.order.item()) - order) < 0.05
    cov = method.limit(order).exact_moments(W0, np.array([50.0]))[1][0]  # at rest: its order-1 form by hand
    A, scatter = X.T @ X, sum(4 * np.outer(x, x) for x in X) / 2
    w = np.linalg.solve(A, X.T @ Y)
    assert np.allclose(X @ w, Y)  # interpolated: gradients vanish there, labels and covariances remain
    if order == 1:
        left = A @ cov + cov @ A
        mixed = sum(4 * np.outer(x, x) * (x @ cov @ x) for x in X) / 2 - A @ cov @ A
        assert np.allclose(left, ETA * (mixed + SIGMA**2 * scatter), atol=1e-6)
