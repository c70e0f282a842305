"""SignSGD: its law by the exact chain on a lattice, its equations by their backward equation on a grid."""

import jax
import numpy as np
import pytest
from backward import means
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator
from scipy.special import erf
from scipy.stats import multivariate_normal, norm

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


SIGMA = np.array([[1.0, -0.42, 0.1], [-0.42, 0.5, 0.2], [0.1, 0.2, 2.0]])
CORRELATED = fd.problems.Quadratic(np.diag([2.0, 1.0, 0.5]), noise=SIGMA)


@pytest.mark.parametrize("w", [[0.0, 0.0, 0.0], [0.3, -0.4, 2.0], [-1.5, 1.0, 0.1], [30.0, 0.2, -0.5]])
def test_signs_of_correlated_noise(w):
    """Covariances by the probabilities of quadrants of a normal law; (2/pi) arcsin rho where the gradient vanishes."""
    sign, w = fd.SignSGD(CORRELATED, 0.1, batch_size=2), np.array(w)
    G = np.asarray(sign.limit(1).diffusion(0.0, w)) / np.sqrt(0.1)
    s = np.sqrt(np.diag(SIGMA) / 2)
    x, rho = np.diag([2.0, 1.0, 0.5]) @ w / s, SIGMA / np.outer(np.sqrt(np.diag(SIGMA)), np.sqrt(np.diag(SIGMA)))
    b = 2 * norm.cdf(x) - 1
    wanted = np.diag(1 - b**2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        both = multivariate_normal([0, 0], [[1, rho[i, j]], [rho[i, j], 1]]).cdf(x[[i, j]])
        wanted[i, j] = wanted[j, i] = 4 * (both - norm.cdf(x[i]) * norm.cdf(x[j]))
        if not w.any():
            assert np.isclose((G @ G.T)[i, j], 2 / np.pi * np.arcsin(rho[i, j]), rtol=1e-13)
    assert np.allclose(G @ G.T, wanted, atol=1e-9)
    assert np.allclose(sign.limit(1).drift(0.0, w), -b, atol=1e-14)


def test_correlated_signs_of_an_ensemble():
    """E of the product of two signs after one step."""
    run = fd.solve(fd.SignSGD(CORRELATED, 1.0), [0.3, -0.4, 0.2], steps=1, realizations=100_000, seed=2)
    found = np.cov((run.w[:, 1] - run.w[:, 0]).values.T)
    G = np.asarray(fd.SignSGD(CORRELATED, 1.0).limit(1).diffusion(0.0, np.array([0.3, -0.4, 0.2])))
    assert np.abs(found - G @ G.T).max() < 5 / np.sqrt(100_000)


PAIR, TIE = np.array([[2.0, 0.3], [0.3, 1.5]]), np.array([[1.0, -0.4], [-0.4, 0.5]])  # Hessian and noise
START, SIDE, NODES = np.array([0.8, -0.5]), 2.4, 41  # of two coordinates, of their box and its grid
TESTS = [lambda x, y: x, lambda x, y: x**2, lambda x, y: x * y]


def both_positive(x, y, rho):
    """Probability that two normals of means x and y, variance 1 and this correlation are positive (Plackett)."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    r = rho * (1 + nodes[:, None, None]) / 2
    density = np.exp(-(x**2 - 2 * r * x * y + y**2) / (2 * (1 - r**2))) / (2 * np.pi * np.sqrt(1 - r**2))
    return norm.cdf(x) * norm.cdf(y) + rho / 2 * np.tensordot(weights, density, 1)


def lattice(eta):
    """Means at t = 1 of the chain of two coordinates, over all places of its lattice."""
    steps = round(1 / eta)
    x, y = np.meshgrid(*(w + eta * np.arange(-steps, steps + 1) for w in START), indexing="ij")
    s = np.sqrt(np.diag(TIE))
    first, second = (PAIR[0, 0] * x + PAIR[0, 1] * y) / s[0], (PAIR[1, 0] * x + PAIR[1, 1] * y) / s[1]
    up, over = norm.cdf(first), norm.cdf(second)
    both = both_positive(first, second, TIE[0, 1] / s.prod())
    law = np.zeros_like(x)
    law[steps, steps] = 1.0
    for _ in range(steps):
        law, before = np.zeros_like(x), law
        law[:-1, :-1] += (before * both)[1:, 1:]  # a positive gradient moves down
        law[:-1, 1:] += (before * (up - both))[1:, :-1]
        law[1:, :-1] += (before * (over - both))[:-1, 1:]
        law[1:, 1:] += (before * (1 - up - over + both))[:-1, :-1]
    return np.array([np.sum(law * f(x, y)) for f in TESTS])


def backward(equation):
    """The same means of an equation, by collocation in its box, from whose sides drift leads inwards."""
    grid = np.cos(np.pi * np.arange(NODES) / (NODES - 1))
    c = np.where(np.arange(NODES) % (NODES - 1) == 0, 2.0, 1.0) * (-1.0) ** np.arange(NODES)
    D = np.outer(c, 1 / c) / (grid[:, None] - grid + np.eye(NODES))
    D, grid = (D - np.diag(D.sum(axis=1))) / SIDE, SIDE * grid
    x, y = np.meshgrid(grid, grid, indexing="ij")
    z = np.stack([x.ravel(), y.ravel()], axis=1)
    b = np.asarray(jax.vmap(lambda w: equation.drift(0.0, w))(z)).T.reshape(2, NODES, NODES, 1)
    G = np.asarray(jax.vmap(lambda w: equation.diffusion(0.0, w))(z))
    C = (G @ G.swapaxes(1, 2)).transpose(1, 2, 0).reshape(2, 2, NODES, NODES, 1)
    along = [lambda u: np.tensordot(D, u, 1), lambda u: np.tensordot(D, u, (1, 1)).swapaxes(0, 1)]

    def rate(_, flat):
        u = flat.reshape(NODES, NODES, 3)
        d = [slope(u) for slope in along]
        curved = C[0, 0] * along[0](d[0]) + 2 * C[0, 1] * along[0](d[1]) + C[1, 1] * along[1](d[1])
        return (b[0] * d[0] + b[1] * d[1] + curved / 2).ravel()

    final = np.stack([f(x, y) for f in TESTS], axis=-1).ravel()
    u = solve_ivp(rate, (0, 1), final, "DOP853", rtol=1e-8, atol=1e-10).y[:, -1].reshape(NODES, NODES, 3)
    return BarycentricInterpolator(grid, BarycentricInterpolator(grid, u)(START[0]))(START[1])


@pytest.mark.parametrize("order", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_weak_orders_of_correlated_signs(order):
    """Two coordinates that loss and noise couple: the chain on its lattice beside the equation, five rungs."""
    problem = fd.problems.Quadratic(PAIR, noise=TIE)
    gaps = np.abs([lattice(eta) - backward(fd.SignSGD(problem, eta).limit(order)) for eta in (*ETAS, 0.00625)])
    slopes = np.log2(gaps[:-1] / gaps[1:])
    far = np.abs(slopes - order).max(axis=1)  # the squares of order 1 are late: .57, .83, .92, .96
    assert far[-1] < 0.05 and far[0] < (0.45 if order == 1 else 0.1) and (np.diff(far) < 0).all()


BAD = {
    "samples": (lambda: fd.SignSGD(fd.problems.LinearRegression.example()[0], 0.1), "signs of finitely many samples"),
    "tied": (
        lambda: fd.SignSGD(fd.problems.Quadratic(np.eye(2), noise=[[1.0, 1.0], [1.0, 1.0]]), 0.1),
        "`problem` must have a noise that is not tied between coordinates, got a correlation whose least eigenvalue",
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
