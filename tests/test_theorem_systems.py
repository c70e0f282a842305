"""Systems that make the theorems visible: dual and kernel flows, the normalised clock."""

import numpy as np
import pytest
from scipy.linalg import expm

import flowdyn as fd
from flowdyn import theory

rng = np.random.default_rng(4)
X, Y = rng.standard_normal((20, 60)), rng.standard_normal(20)
NET = fd.problems.DiagonalNetwork(X, Y)


def test_dual_flow_is_the_flow_of_the_weights():
    w0 = np.concatenate([np.linspace(0.2, 1.0, 60), np.linspace(-0.8, -0.3, 60)])
    t = np.linspace(0, 0.05, 6)
    dual = fd.solve(fd.DualFlow(NET, w0), w0, t=t, solver=fd.solvers.Scipy("DOP853", rtol=1e-12))
    primal = fd.solve(fd.GradientFlow(NET), w0, t=t, solver=fd.solvers.Scipy("DOP853", rtol=1e-12))
    assert float(fd.comparison.sup_error(dual, primal)) < 1e-9
    assert np.allclose(dual.w_plus * dual.w_minus, w0[:60] * w0[60:], rtol=1e-14)


@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 1.0, 10.0, 1e2])
def test_theorem_9_18_at_every_scale(alpha):
    """The flow ends at argmin Q_alpha to 1e-8, found by Newton's method on the dual without a flow."""
    w0 = NET.init(alpha)
    run = fd.solve(
        fd.DualFlow(NET, w0), w0, t=np.inf, stop={"loss": ("<", 1e-19)}, solver=fd.solvers.Scipy("LSODA", rtol=1e-11)
    )
    theta = run.theta.isel(t=-1).values
    assert np.abs(theta - theory.q_alpha_minimizer(X, Y, alpha).theta).max() < 1e-8
    kkt = theory.kkt_residual(X, Y, theta, alpha)
    assert kkt.feasibility < 1e-9 and kkt.stationarity < 1e-6
    assert np.allclose(run.w_plus * run.w_minus, alpha**2, rtol=1e-13)


def test_dual_flow_from_a_general_start():
    a, b = np.linspace(0.2, 1.0, 60), np.linspace(0.8, 0.3, 60)
    w0 = np.concatenate([a, b])
    run = fd.solve(fd.DualFlow(NET, w0), w0, t=np.inf, stop={"loss": ("<", 1e-19)}, solver=fd.solvers.Scipy(rtol=1e-11))
    assert np.abs(run.theta[-1] - theory.q_alpha_minimizer(X, Y, (a, b)).theta).max() < 1e-8


def test_dual_flow_restarts():
    w0 = NET.init(0.3)
    flow = fd.DualFlow(NET, w0)
    half = fd.solve(flow, w0, t=0.02, saves=3)
    rest = fd.solve(flow, half.isel(t=-1), t=[0.03])
    whole = fd.solve(flow, w0, t=[0.03])
    assert np.allclose(rest.theta, whole.theta, atol=1e-7)
    last = half.isel(t=-1)
    moved = fd.solve(flow, np.concatenate([last.w_plus, last.w_minus]), t=[0.01])  # weights on the orbit
    assert np.allclose(moved.theta, whole.theta, atol=1e-7)


def separable(n=30, d=5, seed=1):
    g = np.random.default_rng(seed)
    Z = g.standard_normal((n, d))
    Z *= np.sign(Z @ np.ones(d))[:, None]
    y = np.where(np.arange(n) % 2, -1.0, 1.0)
    return y[:, None] * (Z + 0.3 * np.ones(d) / np.sqrt(d)), y


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_theorem_9_25_on_the_normalised_clock(loss):
    A, y = separable()
    best = theory.max_margin(A, y)
    p = fd.problems.LinearClassifier(A, y, loss=loss)
    run = fd.solve(fd.NormalizedFlow(p), p.init(), t=np.inf, saves=200, stop={"log_t": (">", 1e7)})
    assert "log_t" in run.coords and float(run.log_t[-1]) >= 1e7 * (1 - 1e-9)
    margin, log_t = run.margin.values, run.log_t.values
    assert best.margin - margin[log_t >= 1e6][0] < 2e-6
    assert best.margin - margin[-1] + 1e-12 >= 0 and best.margin - margin[-1] < 2e-7
    # 0 <= gbar - smooth margin <= log(n)/||w|| at every saved time (logistic: its own smooth margin and bound)
    later = run.norm.values > 0
    gap = best.margin - run.smooth_margin.values[later]
    assert (gap > -1e-9).all() and (gap <= theory.margin_bound(run.norm.values[later], len(y), loss) * (1 + 1e-9)).all()
    direction = run.w[-1].values / float(run.norm[-1])
    assert np.linalg.norm(direction - best.direction) < 1e-5


