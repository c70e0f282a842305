"""Means and covariances of linear systems with noise: against loops, and matrix exponentials of one coordinate."""

import numpy as np
import pytest
from refusal import assert_refused
from scipy.integrate import quad_vec
from scipy.linalg import expm, solve_discrete_lyapunov

import flowdyn as fd
from flowdyn import theory
from flowdyn.theory import linear_moments, moments, moments_work
from flowdyn.theory.moments_work import Size, sde_route, sgd_route
from flowdyn.theory.symmetric_maps import Sum, Triangle, squarings, step_by

A, D = np.array([[0.5, 2.0], [-2.0, 0.1]]), np.array([[1.0, 0.3], [0.3, 0.4]])
X0 = np.array([1.0, -2.0])


def decoupled(d, n=5, seed=0):
    """Samples whose matrices are diagonal: every coordinate is a scalar problem a_i w - b_i of its own."""
    g = np.random.default_rng(seed)
    a, b, extra = g.uniform(0.2, 2.0, (n, d)), g.standard_normal((n, d)), g.uniform(0.1, 1.0, d)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    matrices = np.array([np.diag(row) for row in a - mean_a])
    return theory.LinearNoise(np.diag(mean_a), mean_b, matrices, b - mean_b, np.diag(extra)), a, b, extra


def flow_of_moments(a, b, extra, eta, share, order, x, t):
    """Mean and variance of one coordinate: (1, m, E w^2)' is linear, by the exponential of a 3 x 3 matrix."""
    A1, b1 = a.mean(), b.mean()
    u, v = a - A1, b - b1
    rate, push = (A1, b1) if order == 1 else (A1 + eta / 2 * A1**2, b1 + eta / 2 * A1 * b1)
    noise = eta * share * np.array([np.mean(v**2) + extra, -2 * np.mean(u * v), np.mean(u**2)])
    G = np.array([[0.0, 0, 0], [push, -rate, 0], [0, 2 * push, -2 * rate]])
    G[2] += noise
    _, m, s = expm(G * t) @ np.array([1.0, x, x**2])
    return m, s - m**2


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("d", [3, 27])
def test_the_equation_coordinate_by_coordinate(d, order):
    """Both sides of the size up to which the map is one matrix, at several times of one call."""
    noise, a, b, extra = decoupled(d)
    x, t, eta, share = np.linspace(-1, 1, d), np.array([0.0, 0.3, 1.1]), 0.2, 0.6
    mean, cov = theory.linear_sde_mean_cov(noise, eta, share, order, x, t)
    for i in range(d):
        for row, when in enumerate(t):
            m, var = flow_of_moments(a[:, i], b[:, i], extra[i], eta, share, order, x[i], when)
            assert mean[row, i] == pytest.approx(m, abs=1e-9) and cov[row, i, i] == pytest.approx(var, abs=1e-9)
    assert np.allclose(cov, np.swapaxes(cov, 1, 2), atol=1e-15)


@pytest.mark.parametrize("steps", [[0, 1, 3], [2, 9, 40, 41]])
@pytest.mark.parametrize("d", [1, 3])
def test_the_recursion_step_by_step(d, steps):
    """One matrix for many steps and a loop for few: the scalar recursion of every coordinate."""
    noise, a, b, extra = decoupled(d, seed=1)
    x, eta, share = np.linspace(-1, 1, d + 1)[1:], 0.2, 0.6
    mean, cov = theory.linear_sgd_mean_cov(noise, eta, share, x, steps)
    for i in range(d):
        u, v = a[:, i] - a[:, i].mean(), b[:, i] - b[:, i].mean()
        m, var, truth = x[i], 0.0, {}
        for k in range(steps[-1] + 1):
            truth[k] = m, var
            spread = np.mean((u * m - v) ** 2) + np.mean(u**2) * var + extra[i]
            keep = 1 - eta * a[:, i].mean()
            m, var = keep * m + eta * b[:, i].mean(), keep**2 * var + eta**2 * share * spread
        assert np.allclose(mean[:, i], [truth[k][0] for k in steps], rtol=1e-11)
        assert np.allclose(cov[:, i, i], [truth[k][1] for k in steps], rtol=1e-10, atol=1e-15)


