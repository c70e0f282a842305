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
    """States after so many steps from w = 1; path i draws, at step k, as digit k of i says in base 2^(words a step)."""
    width = method.random_inputs.words
    paths, words = jnp.arange(2 ** (width * steps)), BOTH_SIDES[:, 0]
    start = method.lift(jnp.ones(1))
    one = jax.vmap(lambda k, z, word: method.step(k, z, Draw(word, jnp.zeros(0)), ()), (None, 0, 0))
    z = jnp.broadcast_to(start, (len(paths), len(start)))
    draw = lambda k: words[(paths[:, None] >> (width * k + jnp.arange(width))) & 1]  # noqa: E731
    return jax.lax.fori_loop(0, steps, lambda k, z: one(k, z, draw(k)), z)


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


def slopes(gaps, rungs):
    """Between rungs of so many steps, in one over that number."""
    return -np.diff(np.log(gaps), axis=0) / np.diff(np.log(rungs))[:, None]


def test_rmsprop():
    exact = law(fd.RMSPropEquation(COIN, **RMSPROP), 1.0)
    assert np.allclose(exact, [0.48246928, 0.51870091], atol=6e-9)
    rungs = (5, 10, 13, 20)
    chains = [all_paths(fd.NoiseDominatedRMSProp(COIN, steps**-0.5, **RMSPROP), steps) for steps in rungs]
    assert np.allclose(chains[-1], [0.4757707, 0.5135934], atol=6e-8)
    gaps = np.abs(np.array(chains) - exact)
    assert np.allclose(np.log2(gaps[[0, 1]] / gaps[[1, 3]]), [[1.142, 1.018], [1.067, 1.038]], atol=6e-4)
    assert np.abs(slopes(gaps, rungs)[-1] - 1).max() < 0.06


def test_adam():
    exact = law(fd.AdamEquation(COIN, **ADAM), 0.25)
    assert np.allclose(exact, [0.86653811, 0.78945857], atol=6e-9)
    chains = [all_paths(fd.NoiseDominatedAdam(COIN, (0.25 / steps) ** 0.5, **ADAM), steps) for steps in (5, 10, 20)]
    assert np.allclose([chain[0] for chain in chains], [0.86355928, 0.86486220, 0.86565268], atol=6e-9)
    found = slopes(np.abs(np.array(chains) - exact), (5, 10, 20))
    assert abs(found[-1, 0] - 1) < 0.1 and (found[:, 1] > 1).all()  # leading constants that nearly cancel


def test_the_order_of_adam_from_a_start_where_it_is_clean():
    """From m0 = -0.6 leading constants are ten times as large as from m0 = 0.3, and slopes go to 1 at once."""
    numbers, rungs = ADAM | {"m0": -0.6}, (5, 8, 10, 13)
    exact = law(fd.AdamEquation(COIN, **numbers), 0.25)
    chains = [all_paths(fd.NoiseDominatedAdam(COIN, (0.25 / steps) ** 0.5, **numbers), steps) for steps in rungs]
    found = slopes(np.abs(np.array(chains) - exact), rungs)
    assert np.abs(found[-1] - 1).max() < 0.05 and (np.abs(np.diff(found - 1, axis=0)) < 0.1).all()


@pytest.mark.parametrize(
    ("cls", "numbers", "end"),
    [(fd.NoiseDominatedRMSProp, RMSPROP, 1.0), (fd.NoiseDominatedAdam, ADAM | {"m0": -0.3}, 0.25)],
)
def test_refinement_at_a_fixed_problem(cls, numbers, end):
    """SVAG: sigma = s0/eta_0 stays, all pairs of signs at every step, l^2 = 4, 6, 8, 10; order 1 in 1/l^2."""
    rungs, eta = np.array([4, 6, 8, 10]), end**0.5
    exact = law(cls(COIN, eta / 2, **numbers).limit(1), end)
    chains = [all_paths(cls(COIN, eta / k**0.5, **numbers, imitated=eta), k) for k in rungs.tolist()]
    found = slopes(np.abs(np.array(chains) - exact), rungs)
    assert np.abs(found[-1] - 1).max() < (0.15 if cls is fd.NoiseDominatedRMSProp else 0.07)
    assert (np.diff(np.abs(found[:, 0] - 1)) < 0).all()  # that of E w is nearer to 1 at each rung


def test_refinement_of_one_is_the_method_itself():
    method, refined = (fd.NoiseDominatedRMSProp(COIN, 0.5, **RMSPROP, imitated=x) for x in (None, 0.5))
    assert np.allclose(all_paths(method, 4), all_paths(refined, 4), rtol=1e-14)


def test_refinement_is_textbook_rmsprop_with_two_weighted_gradients():
    """eta/l, (1 - beta)/l^2, eps l, v = sigma^2 l^2 u, weights (1 +- sqrt(2 l^2 - 1))/2, sigma = s0/eta_0; l = 2."""
    eta0, sigma = 0.5, 2.0
    eta, eps, keep = eta0 / 2, 0.1 / eta0 * 2, 1 - eta0**2 / 4
    a, w, v = (1 + np.sqrt(7.0)) / 2, 1.0, 2.0 * (sigma * 2) ** 2
    method = fd.NoiseDominatedRMSProp(COIN, eta, **RMSPROP, imitated=eta0)
    z = method.lift(jnp.ones(1))
    for k, (first, second) in enumerate([(1, -1), (-1, -1), (1, 1)]):
        g = a * (w + sigma * first) + (1 - a) * (w + sigma * second)
        w, v = w - eta * g / (np.sqrt(v) + eps), keep * v + (1 - keep) * g**2
        z = method.step(
            k, z, Draw(jnp.concatenate([BOTH_SIDES[int(x < 0)] for x in (first, second)]), jnp.zeros(0)), ()
        )
    assert np.isclose(z[0], w, rtol=1e-13)