def test_the_normalised_flow_is_the_gradient_flow_on_another_clock():
    A, y = separable(8, 3)
    for loss in ("exponential", "logistic"):
        p = fd.problems.LinearClassifier(A, y, loss=loss)
        run = fd.solve(
            fd.NormalizedFlow(p), p.init(), t=np.inf, stop={"log_t": (">", 3.0)}, solver=fd.solvers.Scipy(rtol=1e-11)
        )
        t = float(np.exp(run.log_t[-1]))
        plain = fd.solve(fd.GradientFlow(p), p.init(), t=[t], solver=fd.solvers.Scipy("DOP853", rtol=1e-11))
        assert np.allclose(run.w[-1], plain.w[0], atol=1e-8)
        assert float(run.log_loss[-1]) == pytest.approx(np.log(float(plain.loss[0])), abs=1e-8)


def test_normalised_descent_follows_the_normalised_flow():
    A, y = separable(8, 3)
    p = fd.problems.LinearClassifier(A, y)
    ladder = fd.eta_limit(fd.NormalizedGradientDescent(p, 0.1), p.init(), t=2.0)
    assert float(ladder.order) == pytest.approx(1.0, abs=0.03)
    long = fd.solve(fd.NormalizedGradientDescent(p, 0.1), p.init(), steps=100_000)
    assert theory.max_margin(A, y).margin - float(long.margin[-1]) < 2e-4 and np.isfinite(long.log_t[1:]).all()


def test_kernel_flow_against_the_formula():
    """Remark 9.21: theta_lin(s) = X^T (X X^T)^-1 (1 - exp(-X X^T s)) y at s = 8 alpha^2 t."""
    alpha = 3.0
    w0, t = NET.init(alpha), np.array([1e-4, 1e-3, 1e-2])
    flow = fd.KernelFlow(NET, w0)
    run = fd.solve(flow, w0, t=t)
    K = X @ X.T
    for i, s in enumerate(8 * alpha**2 * t):
        truth = X.T @ np.linalg.solve(K, (np.eye(20) - expm(-K * s)) @ Y)
        w = np.concatenate([run.w_plus[i], run.w_minus[i]])
        linear = 2 * alpha * (w[:60] - alpha) - 2 * alpha * (w[60:] - alpha)
        assert np.allclose(linear, truth, atol=1e-12)
        assert np.allclose(flow.predict(w), X @ truth, atol=1e-11)
    slow = fd.solve(flow, w0, t=t, solver=fd.solvers.Scipy(rtol=1e-10))
    assert np.allclose(slow.w_plus, run.w_plus, atol=1e-8)


def test_distance_from_the_kernel_regime_falls_as_the_fourth_power():
    alphas, gaps, distances = np.array([2.0, 4.0, 8.0, 16.0]), [], []
    K = X @ X.T
    for alpha in alphas:
        w0 = NET.init(alpha)
        s = np.array([0.003, 0.01, 0.03, 0.1, 0.3])
        run = fd.solve(fd.DualFlow(NET, w0), w0, t=s / (8 * alpha**2), solver=fd.solvers.Scipy("DOP853", rtol=1e-13))
        linear = np.array([X.T @ np.linalg.solve(K, (np.eye(20) - expm(-K * x)) @ Y) for x in s])
        gaps.append(np.linalg.norm(run.theta - linear, axis=1).max())
        distances.append(float(NET.kernel_distance(np.concatenate([run.w_plus[-1], run.w_minus[-1]]), w0)))
    assert np.polyfit(np.log(alphas), np.log(gaps), 1)[0] == pytest.approx(-4.0, abs=0.1)
    assert (np.diff(distances) < 0).all() and distances[-1] < 0.01


