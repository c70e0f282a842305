"""Numbers and borders of the theorems: exact arithmetic, a certificate of one's own, or the definition itself."""

import itertools
import math
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import scipy
from refusal import assert_refused

import flowdyn as fd
from flowdyn import theory
from flowdyn.theory import isometry
from flowdyn.theory.implicit_bias import q

A, B = np.array([0.5, 1.3, 0.8]), np.array([1.1, 0.7, 0.8])
GIVES_UP = SimpleNamespace(status=1, message="iteration limit reached", x=np.zeros(9))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 30, 53, 2000])
def test_bound_of_the_margin_from_the_loss_at_the_origin(n):
    """exp(L) - 1 = 2^n - 1 for the logistic loss L = n log 2 there, counted in whole numbers; L = n exponential."""
    found = theory.margin_bound([1.0, 4.0], n, "logistic")
    assert np.allclose(found, [math.log(2**n - 1), math.log(2**n - 1) / 4], rtol=1e-14, atol=1e-15)
    assert np.allclose(theory.margin_bound(2.0, n), math.log(n) / 2, rtol=1e-15)


@pytest.mark.parametrize(("n", "d", "seed"), [(30, 10, 0), (8, 20, 1), (12, 2, 2), (3, 1, 3)])
def test_max_margin_is_proved_by_its_own_weights(n, d, seed):
    """w.z_i >= gbar, and ||Z^T mu|| = gbar with mu >= 0, sum mu = 1: each side bounds the other."""
    g = np.random.default_rng(seed)
    Z = g.standard_normal((n, d)) + 0.2
    Z *= np.sign(Z @ np.ones(d))[:, None]
    y = np.where(np.arange(n) % 2, -1.0, 1.0)
    for X in (y[:, None] * Z, y[:, None] * np.insert(Z, 1, 0.0, axis=1)):  # a feature that is always 0 too
        best = theory.max_margin(X, y)
        rows = y[:, None] * X
        assert np.linalg.norm(best.direction) == pytest.approx(1.0, rel=1e-12)
        assert (rows @ best.direction).min() == pytest.approx(best.margin, rel=1e-12)
        assert (best.dual >= 0).all() and best.dual.sum() == pytest.approx(1.0, rel=1e-12)
        assert np.linalg.norm(rows.T @ best.dual) == pytest.approx(best.margin, rel=1e-9) and abs(best.gap) < 1e-9
        assert set(best.support) == set(np.flatnonzero(best.dual > 1e-9 * best.dual.max()))


