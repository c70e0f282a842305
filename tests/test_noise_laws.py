"""Laws of SGD and of its equations, section 9.5: closed forms, Lyapunov equations, enumeration."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov

import flowdyn as fd
from flowdyn import theory

N = 20_000
LAM, ETA, SIGMA = 1.5, 0.2, 0.7


def one_dimension():
    return fd.SGD(fd.problems.Quadratic(LAM, noise=SIGMA**2), eta=ETA)


@pytest.mark.parametrize("kind", ["sgd", "ou"])
def test_stationary_variance_and_autocovariance_in_one_dimension(kind):
    method = one_dimension()
    system = method if kind == "sgd" else method.limit(1)
    t = ETA * np.arange(100, 111)
    run = fd.solve(system, [0.0], t=t, realizations=N, seed=11)
    x = run.w.values[:, :, 0]
    expected = ETA * SIGMA**2 / (LAM * (2 - ETA * LAM)) if kind == "sgd" else ETA * SIGMA**2 / (2 * LAM)
    assert abs(x[:, -1].var() - expected) < 4 * expected * np.sqrt(2 / N)
    assert theory.stationary_cov(LAM, SIGMA**2, ETA, kind)[0, 0] == pytest.approx(expected, rel=1e-12)
    for lag in (1, 3, 10):
        decay = (1 - ETA * LAM) ** lag if kind == "sgd" else np.exp(-LAM * ETA * lag)
        product = x[:, 0] * x[:, lag]
        assert abs(product.mean() - expected * decay) < 4 * product.std() / np.sqrt(N)
    if kind == "ou":
        tau = ETA * np.array([1.0, 3.0])
        C = fd.linearize(method, at=[0.0]).autocovariance(tau)
        assert np.allclose(C[:, 0, 0], expected * np.exp(-LAM * tau), rtol=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "ou"])
def test_transient_mean_and_variance(kind):
    method = one_dimension()
    run = fd.solve(
        method if kind == "sgd" else method.limit(1), [2.0], t=ETA * np.arange(1, 9), realizations=N, seed=12
    )
    k, t = np.arange(1, 9), run.t.values
    if kind == "sgd":
        a = 1 - ETA * LAM
        mean, var = 2 * a**k, (ETA * SIGMA) ** 2 * (1 - a ** (2 * k)) / (1 - a**2)
    else:
        mean, var = 2 * np.exp(-LAM * t), ETA * SIGMA**2 / (2 * LAM) * (1 - np.exp(-2 * LAM * t))
    x = run.w.values[:, :, 0]
    assert (np.abs(x.mean(axis=0) - mean) < 4 * np.sqrt(var / N)).all()
    assert (np.abs(x.var(axis=0) - var) < 4 * var * np.sqrt(2 / N)).all()
    assert np.allclose(run.w_mean_exact[:, 0], mean, rtol=1e-11) and np.allclose(
        run.w_cov_exact[:, 0, 0], var, rtol=1e-11
    )


def matrices(d=5):
    rng = np.random.default_rng(3)
    B, C = rng.standard_normal((2, d, d))
    return B @ B.T / d + 0.5 * np.eye(d), C @ C.T / d


@pytest.mark.parametrize("kind", ["sgd", "ou"])
def test_covariance_of_matrices_that_do_not_commute(kind):
    A, Sigma = matrices()
    assert np.abs(A @ Sigma - Sigma @ A).max() > 0.1
    eta = 0.1
    method = fd.SGD(fd.problems.Quadratic(A, noise=Sigma), eta)
    if kind == "sgd":
        M = np.eye(5) - eta * A
        S = solve_discrete_lyapunov(M, eta**2 * Sigma)
    else:
        S = solve_continuous_lyapunov(A, eta * Sigma)
    assert np.allclose(theory.stationary_cov(A, Sigma, eta, kind), S, atol=1e-14)
    run = fd.solve(method if kind == "sgd" else method.limit(1), np.ones(5), t=[30.0], realizations=N, seed=13)
    sample = np.cov(run.w.values[:, 0].T)
    standard_error = np.sqrt((np.outer(np.diag(S), np.diag(S)) + S**2) / N)
    assert (np.abs(sample - S) < 4 * standard_error).all()
    assert np.allclose(run.w_cov_exact[0], S, atol=1e-8)


def test_flat_direction_diffuses():
    A, D = np.diag([1.0, 0.0]), np.diag([1.0, 4.0])
    ou = fd.OrnsteinUhlenbeck(A, 0.1 * D)
    t = np.array([0.5, 2.0, 50.0])
    mean, cov = ou.mean_cov([1.0, 1.0], t)
    assert np.allclose(cov[:, 1, 1], 0.1 * 4.0 * t, rtol=1e-12) and np.allclose(mean[:, 1], 1.0)
    run = fd.solve(ou, [1.0, 1.0], t=t, realizations=N, seed=14)
    assert abs(run.w[:, -1, 1].var() - 20.0) < 4 * 20.0 * np.sqrt(2 / N)


def test_van_loan_against_the_spectral_form():
    A, D = matrices()
    lam, V = np.linalg.eigh(A)
    rates = lam[:, None] + lam[None, :]
    for t in (1e-6, 0.3, 40.0):
        truth = V @ ((V.T @ D @ V) * -np.expm1(-rates * t) / rates) @ V.T
        mean, cov = theory.ou_mean_cov(A, D, np.ones(5), [t], center=np.arange(5.0))
        assert np.allclose(cov[0], truth, rtol=1e-11, atol=1e-16)
        assert np.allclose(mean[0], np.arange(5.0) + expm(-A * t) @ (1 - np.arange(5.0)), rtol=1e-11)


def test_moments_of_a_matrix_that_is_not_symmetric():
    A, D, b = np.array([[0.5, 2.0], [-2.0, 0.1]]), np.array([[1.0, 0.3], [0.3, 0.4]]), np.array([0.2, -1.0])

    def rhs(t, z):
        m, C = z[:2], z[2:].reshape(2, 2)
        return np.concatenate([b - A @ m, (D - A @ C - C @ A.T).ravel()])

    truth = solve_ivp(rhs, (0, 3.0), np.concatenate([[1.0, 2.0], np.zeros(4)]), rtol=1e-12, atol=1e-14).y[:, -1]
    mean, cov = theory.ou_mean_cov(A, D, [1.0, 2.0], [1.0, 3.0], force=b)
    assert np.allclose(mean[1], truth[:2], atol=1e-10) and np.allclose(cov[1].ravel(), truth[2:], atol=1e-10)


X = np.array([[1.0, 0.3], [0.2, -1.0], [0.5, 0.8]])
Y = np.array([1.0, 0.4, -0.6])


@pytest.mark.parametrize(("sampling", "batch"), [("with", 1), ("with", 2), ("without", 2), ("without", 3)])
def test_linear_moments_by_enumerating_all_batches(sampling, batch):
    """Three steps of SGD on three samples: every sequence of batches, with its probability."""
    eta, w0 = 0.1, np.array([0.5, -0.2])
    batches = list(
        itertools.product(range(3), repeat=batch) if sampling == "with" else itertools.combinations(range(3), batch)
    )
    ends = []
    for sequence in itertools.product(batches, repeat=3):
        w = w0
        for chosen in map(list, sequence):
            w = w - eta * 3 * X[chosen].T @ (X[chosen] @ w - Y[chosen]) / batch  # l_i = n/2 r_i^2
        ends.append(w)
    sgd = fd.SGD(fd.problems.LinearRegression(X, Y), eta, batch, sampling)
    mean, cov = sgd.exact_moments(w0, np.array([3]))
    assert np.allclose(mean[0], np.mean(ends, axis=0), rtol=1e-12)
    assert np.allclose(cov[0], np.cov(np.array(ends).T, bias=True), rtol=1e-10, atol=1e-15)
    run = fd.solve(sgd, w0, steps=3, saves=2, realizations=N, seed=15)
    spread = np.sqrt(np.clip(np.diag(cov[0]), 0, None) / N) + 1e-14
    assert (np.abs(run.w[:, -1].values.mean(axis=0) - mean[0]) < 4.5 * spread).all()


@pytest.mark.parametrize("order", [1, 2])
def test_moments_of_the_equation_with_multiplicative_noise(order):
    # x = (1, 2), y = (1, 1): gradients 2w - 2 and 8w - 4, mean 5w - 3, variance (3w - 1)^2
    eta = 0.05
    p = fd.problems.LinearRegression([[1.0], [2.0]], [1.0, 1.0])

    def rhs(t, z):
        m, s = z
        a, b = (5.0, 3.0) if order == 1 else (5 + 12.5 * eta, 3 + 7.5 * eta)
        return [b - a * m, 2 * (b * m - a * s) + eta * (9 * s - 6 * m + 1)]

    m, s = solve_ivp(rhs, (0, 0.7), [2.0, 4.0], rtol=1e-12, atol=1e-14).y[:, -1]
    mean, cov = fd.SGD(p, eta).limit(order).exact_moments(np.array([2.0]), np.array([0.3, 0.7]))
    assert mean[1, 0] == pytest.approx(m, rel=1e-10) and cov[1, 0, 0] == pytest.approx(s - m**2, rel=1e-8)


def test_large_problems_take_the_iterative_exponential():
    rng = np.random.default_rng(1)
    p = fd.problems.LinearRegression(rng.standard_normal((30, 28)) / 5, rng.standard_normal(30))
    w0 = np.full(28, 0.3)
    sde = fd.SGD(p, 0.01).limit(1)
    mean, cov = sde.exact_moments(w0, np.array([0.5]))
    lam, V = np.linalg.eigh(np.asarray(p.hessian(w0)))
    rest = np.asarray(p.minimum_norm())
    assert np.allclose(mean[0], rest + V @ (np.exp(-lam * 0.5) * (V.T @ (w0 - rest))), atol=1e-10)
    assert np.linalg.eigvalsh(cov[0])[0] > -1e-12
    # for short times the covariance is that of the noise at the start
    grads = np.asarray(p.sample_grads(w0))
    scaled = sde.exact_moments(w0, np.array([1e-6]))[1][0] / (1e-6 * 0.01)
    C = np.cov(grads.T, bias=True)
    assert np.abs(scaled - C).max() < 1e-3 * np.abs(C).max()


def test_batch_covariance_without_replacement_by_enumeration():
    p = fd.problems.LinearRegression(X, Y)
    w = np.array([0.5, -0.2])
    grads = np.asarray(p.sample_grads(w))
    for batch in (1, 2, 3):
        means = [grads[list(c)].mean(axis=0) for c in itertools.combinations(range(3), batch)]
        truth = np.cov(np.array(means).T, bias=True)
        share = fd.SGD(p, 0.1, batch, "without").noise_scale
        assert np.allclose(share * p.noise_cov(w), truth, atol=1e-14)


def test_reshuffled_epochs_use_every_sample_once():
    # grad l_i = c_i: after one epoch every order of the data gives the same sum, and inside it the prefixes vary
    c = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    p = fd.problems.CustomProblem(lambda w, c: jnp.mean(c) * w, 0.0, data=c, sample_losses=lambda w, c: c * w)
    run = fd.solve(fd.SGD(p, 0.1, 1, "reshuffle"), 0.0, steps=10, realizations=400, seed=2)
    w = run.w.values.reshape(400, 11)
    assert np.allclose(w[:, 5], -0.1 * 31) and np.allclose(w[:, 10], -0.2 * 31)
    first = np.rint(-w[:, 1] / 0.1).astype(int)
    assert set(first) == {1, 2, 4, 8, 16}
    # covariance after two of five draws without replacement: 2 * var * (5 - 2)/(5 - 1)
    truth = 0.01 * 2 * c.var() * 3 / 4
    more = fd.solve(fd.SGD(p, 0.1, 1, "reshuffle"), 0.0, steps=2, saves=2, realizations=N, seed=3).w.values[:, -1]
    assert abs(more.var() - truth) < 5 * truth * np.sqrt(2 / N)


def test_svag_has_order_one_in_its_refinement():
    lam, eta, sigma = 1.0, 0.5, 1.0
    p = fd.problems.Quadratic(lam, noise=sigma**2)
    limit = eta * sigma**2 / (2 * lam)
    ls = np.array([2, 4, 8, 16, 32])
    gaps = []
    for l in ls:  # noqa: E741
        svag = fd.SVAG(p, eta, l=int(l))
        _, cov = svag.exact_moments(np.zeros(1), np.array([2000 * l]))
        assert cov[0, 0, 0] == pytest.approx(eta * sigma**2 / (lam * (2 - eta * lam / l)), rel=1e-10)
        gaps.append(cov[0, 0, 0] - limit)
    assert abs(np.polyfit(np.log(1.0 / ls), np.log(gaps), 1)[0] - 1) < 0.06
    run = fd.solve(fd.SVAG(p, eta, l=3), [0.0], t=[10.0], realizations=N, seed=4)
    truth = eta / (2 - eta / 3)
    assert abs(run.w.values.var() - truth) < 4 * truth * np.sqrt(2 / N)
    # from samples: the two gradients have the mean of one and l times its covariance
    q = fd.problems.LinearRegression(X, Y)
    run = fd.solve(fd.SVAG(q, 0.1, l=4), [0.5, -0.2], steps=1, saves=2, realizations=N, seed=5)
    truth = (0.1 / 4) ** 2 * 4 * np.asarray(q.noise_cov(np.array([0.5, -0.2])))
    sample = np.cov(run.w.values[:, -1].T)
    assert np.allclose(sample, truth, atol=6 * np.abs(truth).max() / np.sqrt(N))
