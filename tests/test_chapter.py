"""The chapter's equations one by one, against loops over samples, quadrature, enumeration and other solvers."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize

import flowdyn as fd
from flowdyn import observables, theory
from flowdyn.theory.implicit_bias import q

rng = np.random.default_rng(11)
X, Y = rng.standard_normal((4, 6)), rng.standard_normal(4)
BEFORE = np.array([0.7, -0.4, 0.2, 1.1, -0.9, 0.3])


def differences(function, w, h=1e-6):
    """Gradient by central differences."""
    return np.array([(function(w + h * e) - function(w - h * e)) / (2 * h) for e in np.eye(len(w))])


def test_descent_from_the_origin_stays_in_the_span_and_ends_at_the_shortest_interpolant():
    """Theorem 9.3, against the shortest interpolant found by a constrained optimiser."""
    p = fd.problems.LinearRegression(X, Y)
    run = fd.solve(fd.GradientDescent(p, 0.05), p.init(), steps=20_000, saves=11)
    basis = np.linalg.qr(X.T)[0]
    assert np.abs(run.w.values - run.w.values @ basis @ basis.T).max() < 1e-12
    constraint = {"type": "eq", "fun": lambda b: X @ b - Y, "jac": lambda b: X}
    found = minimize(lambda b: b @ b, BEFORE, jac=lambda b: 2 * b, constraints=constraint, options={"ftol": 1e-15})
    assert np.abs(run.w.values[-1] - found.x).max() < 1e-7


def test_the_empirical_loss_of_the_squared_parametrisation():
    """(9.7), sample by sample."""
    p = fd.problems.SquaredRegression(X, Y)
    terms = [(y - sum(b * b * xi for b, xi in zip(BEFORE, x, strict=True))) ** 2 for x, y in zip(X, Y, strict=True)]
    assert float(p.loss(BEFORE)) == pytest.approx(sum(terms) / (4 * len(Y)), rel=1e-14)


def test_small_norm_of_the_weights_is_small_l1_norm_of_the_predictor():
    """(9.11) for theta >= 0: the best of all vertices, found by enumeration."""
    truth = np.array([0.0, 1.3, 0.0, 0.4, 0.0, 0.0])
    A, y = X[:3], X[:3] @ truth
    values = []
    for S in itertools.combinations(range(6), 3):
        part = np.linalg.solve(A[:, S], y)
        if (part >= -1e-12).all():
            values.append(part.sum())
    found = theory.basis_pursuit(A, y, nonnegative=True)
    assert found.value == pytest.approx(min(values), rel=1e-12)
    assert np.abs(A @ found.theta - y).max() < 1e-12 and found.theta.min() >= 0


def test_the_population_loss_is_the_expectation_over_gaussian_data():
    """(9.15) by Gauss-Hermite quadrature, exact for polynomials; its gradient (9.22) by differences."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    weights = weights / weights.sum()
    b, truth = np.array([0.8, -0.3]), np.array([1.0, 0.25])

    def expected(b):
        pairs = itertools.product(zip(nodes, weights, strict=True), repeat=2)
        return sum(v * w * ((truth - b * b) @ [x, z]) ** 2 for (x, v), (z, w) in pairs) / 4

    p = fd.problems.SquaredPopulation(truth)
    assert float(p.loss(b)) == pytest.approx(expected(b), rel=1e-13)
    assert np.allclose(p.grad(b), differences(expected, b), atol=1e-9)
    assert np.allclose(p.grad(b), (b * b - truth) * b, atol=1e-15)


def test_a_small_start_recovers_the_sparse_truth_in_the_window():
    """Theorem 9.4: the squared error is below alpha sqrt(d) from 2 log(d/alpha)/eta to 1/(eta sqrt(d alpha)) steps."""
    n, d, alpha, eta = 40, 100, 1e-6, 0.05
    A = np.random.default_rng(5).standard_normal((n, d))
    truth = np.zeros(d)
    truth[[3, 40]] = 1.0
    first, last = 2 * np.log(d / alpha) / eta, 1 / (eta * np.sqrt(d * alpha))
    assert first < last / 2
    p = fd.problems.SquaredRegression(A, A @ truth)
    run = fd.solve(fd.GradientDescent(p, eta), p.init(alpha), steps=int(last), saves=201)
    error = ((run.w.values**2 - truth) ** 2).sum(axis=1)
    assert (error[run.k.values >= first] <= alpha * np.sqrt(d)).all() and error[0] > 1.9
    large = fd.solve(fd.GradientFlow(p), p.init(1.0), t=np.inf, stop={"loss": ("<", 1e-10)})
    assert ((large.w.values[-1] ** 2 - truth) ** 2).sum() > 1.0  # interpolates, and recovers nothing