def test_what_has_no_maximum_margin():
    for X, y in (([[1.0], [2.0]], [1.0]), ([[1.0], [2.0]], [1.0, 0.0]), ([[1.0], [2.0]], [1.0, 2.0])):
        assert_refused(lambda X=X, y=y: theory.max_margin(X, y), "`y` must hold one class -1 or")
    for X in ([[1.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [-1.0, -2.0]], [[1.0, 0.0], [-1.0, 0.0]]):
        assert_refused(lambda X=X: theory.max_margin(X, [1, 1]), "must be linearly separable")
    assert theory.max_margin([[0.3]], [-1]).direction[0] == -1.0


def test_a_linear_programme_that_fails_says_so(monkeypatch):
    monkeypatch.setattr(scipy.optimize, "linprog", lambda *_, **__: GIVES_UP)
    with pytest.raises(fd.RunError, match="separability failed: iteration limit reached"):
        theory.max_margin([[1.0]], [1])
    with pytest.raises(fd.RunError, match="basis pursuit failed: iteration limit reached"):
        theory.basis_pursuit([[1.0, 2.0]], [1.0])
    with pytest.raises(fd.RunError, match="recovery exponent failed"):
        theory.recovery_exponent([[1.0, 0.5]], [0])


def test_the_window_of_the_lemmas_at_its_hypotheses():
    """alpha^2 <= delta/2, 8 alpha^2 (d - 1) <= 1, t <= log 2/(8 delta): from both sides of each."""
    delta, near = 0.02, 1e-12
    end = math.log(2) / 0.16
    assert theory.lemma_window(delta, 0.1 * (1 - near), 2) == pytest.approx(end, rel=1e-14)
    assert (
        theory.lemma_window(delta, 0.1 * (1 + near), 2) == 0.0
        and theory.lemma_window(delta, 0.1 * (1 + near), 1) == 0.0
    )
    assert theory.lemma_window(0.5, 0.25, 3) > 0 and theory.lemma_window(0.125, 0.25, 1) > 0  # equality, in binary
    assert theory.lemma_window(0.02, 0.05 * (1 - near), 51) == pytest.approx(end, rel=1e-14)
    assert theory.lemma_window(0.02, 0.05 * (1 + near), 51) == 0.0
    assert theory.lemma_window(0.0, 0.1, 2) == 0.0
    bounds = theory.recovery_bounds(0.25, 0.25, 3, [0.0, math.log(2) / 2, 0.35], [0.5, 2.0, 0.0], [0.3] * 3, [0.5] * 3)
    assert bounds.applies.tolist() == [True, True, False] and bounds.window == math.log(2) / 2
    assert np.allclose(bounds.u, [0.25 * 0.75, 0.25 * 3, 0.25]) and np.allclose(bounds.v, 0.09 + 0.25 * 0.25)
    # the d - 1 entries of the noise are at most 2 alpha, so that ||zeta||^2 <= 4 alpha^2 (d - 1) <= 1/2
    assert bounds.noise_max[0] == 2 * 0.25 and bounds.noise_norm[0] ** 2 == pytest.approx(4 * 0.25**2 * 2, rel=1e-14)
    assert bounds.drift[0] == 8 * 0.25
    closed = theory.recovery_bounds(0.0, 0.25, 3, [0.0], [1.0], [0.0], [0.0])
    assert closed.window == 0 and not closed.applies.any() and np.isnan(closed.drift).all()
    for bad in ((-0.1, 0.1, 2), (0.1, 0.0, 2), (0.1, 0.1, 0)):
        with pytest.raises(fd.ArgumentError):
            theory.lemma_window(*bad)


def isometry_of(M, size):
    """delta_r by its definition, over every support of this size."""
    return max(np.linalg.norm(M[np.ix_(T, T)], 2) for T in itertools.combinations(range(len(M)), size))


def test_distortions_are_bounded_by_the_constant_of_the_joint_support():
    """delta of |S_v u S_w| and of r + 1 entries, neither fewer nor more: they differ on these data."""
    X = np.random.default_rng(5).standard_normal((9, 6))
    M = X.T @ X / 9 - np.eye(6)
    delta = {size: isometry_of(M, size) for size in range(1, 7)}
    assert (np.diff(list(delta.values())) > 1e-3).all()
    v, w = np.array([1.0, 0, -2.0, 0, 0, 0]), np.array([0, 0, 0.5, 0, 3.0, 0])
    found = theory.inner_product_distortion(X, v, w)
    assert found.value == pytest.approx(abs(v @ M @ w), rel=1e-12)
    assert found.bound == pytest.approx(delta[3] * np.sqrt(5) * np.sqrt(9.25), rel=1e-12)
    found = theory.sup_distortion(X, v)
    assert found.value == pytest.approx(np.abs(M @ v).max(), rel=1e-12)
    assert found.bound == pytest.approx(delta[3] * np.sqrt(5), rel=1e-12) and found.is_exact
    full = theory.sup_distortion(X, np.ones(6))
    assert full.bound == pytest.approx(delta[6] * np.sqrt(6)) and theory.sup_distortion(X, np.zeros(6)).bound == 0.0
    assert theory.inner_product_distortion(X, np.zeros(6), np.zeros(6)).bound == 0.0


def test_isometry_of_every_size_and_where_it_is_sampled(monkeypatch):
    X = np.random.default_rng(5).standard_normal((9, 6))
    M = X.T @ X / 9 - np.eye(6)
    for r in range(1, 7):
        found = theory.rip_constant(X, r)
        T = found.support
        assert found.delta == pytest.approx(isometry_of(M, r), rel=1e-12) and found.is_exact and len(set(T)) == r
        assert np.linalg.norm(M[np.ix_(T, T)], 2) == pytest.approx(found.delta, rel=1e-12)
    assert theory.rip_constant(np.sqrt(2) * np.eye(2), 1).delta == pytest.approx(0.0, abs=1e-15)
    monkeypatch.setattr(isometry, "EXACT_LIMIT", 20)
    assert theory.rip_constant(X, 3).is_exact and theory.rip_constant(X, 2).is_exact
    monkeypatch.setattr(isometry, "EXACT_LIMIT", 19)
    some, many = theory.rip_constant(X, 3, samples=1, seed=3), theory.rip_constant(X, 3, samples=5000)
    assert not some.is_exact and not many.is_exact and many.delta == pytest.approx(isometry_of(M, 3), rel=1e-12)
    assert np.linalg.norm(M[np.ix_(some.support, some.support)], 2) == pytest.approx(some.delta, rel=1e-12)
    assert some.delta < many.delta and tuple(sorted(set(some.support))) == some.support
    for bad in ((7,), (0,)):
        with pytest.raises(fd.ArgumentError, match="`r` must be at"):
            theory.rip_constant(X, *bad)
    with pytest.raises(fd.ArgumentError, match="`samples` must be at least 1"):
        theory.rip_constant(X, 3, samples=0)


def test_label_noise_penalty_at_its_borders():
    H = np.diag([4.0, -1.0])
    assert theory.label_noise_penalty(H, 0.6, 2.0, 3) == pytest.approx(0.6 * 4 / (4 * 3) * 3)
    assert theory.label_noise_penalty(H, 0.6, 0.0) == 0.0
    truth = -0.5 * 4 / 3 * (math.log(1 - 0.4 * 4 / 2) + math.log(1 + 0.4 / 2))
    assert theory.label_noise_penalty(H, 0.4, 2.0, 3, form="logdet") == pytest.approx(truth, rel=1e-12)
    assert theory.label_noise_penalty([[4.0, 1e-10], [0.0, 1.0]], 0.1, 1.0) == pytest.approx(0.125)
    for eta in (0.5, 0.6):
        with pytest.raises(fd.ArgumentError, match=r"must be below 2/lambda_max = 0\.5"):
            theory.label_noise_penalty(H, eta, 1.0, form="logdet")
    with pytest.raises(fd.ArgumentError, match="for the log-det form"):  # the largest of three
        theory.label_noise_penalty(np.diag([1.0, 4.0, 2.0]), 0.5, 1.0, form="logdet")
    assert theory.label_noise_penalty(np.diag([3.0, 1.0, 2.0]), 0.5, 1.0, form="logdet") > 0
    for bad in ([[1.0, 2.0]], [[4.0, 1e-8], [0.0, 1.0]], [[1e-3, 1e-10], [0.0, 1e-3]]):
        with pytest.raises(fd.ArgumentError, match="`H` must be a symmetric matrix"):
            theory.label_noise_penalty(bad, 0.1, 1.0)
    for given in ({"eta": 0.0}, {"sigma": -1.0}, {"batch_size": 0}, {"scale": 0.0}, {"form": "det"}):
        with pytest.raises(fd.ArgumentError, match=f"`{next(iter(given))}` must"):
            theory.label_noise_penalty(H, **{"eta": 0.1, "sigma": 1.0} | given)


@pytest.mark.parametrize("size", [1e-60, 1e-20, 1.0, 1e20])
def test_minimum_norm_in_other_units(size):
    """Rank 2 of rows (1, 1, 0), (0, 1, 1) and their sum; y off their range by (1, 1, -1) is least squares' residual."""
    X = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 2.0, 1.0]])
    theta = np.array([1.0, 3.0, 2.0])  # = 1 (1, 1, 0) + 2 (0, 1, 1)
    found = theory.minimum_norm(size * X, size * (X @ theta + np.array([1.0, 1.0, -1.0])))
    assert np.allclose(found.theta, theta, rtol=1e-12) and found.rank == 2 and found.off_span < 1e-14
    assert found.residual == pytest.approx(size * np.sqrt(3), rel=1e-12)
    nothing = theory.minimum_norm(np.zeros((2, 3)), [1.0, 2.0])
    assert nothing.rank == 0 and (nothing.theta == 0).all() and nothing.residual == pytest.approx(np.sqrt(5))