def test_the_map_of_the_noise_has_its_adjoint():
    """<V(M), N> = <M, V*(N)>, with and without samples."""
    g = np.random.default_rng(2)
    noise = decoupled(3)[0]
    for given in (noise, noise._replace(matrices=np.zeros((0, 3, 3)), vectors=np.zeros((0, 3)))):
        maps = linear_moments._Map(given, 0.7)
        M, N = g.standard_normal((2, 4, 4))
        M, N = M + M.T, N + N.T
        assert np.sum(maps.V(M) * N) == pytest.approx(np.sum(M * maps.adjoint_V(N)), rel=1e-12)


NOISE = theory.LinearNoise(np.eye(1), np.zeros(1), np.zeros((0, 1, 1)), np.zeros((0, 1)), np.eye(1))
SGD = {"noise": NOISE, "eta": 0.1, "share": 1.0, "x0": [1.0], "k": [1, 2]}
SDE = {"noise": NOISE, "eta": 0.1, "share": 1.0, "order": 1, "x0": [1.0], "t": [0.0, 1.0]}


@pytest.mark.parametrize("law", ["sgd", "sde"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"eta": -0.1}, "`eta` must be positive"),
        ({"eta": 0.0}, "`eta` must be positive"),
        ({"eta": np.nan}, "`eta` must be finite"),
        ({"share": -0.5}, "`share` must not be negative"),
        ({"share": np.inf}, "`share` must be finite"),
        ({"x0": [1.0, 2.0]}, "`x0` must have shape"),
        ({"k": [2, 1]}, "`k` must be increasing whole step numbers"),
        ({"order": 0}, "`order` must be at least 1"),
        ({"order": 3}, "`order` must be at most 2"),
        ({"order": 1.0}, "`order` must be a whole number"),
        ({"t": [-1.0]}, "`t` must not be negative"),
        ({"t": [1.0, 0.5]}, "`t` must be strictly increasing"),
        ({"t": [1.0, np.nan]}, "`t` must be finite"),
        ({"t": [np.inf]}, "`t` must be finite"),
        ({"t": []}, "`t` must hold at least one time"),
    ],
    ids=str,
)
def test_laws_of_linear_gradients_are_refused_in_words(law, given, words):
    call, arguments = (theory.linear_sgd_mean_cov, SGD) if law == "sgd" else (theory.linear_sde_mean_cov, SDE)
    if set(given) <= set(arguments):
        assert_refused(lambda: call(**arguments | given), words)


def test_a_whole_batch_has_no_noise():
    """share 0: the covariance is 0; share 1, t = 0 and k = 0: the start."""
    for call, arguments in ((theory.linear_sgd_mean_cov, SGD), (theory.linear_sde_mean_cov, SDE)):
        mean, cov = call(**arguments | {"share": 0.0})
        assert np.allclose(cov, 0.0, atol=1e-15) and mean[-1, 0] == pytest.approx(
            0.81 if call is theory.linear_sgd_mean_cov else np.exp(-1)
        )
    mean, cov = theory.linear_sde_mean_cov(**SDE | {"t": 0.0})
    assert mean.tolist() == [[1.0]] and cov.tolist() == [[[0.0]]]


@pytest.mark.parametrize("tau", [1e-6, 0.07, 3.0, 200.0])
def test_a_transition_by_quadrature(tau):
    """Phi = e^{-A tau}, shift = int e^{-A s} f ds, Q = int e^{-A s} D e^{-A^T s} ds."""
    slow, force = np.array([[0.5, 2.0], [-2.0, 0.1]]) / max(1.0, tau / 3), np.array([0.2, -1.0])
    phi, shift, Q = moments.transition(slow, D, force, tau)
    assert np.allclose(phi, expm(-slow * tau), rtol=1e-10, atol=1e-12)
    assert np.allclose(shift, quad_vec(lambda s: expm(-slow * s) @ force, 0, tau, epsrel=1e-12)[0], rtol=1e-9)
    truth = quad_vec(lambda s: expm(-slow * s) @ D @ expm(-slow * s).T, 0, tau, epsrel=1e-12)[0]
    assert np.allclose(Q, truth, rtol=1e-9)


