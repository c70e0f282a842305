"""Predictions of the theorems against closed forms, other solvers, and the dynamics themselves."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

import flowdyn as fd
from flowdyn import theory
from flowdyn.theory.implicit_bias import q


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    return rng.standard_normal((20, 60)), rng.standard_normal(20)


def test_values_of_q():
    assert np.allclose(q([1.0, 2.0, 10.0]), [0.2451438476, 0.9343200493, 14.9263443855], rtol=1e-10)
    z = np.array([1e-9, 1e-5])
    assert np.allclose(q(z), z**2 / 4, rtol=1e-9) and q(0.0) == 0 and np.isfinite(q(1e300))


@pytest.mark.parametrize("rank", [12, 20])
def test_minimum_norm(data, rank):
    X, y = data[0].copy(), data[1]
    X[rank:] = X[: 20 - rank]
    found = theory.minimum_norm(X, y)
    assert np.allclose(found.theta, np.linalg.pinv(X) @ y, atol=1e-12) and found.rank == rank
    assert found.off_span < 1e-12


def test_basis_pursuit_finds_the_sparse_truth_and_proves_it(data):
    X, _ = data
    truth = np.zeros(60)
    truth[[3, 17, 40]] = 1.0, -2.0, 0.5
    found = theory.basis_pursuit(X, X @ truth)
    assert np.allclose(found.theta, truth, atol=1e-12) and found.is_unique and found.gap < 1e-9
    assert np.abs(X.T @ found.dual).max() <= 1 + 1e-9 and found.margin < 1
    positive = theory.basis_pursuit(X, X @ np.abs(truth), nonnegative=True)
    assert np.allclose(positive.theta, np.abs(truth), atol=1e-12) and positive.is_unique
    assert positive.margin == pytest.approx(theory.recovery_exponent(X, [3, 17, 40]), abs=1e-9)


def test_basis_pursuit_knows_when_it_is_not_unique():
    found = theory.basis_pursuit([[1.0, 1.0]], [2.0])  # a whole edge of solutions
    assert found.value == pytest.approx(2.0) and not found.is_unique


@pytest.mark.parametrize("alpha", [1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e3])
def test_minimizer_of_q_at_every_scale(data, alpha):
    X, y = data
    best = theory.q_alpha_minimizer(X, y, alpha)
    kkt = theory.kkt_residual(X, y, best.theta, alpha)
    assert kkt.feasibility < 1e-9 and kkt.stationarity < (1e-9 if alpha < 10 else 1e-6)
    # no interpolant near it has a smaller Q: a convex function, checked along random feasible directions
    rng = np.random.default_rng(0)
    null = np.linalg.svd(X)[2][20:].T
    value = theory.Q_alpha(best.theta, alpha)
    for _ in range(5):
        direction = null @ rng.standard_normal(40)
        assert theory.Q_alpha(best.theta + 1e-2 * direction, alpha) > value


def test_minimizer_of_q_against_another_optimiser(data):
    X, y = data
    a, b = np.linspace(0.2, 1.0, 60), np.linspace(0.8, 0.3, 60)
    best = theory.q_alpha_minimizer(X, y, (a, b))
    base, null = np.linalg.pinv(X) @ y, np.linalg.svd(X)[2][20:].T
    other = minimize(
        lambda z: theory.Q_alpha(base + null @ z, (a, b)),
        np.zeros(40),
        jac=lambda z: null.T @ theory.Q_alpha_gradient(base + null @ z, (a, b)),
        method="BFGS",
        options={"gtol": 1e-10},
    )
    assert np.allclose(best.theta, base + null @ other.x, atol=1e-6)
    assert np.allclose(theory.q_alpha_minimizer(X, y, (-a, b)).theta, best.theta, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 3.0])
def test_the_flow_ends_at_the_minimizer(data, alpha):
    """Theorem 9.18, Woodworth et al. (2020), Theorem 1: an implicit flow run to a tiny residual."""
    X, y = data
    p = fd.problems.DiagonalNetwork(X, y)
    run = fd.solve(
        fd.GradientFlow(p), p.init(alpha), t=np.inf, stop={"loss": ("<", 1e-20)}, solver=fd.solvers.Scipy(rtol=1e-11)
    )
    assert np.abs(run.theta[-1] - theory.q_alpha_minimizer(X, y, alpha).theta).max() < 1e-8


def test_both_limits_of_the_scale(data):
    X, y = data
    flat = theory.minimum_norm(X, y).theta
    P = np.linalg.pinv(X) @ X
    for alpha in (30.0, 60.0):  # theta - X^+ y -> (I - P)(X^+ y)^3 / (24 alpha^4)
        gap = theory.q_alpha_minimizer(X, y, alpha).theta - flat
        assert np.allclose(gap * 24 * alpha**4, (flat - 0) ** 3 - P @ flat**3, atol=2e-2 * np.abs(flat**3).max())
    alphas = np.array([2.0, 4.0, 8.0, 16.0])
    gaps = [np.linalg.norm(theory.q_alpha_minimizer(X, y, a).theta - flat) for a in alphas]
    assert np.log(gaps[-1] / gaps[-2]) / np.log(2) == pytest.approx(-4, abs=0.05)
    least = theory.basis_pursuit(X, y).value
    excess = [np.abs(theory.q_alpha_minimizer(X, y, a).theta).sum() - least for a in (1e-1, 1e-2, 1e-4, 1e-6)]
    assert (np.diff(excess) < 0).all() and excess[-1] < 1e-2 * least and excess[-1] > -1e-9


def test_max_margin_against_enumeration():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((9, 2)) + np.array([2.0, 1.0])
    y = np.ones(9)
    X[5:], y[5:] = -X[5:], -1.0
    best = theory.max_margin(X, y)
    Z = y[:, None] * X
    angles = np.linspace(0, 2 * np.pi, 400_001)
    brute = (np.stack([np.cos(angles), np.sin(angles)], axis=1) @ Z.T).min(axis=1).max()
    assert -1e-12 < best.margin - brute < 2e-5 and abs(best.gap) < 1e-10  # the grid of angles is coarse
    assert np.allclose(Z.T @ best.dual, best.margin * best.direction, atol=1e-9)
    assert best.dual.min() >= 0 and best.dual.sum() == pytest.approx(1)
    assert np.allclose(Z[best.support] @ best.direction, best.margin, atol=1e-9)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
def test_max_margin_of_rows_and_columns_of_unlike_sizes(size):
    best = theory.max_margin([[size, 0.0], [0.0, 1 / size]], [1, 1])  # w* ~ (1/size, size)
    assert best.margin == pytest.approx(1 / np.hypot(size, 1 / size), rel=1e-12)
    flat = theory.max_margin([[1.0, 1 / size], [-1.0, 1 / size]], [1, 1])
    assert flat.margin == pytest.approx(1 / size, rel=1e-9) and np.allclose(flat.direction, [0.0, 1.0], atol=1e-15)


def test_isometry_by_enumeration_and_bound():
    """(9.16), support by support."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((12, 7))
    M = X.T @ X / 12 - np.eye(7)
    truth = max(np.linalg.norm(M[np.ix_(T, T)], 2) for T in itertools.combinations(range(7), 3))
    found = theory.rip_constant(X, 3)
    assert found.delta == pytest.approx(truth, rel=1e-12) and found.is_exact and len(found.support) == 3
    wide = theory.rip_constant(rng.standard_normal((40, 300)), 3, samples=500)
    assert not wide.is_exact and wide.delta > 0
    # Lemma 9.11 in its true form, with delta_{2r}
    delta = theory.rip_constant(X, 2).delta
    for i, j in itertools.combinations(range(7), 2):
        assert abs(M[i, j]) <= delta + 1e-12