def test_the_dual_of_basis_pursuit_is_the_smallest_off_the_support():
    """n = 2, one column in the support: v on a line, looked through in steps of 1e-5."""
    X, y = np.array([[1.0, 0.2, -0.4, 0.1], [0.3, 0.5, 0.6, -0.3]]), np.array([2.0, 0.6])
    found = theory.basis_pursuit(X, y)
    assert np.allclose(found.theta, [2.0, 0, 0, 0], atol=1e-12) and found.value == pytest.approx(2.0)
    along = np.linspace(-3, 3, 600_001)[:, None] * np.array([-0.3, 1.0])
    sizes = np.abs((X[:, 0] / (X[:, 0] @ X[:, 0]) + along) @ X[:, 1:]).max(axis=1)
    assert found.margin == pytest.approx(sizes.min(), abs=2e-5) and found.is_unique and found.gap < 1e-12
    assert X[:, 0] @ found.dual == pytest.approx(1.0) and np.abs(X[:, 1:].T @ found.dual).max() == pytest.approx(
        found.margin
    )
    one_sided = (X[:, 0] / (X[:, 0] @ X[:, 0]) + along) @ X[:, 1:]
    assert theory.recovery_exponent(X, [0]) == pytest.approx(one_sided.max(axis=1).min(), abs=2e-5)
    assert theory.recovery_exponent(1e-30 * X, [0, 0]) == pytest.approx(theory.recovery_exponent(X, [0]), rel=1e-9)


