"""Adam with noise as it is, batches and Gaussian noise: chains by all paths, equations by their backward equation."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator

import flowdyn as fd

RATES, EPS, WARM, DECAY, END = [4.0, 1.0], 0.1, {"t0": 0.5, "m0": 0.3, "v0": 0.6}, 0.7, 0.5
# a slope of 0.5 with a noise of +-0.4: moments do not feel w, which the decay then pulls
COIN = fd.problems.CustomProblem(
    lambda w: 0.5 * w[0], np.ones(1), sample_losses=lambda w: (0.5 + jnp.array([0.4, -0.4])) * w[0]
)
STEPS = (5, 8, 10, 13)
BOX = ((0.0, 1.0), (0.0, 0.95), (0.3, 0.9))  # of w, m and v; a mean square is a polynomial in w: three points will do
POINTS = (3, 9, 9)


def method(steps):
    return fd.NoisyAdam(COIN, END / steps, RATES, EPS, **WARM, decay=DECAY)


@eqx.filter_jit
def ends(recursion, steps):
    """Parameters after so many steps from w = 1; path i draws bit k of i at step k."""
    paths, start = jnp.arange(2**steps), recursion.lift(jnp.ones(1))
    one = jax.vmap(lambda z, i: recursion.next_state(recursion.time_step, z, i))
    z = jnp.broadcast_to(start, (len(paths), len(start)))
    return jax.lax.fori_loop(0, steps, lambda k, z: one(z, (paths >> k) & 1), z)[:, 0]


def all_paths(steps):
    w = np.asarray(ends(method(steps), steps))
    return np.array([w.mean(), (w**2).mean()])


def chebyshev(low, high, n):
    """N points of (low, high) and the matrix that differentiates there."""
    x = np.cos(np.pi * np.arange(n) / (n - 1))
    c = np.where((np.arange(n) % (n - 1)) == 0, 2.0, 1.0) * (-1.0) ** np.arange(n)
    D = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(n))
    return (low + high) / 2 + (high - low) / 2 * x, (D - np.diag(D.sum(axis=1))) * 2 / (high - low)


AXES, D = zip(*(chebyshev(*side, n) for side, n in zip(BOX, POINTS, strict=True)), strict=True)
GRID = np.stack([x.ravel() for x in np.meshgrid(*AXES, indexing="ij")], axis=1)


def along(u, i):
    """Derivative along axis i of values on the grid."""
    return jnp.moveaxis(jnp.tensordot(jnp.asarray(D[i]), u, axes=(1, i)), 0, i)


@eqx.filter_jit
def backward(equation, s, flat):
    """Generator of the equation, the age being the time, on values of two functions on the grid."""
    u = flat.reshape(*POINTS, 2)
    z = jnp.concatenate([GRID, jnp.full((len(GRID), 1), WARM["t0"] + END - s)], axis=1)
    b = jax.vmap(lambda x: equation.drift(0.0, x))(z)[:, :3].T.reshape(3, *POINTS, 1)
    G = jax.vmap(lambda x: equation.diffusion(0.0, x))(z)[:, :3]
    C = (G @ jnp.swapaxes(G, 1, 2)).transpose(1, 2, 0).reshape(3, 3, *POINTS, 1)
    first = [along(u, i) for i in range(3)]
    second = sum(C[i, j] / 2 * along(first[j], i) for i in range(3) for j in range(3))
    return (sum(b[i] * first[i] for i in range(3)) + second).ravel()


def means(equation):
    """E w and E w^2 at the end, by collocation in w, m and v."""
    final = np.stack([GRID[:, 0], GRID[:, 0] ** 2], axis=1).ravel()
    found = solve_ivp(lambda s, u: backward(equation, jnp.asarray(s), u), (0, END), final, rtol=1e-7, atol=1e-9)
    u = found.y[:, -1].reshape(*POINTS, 2)
    for x, start in zip(AXES, (1.0, WARM["m0"], WARM["v0"]), strict=True):
        u = BarycentricInterpolator(x, u)(start)
    return u


def flow():
    """Its right-hand side, written out: the mean square of the gradient is 0.25 + 0.16."""

    def rate(t, z):
        w, m, v = z
        g1, g2 = 1 - np.exp(-4 * (t + 0.5)), 1 - np.exp(-(t + 0.5))
        return [-m / g1 / (np.sqrt(v / g2) + EPS) - DECAY * w, 4 * (0.5 - m), 0.41 - v]

    w = solve_ivp(rate, (0, END), [1.0, 0.3, 0.6], "DOP853", rtol=1e-11, atol=1e-13).y[0, -1]
    return np.array([w, w**2])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_weak_orders_over_all_paths(order):
    gaps = []
    for steps in STEPS:
        limit = means(method(steps).limit(order)) if order else flow()
        gaps.append(np.abs(all_paths(steps) - limit))
    slopes = -np.diff(np.log(gaps), axis=0) / np.diff(np.log(STEPS))[:, None]
    assert np.abs(slopes[-1] - max(order, 1)).max() < 0.04 and np.abs(slopes - max(order, 1)).max() < 0.07


def test_the_flow_of_order_0_knows_the_noise():
    run = fd.solve(method(10).limit(0), [1.0], t=END, saves=2)
    assert np.isclose(run.w.isel(t=-1).item(), flow()[0], rtol=1e-7)
    assert np.isclose(run.age.isel(t=-1), WARM["t0"] + END, rtol=1e-12)


def test_steps_are_adam_as_it_is_usually_written():
    """betas 1 - c eta, bias corrected as after t0/eta steps, the decay beside the step; batches of given samples."""
    p = fd.problems.LinearRegression([[1.0, 2.0], [0.5, -1.0], [0.3, 0.3]], [1.0, 0.2, 0.4])
    h, w, m, v = 0.05, np.array([0.4, -0.3]), 0.3, 0.6
    batches = [[0, 2], [1, 1], [2, 0], [0, 0]]
    adam = fd.NoisyAdam(p, h, RATES, EPS, **WARM, decay=DECAY, batch_size=2)
    z = adam.lift(jnp.asarray(w))
    for k, batch in enumerate(batches):
        g = np.mean([np.asarray(p.sample_grads(w))[i] for i in batch], axis=0)
        m, v = (1 - 4 * h) * m + 4 * h * g, (1 - h) * v + h * g**2
        mhat, vhat = m / (1 - (1 - 4 * h) ** (11 + k)), v / (1 - (1 - h) ** (11 + k))
        w = w - h * (mhat / (np.sqrt(vhat) + EPS) + DECAY * w)
        z = adam.next_state(h, z, jnp.array(batch))
    assert np.allclose(z, [*w, *m, *v, 0.5 + 4 * h], rtol=1e-13)


# equally likely: two points of each of two normals, exact up to the fourth moments, for the noise A x
THREE = np.array([0, 0, 0, 0, 3**0.5, -(3**0.5)])
NORMALS = np.array(list(itertools.product(THREE, THREE)))
HESSIAN, SIGMA = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 0.5]])
GAUSSIAN = fd.problems.Quadratic(HESSIAN, noise=SIGMA)
DATA = fd.problems.LinearRegression([[1.0, 2.0], [0.5, -1.0], [0.3, 0.3]], [1.0, 0.2, 0.4])


def gradients(problem, sampling):
    """Every gradient of a batch of two, equally likely, as a function of w."""
    if problem is GAUSSIAN:
        return lambda w: HESSIAN @ w + jnp.asarray(NORMALS @ np.linalg.cholesky(SIGMA).T / np.sqrt(2))
    pick = itertools.product(range(3), repeat=2) if sampling == "with" else itertools.combinations(range(3), 2)
    batches = np.array(list(pick))
    return lambda w: jnp.mean(problem.sample_grads(w)[batches], axis=1)


def adam_step(g, z, h):
    w, m, v, age = z["w"], z["m"], z["v"], z["z_age"] + h
    m, v = m + 4 * h * (g - m), v + h * (g**2 - v)
    slow, fast = 1 - jnp.exp(-age * (4 + 8 * h)), 1 - jnp.exp(-age * (1 + h / 2 + h**2 / 3))  # log(1 - ch)/h to h^2
    return {"w": w - h * (m / slow / (jnp.sqrt(v / fast) + EPS) + DECAY * w), "m": m, "v": v, "z_age": age}


def rmsprop_step(g, z, h):
    return {"w": z["w"] - h * g / (jnp.sqrt(z["v"]) + EPS), "v": z["v"] + 2 * h * (g**2 - z["v"])}


def adam(problem, sampling):
    return fd.NoisyAdam(problem, 0.1, RATES, EPS, **WARM, decay=DECAY, batch_size=2, sampling=sampling)


def rmsprop(problem, sampling):
    return fd.NoisyRMSProp(problem, 0.1, 2.0, EPS, 0.6, batch_size=2, sampling=sampling)


def coefficients(method):
    """Drift and covariance of the equations of order 1 and of order 2, matched, in one program."""
    equations = [method.limit(1), method.limit(2, "matched")]

    def of(equation, z):
        G = equation.diffusion(0.0, z)
        return equation.drift(0.0, z), G @ G.T

    return jax.jit(lambda z: [of(equation, z) for equation in equations])


@pytest.mark.parametrize(
    ("step", "problem", "sampling"),
    [(adam_step, GAUSSIAN, "with"), (adam_step, DATA, "without"), (rmsprop_step, DATA, "with")],
)
def test_coefficients_are_those_of_equally_likely_steps(step, problem, sampling):
    """Beside a recursion over all gradients: g and g^2 together, of all batches or of a Gaussian noise."""
    w, every = jnp.array([0.4, -0.7]), gradients(problem, sampling)
    ours = (adam if step is adam_step else rmsprop)(problem, sampling)
    parts = {"w": w, "m": jnp.array([0.3, -0.2]), "v": jnp.array([8.6, 9.8]), "z_age": jnp.array([0.7])}
    if step is rmsprop_step:
        parts = {name: parts[name] for name in ("w", "v")}
    theirs = fd.RandomRecursion(
        lambda z, h, i: step(every(z["w"])[i], z, h),
        0.1,
        jnp.zeros(2),
        samples=jnp.arange(len(every(w))),
        init=lambda w: parts | {"w": w},
        params=lambda z: z["w"],
    )
    places = dict(
        zip(sorted(parts), np.split(np.arange(7), np.cumsum([parts[n].size for n in sorted(parts)])), strict=False)
    )
    order = np.concatenate([places[name] for name in parts])
    z = jnp.concatenate(list(parts.values()))
    found, wanted = coefficients(ours)(z), coefficients(theirs)(theirs.lift(w))
    for (drift, cov), (b, C) in zip(found, wanted, strict=True):
        assert np.allclose(drift, np.asarray(b)[order], rtol=1e-12, atol=1e-13)
        assert np.allclose(cov, np.asarray(C)[np.ix_(order, order)], rtol=1e-10, atol=1e-13)


def test_an_ensemble_has_the_means_of_all_paths_and_is_made_again(tmp_path):
    run = fd.solve(method(8), [1.0], t=END, realizations=20_000, seed=3, saves=2)
    last = run.w.isel(t=-1).values.ravel()
    for p, exact in zip((1, 2), all_paths(8), strict=True):
        assert abs((last**p).mean() - exact) < 5 * (last**p).std() / np.sqrt(20_000)
    run = fd.solve(adam(GAUSSIAN, "with"), [0.4, -0.7], t=0.2, realizations=2, seed=1)
    fd.save(run, tmp_path / "run.nc")
    assert fd.rerun(fd.load(tmp_path / "run.nc")).w.equals(run.w)


TWO = fd.problems.LinearRegression([[1.0], [2.0]], [1.0, 0.0])  # a gradient of 0 or 8 at w = 1
STRONG = {"t0": 0.5, "m0": 0.3, "v0": 0.4}


@eqx.filter_jit
def sampled(equation, steps, dt, members):
    """Ends of an equation by Heun's drift and Gaussian noise in pairs +-, and the least v on the way."""
    z = jnp.broadcast_to(equation.recursion.lift(jnp.ones(1)), (members, 4))

    def one(z, dW):
        b, noise = equation.drift(0.0, z), equation.diffusion(0.0, z) @ dW
        return z + dt / 2 * (b + equation.drift(0.0, z + dt * b + noise)) + noise

    def after(k, carry):
        z, low = carry
        half = jax.random.normal(jax.random.fold_in(jax.random.key(0), k), (members // 2, 2)) * jnp.sqrt(dt)
        z = jax.vmap(one)(z, jnp.concatenate([half, -half]))
        return z, jnp.minimum(low, z[:, 2])

    return jax.lax.fori_loop(0, steps, after, (z, z[:, 2]))


@pytest.mark.slow
@pytest.mark.parametrize(("order", "least", "most"), [(1, 0.95, 1.35), (2, 1.95, 3.5)])
def test_weak_orders_where_the_v_of_an_equation_falls_below_0(order, least, most):
    """All paths beside 60,000 pairs; a fifth to two fifths of the equation's paths have had a negative v."""
    gaps, rungs = [], (5, 8, 11, 13)
    for steps in rungs:
        recursion = fd.NoisyAdam(TWO, 0.25 / steps, RATES, EPS, **STRONG)
        z, low = sampled(recursion.limit(order), 10 * steps, 0.025 / steps, 120_000)
        assert 0.1 < float((low < 0).mean()) < 0.5
        w = np.asarray(ends(recursion, steps))
        gaps.append(abs(float(z[:, 0].mean()) - w.mean()))
    slopes = -np.diff(np.log(gaps)) / np.diff(np.log(rungs))
    assert (slopes > least).all() and (slopes < most).all()


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "w0"), [(TWO, [1.0]), (GAUSSIAN, [1.0, -1.0])])
def test_a_ladder_where_the_v_of_an_equation_falls_below_0(problem, w0):
    """Before: 481 of 2048 paths of the first, 2 of 256 of the second did not stay finite."""
    recursion = fd.NoisyAdam(problem, 0.05, RATES, EPS, **STRONG)
    observable = {"w": lambda w: w[0]}
    ladder = fd.eta_limit(recursion, w0, t=0.2, etas=[0.05, 0.025, 0.0125], order=1, observable=observable)
    assert np.isfinite(ladder.error).all() and abs(float(ladder.order.squeeze()) - 1) < 0.2


