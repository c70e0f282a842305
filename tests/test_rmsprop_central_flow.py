"""Central flow of RMSProp: its two-cycle on quadratics, and the network of the notes beside the recursion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_central_flow import TIGHT, tanh_network

import flowdyn as fd

ETA, BETA2 = 0.1, 0.9


def rmsprop(grad, w, v, eta, beta2, steps):
    """Iterates of the recursion: v first, then w."""
    path = [w]
    for _ in range(steps):
        g = np.asarray(grad(w))
        v = beta2 * v + (1 - beta2) * g**2
        w = w - eta * g / np.sqrt(v)
        path.append(w)
    return np.array(path)


def test_the_two_cycle_of_a_diagonal_quadratic():
    """Amplitude eta/2 in every coordinate whatever the curvature, effective sharpness 2: Sigma = (eta/2)^2 I."""
    lam = np.array([1.0, 3.0, 0.5])
    path = rmsprop(lambda w: lam * w, np.array([1.0, -0.5, 0.7]), np.ones(3), ETA, BETA2, 2000)
    assert np.allclose(np.abs(path[-2:]), ETA / 2, rtol=1e-6)
    p = fd.problems.Quadratic(np.diag(lam))
    flow = fd.RMSPropCentralFlow(p, ETA, BETA2, eps=0.0, v0=1.0)
    run = fd.solve(flow, [1.0, -0.5, 0.7], t=[40.0])
    assert float(run.effective_sharpness[-1]) == pytest.approx(2.0, abs=1e-6)
    assert float(run.sigma_trace[-1]) == pytest.approx(3 * (ETA / 2) ** 2, rel=1e-4)
    assert float(run.predicted_loss[-1] - run.loss[-1]) == pytest.approx(lam.sum() * (ETA / 2) ** 2 / 2, rel=1e-4)
    assert np.allclose(run.square[-1], (lam * ETA / 2) ** 2, rtol=1e-4)  # v = grad^2 on the cycle


def test_below_the_edge_it_is_the_stable_flow():
    p = fd.problems.Quadratic(np.diag([1.0, 3.0]))
    given = {"eta": 0.01, "beta2": 0.99, "v0": 1.0}
    runs = [
        fd.solve(fd.RMSPropCentralFlow(p, **given, modes=2), [1.0, 1.0], t=0.3, saves=4, solver=TIGHT),
        fd.solve(fd.RMSPropStableFlow(p, **given), [1.0, 1.0], t=0.3, saves=4),
    ]
    assert np.allclose(runs[0].w, runs[1].w, atol=1e-6) and np.allclose(runs[0].square, runs[1].square, rtol=3e-6)
    assert (runs[0].sigma_trace == 0).all()


@pytest.mark.slow
def test_a_network_along_the_edge():
    """eta = .01, beta2 = .99, v0 = .01, 1500 steps: central .034 from the midpoints, stable .569; loss 9.2e-4."""
    p, w0 = tanh_network()
    path = rmsprop(jax.jit(lambda w: p.grad(w)), w0, np.full(24, 0.01), 0.01, 0.99, 1501)
    middle = (path[1499] + 2 * path[1500] + path[1501]) / 4
    given = {"eta": 0.01, "beta2": 0.99, "v0": 0.01}
    central = fd.solve(fd.RMSPropCentralFlow(p, **given, modes=6), w0, t=[14.0, 15.0])
    stable = fd.solve(fd.RMSPropStableFlow(p, **given), w0, t=[15.0])
    near, far = (np.linalg.norm(run.w.values[-1] - middle) for run in (central, stable))
    assert near < 0.035 and far == pytest.approx(0.569, abs=1e-3)
    losses = np.asarray(jax.vmap(p.loss)(jnp.asarray(path[1401:1501])))
    assert 9.8e-4 < losses.mean() < 1.04e-3
    assert float(central.predicted_loss.mean()) == pytest.approx(9.18e-4, rel=0.02)
    assert float(central.predicted_loss[-1]) == pytest.approx(losses.mean(), rel=0.2)
    assert float(stable.loss[-1]) < 3e-10
    divisor = (np.sqrt(stable.square.values[-1]) + 1e-8) / 0.01
    stiff = np.asarray(p.hessian(stable.w.values[-1])) / np.sqrt(np.outer(divisor, divisor))
    assert np.linalg.eigvalsh(stiff)[-1] == pytest.approx(736, abs=0.5)  # what a solver of it has to bear


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beta2": 1.0}, "`beta2` must lie between 0 and 1"),
        ({"eps": -1.0}, "`eps` must"),
        ({"v0": 0.0}, "`v0` must be positive"),
        ({"eta": 0.0}, "`eta` must be positive"),
        ({"modes": 0}, "`modes` must"),
    ],
)
def test_refused_in_words(given, message):
    with pytest.raises(fd.ArgumentError, match=message):
        fd.RMSPropCentralFlow(fd.problems.Quadratic(1.0), **{"eta": 0.1} | given)


def test_a_ladder_over_eta_is_refused():
    with pytest.raises(fd.ArgumentError, match="a model without an order in eta"):
        fd.eta_limit(fd.RMSPropCentralFlow(fd.problems.Quadratic(1.0), 0.1), [1.0], t=1.0)