def test_noise_grows_at_most_at_the_rate_of_the_proof():
    """(9.69): the largest |v - u| off the support stays below 8 delta in the window; rho from the sums over samples."""
    n, alpha = 30, 0.02
    d = n + 1
    values, vectors = np.linalg.eigh((1 + 1 / n) * np.eye(d) - np.ones((d, d)) / n)
    A = np.sqrt(n) * (vectors[:, 1:] * np.sqrt(values[1:])).T  # delta_2 = 1/n
    p = fd.problems.SquaredRegression(A, A[:, 0])
    window = theory.lemma_window(1 / n, alpha, d)
    run = fd.solve(fd.GradientFlow(p), p.init(alpha), t=window, saves=21)
    assert window == pytest.approx(np.log(2) / (8 / n))
    for w in run.w.values:
        gradient = sum((x @ (w * w) - x[0]) * x * w for x in A) / n
        rho = gradient[1:] / w[1:]  # zeta' = -rho zeta
        assert np.abs(rho).max() <= 3.5 / n * (1 + 1e-9) < 8 / n


def test_descent_is_the_flow_in_steps_of_eta():
    """(9.87)-(9.90): w(t + eta) = w(t) - eta grad L, beside w' = -grad L from another integrator."""
    p = fd.problems.SquaredRegression(X, Y)

    def loss(b):
        return sum((y - (b * b) @ x) ** 2 for x, y in zip(X, Y, strict=True)) / (4 * len(Y))

    w, eta = BEFORE, 0.1
    run = fd.solve(fd.GradientDescent(p, eta), BEFORE, steps=5, saves=6)
    for k in range(5):
        assert np.allclose(run.w.values[k], w, atol=1e-9) and run.t.values[k] == pytest.approx(k * eta, abs=1e-15)
        w = w - eta * differences(loss, w)
    truth = solve_ivp(lambda t, b: -differences(loss, b), (0, 1), BEFORE, method="DOP853", rtol=1e-11, atol=1e-12)
    flow = fd.solve(fd.GradientFlow(p), BEFORE, t=[1.0])
    assert np.abs(flow.w.values[0] - truth.y[:, -1]).max() < 1e-7
    gaps = [
        np.abs(fd.solve(fd.GradientDescent(p, h), BEFORE, t=[1.0]).w.values[0] - truth.y[:, -1]).max()
        for h in (1 / 64, 1 / 128, 1 / 256, 1 / 512)
    ]
    assert np.polyfit(np.log([1 / 64, 1 / 128, 1 / 256, 1 / 512]), np.log(gaps), 1)[0] == pytest.approx(1.0, abs=0.1)


def test_the_diagonal_network_and_its_balanced_start():
    """(9.91)-(9.93): f_w(x) = <w+ w+ - w- w-, x>, half the sum of squares, and theta = 0 at alpha * 1."""
    p = fd.problems.DiagonalNetwork(X, Y)
    plus, minus = BEFORE, BEFORE[::-1] * 0.6
    total = 0.0
    for x, y in zip(X, Y, strict=True):
        f = sum((a * a - b * b) * xi for a, b, xi in zip(plus, minus, x, strict=True))
        total += 0.5 * (y - f) ** 2
    assert float(p.loss(np.r_[plus, minus])) == pytest.approx(total, rel=1e-14)
    for alpha in (1e-3, 2.0):
        w0 = p.init(alpha)
        assert (w0 == alpha).all() and (p.theta(w0) == 0).all() and (p.predict(w0) == 0).all()


def test_the_regulariser_is_an_integral_and_sums_over_the_features():
    """(9.100): q(z) = int_0^z arcsinh(u/2) du; (9.99): a sum over the d features, not the n samples."""
    for z in (-4.0, 0.3, 7.0):
        assert float(q(z)) == pytest.approx(quad(lambda u: np.arcsinh(u / 2), 0, z, epsabs=1e-13)[0], rel=1e-11)
    alpha = 0.7
    parts = [alpha**2 * quad(lambda u: np.arcsinh(u / 2), 0, th / alpha**2)[0] for th in BEFORE]
    assert len(parts) == 6 and theory.Q_alpha(BEFORE, alpha) == pytest.approx(sum(parts), rel=1e-10)


def test_features_of_the_kernel_regime():
    """(9.107): the gradient of the network at alpha * 1 is 2 alpha [x, -x]."""
    alpha = 1.5
    p = fd.problems.DiagonalNetwork(X, Y)
    w0 = p.init(alpha)
    rows = np.array([differences(lambda w, x=x: (w[:6] ** 2 - w[6:] ** 2) @ x, w0) for x in X])
    features = 2 * alpha * np.hstack([X, -X])
    assert np.allclose(rows, features, atol=1e-8) and np.allclose(p.jacobian(w0), features, atol=1e-14)
    assert np.allclose(p.tangent_kernel(w0), 8 * alpha**2 * X @ X.T, atol=1e-12)
    seen = observables.kernel_distance(p, w0)["kernel_distance"]
    w = np.r_[BEFORE, BEFORE + 0.5]
    K = 4 * (X * (BEFORE**2 + (BEFORE + 0.5) ** 2)) @ X.T
    K0 = 8 * alpha**2 * X @ X.T
    assert float(seen(w)) == pytest.approx(np.linalg.norm(K - K0) / np.linalg.norm(K0), rel=1e-12)