def test_a_process_from_a_spread_start():
    """Cov = Phi C0 Phi^T + Q, mean about c + A^{-1} b; the start itself at t = 0."""
    C0, c, b, t = np.array([[0.4, -0.1], [-0.1, 0.2]]), np.array([0.3, 0.9]), np.array([0.2, -1.0]), [0.0, 0.6, 2.0]
    mean, cov = theory.ou_mean_cov(A, D, X0, t, cov0=C0, center=c, force=b)
    assert np.allclose(cov[0], C0) and np.allclose(mean[0], X0)
    rest = c + np.linalg.solve(A, b)
    for row in (1, 2):
        phi = expm(-A * t[row])
        Q = quad_vec(lambda s: expm(-A * s) @ D @ expm(-A * s).T, 0, t[row], epsrel=1e-12)[0]
        assert np.allclose(cov[row], phi @ C0 @ phi.T + Q, rtol=1e-9)
        assert np.allclose(mean[row], rest + phi @ (X0 - rest), rtol=1e-9)
    fixed, none = theory.ou_mean_cov(A, np.zeros((2, 2)), X0, 0.6)  # one time, no noise
    assert np.allclose(fixed[0], expm(-A * 0.6) @ X0) and (none == 0).all()
    drifting, _ = theory.ou_mean_cov(np.zeros((2, 2)), D, X0, [0.7], force=b)  # nothing decays
    assert np.allclose(drifting[0], X0 + 0.7 * b, rtol=1e-12)


def test_additive_noise_step_by_step():
    eta, m, C = 0.1, X0, np.zeros((2, 2))
    M = np.eye(2) - eta * A
    steps, truth = [0, 1, 2, 7, 37], {}
    for k in range(38):
        truth[k] = m, C
        m, C = M @ m, M @ C @ M.T + eta**2 * D
    mean, cov = theory.sgd_mean_cov(A, D, eta, X0, steps)
    assert np.allclose(mean, [truth[k][0] for k in steps], rtol=1e-11)
    assert np.allclose(cov, [truth[k][1] for k in steps], rtol=1e-11)


def test_stationary_laws_at_the_border_of_stability():
    """|1 - eta (1 + 3i)| < 1 for eta < 2 / 10 alone; lam = 1 up to eta = 2."""
    spiral = np.array([[1.0, 3.0], [-3.0, 1.0]])
    for eta in (0.01, 0.199):
        S = theory.stationary_cov(spiral, D, eta)
        assert np.allclose(S, solve_discrete_lyapunov(np.eye(2) - eta * spiral, eta**2 * D), rtol=1e-8)
    for matrix, eta, longest in ((spiral, 0.201, "0.2"), (spiral, 0.5, "0.2"), (np.eye(2), 2.0, "2")):
        with pytest.raises(fd.ArgumentError, match=rf"`eta` must be below min 2 Re\(lam\)/\|lam\|\^2 = {longest} "):
            theory.stationary_cov(matrix, D, eta)
        S = theory.stationary_cov(matrix, D, eta, "ou")
        assert np.allclose(matrix @ S + S @ matrix.T, eta * D)
    assert theory.stationary_cov(1.0, 2.0, 1.9)[0, 0] == pytest.approx(1.9 * 2 / 0.1)
    for flat in (np.diag([1.0, 0.0]), np.diag([1.0, -0.5]), np.diag([1.0, 1e-17])):
        with pytest.raises(fd.ArgumentError, match="`A` must have positive eigenvalues"):
            theory.stationary_cov(flat, np.eye(2), 0.1, "ou")
    assert theory.stationary_cov(np.diag([1.0, 1e-12]), np.eye(2), 0.1, "ou")[1, 1] == pytest.approx(0.1 / 2e-12)
    lags = theory.ou_autocovariance(spiral, D, [0.0, 0.4, -0.4])
    assert np.allclose(lags, [D, expm(-0.4 * spiral) @ D, D @ expm(-0.4 * spiral.T)])
    assert theory.ou_autocovariance(1.0, 0.5, 1.0).shape == (1, 1, 1)


