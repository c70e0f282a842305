"""RMSProp with noise as it is: chains by all paths of a two-point noise, equations by spectral collocation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator

import flowdyn as fd

COIN = fd.problems.CustomProblem(
    lambda w: 0.5 * w[0] ** 2, np.ones(1), sample_losses=lambda w: 0.5 * w[0] ** 2 + jnp.array([0.4, -0.4]) * w[0]
)
BOX = ((-0.9, 1.5), (0.22, 1.95))  # of w and v: the drift points inwards, and noise does not reach its sides
STEPS = (5, 8, 10, 20)


def method(steps):
    return fd.NoisyRMSProp(COIN, 1 / steps, decay_rate=1.0, eps=0.1, v0=1.5)


@eqx.filter_jit
def ends(recursion, steps):
    """States after so many steps from w = 1; path i draws bit k of i at step k."""
    paths = jnp.arange(2**steps)
    z = jnp.broadcast_to(recursion.lift(jnp.ones(1)), (len(paths), 2))
    one = jax.vmap(lambda z, i: recursion.next_state(recursion.time_step, z, i))
    return jax.lax.fori_loop(0, steps, lambda k, z: one(z, (paths >> k) & 1), z)


def all_paths(recursion, steps):
    """E w and E w^2 over all 2^steps paths."""
    w = np.asarray(ends(recursion, steps))[:, 0]
    return np.array([w.mean(), (w**2).mean()])


@eqx.filter_jit
def coefficients(equation, points):
    """Drift and diffusion at many points."""
    return jax.vmap(lambda z: equation.drift(0.0, z))(points), jax.vmap(lambda z: equation.diffusion(0.0, z))(points)


def chebyshev(low, high, n):
    """Points of (low, high) and the matrix that differentiates there."""
    x = np.cos(np.pi * np.arange(n + 1) / n)
    c = np.where((np.arange(n + 1) % n) == 0, 2.0, 1.0) * (-1.0) ** np.arange(n + 1)
    D = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(n + 1))
    return (low + high) / 2 + (high - low) / 2 * x, (D - np.diag(D.sum(axis=1))) * 2 / (high - low)


def means(equation, n=14):
    """E w and E w^2 at t = 1 from (1, 1.5): the backward equation in w and v, by collocation."""
    (w, Dw), (v, Dv) = (chebyshev(*side, n) for side in BOX)
    one = np.eye(n + 1)
    points = np.stack([x.ravel() for x in np.meshgrid(w, v, indexing="ij")], axis=1)
    b, G = map(np.asarray, coefficients(equation, points))
    C = G @ np.swapaxes(G, 1, 2)
    d = [np.kron(Dw, one), np.kron(one, Dv)]
    generator = sum(b[:, [i]] * d[i] for i in (0, 1))
    generator += sum(C[:, i, [j]] / 2 * (d[i] @ d[j]) for i in (0, 1) for j in (0, 1))
    values = scipy.linalg.expm(generator) @ np.stack([points[:, 0], points[:, 0] ** 2], axis=1)
    found = BarycentricInterpolator(w, values.reshape(n + 1, n + 1, 2))(1.0)
    return BarycentricInterpolator(v, found)(1.5)


def flow():
    """w' = -w/(sqrt(v) + .1), v' = w^2 + .16 - v, written out."""
    rate = lambda t, z: [-z[0] / (np.sqrt(z[1]) + 0.1), z[0] ** 2 + 0.16 - z[1]]  # noqa: E731
    w = solve_ivp(rate, (0, 1), [1.0, 1.5], "DOP853", rtol=1e-11, atol=1e-13).y[0, -1]
    return np.array([w, w**2])


def test_the_chain_and_its_equations():
    chains = np.array([all_paths(method(steps), steps) for steps in STEPS])
    assert np.allclose(chains[-1], [0.42898481, 0.18639615], atol=6e-9)
    known = {1: [0.43434997, 0.19097914], 2: [0.42912731, 0.18643486]}
    for order, expected in ((0, 1.03), (1, 1.04), (2, 2.05)):
        limits = np.array([means(method(steps).limit(order)) if order else flow() for steps in STEPS])
        if order:  # the script's own grid was good to 3e-7
            assert np.allclose(limits[-1], known[order], atol=3e-7)
        gaps = np.abs(chains - limits)[:, 0]
        assert abs(np.log2(gaps[-2] / gaps[-1]) - expected) < 0.006


def test_the_flow_of_order_0_knows_the_noise():
    run = fd.solve(method(20).limit(0), [1.0], t=1.0, saves=2)
    assert np.isclose(run.w.isel(t=-1).item(), flow()[0], rtol=1e-7)


def test_an_ensemble_has_the_means_of_all_paths():
    run = fd.solve(method(8), [1.0], t=1.0, realizations=20_000, seed=3, saves=2)
    last = run.w.isel(t=-1).values.ravel()
    for p, exact in zip((1, 2), all_paths(method(8), 8), strict=True):
        assert abs((last**p).mean() - exact) < 5 * (last**p).std() / np.sqrt(20_000)
    assert (run.v > 0).all()


@pytest.mark.parametrize("batch", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_fresh_samples(batch):
    """Moments of g = mean of x r, r = e x - sigma xi, by Isserlis: cumulants of products of normals."""
    lam, e, sigma, h, c, eps, v = 0.8, 0.7, 0.5, 0.1, 2.0, 0.1, 6.0
    method = fd.NoisyRMSProp(fd.problems.Streaming([lam], [0.3], sigma), h, c, eps, v, batch_size=batch)
    # x r = z^T Q z for the law of (x, r): cumulants 2^{k-1} (k-1)! tr (Q K)^k, one over B^{k-1} for a mean
    QK = np.array([[0.0, 0.5], [0.5, 0.0]]) @ np.array([[lam, lam * e], [lam * e, lam * e**2 + sigma**2]])
    k1, k2, k3, k4 = (
        2 ** (k - 1) * factor * np.trace(np.linalg.matrix_power(QK, k)) / batch ** (k - 1)
        for k, factor in ((1, 1), (2, 1), (3, 2), (4, 6))
    )
    square = k2 + k1**2
    covariance = np.array([[k2, k3 + 2 * k1 * k2], [0, k4 + 4 * k1 * k3 + 2 * k2**2 + 4 * k1**2 * k2]])
    covariance[1, 0] = covariance[0, 1]
    z, own = np.array([0.3 + e, v]), np.diag([-1 / (np.sqrt(v) + eps), c])
    limit = method.limit(1)
    drift, G = map(np.asarray, jax.jit(lambda x: (limit.drift(0.0, x), limit.diffusion(0.0, x)))(z))
    assert np.allclose(drift, [-k1 / (np.sqrt(v) + eps), c * (square - v)], rtol=1e-11)
    assert np.allclose(G @ G.T / h, own @ covariance @ own, rtol=1e-11)
    assert np.allclose(jax.jit(lambda x: method.mean_step(0, x))(z), z + h * drift, rtol=1e-12)
    run = fd.solve(method, [0.3 + e], steps=1, realizations=40_000, seed=5, saves=2)
    moved = np.stack([run.w[:, -1, 0] - z[0], run.v[:, -1, 0] - z[1]]) / h
    assert (np.abs(moved.mean(axis=1) - drift) < 5 * moved.std(axis=1) / 200).all()


def test_the_flow_of_order_0_on_fresh_samples():
    """E (x r)^2 = l (3 l e^2 + sigma^2)."""
    method = fd.NoisyRMSProp(fd.problems.Streaming([0.8], [0.3], 0.5), 0.1, 1.0, 0.5, 1.5)
    found = fd.solve(method.limit(0), [1.0], t=0.5, saves=2).w[-1, 0]

    def rate(t, z):
        e = z[0] - 0.3
        return [-0.8 * e / (np.sqrt(z[1]) + 0.5), 0.8 * (3 * 0.8 * e**2 + 0.25) - z[1]]

    assert np.isclose(found, solve_ivp(rate, (0, 0.5), [1.0, 1.5], rtol=1e-10, atol=1e-12).y[0, -1], rtol=1e-6)


MANY_INPUTS = fd.problems.Streaming(np.ones(6), np.ones(6))
BAD = {
    "no noise": (lambda: fd.NoisyRMSProp(fd.problems.Quadratic(1.0), 0.1, 1.0, 0.1, 1.0), "must have given samples"),
    "fresh": (
        lambda: fd.NoisyRMSProp(MANY_INPUTS, 0.1, 1.0, 0.1, 1.0).limit(1).noise_dim(0),
        r"at most 20000 nodes for squares of gradients on fresh samples, got 5\^7 for 7 normals a step",
    ),
    "batch": (lambda: fd.NoisyRMSProp(COIN, 0.1, 1.0, 0.1, 1.0, 3, "without"), "`batch_size` must be at most n = 2"),
    "fixed beta": (lambda: fd.NoisyRMSProp(COIN, 0.5, 10.0, 0.1, 1.0), "a fixed beta has no closed limit"),
    "v": (lambda: fd.NoisyRMSProp(COIN, 0.1, 1.0, 0.1, 0.0), "`v0` must be positive"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