@pytest.mark.parametrize("imitated", [None, 0.6])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("cls", [fd.NoiseDominatedRMSProp, fd.NoiseDominatedAdam])
def test_the_mean_step_over_all_draws(cls, batch_size, imitated):
    numbers = RMSPROP if cls is fd.NoiseDominatedRMSProp else ADAM
    method = cls(COIN, 0.3, **numbers, batch_size=batch_size, imitated=imitated)
    z, width = method.lift(jnp.ones(1)), method.random_inputs.words
    draws = jnp.asarray(
        np.stack(np.meshgrid(*[np.asarray(BOTH_SIDES[:, 0])] * width, indexing="ij"), -1).reshape(-1, width)
    )
    each = jax.jit(jax.vmap(lambda word: method.step(2, z, Draw(word, jnp.zeros(0)), ())))(draws)
    assert np.allclose(np.asarray(each).mean(axis=0), jax.jit(lambda: method.mean_step(2, z))(), rtol=1e-13)


@pytest.mark.parametrize(("cls", "numbers"), [(fd.NoiseDominatedRMSProp, RMSPROP), (fd.NoiseDominatedAdam, ADAM)])
def test_the_square_root_rule(cls, numbers):
    """eta doubles and B is 4 times as large, the rest stays; half of eta leaves a quarter: order 1 in h."""
    moved = []
    for eta in (0.2, 0.1):
        method = cls(fd.problems.Quadratic(1.0, noise=1.0), eta, **numbers)
        found = fd.scaling_rule(method, 4, [1.0], t=0.96, seed=1, realizations=20_000)
        after, before = found.method.config(), method.config()
        assert np.isclose(float(found.method.eta.eta), 2 * eta) and found.method.batch_size == 4
        assert all(np.array_equal(after[name], before[name]) for name in numbers)
        moved.append((found.distance, found.standard_error))
    (coarse, error), (fine, finer) = moved
    assert abs(fine - coarse / 4) < 3 * np.hypot(finer, error / 4)


@pytest.mark.slow
def test_the_square_root_rule_over_all_paths():
    """B = 4 at 2 eta has as many paths as B = 1: what its law moves by is of order 1 in h, on four rungs."""
    rungs = (8, 12, 16, 20)

    def moved(cls, end, numbers):
        pairs = [(method, method.rescaled(4)) for method in (cls(COIN, (end / k) ** 0.5, **numbers) for k in rungs)]
        return np.abs([all_paths(a, k) - all_paths(b, k // 4) for (a, b), k in zip(pairs, rungs, strict=True)])

    adam = slopes(moved(fd.NoiseDominatedAdam, 0.25, ADAM | {"m0": -0.6}), rungs)
    assert np.abs(adam - 1).max() < 0.13 and np.abs(adam[-1] - 1).max() < 0.05
    rmsprop = slopes(moved(fd.NoiseDominatedRMSProp, 1.0, RMSPROP), rungs)
    assert np.abs(rmsprop[:, 0] - 1).max() < 0.12 and (rmsprop[:, 1] > 1.9).all()  # its square moves by h^2


def test_a_mean_over_too_many_batches_is_refused():
    """57 samples in threes with replacement: C(59, 3) = 32,509 batches."""
    samples = lambda w: 0.5 * w[0] ** 2 + jnp.linspace(-1, 1, 57) * w[0]  # noqa: E731
    p = fd.problems.CustomProblem(lambda w: jnp.mean(samples(w)), np.ones(1), sample_losses=samples)
    method = fd.NoiseDominatedAdam(p, 0.3, **ADAM, batch_size=3)
    with pytest.raises(fd.ArgumentError, match=r"`batch_size` must leave at most 20000 .* got 32509 for 57 samples"):
        method.mean_step(2, method.lift(jnp.ones(1)))


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
        ends = np.asarray(jax.jit(jax.vmap(lambda w, x: method.step(2, z, Draw(w, x), ())))(words, xi))  # noqa: B023
        error, mean = ends.std(axis=0) / np.sqrt(len(ends)), jax.jit(lambda: method.mean_step(2, z))()  # noqa: B023
        assert (np.abs(ends.mean(axis=0) - np.asarray(mean)) < 5 * error + 1e-13).all()


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
    "imitated": (lambda: fd.NoiseDominatedAdam(COIN, 0.3, **ADAM, imitated=0.2), "`imitated` must be at least eta"),
    "rule": (
        lambda: fd.NoiseDominatedAdam(COIN, 0.3, **ADAM, imitated=0.6).rescaled(4),
        "must be None for a scaling rule",
    ),
    "order 2": (lambda: fd.NoiseDominatedAdam(COIN, 0.1, **ADAM).limit(2), "`order` must be 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