@pytest.mark.parametrize("eta", [0.0, -0.1, np.nan])
def test_a_step_size_that_is_none(eta):
    for call in (lambda: theory.stationary_cov(1.0, 1.0, eta), lambda: theory.sgd_mean_cov(1.0, 1.0, eta, 1.0, [1])):
        assert_refused(call, "`eta` must be")
    assert_refused(lambda: theory.stationary_cov(1.0, 1.0, 0.1, "sde"), "`kind` must be one of")
    assert_refused(lambda: theory.ou_mean_cov(1.0, 1.0, 1.0, [-0.5, 1.0]), "`t` must not be negative")


def test_moments_that_leave_the_range_of_doubles():
    for call in (
        lambda: theory.ou_mean_cov(-1.0, 1.0, 1.0, [800.0]),  # the mean
        lambda: theory.ou_mean_cov(-1.0, 1.0, 0.0, [400.0]),  # the covariance alone
        lambda: theory.sgd_mean_cov(1.0, 1.0, 3.0, 0.0, [600]),
    ):
        assert_refused(call, "beyond the range of float64", fd.RunError)


def test_what_is_a_covariance():
    """Symmetric to 1e-12 of its largest entry, eigenvalues not below -1e-12 of the largest; 0 is one."""
    assert (moments.covariance("D", np.zeros((2, 2)), 2) == 0).all() and moments.covariance("D", 3.0, 1)[0, 0] == 3.0
    near = np.array([[1e3, 1.0], [1.0 + 5e-10, 1e3]])
    assert np.array_equal(moments.covariance("D", near, 2), (near + near.T) / 2)
    assert moments.covariance("D", np.diag([1e3, -5e-10]), 2).shape == (2, 2)
    for bad, words in (
        (np.array([[1e3, 1.0], [1.0 + 5e-9, 1e3]]), "must be symmetric"),
        (np.array([[1e-3, 0.0], [1e-12, 1e-3]]), "must be symmetric"),
        (np.diag([1e3, -5e-9]), "must be positive semi-definite"),
        (np.diag([-1.0, -2.0]), "must be positive semi-definite"),
        (np.eye(3), "must have shape"),
        (np.ones((2, 3)), "must be a square matrix"),
    ):
        with pytest.raises(fd.ArgumentError, match=words):
            moments.covariance("D", bad, 2)
    R = moments.root(D)
    assert np.allclose(R @ R, D) and np.allclose(R, R.T)
    assert np.allclose(moments.root(np.diag([4.0, -1e-18])), np.diag([2.0, 0.0]))


def test_both_ways_of_samples_with_one_direction():
    """grad l_i = c x_i (x_i . w + r_i), in n d^2 numbers and in n d: one V, one adjoint, one matrix on a triangle."""
    g = np.random.default_rng(5)
    X, r, c = g.standard_normal((7, 3)), g.standard_normal(7), 1.7
    short = theory.LinearResiduals(X, r, c)
    matrices, vectors = c * X[:, :, None] * X[:, None], -c * X * r[:, None]
    mean_A, mean_b = matrices.mean(axis=0), vectors.mean(axis=0)
    assert np.allclose(short.A, mean_A) and np.allclose(short.b, mean_b)
    long = theory.LinearNoise(mean_A, mean_b, matrices - mean_A, vectors - mean_b, np.zeros((3, 3)))
    one, other = linear_moments._Map(short, 0.6), linear_moments._Map(long, 0.6)
    M = g.standard_normal((4, 4))
    M = M + M.T
    assert np.allclose(one.V(M), other.V(M)) and np.allclose(one.adjoint_V(M), other.adjoint_V(M))
    triangle = Triangle(4)
    for maps in (one, other):
        assert np.allclose(maps.matrix_of_V(triangle) @ triangle.pack(M), triangle.pack(other.V(M)))
    eta, steps, x = 0.05, [0, 1, 30, 31], np.array([1.0, -0.5, 0.2])
    for known in zip(
        theory.linear_sgd_mean_cov(short, eta, 0.6, x, steps),
        theory.linear_sgd_mean_cov(long, eta, 0.6, x, steps),
        strict=True,
    ):
        assert np.allclose(*known, rtol=1e-10, atol=1e-14)