def test_rate_of_recovery_is_the_exponent():
    """Section 9.2: the squared error of the flow's limit falls like alpha^{4 (1 - m)}."""
    rng = np.random.default_rng(11)
    X = rng.standard_normal((16, 40))
    truth = np.zeros(40)
    truth[:3] = 1.0
    m = theory.recovery_exponent(X, [0, 1, 2])
    alphas = np.array([1e-3, 1e-4, 1e-5, 1e-6])
    # nonnegative model theta = alpha^2 exp(X^T v): the limit solves X theta = y; Newton on the dual, by hand
    errors = []
    for alpha in alphas:
        v = np.zeros(16)
        for _ in range(400):
            theta = alpha**2 * np.exp(X.T @ v)
            step = np.linalg.lstsq(np.sqrt(theta)[:, None] * X.T, (truth - theta) / np.sqrt(theta), rcond=None)[0]
            v = v + step * min(1.0, 1.0 / np.abs(X.T @ step).max())
        errors.append(np.sum((alpha**2 * np.exp(X.T @ v) - truth) ** 2))
    slope = np.polyfit(np.log(alphas), np.log(errors), 1)[0]
    assert m > 0 and slope == pytest.approx(4 * (1 - m), abs=0.1)


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0, 30.0])
def test_entropy_minimizer_is_optimal(alpha):
    """log(theta / alpha^2) in the row span and X theta = y are necessary and sufficient: the entropy is convex."""
    g = np.random.default_rng(0)
    X = g.standard_normal((6, 15))
    y = X @ g.uniform(0.5, 2.0, 15)
    start = alpha * np.linspace(0.5, -1.5, 15)
    for a in (alpha, start):
        found = theory.entropy_minimizer(X, y, a)
        slope = np.log(found.theta / np.square(a))
        assert (found.theta > 0).all() and np.abs(X @ found.theta - y).max() < 1e-9 * max(1, np.abs(y).max())
        assert np.abs(slope - np.linalg.pinv(X) @ X @ slope).max() < 1e-8 * max(1.0, np.abs(slope).max())


