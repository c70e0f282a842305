"""Averages of a recursion whose steps multiply at random: moments of every path of samples."""

import itertools

import numpy as np
import pytest

import flowdyn as fd

SAMPLES = np.array([[1.0, 0.5], [0.4, -1.0], [1.6, 0.2]])  # w -> w - eta (a w - b)
ETA, W0, STEPS = 0.2, np.array([0.8]), 4


def step(w, eta, x):
    return w - eta * (x[0] * w - x[1])


METHOD = fd.RandomRecursion(step, ETA, np.zeros(1), samples=SAMPLES)


def all_paths(average, rate):
    """Mean and variance of the average over the 3^4 paths."""
    ends = []
    for path in itertools.product(SAMPLES, repeat=STEPS):
        w, mean, ema = W0[0], 0.0, W0[0]
        for a, b in path:
            w = w - ETA * (a * w - b)
            mean, ema = mean + w / STEPS, ema + ETA * (rate or 0.0) * (w - ema)
        ends.append(mean if average == "polyak" else ema)
    return np.mean(ends), np.var(ends)


@pytest.mark.parametrize(("average", "rate"), [("polyak", None), ("ema", 0.7)])
def test_moments_are_those_of_all_paths(average, rate):
    found = fd.averaged(METHOD, average, rate).exact_moments(W0, np.array([STEPS]))
    assert found is not None
    mean, variance = all_paths(average, rate)
    assert abs(found[0].item() - mean) < 1e-14
    assert abs(found[1].item() - variance) < 1e-14


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("average", "rate"), [("polyak", None), ("ema", 0.7)])
def test_ladders_of_averages_need_no_sampling(average, rate, order):
    method = fd.averaged(METHOD, average, rate)
    etas = 0.1 / 2.0 ** np.arange(5)
    seen = {"w": lambda w: w[0], "square": lambda w: w[0] ** 2}
    ladder = fd.eta_limit(method, W0, t=2.0, etas=etas, order=order, observable=seen)
    assert np.abs(ladder.order.values - order).max() < 0.1, ladder.order.values
