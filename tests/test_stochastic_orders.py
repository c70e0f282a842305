"""Strong and weak orders of the stochastic schemes, each measured on at least four step sizes."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd

CELL = 2.0**-9
DRIFT, NOISE = -1.0, 0.8


def gbm(calculus):
    return fd.SDE(lambda t, x: DRIFT * x, lambda t, x: NOISE * x, calculus=calculus, noise="diagonal")


def increments(count, seed, cell=CELL, motions=1):
    """Increments (cells, member, motion) of the Brownian paths that schemes of this seed share, by solving dX = dW."""
    sde = fd.SDE(lambda t, x: 0 * x, lambda t, x: 1 + 0 * x, noise="diagonal")
    solver, t = fd.solvers.EulerMaruyama(cell, cell), cell * np.arange(round(1 / cell) + 1)
    paths = fd.solve(sde, np.zeros(motions), t=t, solver=solver, realizations=count, seed=seed).w.values
    return np.diff(np.moveaxis(paths, 0, 1), axis=0)


def euler(x, drift, apply_noise, dW):
    """Euler and Maruyama's scheme in numpy: Ito's calculus."""
    for step in dW:
        x = x + drift(x) / len(dW) + apply_noise(x, step)
    return x


def heun(x, drift, apply_noise, dW):
    """Heun's scheme in numpy: Stratonovich's calculus."""
    for step in dW:
        ahead = x + drift(x) / len(dW) + apply_noise(x, step)
        x = x + (drift(x) + drift(ahead)) / (2 * len(dW)) + (apply_noise(x, step) + apply_noise(ahead, step)) / 2
    return x


SCHEMES = {
    "EulerMaruyama": (lambda dt, cell=CELL: fd.solvers.EulerMaruyama(dt, cell), "ito", 2000),
    "Milstein": (lambda dt, cell=CELL: fd.solvers.Milstein(dt, cell), "ito", 2000),
    "Heun": (lambda dt, cell=CELL: fd.solvers.Heun(dt, cell), "stratonovich", 2000),
    "itoEuler": (lambda dt, cell=CELL: fd.solvers.Sdeint("itoEuler", dt, cell), "ito", 150),
    "itoSRI2": (lambda dt, cell=CELL: fd.solvers.Sdeint("itoSRI2", dt, cell), "ito", 150),
    "stratHeun": (lambda dt, cell=CELL: fd.solvers.Sdeint("stratHeun", dt, cell), "stratonovich", 150),
    "stratSRS2": (lambda dt, cell=CELL: fd.solvers.Sdeint("stratSRS2", dt, cell), "stratonovich", 150),
}


LONG = ("itoSRI2", "stratHeun")  # loops of Python: one scheme of each calculus here


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in SCHEMES])
def test_strong_order_on_multiplicative_noise(name):
    make, calculus, count = SCHEMES[name]
    steps = 2.0 ** -np.arange(3, 8 if count > 1000 else 7)  # sdeint loops in Python: four step sizes
    rate = DRIFT - (NOISE**2 / 2 if calculus == "ito" else 0.0)
    truth = np.exp(rate + NOISE * increments(count, 6).sum(axis=(0, 2)))
    errors = []
    for dt in steps:
        x = fd.solve(gbm(calculus), [1.0], t=[1.0], solver=make(dt), realizations=count, seed=6).w.values.ravel()
        errors.append(np.sqrt(np.mean((x - truth) ** 2)))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    declared = make(steps[0]).strong["diagonal"]
    assert abs(slope - declared) < (0.1 if count > 1000 else 0.2), (slope, errors)


@pytest.mark.parametrize("name", ["EulerMaruyama", "Heun", "itoSRI2"])
def test_strong_order_on_additive_noise(name):
    # a nonlinear drift: the additive schemes have order 1; truth by hand on the cells themselves
    make, calculus, count = SCHEMES[name]
    count = min(count, 500)
    sde = fd.SDE(lambda t, x: -x - jnp.sin(2 * x), lambda t, x: jnp.ones((1, 1)), calculus=calculus, noise="additive")
    truth = heun(np.ones((count, 1)), lambda x: -x - np.sin(2 * x), lambda x, dW: dW, increments(count, 7))
    steps = 2.0 ** -np.arange(2, 6)
    errors = []
    for dt in steps:
        x = fd.solve(sde, [1.0], t=[1.0], solver=make(dt), realizations=count, seed=7).w.values[:, 0]
        errors.append(np.sqrt(np.mean((x - truth) ** 2)))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope > make(0.25).strong["additive"] - 0.1, (slope, errors)
    if name == "EulerMaruyama":
        assert slope < 1.15


@pytest.mark.parametrize("name", ["EulerMaruyama", "Heun"])
def test_strong_order_on_noise_that_does_not_commute(name):
    """Against a loop in numpy in the other calculus, whose drift has the correction added by hand."""
    make, calculus, _ = SCHEMES[name]
    count, cell, start = 500, 2.0**-12, np.array([1.0, 0.5])

    def g(t, x):
        return 0.6 * jnp.stack([jnp.stack([1 + 0 * x[0], x[1]]), jnp.stack([x[0], 1 + 0 * x[0]])])

    def apply_noise(x, dW):  # columns g_1 = 0.6 (1, x_0) and g_2 = 0.6 (x_1, 1)
        return 0.6 * np.stack([dW[:, 0] + x[:, 1] * dW[:, 1], x[:, 0] * dW[:, 0] + dW[:, 1]], axis=1)

    # 1/2 sum_j (D g_j) g_j = 1/2 (0.36 (0, 1) + 0.36 (1, 0)): Ito's drift has it added to Stratonovich's
    loop, sign = (heun, -1) if calculus == "ito" else (euler, 1)
    dW = increments(count, 9, cell, motions=2)
    truth = loop(np.tile(start, (count, 1)), lambda x: -x + sign * 0.18, apply_noise, dW)
    sde = fd.SDE(lambda t, x: -x, g, calculus=calculus)
    steps, errors = 2.0 ** -np.arange(4, 9), []
    for dt in steps:
        x = fd.solve(sde, start, t=[1.0], solver=make(dt, cell), realizations=count, seed=9).w.values[:, 0]
        errors.append(np.sqrt(np.mean(np.sum((x - truth) ** 2, axis=-1))))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - make(0.5, cell).strong["general"]) < 0.12, (slope, errors)


@pytest.mark.parametrize("increments", ["gaussian", "rademacher", "three-point"])
def test_weak_order_of_the_increments(increments):
    count, steps = 2**21, 2.0 ** -np.arange(2, 6)
    sde = fd.SDE(lambda t, x: -x, lambda t, x: 0.4 * jnp.sqrt(1 + x**2), noise="diagonal")
    errors, noise = [], []
    for dt in steps:
        solver = fd.solvers.EulerMaruyama(dt, increments=increments, precision="float32")
        x = fd.solve(sde, [1.0], t=[1.0], solver=solver, realizations=count, seed=8, max_bytes=2**32).w.values.ravel()
        errors.append(abs(x.mean() - np.exp(-1)))  # E X follows the drift alone
        noise.append(x.std() / np.sqrt(count))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    uncertainty = 2 * noise[-1] / errors[-1]
    assert abs(slope - 1) < 0.1 + uncertainty and uncertainty < 0.2


def test_stratonovich_correction_of_general_noise():
    # two-dimensional, non-diagonal: 1/2 sum_j (D g_j) g_j by hand for g = [[x1, x0], [0, x1 x0]]
    sde = fd.SDE(
        lambda t, x: jnp.zeros(2), lambda t, x: jnp.stack([jnp.stack([x[1], x[0]]), jnp.stack([0 * x[0], x[0] * x[1]])])
    )
    x = jnp.array([0.7, -1.3])
    a, b = float(x[0]), float(x[1])
    # column 1: g = (b, 0), D g g = (0, 0); column 2: g = (a, ab), D g = [[1, 0], [b, a]], D g g = (a, ab + a a b)
    expected = -0.5 * np.array([a, a * b + a * a * b])
    assert np.allclose(sde.drift_as("stratonovich", 0.0, x), expected, atol=1e-15)
    assert np.allclose(sde.drift_as("ito", 0.0, x), 0)