@pytest.mark.parametrize(
    "solver", [fd.solvers.Scipy("DOP853"), fd.solvers.Scipy("RK45"), fd.solvers.Diffrax("Tsit5")], ids=str
)
def test_explicit_methods_run_the_normalised_flow_while_it_is_not_stiff(solver):
    A, y = separable()
    p = fd.problems.LinearClassifier(A, y)
    early = fd.solve(fd.NormalizedFlow(p), p.init(), t=100.0, saves=5, solver=solver)
    truth = fd.solve(fd.NormalizedFlow(p), p.init(), t=100.0, saves=5, solver=fd.solvers.Scipy("Radau", rtol=1e-10))
    assert np.allclose(early.w, truth.w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [1e-2, 1.0])
def test_dual_flow_of_the_squared_regression(alpha):
    """theta = alpha^2 exp(-(2/n) X^T nu) is the flow of the weights, and interpolates."""
    A = np.random.default_rng(2).standard_normal((10, 30))
    p = fd.problems.SquaredRegression(A, A @ np.r_[1.0, 1.0, np.zeros(28)])
    w0 = p.init(alpha)
    t = np.linspace(0, 20, 9)
    tight = fd.solvers.Scipy("LSODA", rtol=1e-11, atol=1e-13)
    dual, primal = (fd.solve(system, w0, t=t, solver=tight) for system in (fd.DualFlow(p, w0), fd.GradientFlow(p)))
    assert np.allclose(dual.w, primal.w, atol=1e-8)
    assert np.allclose(dual.theta, alpha**2 * np.exp(-2 / 10 * dual.nu.values @ A), rtol=1e-12)
    moved = fd.solve(fd.DualFlow(p, w0), dual.w[4].values, t=[1.0])  # weights on the orbit
    assert np.allclose(moved.w[-1], fd.solve(fd.GradientFlow(p), dual.w[4].values, t=[1.0]).w[-1], atol=1e-6)


@pytest.mark.parametrize("zeros", [slice(0, 1), slice(0, 7), slice(7, 9), slice(0, 0)])
def test_the_dual_flow_goes_on_from_weights_of_its_own_and_of_the_primal_flow(zeros):
    rng = np.random.default_rng(5)
    p = fd.problems.DiagonalNetwork(rng.standard_normal((4, 7)), rng.standard_normal(4))
    start = np.full(14, 0.3)
    start[zeros] = 0.0
    whole = fd.solve(fd.DualFlow(p, start), start, t=1.0, saves=2)
    for system in (fd.DualFlow(p, start), fd.GradientFlow(p)):
        half = fd.solve(system, start, t=0.5, saves=2)
        weights = np.r_[half.w_plus[-1], half.w_minus[-1]]
        rest = fd.solve(fd.DualFlow(p, start), weights, t=0.5, saves=2)
        assert np.abs(rest.theta[-1] - whole.theta[-1]).max() < 1e-6


def test_normalised_descent_starts_anywhere():
    p = fd.problems.LinearClassifier([[2.0, 0.0], [0.0, 1.0]], [1, 1])
    run = fd.solve(fd.NormalizedGradientDescent(p, 0.1), [5e3, 1e4], steps=10)
    # L = 2 exp(-1e4) falls by about exp(-0.1 |grad L / L|^2) a step: t = sum of 0.1 / L_k
    w, total = np.array([5e3, 1e4]), -np.inf
    for _ in range(10):
        margins = np.array([2.0, 1.0]) * w
        log_loss = np.logaddexp(*-margins)
        total = np.logaddexp(total, np.log(0.1) - log_loss)
        w = w + 0.1 * np.exp(-margins - log_loss) * np.array([2.0, 1.0])
    assert run.log_t[-1].item() == pytest.approx(total, rel=1e-12)


def test_the_gauss_newton_matrix_is_the_hessian_at_interpolation():
    p = fd.problems.SquaredRegression([[1.0, 2.0]], [1.5])
    w = np.array([1.0, 0.5])  # f = 1 + 2/4 = y;  J = 2 X diag(w) = (2, 2), the loss (f - y)^2 times its scale
    J = np.array([[2.0, 2.0]])
    assert np.allclose(p.gauss_newton(w), 2 * p.scale * J.T @ J) and np.allclose(p.gauss_newton(w), p.hessian(w))
