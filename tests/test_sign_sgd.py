"""SignSGD: its law by the exact chain on a lattice, its equations by their backward equation on a grid."""

import numpy as np
import pytest
from backward import means
from scipy.special import erf

import flowdyn as fd

ETAS = (0.1, 0.05, 0.025, 0.0125)
ONE = fd.problems.Quadratic(1.0, noise=1.0)


def chain(eta, t):
    """Places of w on its lattice about the start 1, and their probabilities after t / eta steps."""
    steps = round(t / eta)
    x = 1 + eta * np.arange(-steps, steps + 1)
    law = np.zeros(len(x))
    law[steps] = 1.0
    up = (1 - erf(x / np.sqrt(2))) / 2
    for _ in range(steps):
        law, before = np.zeros(len(x)), law
        law[1:] += (before * up)[:-1]
        law[:-1] += (before * (1 - up))[1:]
    return x, law


EXPECTED = {
    1: ([0.4839591139, 0.2756686589], [1.004, 0.966]),
    2: ([0.4730447932, 0.2649547466], [2.000, 2.008]),
}


@pytest.mark.parametrize("order", EXPECTED)
def test_weak_orders(order):
    values, slopes = EXPECTED[order]
    gaps = []
    for eta in ETAS:
        equation = fd.SignSGD(ONE, eta).limit(order)
        found = means(equation, 1.0, 1.0, [lambda x: x, lambda x: x**2], -1.5, 3.0, 401)
        if eta == 0.1:
            assert np.allclose(found, values, atol=2e-9)
        x, law = chain(eta, 1.0)
        gaps.append(np.abs(found - [law @ x, law @ x**2]))
    assert np.allclose(np.log2(gaps[-2] / gaps[-1]), slopes, atol=1e-3)


def test_the_ensemble_has_the_law_of_the_chain():
    x, law = chain(0.1, 1.0)
    assert np.allclose([law @ x, law @ x**2], [0.4723562512, 0.2667856505], atol=6e-11)
    run = fd.solve(fd.SignSGD(ONE, 0.1), [1.0], t=1.0, realizations=40_000, seed=4, saves=2)
    last = run.w.isel(t=-1).values.ravel()
    for p in (1, 2):
        assert abs((last**p).mean() - law @ x**p) < 5 * (last**p).std() / np.sqrt(40_000)
    halved = fd.SignSGD(ONE, 0.1, batch_size=4)
    assert np.isclose(halved.mean_step(0, np.array([0.3]))[0], 0.3 - 0.1 * erf(0.6 / np.sqrt(2)), rtol=1e-14)


def test_the_stationary_variance():
    """eta s sqrt(pi/2) / (2 lam) (1 + O(eta)), of the chain and of the matched equation."""
    relative = []
    for eta in (0.04, 0.02):
        x, law = chain(eta, 40.0)
        exact = law @ x**2 - (law @ x) ** 2
        relative.append(exact / (eta * np.sqrt(np.pi / 2) / 2) - 1)
    assert abs(relative[1]) < 0.02 and abs(relative[0] / relative[1] - 2) < 0.1


def test_two_coordinates_far_out():
    """Coefficients where a sign has no doubt: finite, with derivatives."""
    sign, _ = fd.SignSGD.example()
    for law in ((1,), (2,), (2, "matched")):
        equation = sign.limit(*law)
        z = np.array([100.0, -3.0])
        assert np.isfinite(equation.drift(0.0, z)).all() and np.isfinite(equation.diffusion(0.0, z)).all()
    z = np.array([0.4, 0.35])
    grad = np.array([[2.0, 0.5], [0.5, 1.0]]) @ z
    b = -erf(grad / np.sqrt(2 * np.array([1.0, 0.5])))
    assert np.allclose(sign.limit(1).drift(0.0, z), b, rtol=1e-14)
    G = np.asarray(sign.limit(1).diffusion(0.0, z))
    assert np.allclose(G @ G.T, 0.01 * (np.eye(2) - np.diag(b**2)), rtol=1e-13)


BAD = {
    "samples": (lambda: fd.SignSGD(fd.problems.LinearRegression.example()[0], 0.1), "signs of finitely many samples"),
    "correlated": (
        lambda: fd.SignSGD(fd.problems.Quadratic(np.eye(2), noise=[[1.0, 0.3], [0.3, 1.0]]), 0.1),
        "independent between coordinates",
    ),
    "missing": (
        lambda: fd.SignSGD(fd.problems.Quadratic(np.eye(2), noise=np.diag([1.0, 0.0])), 0.1),
        "noise in every coordinate",
    ),
    "order 3": (
        lambda: fd.solve(fd.SignSGD(ONE, 0.1).limit(3, "matched"), [1.0], t=1.0),
        "third moments",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
