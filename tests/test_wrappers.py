"""Clipping and decoupled decay around recursions: step by step beside plain numpy, orders, what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flowdyn as fd

START = [1.5, 0.2]


def toy(w):
    return 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4


def grad(w):
    r = w[0] * w[1] - 1
    return np.array([r * w[1] + 0.05 * (w[0] - 2) ** 3, r * w[0]])


def clipped(w, c=0.6):
    g = grad(w)
    return g * min(1.0, c / np.linalg.norm(g))


P = fd.problems.CustomProblem(toy, jnp.array(START))
WARM = {"t0": 0.5, "m0": [0.3, -0.2], "v0": [0.4, 0.3]}


def ended(method, steps=40):
    return fd.solve(method, START, steps=steps, saves=2).w[-1].values


def test_clipped_steps_are_those_of_plain_numpy_and_of_optax():
    w, u, v, h = np.array(START), np.array(START), np.zeros(2), 0.02
    for _ in range(40):
        w = w - 0.02 * clipped(w)
        v = (1 - 1.5 * h) * v - h * clipped(u)
        u = u + h * v
    assert np.allclose(ended(fd.Clipped(fd.GradientDescent(P, 0.02), 0.6)), w, rtol=1e-13)
    assert np.allclose(ended(fd.Clipped(fd.HeavyBall(P, h * h, 1.5), 0.6)), u, rtol=1e-13)
    assert np.linalg.norm(grad(np.array(START))) > 0.6 > np.linalg.norm(grad(w))  # the path crosses the threshold
    optimiser = optax.chain(optax.clip_by_global_norm(0.6), optax.adam(0.02))
    x, state = jnp.array(START), optimiser.init(jnp.array(START))
    for _ in range(40):
        updates, state = optimiser.update(jax.grad(toy)(x), state, x)
        x = optax.apply_updates(x, updates)
    assert np.allclose(ended(fd.Clipped(fd.Adam(P, 0.02, betas=[0.9, 0.999]), 0.6)), x, rtol=1e-11)


def test_decay_steps_are_those_of_plain_numpy_and_of_adamw():
    p = fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]])
    more = fd.problems.Quadratic([[2.3, 0.5], [0.5, 1.3]])
    same = fd.solve(fd.GradientDescent(more, 0.1), START, steps=20, saves=2).w[-1]
    found = fd.solve(fd.DecoupledDecay(fd.GradientDescent(p, 0.1), 0.3), START, steps=20, saves=2)
    assert np.allclose(found.w[-1], same, rtol=1e-12)
    u, v, h = np.array(START), np.zeros(2), 0.02
    for _ in range(40):
        v = (1 - 1.5 * h) * v - h * grad(u)
        u = u + h * v - h * 0.3 * u
    assert np.allclose(ended(fd.DecoupledDecay(fd.HeavyBall(P, h * h, 1.5), 0.3)), u, rtol=1e-13)
    adam, adamw = fd.Adam(P, 0.02, [4.0, 1.0], **WARM), fd.AdamW(P, 0.02, [4.0, 1.0], decay=0.3, **WARM)
    assert np.allclose(ended(fd.DecoupledDecay(adam, 0.3)), ended(adamw), rtol=1e-13)


CASES = {
    "clipped, order 0": (lambda: fd.Clipped(fd.GradientDescent(P, 0.02), 0.6), 0, 1),
    "clipped throughout, order 1": (lambda: fd.Clipped(fd.HeavyBall(P, 0.02**2, 1.5), 0.2), 1, 2),
    "decay, order 2": (lambda: fd.DecoupledDecay(fd.HeavyBall(P, 0.04**2, 1.5), 0.3), 2, 3),
    "both": (lambda: fd.Clipped(fd.DecoupledDecay(fd.Adam(P, 0.02, [4.0, 1.0], eps=0.05, **WARM), 0.3), 0.2), 0, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_orders(name):
    make, order, expected = CASES[name]
    ladder = fd.eta_limit(make(), START, t=1.0, order=order, saves=3)
    assert abs(float(ladder.order) - expected) < 0.06 and float(ladder.order_expected) == expected


def test_across_the_threshold_the_gap_is_of_order_two_at_best():
    """By a factor that depends on where between two steps the path crosses: bounded, no order to be fitted."""
    etas = 0.04 / 2.0 ** np.arange(5)
    shares = []
    for eta in etas:
        method = fd.Clipped(fd.GradientDescent(P, eta), 0.6)
        flow = fd.solve(method.limit(2), START, t=1.0, saves=2, solver=fd.solvers.Scipy("DOP853", rtol=1e-10))
        shares.append(np.abs(fd.solve(method, START, t=1.0, saves=2).w[-1] - flow.w[-1]).max().item() / eta**2)
    assert max(shares) < 0.02 and shares[-1] > shares[0], shares  # it would fall 16 times at order 3
    assert method.expected_order(2) == 2


def test_rebuild():
    method = fd.Clipped(fd.DecoupledDecay(fd.GradientDescent(P, 0.02), 0.3), 0.6)
    run = fd.solve(method, START, t=1.0)
    assert fd.rerun(run, toy).w.equals(run.w) and float(run.threshold) == 0.6 and float(run.decay) == 0.3


CLASSIFIER = fd.problems.LinearClassifier([[2.0, 0.3], [0.2, 1.0]], [1, 1])
REFUSED = {
    "flow": (lambda: fd.Clipped(fd.GradientFlow(P), 1.0), "`method` must be a deterministic recursion"),
    "random": (lambda: fd.DecoupledDecay(fd.SGD.example()[0], 1.0), "`method` must be a deterministic recursion"),
    "no problem": (lambda: fd.Clipped(fd.Recursion.example()[0], 1.0), "`method` must be on a problem"),
    "no gradient": (
        lambda: fd.Clipped(fd.NormalizedGradientDescent(CLASSIFIER, 0.1), 1.0),
        "`method` must take its problem by its gradient alone",
    ),
    "threshold": (lambda: fd.Clipped(fd.GradientDescent(P, 0.1), 0.0), "`threshold` must be positive"),
    "decay": (lambda: fd.DecoupledDecay(fd.GradientDescent(P, 0.1), -1.0), "`decay` must not be negative"),
    "dual": (
        lambda: fd.solve(fd.DecoupledDecay(fd.MirrorDescent(P, 0.1, "entropy"), 1.0), START, steps=2),
        "`method` must hold its parameters in its state",
    ),
    "no limit": (
        lambda: fd.Clipped(fd.Adam(P, 0.02, betas=[0.9, 0.9], **WARM), 1.0).limit(),
        "`betas` must follow eta for a limit",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, message = REFUSED[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