def test_the_predictor_is_a_hyperbolic_sine_of_the_residuals():
    """(9.124): theta(t) = 2 alpha^2 sinh(-4 X^T int r), with weights and integral from another integrator."""
    alpha, t = 0.4, 0.8
    Xt = np.hstack([X, -X])

    def together(_, z):
        w = z[:12]
        r = Xt @ (w * w) - Y
        return np.r_[-2 * (Xt.T @ r) * w, r]

    start = np.r_[np.full(12, alpha), np.zeros(4)]
    end = solve_ivp(together, (0, t), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    theta = end[:6] ** 2 - end[6:12] ** 2
    assert np.allclose(theta, 2 * alpha**2 * np.sinh(-4 * X.T @ end[12:]), atol=1e-10)
    p = fd.problems.DiagonalNetwork(X, Y)
    w0 = p.init(alpha)
    dual = fd.solve(fd.DualFlow(p, w0), w0, t=[t], solver=fd.solvers.Scipy("DOP853", rtol=1e-11))
    assert np.allclose(dual.nu[0], end[12:], atol=1e-8) and np.allclose(dual.theta[0], theta, atol=1e-8)


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_optimality_conditions_of_the_regulariser(alpha):
    """(9.129): grad Q = X^T v and X theta = y at the optimum and nowhere else; (9.138): grad Q is an arcsinh."""
    gradient = theory.Q_alpha_gradient(BEFORE, alpha)
    numeric = differences(lambda th: theory.Q_alpha(th, alpha), BEFORE)
    assert np.allclose(gradient, numeric, atol=1e-8)
    assert np.allclose(gradient, np.arcsinh(BEFORE / (2 * alpha**2)), atol=1e-14)
    v = np.array([0.3, -0.2, 0.1, 0.4])
    theta = 2 * alpha**2 * np.sinh(X.T @ v)  # stationary by construction, for the targets X theta
    assert max(theory.kkt_residual(X, X @ theta, theta, alpha)) < 1e-12
    assert np.allclose(theory.q_alpha_minimizer(X, X @ theta, alpha).theta, theta, atol=1e-8)
    null = np.linalg.svd(X)[2][4:]
    moved = theory.kkt_residual(X, X @ theta, theta + 0.1 * null[0], alpha)
    assert moved.feasibility < 1e-12 and moved.stationarity > 1e-3
    assert theory.kkt_residual(X, X @ theta + 0.1, theta, alpha).feasibility == pytest.approx(0.2, rel=1e-9)


@pytest.fixture(scope="module")
def classes():
    """Separable data in the plane, with the largest margin over a fine grid of directions."""
    Z = np.random.default_rng(7).standard_normal((12, 2)) * [1.0, 0.4] + [2.0, 0.5]
    y = np.where(np.arange(12) % 2, -1.0, 1.0)
    angles = np.linspace(-np.pi, np.pi, 1_000_001)
    values = (Z @ np.stack([np.cos(angles), np.sin(angles)])).min(axis=0)
    return y[:, None] * Z, y, values.max()


def test_normalised_margins(classes):
    """(9.140), invariant to the scale of w, and its maximum (9.141) over all directions."""
    A, y, brute = classes
    p = fd.problems.LinearClassifier(A, y)
    w = np.array([0.7, 0.2])
    hand = min(yi * (w @ x) for x, yi in zip(A, y, strict=True)) / np.sqrt(w @ w)
    assert float(p.margin(w)) == pytest.approx(hand, rel=1e-14)
    assert float(p.margin(100 * w)) == pytest.approx(hand, rel=1e-14)
    best = theory.max_margin(A, y)
    assert 0 <= best.margin - brute + 1e-12 < 1e-5 and float(p.margin(best.direction)) == pytest.approx(best.margin)


def test_smooth_margin_and_the_inequality_of_its_growth(classes):
    """(9.156), below the margin; (9.174) at every saved time, with gbar ||w(T) - w(0)|| for a start off the origin."""
    A, y, brute = classes
    p = fd.problems.LinearClassifier(A, y)
    for w0 in ([0.0, 0.0], [-0.3, 0.8]):
        run = fd.solve(fd.GradientFlow(p), w0, t=np.geomspace(0.01, 1e3, 30), observe=observables.margins(p))
        w = run.w.values
        log_loss = np.log(np.exp(-y * (w @ A.T)).sum(axis=1))
        norm = np.linalg.norm(w, axis=1)
        assert np.allclose(run.smooth_margin, -log_loss / norm, rtol=1e-12)
        assert (run.smooth_margin <= run.margin + 1e-12).all()
        start = np.log(np.exp(-y * (A @ w0)).sum())
        assert (-log_loss >= -start + brute * np.linalg.norm(w - w0, axis=1) - 1e-9).all()
    from_origin = theory.margin_bound(norm, 12)
    assert np.allclose(from_origin, np.log(12) / norm)
