"""Label noise: its linearisation, its penalty, its slow flow, and what it finds."""

import jax
import numpy as np
import pytest

import flowdyn as fd
from flowdyn import theory


def test_linearization_of_label_noise_and_of_samples():
    rng = np.random.default_rng(2)
    F = rng.standard_normal((6, 3))
    p = fd.problems.CustomRegression(lambda w, x: x @ (w * w), F @ np.array([1.0, 4.0, 0.25]), np.ones(3), data=F)
    w = np.array([1.0, 2.0, 0.5])  # interpolates
    eta, sigma, B = 0.01, 0.7, 2
    ou = fd.linearize(fd.LabelNoiseSGD(p, eta, sigma, B), at=w)
    H = np.asarray(p.hessian(w))
    assert np.allclose(ou.D, eta * sigma**2 / B * H, atol=1e-12)
    assert np.allclose(ou.stationary_cov(), eta * sigma**2 / (2 * B) * np.eye(3), atol=1e-12)
    away = np.array([1.2, 1.8, 0.4])
    ou = fd.linearize(fd.SGD(p, eta, B), at=away)
    assert np.allclose(ou.D, eta / B * np.asarray(p.noise_cov(away)))
    assert np.allclose(ou.drift(0.0, away), -np.asarray(p.grad(away)))


def test_label_noise_penalty():
    H = np.diag([2.0, 1.0, 0.0])
    trace = theory.label_noise_penalty(H, eta=0.1, sigma=0.5, batch_size=2)
    assert trace == pytest.approx(0.1 * 0.25 / 8 * 3)
    assert theory.label_noise_penalty(H, 0.1, 0.5, 2, scale=0.25) == pytest.approx(trace / 2)
    # Damian, Ma and Lee: lambda R with lambda = eta sigma^2 / B, R = -(1/(2 eta)) tr log(I - eta H / 2)
    R = -np.log((1 - 0.1) * (1 - 0.05)) / 0.2
    assert theory.label_noise_penalty(H, 0.1, 0.5, 2, form="logdet") == pytest.approx(0.1 * 0.25 / 2 * R)
    gaps = [
        theory.label_noise_penalty(H, e, 1.0, form="logdet") / theory.label_noise_penalty(H, e, 1.0) - 1
        for e in (0.1, 0.05, 0.025, 0.0125)
    ]
    assert abs(np.polyfit(np.log([0.1, 0.05, 0.025, 0.0125]), np.log(gaps), 1)[0] - 1) < 0.05


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_label_noise_finds_the_sparse_truth_where_descent_does_not(seed):
    """Protocol of HaoChen et al. (THEORY 7): two ranges of the squared error, six seeds of theirs."""
    rng = np.random.default_rng(seed)
    X, truth = rng.standard_normal((40, 100)), np.zeros(100)
    truth[:5] = 1.0
    p = fd.problems.SquaredRegression(X, X @ truth)
    eta = fd.schedules.PiecewiseConstant([1e-2, 1e-3, 1e-4], [100_000, 200_000])
    noisy = fd.solve(
        fd.LabelNoiseSGD(p, eta, 1.0, noise="sign"), p.init(1.0), steps=300_000, saves=2, realizations=4, seed=seed
    )
    errors = ((noisy.theta.isel(t=-1) - truth) ** 2).sum("feature").values
    assert (errors > 1.9e-4).all() and (errors < 1.7e-3).all(), errors
    plain = fd.solve(fd.GradientDescent(p, 0.01), p.init(1.0), steps=300_000, saves=2)
    assert 56 < float(((plain.theta[-1] - truth) ** 2).sum()) < 85


def interpolating(seed=0, n=6, d=10):
    g = np.random.default_rng(seed)
    A = g.standard_normal((n, d))
    b = 0.5 + g.random(d)
    return fd.problems.SquaredRegression(A, A @ (b * b)), A, b


def test_slow_flow_of_label_noise_against_its_closed_form():
    """db/dtau = -kappa b (omega - 2 X^T mu), 2 X diag(b^2) X^T mu = X (b^2 omega), kappa = sigma^2/(2B) for 1/(4n)."""
    p, A, b = interpolating()
    omega = (A**2).mean(axis=0)
    mu = np.linalg.solve(2 * A @ np.diag(b**2) @ A.T, A @ (b**2 * omega))
    truth = -(0.7**2 / (2 * 3)) * b * (omega - 2 * A.T @ mu)
    flow = fd.LabelNoiseFlow(p, 0.7, 3)
    assert np.allclose(jax.jit(lambda w: flow.drift(0.0, w))(b), truth, atol=1e-12)
    assert float(jax.jit(lambda w: flow.trace_hessian(w))(b)) == pytest.approx(float(np.trace(p.hessian(b))), rel=1e-12)
    run = fd.solve(flow, b, t=20.0)
    assert (np.diff(run.trace_hessian) <= 1e-12).all() and float(run.loss.max()) < 1e-12


def test_label_noise_sgd_follows_its_slow_flow():
    p, A, b = interpolating()
    weights = (A**2).mean(axis=0)
    tau = 1.0
    flow = fd.solve(fd.LabelNoiseFlow(p, 1.0), b, t=[tau])
    truth = float(weights @ (flow.w[0].values ** 2))
    start = float(weights @ b**2)
    gaps = []
    for eta in (0.02, 0.01):
        run = fd.solve(fd.LabelNoiseSGD(p, eta, 1.0), b, steps=round(tau / eta**2), saves=2, realizations=600, seed=1)
        gaps.append(abs(float((weights * run.w[:, -1].values ** 2).sum(axis=1).mean()) - truth))
    assert gaps[1] < 0.15 * (start - truth) and gaps[1] < 0.75 * gaps[0], (gaps, start, truth)