def test_basis_pursuit_where_every_column_or_none_is_in_the_support():
    one = theory.basis_pursuit([[2.0]], [-4.0])
    assert (one.theta[0], one.dual[0], one.margin, one.gap, one.is_unique) == (-2.0, -0.5, 0.0, 0.0, True)
    one = theory.basis_pursuit([[2.0]], [4.0], nonnegative=True)
    assert (one.theta[0], one.dual[0], one.margin, one.is_unique) == (2.0, 0.5, 0.0, True)
    none = theory.basis_pursuit([[1.0, 2.0]], [0.0])
    assert (none.theta == 0).all() and none.value == none.gap == none.margin == 0.0 and none.is_unique
    none = theory.basis_pursuit([[1.0, 2.0]], [0.0], nonnegative=True)
    assert (none.theta == 0).all() and none.margin == 0 and none.is_unique and (none.dual <= 0).all()
    assert theory.recovery_exponent([[1.0, 0.0], [0.0, 1.0]], [0]) == -np.inf
    assert theory.recovery_exponent([[1.0, -0.7]], [0]) == pytest.approx(-0.7)
    for support, words in (
        ([], "a proper part"),
        ([0, 1], "a proper part"),
        ([2], "positions 0 .. 1"),
        ([-1], "0 .. 1"),
    ):
        with pytest.raises(fd.ArgumentError, match=words):
            theory.recovery_exponent([[1.0, 0.5]], support)
    # (1e-3, 1e7): an entry below 1e-9 of the largest counts as 0, and then the equations are not met
    with pytest.raises(fd.RunError, match="lost digits; give the columns of `X` like sizes"):
        theory.basis_pursuit([[1.0, 0.0], [0.0, 1e-7]], [1e-3, 1.0])
    assert np.allclose(theory.basis_pursuit([[1.0, 0.0], [0.0, 1e-7]], [0.1, 1.0]).theta, [0.1, 1e7], rtol=1e-12)
    for bad in ([1.0, 2.0], [[1.0]]):
        with pytest.raises(fd.ArgumentError, match="`y` must"):
            theory.basis_pursuit([[1.0, 0.5]], bad)
    for size in (1e75, -1e75):
        assert theory.minimum_norm([[1.0]], [size]).theta[0] == size
    with pytest.raises(fd.ArgumentError, match=r"`y` must be at most 1e\+75"):
        theory.minimum_norm([[1.0]], [-1.1e75])