def test_starts_with_a_zero_half():
    """b_i = 0: theta_i > 0 with gradient log(theta/a^2); a_i = 0: the mirror image; both: theta_i = 0."""
    g = np.random.default_rng(1)
    X = g.standard_normal((4, 9))
    a, b = g.uniform(0.5, 2.0, (2, 9))
    b[:3], a[3:5], a[5], b[5] = 0.0, 0.0, 0.0, 0.0
    target = np.r_[1.0, 0.5, 2.0, -1.0, -0.5, 0.0, 0.3, -0.4, 1.0]
    best = theory.q_alpha_minimizer(X, X @ target, (a, b))
    theta = best.theta
    assert (theta[:3] > 0).all() and (theta[3:5] < 0).all() and theta[5] == 0
    assert np.abs(X @ (theta - target)).max() < 1e-9 and max(theory.kkt_residual(X, X @ target, theta, (a, b))) < 1e-7
    value = theory.Q_alpha(theta, (a, b))
    kernel = np.linalg.svd(X[:, np.arange(9) != 5])[2][4:]
    for row in kernel:  # any other interpolant near by is worse
        shift = 1e-3 * np.insert(row, 5, 0.0)
        assert theory.Q_alpha(theta + shift, (a, b)) > value and theory.Q_alpha(theta - shift, (a, b)) > value
    assert theory.Q_alpha(-theta, (a, b)) == np.inf
    slope = theory.Q_alpha_gradient(theta, (a, b))
    assert np.allclose(slope[:3], np.log(theta[:3] / a[:3] ** 2)) and np.isnan(slope[5])


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e12])
def test_basis_pursuit_in_other_units(data, size):
    X, y = data
    first = theory.basis_pursuit(X, y)
    for scaled, factor in ((theory.basis_pursuit(X, size * y), size), (theory.basis_pursuit(size * X, y), 1 / size)):
        assert np.abs(scaled.theta / factor - first.theta).max() < 1e-12 and scaled.is_unique == first.is_unique
        assert scaled.value / factor == pytest.approx(first.value, rel=1e-12) and scaled.gap / factor < 1e-12
    dual = theory.basis_pursuit(size * X, y).dual
    assert np.abs(size * X.T @ dual).max() < 1 + 1e-9


def test_targets_of_zero_from_an_uneven_start():
    best = theory.q_alpha_minimizer([[1.0, 1.0]], [0.0], ([1.0, 1.0], [0.1, 0.1]))  # a^2 e^v = b^2 e^-v
    assert best.dual == pytest.approx([-np.log(10)]) and np.abs(best.theta).max() < 1e-15


def test_minimizer_of_q_where_rows_depend_on_each_other():
    rng = np.random.default_rng(8)
    A, truth = rng.standard_normal((3, 6)), rng.standard_normal(6)
    X = np.vstack([A, A[0] + A[1]])
    best = theory.q_alpha_minimizer(X, X @ truth, 0.1)
    assert np.abs(best.theta - theory.q_alpha_minimizer(A, A @ truth, 0.1).theta).max() < 1e-14
    assert np.abs(theory.Q_alpha_gradient(best.theta, 0.1) - X.T @ best.dual).max() < 1e-13
    tall = rng.standard_normal((8, 3))  # one interpolant alone
    assert np.abs(theory.q_alpha_minimizer(tall, tall @ truth[:3], 0.1).theta - truth[:3]).max() < 1e-13
