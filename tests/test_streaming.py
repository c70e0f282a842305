"""Gaussian least squares on fresh samples: steps by quadrature, exact moments, homogenized SGD, Volterra's equation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusal import assert_refused
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import flowdyn as fd
from flowdyn import theory
from flowdyn._tools.randomness import Draw

H = np.array([[1.0, 0.3], [0.3, 0.5]])
W_STAR, SIGMA, W0, ETA = np.array([1.0, -0.5]), 0.5, np.array([0.2, 0.7]), 0.15
P = fd.problems.Streaming(H, W_STAR, SIGMA)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(3)  # exact up to degree 5: squares of steps have degree 4


def grid(count):
    """Nodes (3^count, count) and weights of a Gaussian quadrature."""
    points = np.array(list(itertools.product(NODES, repeat=count)))
    weights = np.prod(list(itertools.product(WEIGHTS / WEIGHTS.sum(), repeat=count)), axis=1)
    return points, weights


def moments_of(states, weights):
    mean = weights @ states
    return mean, (states - mean).T @ (weights[:, None] * (states - mean))


def all_paths(method, numbers, steps):
    """States after some steps along every path of the quadrature, with their weights."""
    points, weights = grid(numbers)
    states, total = W0[None], np.ones(1)
    words = np.zeros(0, np.uint32)
    step = jax.jit(jax.vmap(lambda w, z: method.step(0, w, Draw(words, z), ())))
    for _ in range(steps):
        pairs = np.repeat(states, len(points), axis=0), np.tile(points, (len(states), 1))
        states, total = np.asarray(step(*map(jnp.asarray, pairs))), np.outer(total, weights).ravel()
    return states, total


@pytest.mark.parametrize(
    ("method", "numbers", "steps"),
    [
        (fd.SGD(P, ETA), 3, 3),
        (fd.SGD(P, ETA, batch_size=2), 6, 1),
        (fd.SVAG(P, ETA, l=3.0), 6, 1),
    ],
    ids=["sgd", "batch", "svag"],
)
def test_exact_moments_by_quadrature_over_all_paths(method, numbers, steps):
    assert method.random_inputs.numbers == numbers and method.random_inputs.words == 0
    mean, cov = moments_of(*all_paths(method, numbers, steps))
    known = method.exact_moments(W0, np.array([steps]))
    assert np.abs(known[0][0] - mean).max() < 1e-14 and np.abs(known[1][0] - cov).max() < 1e-14


def test_noise_of_a_sample_by_quadrature():
    points, weights = grid(3)
    losses, grads = jax.jit(jax.vmap(jax.value_and_grad(lambda w, z: P.fresh_losses(w, z[None])[0]), (None, 0)))(
        W0, points
    )
    mean, cov = moments_of(np.asarray(grads), weights)
    assert np.abs(mean - P.grad(W0)).max() < 1e-14
    assert np.abs(P.noise_cov(W0) - cov).max() < 1e-14
    z = np.array([0.3, -1.0, 2.0])
    assert np.abs(P.noise_product(W0, z) - P.noise_factor(W0) @ z).max() < 1e-15
    assert weights @ np.asarray(losses) == pytest.approx(float(P.loss(W0)), rel=1e-14)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_moments_of_the_equations_by_their_own_differential_equation(order):
    """d/dt E e e^T = -F M - M F + eta E Cov(e); the homogenized equation (order 0 here) has no part H M H."""
    system = fd.HomogenizedSGD(P, ETA) if order == 0 else fd.SGD(P, ETA).limit(order)
    F = H + (ETA / 2 * H @ H if order == 2 else 0.0)

    def slope(t, flat):
        M = flat[2:].reshape(2, 2)
        noise = H * (np.sum(H * M) + SIGMA**2) + (H @ M @ H if order else 0.0)
        return np.concatenate([-F @ flat[:2], (-F @ M - M @ F + ETA * noise).ravel()])

    e = W0 - W_STAR
    end = solve_ivp(slope, (0, 2.0), np.concatenate([e, np.outer(e, e).ravel()]), "DOP853", rtol=1e-12, atol=1e-14).y[
        :, -1
    ]
    mean, cov = system.exact_moments(W0, np.array([2.0]))
    assert np.abs(mean[0] - W_STAR - end[:2]).max() < 1e-11
    assert np.abs(cov[0] - (end[2:].reshape(2, 2) - np.outer(end[:2], end[:2]))).max() < 1e-11


# l_i = i/d, m_i(0) = 1/d, sigma = .1, excess risk R/2 at k/d = 1, 5, 20 for d = 512
RISKS = {
    0.5: ([0.14353646, 0.02557564, 0.00224895], [0.14352188, 0.02556781, 0.00224815]),
    1.0: ([0.10096892, 0.01060716, 0.00212389], [0.10089878, 0.01059285, 0.0021207]),
}
D = 512
L, M0, WHEN = np.arange(1, D + 1) / D, np.ones(D) / D, np.array([1, 5, 20])


@pytest.mark.parametrize("gamma", RISKS)
def test_excess_risk_in_512_dimensions(gamma):
    exact, homogenized = RISKS[gamma]
    eta, t = gamma / D, gamma * WHEN
    assert (theory.streaming_moments(L, M0, eta, 0.1, WHEN * D) @ L / 2).round(8).tolist() == exact
    assert (theory.homogenized_moments(L, M0, eta, 0.1, t) @ L / 2).round(8).tolist() == homogenized
    assert (theory.volterra_risk(L, M0, eta, 0.1, t) / 2).round(8).tolist() == homogenized


def test_moments_by_a_plain_loop():
    eta, m, rows = 0.05, M0[:20].copy(), []
    l = L[:20] * 25  # noqa: E741
    for _ in range(200):
        m = m - 2 * eta * l * m + eta**2 * (2 * l**2 * m + l * (l @ m + 0.01))
        rows.append(m)
    found = theory.streaming_moments(l, M0[:20], eta, 0.1, np.arange(1, 201))
    assert np.abs(found / rows - 1).max() < 1e-11


@pytest.mark.parametrize("batch", [1, 4])
def test_volterra_equation_and_moments_agree(batch):
    rng = np.random.default_rng(2)
    l, m = rng.uniform(0, 2, 30), rng.uniform(0, 1, 30)  # noqa: E741
    t = np.array([0.0, 0.3, 4.0, 60.0])
    risk = theory.volterra_risk(l, m, 0.03, 0.4, t, batch_size=batch)
    assert np.abs(risk / (theory.homogenized_moments(l, m, 0.03, 0.4, t, batch_size=batch) @ l) - 1).max() < 1e-10
    assert risk[0] == pytest.approx(l @ m, rel=1e-12)


def test_floor():
    gamma, sigma, mean = 0.8, 0.1, L.mean()
    floor = theory.streaming_floor(L, gamma / D, sigma)
    assert floor == pytest.approx(gamma * mean * sigma**2 / (2 * (2 - gamma * mean)), rel=1e-13)
    rest = theory.homogenized_moments(L, M0, gamma / D, sigma, [1e6]) @ L / 2
    assert rest[0] == pytest.approx(floor, rel=1e-10)
    assert theory.streaming_floor(L, gamma / D, sigma, batch_size=2) == pytest.approx(
        gamma * mean * sigma**2 / (2 * (4 - gamma * mean)), rel=1e-13
    )


def test_a_vector_is_the_diagonal_of_a_covariance():
    diagonal, Q = np.array([1.5, 0.4, 0.1]), np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    w_star, w0 = np.array([1.0, -1.0, 0.5]), np.array([0.1, 0.2, 0.3])
    vector = fd.problems.Streaming(diagonal, w_star, 0.3)
    turned = fd.problems.Streaming(Q @ np.diag(diagonal) @ Q.T, Q @ w_star, 0.3)
    for when in (np.array([1]), np.array([40])):
        mean, cov = fd.SGD(vector, 0.1).exact_moments(w0, when)
        other = fd.SGD(turned, 0.1).exact_moments(Q @ w0, when)
        assert np.abs(other[0] - mean @ Q.T).max() < 1e-14 and np.abs(other[1] - Q @ cov @ Q.T).max() < 1e-14
    flow = fd.solve(fd.GradientFlow(vector), w0, t=[2.0])
    assert "Exact" in flow.attrs["summary"]
    assert np.abs(flow.w.values[0] - (w_star + np.exp(-2 * diagonal) * (w0 - w_star))).max() < 1e-15
    # the same numbers z: x = H^{1/2} z
    z = np.array([[0.3, -0.7, 1.1, 0.2]])
    full = fd.problems.Streaming(np.diag(diagonal), w_star, 0.3)
    assert vector.fresh_losses(w0, z)[0] == pytest.approx(float(full.fresh_losses(w0, z)[0]), rel=1e-14)
    assert np.abs(vector.noise_factor(w0) - full.noise_factor(w0)).max() < 1e-15


@pytest.mark.parametrize("kind", ["sgd", "homogenized"])
def test_an_ensemble_has_its_law(kind):
    d, members = 24, 3000
    p = fd.problems.Streaming(np.arange(1, d + 1) / d, np.ones(d) / np.sqrt(d), 0.1)
    system = fd.SGD(p, 1 / d) if kind == "sgd" else fd.HomogenizedSGD(p, 1 / d)
    run = fd.solve(system, p.init(), t=[1.0, 5.0], realizations=members, seed=3)
    l, m0 = np.asarray(p.H), np.asarray(p.w_star) ** 2  # noqa: E741
    expected = (
        theory.streaming_moments(l, m0, 1 / d, 0.1, [d, 5 * d])
        if kind == "sgd"
        else theory.homogenized_moments(l, m0, 1 / d, 0.1, [1.0, 5.0])
    )
    risk = run.excess_risk.values
    bias = 0.0 if kind == "sgd" else 2e-3 * (expected @ l / 2)  # of Euler-Maruyama's steps
    assert (np.abs(risk.mean(axis=0) - expected @ l / 2) < 4 * risk.std(axis=0) / np.sqrt(members) + bias).all()
    assert np.abs(run.loss - run.excess_risk - 0.005).max() < 1e-15
    cov = run.w_cov_exact.values[-1]
    z = (np.cov(run.w.values[:, -1].T) - cov) / np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / members)
    assert np.abs(z).max() < 5.5  # of 576 entries; the law of a step has heavier tails than a Gaussian


def test_a_ladder_over_eta_needs_no_sampling():
    for order in (1, 2):
        ladder = fd.eta_limit(fd.SGD(P, 0.1), W0, t=1.0, order=order, observable={"w": lambda w: w[0] ** 2})
        assert (ladder.members == 0).all() and abs(float(ladder.order[0]) - order) < 0.05


def test_every_sample_is_fresh_and_follows_the_seed():
    run = fd.solve(fd.SGD(P, ETA, batch_size=2), W0, steps=5, realizations=3, seed=4)
    again = fd.solve(fd.SGD(P, ETA, batch_size=2), W0, steps=5, realizations=2, seed=4)
    assert np.array_equal(run.w[:2], again.w) and len(np.unique(run.w[:, 1:, 0])) == 15
    system, w0, options = fd.rebuild(run)
    assert fd.solve(system, w0, **options).w.identical(run.w)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_step_at_which_second_moments_grow_is_warned_of(batch):
    d = 30
    l = np.arange(1, d + 1) / d  # noqa: E741
    p = fd.problems.Streaming(l, np.ones(d), 0.0)

    def growth(eta):
        """Largest eigenvalue of the map of the moments, by its definition."""
        s = 1 / batch
        return np.linalg.eigvalsh(np.diag((1 - eta * l) ** 2 + eta**2 * s * l**2) + eta**2 * s * np.outer(l, l))[-1]

    border = brentq(lambda eta: growth(eta) - 1, 1e-3, 1.9 / (1 + 1 / batch))
    assert border < 2  # descent alone is stable there
    with pytest.warns(fd.FlowdynWarning, match="is so large that the second moments of SGD grow"):
        fd.solve(fd.SGD(p, 1.001 * border, batch_size=batch), p.init(), steps=2)
    fd.solve(fd.SGD(p, 0.999 * border, batch_size=batch), p.init(), steps=2)  # warnings are errors here


REFUSED = {
    "shape": (lambda: fd.problems.Streaming(np.ones((2, 3)), W_STAR), "`H` must be a square matrix or its diagonal"),
    "not symmetric": (lambda: fd.problems.Streaming([[1.0, 0.5], [0.0, 1.0]], W_STAR), "`H` must be symmetric"),
    "negative": (lambda: fd.problems.Streaming([1.0, -0.1], W_STAR), "`H` must be positive semi-definite"),
    "length": (lambda: fd.problems.Streaming(H, np.ones(3)), r"`w_star` must have shape \(2,\)"),
    "sigma": (lambda: fd.problems.Streaming(H, W_STAR, -1.0), "`sigma` must not be negative"),
    "subset": (lambda: fd.SGD(P, 0.1, 2, "without"), '`sampling` must be "with" for Gaussian gradient noise and fresh'),
    "samples": (lambda: P.sample_losses(W0), "`sample_losses` is not defined for Streaming"),
    "drawn": (lambda: fd.problems.Quadratic(1.0).fresh_losses(W0, W0), "`fresh_losses` is not defined for Quadratic"),
    "homogenized": (
        lambda: fd.HomogenizedSGD(fd.problems.Quadratic(1.0), 0.1),
        "`problem` must be a Streaming problem",
    ),
    "eta": (lambda: fd.HomogenizedSGD(P, 0.0), "`eta` must be positive"),
    "moments": (lambda: theory.streaming_moments([1.0], [-1.0], 0.1, 0.0, [1]), "`m0` must hold at least one number"),
    "steps": (lambda: theory.streaming_moments([1.0], [1.0], 0.1, 0.0, [2, 1]), "`k` must be increasing whole"),
    "times": (lambda: theory.homogenized_moments([1.0], [1.0], 0.1, 0.0, [-1.0]), "`t` must hold at least one time"),
    "unstable": (lambda: theory.streaming_floor([1.0], 2.0, 0.1), r"`eta` must be below 2 B / tr\(H\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_words(case):
    assert_refused(*REFUSED[case])


def test_moments_that_leave_their_range():
    assert_refused(
        lambda: theory.streaming_moments([1.0], [1.0], 3.0, 0.0, [1000]), r"eta tr\(H\) is too large", fd.RunError
    )
    assert_refused(lambda: theory.volterra_risk([1e5], [1.0], 1e-5, 1.0, [1e4]), "is not resolved by 192", fd.RunError)