def test_maps_on_a_triangle():
    g = np.random.default_rng(6)
    F, G, M = g.standard_normal((3, 4, 4))
    M = M + M.T
    triangle = Triangle(4)
    assert np.array_equal(triangle.unpack(triangle.pack(M)), M)
    both = F @ M @ G.T + G @ M @ F.T  # symmetric, as every map that is used
    assert np.allclose((triangle.two_sided(F, G) + triangle.two_sided(G, F)) @ triangle.pack(M), triangle.pack(both))
    assert np.allclose(triangle.two_sided(F, F) @ triangle.pack(M), triangle.pack(F @ M @ F.T))
    assert np.allclose(triangle.both_sides(F) @ triangle.pack(M), triangle.pack(F @ M + M @ F.T))


@pytest.mark.parametrize("count", [0, 1, 5, 8, 37])
def test_powers_of_a_map_near_the_identity_keep_its_digits(count):
    E, start = np.array([[-1e-9, 2e-9], [0.0, -3e-9]]), np.array([1.0, 1.0])
    for most in (0, 1, 3):
        y = Sum(start)
        step_by(squarings(E, most), count, y)
        # (I + E)^k y = y + k E y + O(k^2 E^2), to the last bit of y
        assert np.allclose((y.value - start) / 1e-9, count * E @ start / 1e-9, atol=5e-6)
        y = Sum(start)
        step_by(squarings(1e5 * E, most), count, y)
        assert np.allclose(y.value, np.linalg.matrix_power(np.eye(2) + 1e5 * E, count) @ start, rtol=1e-13)


def test_a_sum_of_many_small_terms_is_not_rounded_away():
    total = Sum(np.ones(1))
    for _ in range(10_000):
        total.add(np.full(1, 1e-17))
    assert abs(float(total.value[0]) - (1 + 1e-13)) <= 2.3e-16


@pytest.mark.parametrize(("n", "d", "rank_one"), [(0, 4, False), (50, 2, True), (7, 12, False), (20, 40, True)])
def test_the_cheapest_way_is_taken_and_its_work_is_that_of_its_steps(n, d, rank_one):
    """Products and sums counted: T M T^T, mean_i F_i M F_i^T; matrix products on the triangle."""
    p, q, size = d + 1, (d + 1) * (d + 2) / 2, Size(n, d, rank_one)
    step = 4 * p**3 + (2 * n * p**2 + 2 * n * d**2 if rank_one else 2 * n * d * p**2 + 2 * n * d**2 * p)
    assert step <= size.step - moments_work.CALL < 3 * step + 1
    one = sgd_route(size, np.array([1]))
    assert one.doublings is None and one.work < 3 * (step + 2 * moments_work.CALL)
    many = sgd_route(size, np.array([10**6]))
    if p > moments_work.ONE_MATRIX_UP_TO:
        assert many.doublings is None and many.work == pytest.approx(1e6 * size.step, rel=1e-3)
        assert not sde_route(size, np.array([1.0]), 0.1).one_matrix
    else:  # the matrix is squared up to about the number of steps, each squaring 2 q^3
        assert 10 <= many.doublings <= 19 and many.work < size.one_matrix + 40 * 2 * q**3 + 1e4 * size.apply
        assert sde_route(size, np.ones(50), 0.1).one_matrix
    assert sgd_route(size, np.array([], dtype=int)).work == 0.0
    equal, apart = (sde_route(size, gaps, 0.1).work for gaps in (np.full(30, 0.1), 0.1 + 0.001 * np.arange(30)))
    assert equal < apart or p > moments_work.ONE_MATRIX_UP_TO