def test_q_in_many_digits():
    with mpmath.workdps(60):
        for z in (1e-12, 1e-3, 0.7, -2.5, 40.0, 1e8):
            truth = 2 - mpmath.sqrt(4 + mpmath.mpf(z) ** 2) + z * mpmath.asinh(mpmath.mpf(z) / 2)
            assert float(q(z)) == pytest.approx(float(truth), rel=1e-14)


@pytest.mark.parametrize("alpha", [0.7, (A, B), (A, -B), ([0.5, 1.3, 0.8], [0.0, 0.7, 0.0])], ids=repr)
def test_the_gradient_is_the_slope_of_q_and_zero_where_the_flow_starts(alpha):
    """Q has its minimum where the weights start, at a^2 - b^2; by differences of Q elsewhere."""
    a, b = (np.abs(part) for part in alpha) if isinstance(alpha, tuple) else (np.full(3, alpha),) * 2
    assert np.allclose(theory.Q_alpha_gradient(a**2 - b**2, alpha), 0.0, atol=1e-15)
    theta, h = a**2 - b**2 + np.array([0.3, -0.2, 0.9]), 1e-5
    slope = [(theory.Q_alpha(theta + h * e, alpha) - theory.Q_alpha(theta - h * e, alpha)) / (2 * h) for e in np.eye(3)]
    assert np.allclose(theory.Q_alpha_gradient(theta, alpha), slope, rtol=1e-8, atol=1e-9)
    if (b > 0).all():  # at the origin Q is 0 for every start
        assert theory.Q_alpha(np.zeros(3), alpha) == 0.0


def test_q_where_a_half_is_zero():
    """theta log(theta/a^2) - theta on its side, inf on the other; 0 alone where both halves are."""
    half = ([2.0, 0.0, 0.0], [0.0, 0.5, 0.0])
    truth = 3 * math.log(3 / 4) - 3 + 1.5 * math.log(1.5 / 0.25) - 1.5
    assert theory.Q_alpha([3.0, -1.5, 0.0], half) == pytest.approx(truth, rel=1e-14)
    assert theory.Q_alpha([0.0, 0.0, 0.0], half) == 0.0
    for off in ([-3.0, -1.5, 0.0], [3.0, 1.5, 0.0], [3.0, -1.5, 0.1], [3.0, -1.5, -0.1]):
        assert theory.Q_alpha(off, half) == np.inf
    slope = theory.Q_alpha_gradient([3.0, -1.5, 0.0], half)
    assert np.allclose(slope[:2], [math.log(3 / 4), -math.log(1.5 / 0.25)])


def test_how_far_a_state_is_from_optimal():
    """In two dimensions: grad Q = (u, v) off the row (3, 4)/5 by |4 u - 3 v|/5."""
    X, theta, alpha = np.array([[3.0, 4.0]]), np.array([0.4, -0.2]), 0.7
    u, v = np.arcsinh(theta / (2 * alpha**2))
    found = theory.kkt_residual(X, [1.5], theta, alpha)
    assert found.feasibility == pytest.approx(abs(1.2 - 0.8 - 1.5))
    assert found.stationarity == pytest.approx(abs(4 * u - 3 * v) / 5 / np.hypot(u, v))
    # one weight of size below 1 is enough to move; a coordinate without any cannot, and does not count
    half = ([0.5, 0.0, 0.4, 0.0], [0.0, 0.0, 0.9, 0.6])
    best = theory.q_alpha_minimizer([[3.0, 4.0, 1.0, -2.0]], [1.5], half)
    assert max(theory.kkt_residual([[3.0, 4.0, 1.0, -2.0]], [1.5], best.theta, half)) < 1e-12
    moved = best.theta + np.array([0.0, 0.1, 0.0, 0.0])
    assert theory.kkt_residual([[3.0, 4.0, 1.0, -2.0]], [1.5], moved, half).stationarity == np.inf