@pytest.mark.parametrize("problem", [TWO, GAUSSIAN])
def test_coefficients_below_the_floor(problem):
    """Those of half of c eta E g^2 far below it, those of v itself from c eta E g^2 on, smooth between."""
    equation, w = fd.NoisyAdam(problem, 0.05, RATES, EPS, **STRONG).limit(1), jnp.array([0.4, -0.7])[: problem.size]
    if problem is GAUSSIAN:
        mean = np.asarray(HESSIAN @ w) ** 2 + np.diag(SIGMA)
    else:
        mean = np.array([(1.2**2 + 3.2**2) / 2])  # gradients 2 x (x w - y) of the two
    start, size = equation.recursion.lift(w), problem.size

    @jax.jit
    def at(v):
        z = start.at[2 * size : 3 * size].set(v)
        return equation.drift(0.0, z), equation.diffusion(0.0, z)

    def by_hand(v):
        """Drift of w: the bias corrections at the age of a half, the moment 0.3."""
        return -0.3 / (1 - np.exp(-2)) / (np.sqrt(v / (1 - np.exp(-0.5))) + EPS)

    level = 0.05 * mean
    assert np.allclose(at(-1e9 * level)[0][:size], by_hand(level / 2), rtol=1e-8)
    for above in (level, 1.1 * level):
        assert np.allclose(at(above)[0][:size], by_hand(above), rtol=1e-12)
    near = np.array([at(level * (1 + x))[0][:size] for x in (-2e-3, -1e-3, 0.0, 1e-3, 2e-3)])
    assert np.abs(np.diff(near, 2, axis=0)).max() < 2e-3 * np.abs(np.diff(near, axis=0)).max()
    assert all(np.isfinite(x).all() for v in (-1.0, 0.0) for x in at(v * level))


