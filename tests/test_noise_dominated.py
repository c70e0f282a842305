"""RMSProp and Adam where noise dominates: chains by all paths of a two-point noise, laws by their moment equations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import flowdyn as fd
from flowdyn._tools.randomness import Draw

COIN = fd.problems.CustomProblem(
    lambda w: 0.5 * w[0] ** 2, np.ones(1), sample_losses=lambda w: 0.5 * w[0] ** 2 + jnp.array([1.0, -1.0]) * w[0]
)
RMSPROP = {"s0": 1.0, "c2": 1.0, "e0": 0.1, "u0": 2.0}
ADAM = {"s0": 1.0, "c1": 4.0, "c2": 1.0, "e0": 0.1, "t0": 0.5, "m0": 0.3, "u0": 0.4}
BOTH_SIDES = jnp.array([[0], [2**31]], dtype=jnp.uint32)  # words that draw the first and the second sample


@eqx.filter_jit
def ends(method, steps):
    """States after so many steps from w = 1; path i draws bit k of i at step k."""
    paths = jnp.arange(2**steps)
    start = method.lift(jnp.ones(1))
    one = jax.vmap(lambda k, z, word: method.step(k, z, Draw(word, jnp.zeros(0)), ()), (None, 0, 0))
    z = jnp.broadcast_to(start, (len(paths), len(start)))
    return jax.lax.fori_loop(0, steps, lambda k, z: one(k, z, BOTH_SIDES[(paths >> k) & 1]), z)


def all_paths(method, steps):
    """E w and E w^2 over all 2^steps paths."""
    w = np.asarray(ends(method, steps))[:, 0]
    return np.array([w.mean(), (w**2).mean()])


def law(equation, t):
    """E w and E w^2 where u is deterministic and the rest linear: the equations of mean and covariance, by scipy."""
    start = np.asarray(equation.lift(jnp.ones(1)))
    n = len(start)

    @jax.jit
    def rate(s, y):
        z, C = y[:n], y[n:].reshape(n, n)
        slope, g = jax.jacfwd(lambda x: equation.drift(s, x))(z), equation.diffusion(s, z)
        return jnp.concatenate([equation.drift(s, z), (slope @ C + C @ slope.T + g @ g.T).ravel()])

    y = solve_ivp(rate, (0, t), np.append(start, np.zeros(n * n)), "DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    return np.array([y[0], y[0] ** 2 + y[n]])


def test_rmsprop():
    exact = law(fd.RMSPropEquation(COIN, **RMSPROP), 1.0)
    assert np.allclose(exact, [0.48246928, 0.51870091], atol=6e-9)
    chains = [all_paths(fd.NoiseDominatedRMSProp(COIN, steps**-0.5, **RMSPROP), steps) for steps in (5, 10, 20)]
    assert np.allclose(chains[-1], [0.4757707, 0.5135934], atol=6e-8)
    gaps = np.abs(np.array(chains) - exact)
    assert np.allclose(np.log2(gaps[:-1] / gaps[1:]), [[1.142, 1.018], [1.067, 1.038]], atol=6e-4)


def test_adam():
    exact = law(fd.AdamEquation(COIN, **ADAM), 0.25)
    assert np.allclose(exact, [0.86653811, 0.78945857], atol=6e-9)
    chains = [all_paths(fd.NoiseDominatedAdam(COIN, (0.25 / steps) ** 0.5, **ADAM), steps) for steps in (5, 10, 20)]
    assert np.allclose([chain[0] for chain in chains], [0.86355928, 0.86486220, 0.86565268], atol=6e-9)
    gaps = np.abs(np.array(chains) - exact)
    assert np.abs(np.log2(gaps[1] / gaps[2]) - 1).max() < 0.25


def textbook_adam(gradients, eta, betas, eps, k0, w, m, v):
    """Adam as it is usually written, v and eps not scaled."""
    for k, g in enumerate(gradients):
        m, v = betas[0] * m + (1 - betas[0]) * g(w), betas[1] * v + (1 - betas[1]) * g(w) ** 2
        mhat, vhat = m / (1 - betas[0] ** (k0 + k + 1)), v / (1 - betas[1] ** (k0 + k + 1))
        w = w - eta * mhat / (np.sqrt(vhat) + eps)
    return w


def test_scaled_numbers_are_adam_with_its_own():
    """sigma = s0/eta, eps = e0/eta, beta_i = 1 - c_i eta^2 and v = sigma^2 u in the usual form."""
    eta = 0.2
    sigma, h = 1 / eta, eta**2
    signs = [1, -1, -1, 1, 1]
    gradients = [lambda w, s=s: w + sigma * s for s in signs]
    end = textbook_adam(gradients, eta, (1 - 4 * h, 1 - h), 0.1 / eta, 0.5 / h, 1.0, 0.3, 0.4 * sigma**2)
    method = fd.NoiseDominatedAdam(COIN, eta, **ADAM)
    z = method.lift(jnp.ones(1))
    for k, s in enumerate(signs):
        z = method.step(k, z, Draw(BOTH_SIDES[0 if s > 0 else 1], jnp.zeros(0)), ())
    assert np.isclose(z[0], end, rtol=1e-13)


@pytest.mark.parametrize("cls", [fd.NoiseDominatedRMSProp, fd.NoiseDominatedAdam])
def test_the_mean_step_is_the_mean_of_steps(cls):
    numbers = RMSPROP if cls is fd.NoiseDominatedRMSProp else ADAM
    for problem, size in ((COIN, 1), (fd.problems.Quadratic(np.eye(2), noise=[[1.0, 0.4], [0.4, 0.5]]), 2)):
        method = cls(problem, 0.3, **numbers)
        z = method.lift(jnp.linspace(0.5, 1.0, size))
        xi = np.random.default_rng(0).standard_normal((200_000, size))
        words = jnp.asarray(np.repeat(BOTH_SIDES, 100_000, axis=0))
        ends = np.asarray(jax.vmap(lambda w, x: method.step(2, z, Draw(w, x), ()))(words, xi))  # noqa: B023
        error = ends.std(axis=0) / np.sqrt(len(ends))
        assert (np.abs(ends.mean(axis=0) - np.asarray(method.mean_step(2, z))) < 5 * error + 1e-13).all()


def test_made_again_from_a_file(tmp_path):
    p = fd.problems.Quadratic(np.eye(2), noise=np.eye(2))
    for method in (fd.NoiseDominatedRMSProp(p, 0.1, **RMSPROP), fd.NoiseDominatedAdam(p, 0.1, **ADAM)):
        run = fd.solve(method, [1.0, 0.5], t=0.2, realizations=2, seed=1)
        assert "u" in run and (run.u > 0).all()
        fd.save(run, tmp_path / f"{type(method).__name__}.nc")
        assert fd.rerun(fd.load(tmp_path / f"{type(method).__name__}.nc")).w.equals(run.w)


BAD = {
    "no noise": (lambda: fd.RMSPropEquation(fd.problems.Quadratic(1.0), **RMSPROP), "must have given samples"),
    "start": (lambda: fd.AdamEquation(COIN, **ADAM | {"t0": 0.0}), "`t0` must be positive"),
    "u": (lambda: fd.RMSPropEquation(COIN, **RMSPROP | {"u0": 0.0}), "`u0` must be positive"),
    "fixed beta": (
        lambda: fd.NoiseDominatedRMSProp(COIN, 0.5, **RMSPROP | {"c2": 10.0}),
        "a fixed beta has no closed limit",
    ),
    "a flow": (
        lambda: fd.NoiseDominatedRMSProp(COIN, 0.1, **RMSPROP).limit(0),
        "where noise dominates there is no flow",
    ),
    "order 2": (lambda: fd.NoiseDominatedAdam(COIN, 0.1, **ADAM).limit(2), "`order` must be 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