@pytest.mark.parametrize("alpha", [1e-3, 0.5, 20.0, (A, B), ([0.5, 1.3, 0.8], [0.0, 0.7, 0.6])], ids=repr)
def test_the_minimiser_comes_with_its_multiplier(alpha):
    X, y = np.array([[1.0, 0.4, -0.3], [0.2, -1.0, 0.5]]), np.array([0.9, -0.6])
    best = theory.q_alpha_minimizer(X, y, alpha)
    assert np.allclose(theory.Q_alpha_gradient(best.theta, alpha), X.T @ best.dual, rtol=1e-9, atol=1e-10)
    assert best.residual == np.linalg.norm(X @ best.theta - y) < 1e-13 and 1 <= best.iterations < 60


def test_the_minimiser_is_found_to_rounding_wherever_rounding_ends_the_search():
    """At the last digits the residual stays as it is, or comes back: that is an end, and no failure."""
    g = np.random.default_rng(0)
    for _ in range(80):
        n = int(g.integers(1, 4))
        X = g.standard_normal((n, n + int(g.integers(0, 6))))
        y, alpha = X @ g.standard_normal(X.shape[1]), 10.0 ** g.uniform(-6, 3)
        found = theory.q_alpha_minimizer(X, y, alpha)
        start = np.abs(X).sum() * alpha**2  # whose digits cancel where alpha is large
        assert found.residual < 1e-13 * (np.abs(X).sum() * np.abs(found.theta).max() + start) and found.iterations < 100


def test_scales_that_are_refused():
    for alpha, words in (
        (-1.0, "`alpha` must be positive"),
        (1e76, "`alpha` must be between"),
        (([1e76, 1.0], [1.0, 1.0]), "`alpha` must be between"),
        (([1e-76, 1.0], [1.0, 1.0]), "`alpha` must be between"),
        (([1.0, 1.0], [0.0, 1e-76]), "`alpha` must be between"),
        (([1.0, 0.0], [0.0, 1e76]), "`alpha` must be between"),
        (([1.0], [1.0]), "`alpha` must have shape"),
    ):
        assert_refused(lambda alpha=alpha: theory.Q_alpha([1.0, 1.0], alpha), words)
    assert np.isfinite(theory.Q_alpha([1e-3, 1.0], ([1e-75, 1e75], [1e75, 1e-75])))
    assert_refused(
        lambda: theory.entropy_minimizer([[1.0, 1.0]], [1.0], [[1.0, 1.0]]), "must be one number or have shape"
    )
    assert_refused(lambda: theory.entropy_minimizer([[1.0, 1.0]], [1.0], [1.0, 0.0]), "`alpha` must not be zero")


@pytest.mark.parametrize("seed", range(4))
def test_the_margin_of_a_nonnegative_interpolant_is_that_of_its_certificate(seed):
    """Also where certificates have margins as negative as one likes: one of them is given."""
    g = np.random.default_rng(seed)
    X = g.standard_normal((3, 6)) if seed % 2 else np.abs(g.standard_normal((1, 4)))
    truth = np.zeros(X.shape[1])
    truth[: 1 + seed % 2] = 1.0
    found = theory.basis_pursuit(X, X @ truth, nonnegative=True)
    support = found.theta > 0
    np.testing.assert_allclose(X[:, support].T @ found.dual, 1.0, atol=1e-9)
    assert found.margin == pytest.approx((X[:, ~support].T @ found.dual).max(), abs=1e-9)
    # v = (1, t) is a certificate of the first column for all t < 1
    free = theory.basis_pursuit([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], nonnegative=True)
    assert np.isfinite(free.margin) and free.margin == free.dual[1] and free.is_unique