MANY = fd.problems.CustomProblem(
    lambda w: 0.5 * w[0], np.ones(1), sample_losses=lambda w: (0.5 + jnp.linspace(-1, 1, 57)) * w[0]
)
BAD = {
    "no noise": (lambda: fd.NoisyAdam(fd.problems.Quadratic(1.0), 0.1, RATES, EPS, **WARM), "must have given samples"),
    "fresh": (
        lambda: fd.NoisyAdam(fd.problems.Streaming([1.0], [1.0]), 0.1, RATES, EPS, **WARM),
        r"a gradient on fresh samples is a product of normals, .* has no closed form, got 'Streaming'; draw samples",
    ),
    "fixed beta": (lambda: fd.NoisyAdam(COIN, 0.5, RATES, EPS, **WARM), "a fixed beta has no closed limit"),
    "rates": (lambda: fd.NoisyAdam(COIN, 0.1, [4.0, 0.0], EPS, **WARM), "`rates` must be positive"),
    "start": (lambda: fd.NoisyAdam(COIN, 0.1, RATES, EPS, **WARM | {"t0": 0.0}), "`t0` must be positive"),
    "v": (lambda: fd.NoisyAdam(COIN, 0.1, RATES, EPS, **WARM | {"v0": 0.0}), "`v0` must be positive"),
    "many batches": (
        lambda: fd.NoisyAdam(MANY, 0.1, RATES, EPS, **WARM, batch_size=3).limit(1).noise_dim(np.ones(1)),
        r"`batch_size` must leave at most 20000 .* got 32509 for 57 samples",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
