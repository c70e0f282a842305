"""Eigenvalues and trace of the Hessian, the gradient noise scale: against diagonal matrices and closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn import observables


def values_on(eigenvalues, k):
    """Values and errors on a diagonal quadratic."""
    p = fd.problems.Quadratic(np.diag(eigenvalues))
    found = observables.hessian_eigenvalues(p, k)
    w = np.zeros(len(eigenvalues))
    return tuple(np.asarray(found[name](w)) for name in ("hessian_eigenvalues", "hessian_eigenvalues_error"))


@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.linspace(-3, 5, 40),
        np.r_[np.linspace(0, 1, 249), 2, 2, 2, 1.99999],
        np.r_[-np.linspace(1, 1e6, 249), 1e-3],
        np.r_[np.zeros(300), 1.0, 3.0],
        -np.ones(300),
        np.linspace(0, 1, 1000) ** 8,
    ],
    ids=["small", "threefold", "beside a million", "of rank two", "one value", "spread"],
)
def test_the_largest_eigenvalues_and_their_errors(eigenvalues):
    values, errors = values_on(eigenvalues, 4)
    truth = np.sort(eigenvalues)[::-1][:4]
    rounding = 1e-14 * np.abs(eigenvalues).max()
    assert np.abs(values - truth).max() <= 1e-9 * np.abs(truth).max() + 100 * rounding
    assert (np.abs(values - truth) <= 5 * errors + rounding).all()


def crossing(w):
    """Curvature 1/2 + i/1000 along coordinate i, and one that rises from the bottom to the top with w[0]."""
    c = 0.5 + jnp.arange(300) / 1000
    return 0.5 * jnp.sum(c * w**2) + 0.5 * w[0] ** 2 * w[7] ** 2


def test_a_direction_that_rises_from_below_is_seen():
    """Each state starts from the eigenvectors of the one before; at w0 = s e_0, H = diag(c + s^2 e_7)."""
    p = fd.problems.CustomProblem(crossing, np.zeros(300))
    s = np.r_[0.1, 0.1, 3.0, 3.0, 0.2, np.linspace(0.2, 1.5, 20)]
    path = np.zeros((len(s), 300))
    path[:, 0] = s
    found = observables.hessian_eigenvalues(p, 2)["hessian_eigenvalues"]
    values = found.part(found.shared.along(path))
    c = 0.5 + np.arange(300) / 1000
    truth = [np.sort(np.r_[np.delete(c, 7), c[7] + x**2])[::-1][:2] for x in s]
    assert np.abs(values - truth).max() < 1e-8


def test_what_is_remembered_changes_no_value():
    rng = np.random.default_rng(0)
    p = fd.problems.CustomProblem(lambda w: jnp.sum(jnp.cosh(w)), np.zeros(250))
    path = rng.standard_normal((37, 250))  # three chunks
    found = observables.sharpness(p)["sharpness"]
    truth = np.cosh(path).max(axis=1)
    for remembers in (True, False):
        assert np.allclose(found.part(found.shared.along(path, remembers=remembers)), truth, rtol=1e-9)


def test_a_run_stops_where_its_sharpness_does():
    """w' = -w^3 of L = sum w^4/4: the sharpness 3 w^2 with w = (w0^-2 + 2t)^(-1/2) is 1 at t = 1 from w0 = 1."""
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4, np.ones(3))
    run = fd.solve(
        fd.GradientFlow(p), np.ones(3), t=9.0, observe=observables.sharpness(p), stop={"sharpness": ("<", 1.0)}
    )
    assert float(run.t_stop) == pytest.approx(1.0, abs=1e-6)


def test_an_observable_of_an_ensemble_is_the_same_in_one_of_any_size():
    p = fd.problems.Quadratic(np.diag(np.r_[np.linspace(0, 1, 219), 2.0]), noise=np.eye(220))
    seen = {"observe": observables.hessian_eigenvalues(p, 1), "saves": 3, "t": 0.2, "seed": 1}
    runs = [fd.solve(fd.SGD(p, 0.1), np.ones(220), realizations=n, **seen) for n in (2, 5)]
    assert np.array_equal(runs[0].hessian_eigenvalues, runs[1].hessian_eigenvalues[:2])


@pytest.mark.parametrize("size", [50, 400])
def test_the_trace_is_exact_or_within_its_error(size):
    rng = np.random.default_rng(size)
    for _ in range(5):
        A = rng.standard_normal((size, size)) / np.sqrt(size)
        A = A @ A.T + 10 * np.outer(A[0], A[0])
        p = fd.problems.Quadratic(A)
        found = observables.hessian_trace(p)
        value, error = (float(found[name](np.zeros(size))) for name in found)
        if size == 50:
            assert value == pytest.approx(np.trace(A), rel=1e-12) and error == 0
        else:
            assert 0 < error < 0.1 * np.trace(A) and abs(value - np.trace(A)) < 4 * error


def test_noise_scales_of_shifted_parabolas():
    """l_i = 1/2 (w - c_i)^T D (w - c_i): g = D (w - mean c), Sigma = D Cov(c) D, H = D."""
    rng = np.random.default_rng(2)
    c, d, w = rng.standard_normal((40, 3)), np.array([1.0, 2.0, 5.0]), np.array([0.3, -1.0, 2.0])

    def samples(w, c):
        return 0.5 * ((w - c) ** 2 @ d)

    p = fd.problems.CustomProblem(lambda w, c: samples(w, c).mean(), w, data=c, sample_losses=samples)
    g, Sigma = d * (w - c.mean(axis=0)), np.diag(d) @ np.cov(c.T, bias=True) @ np.diag(d)
    found = observables.gradient_noise_scale(p, curvature=True)
    assert float(found["gradient_noise_scale"](w)) == pytest.approx(np.trace(Sigma) / (g @ g), rel=1e-12)
    curved = np.trace(np.diag(d) @ Sigma) / (g @ (d * g))
    assert float(found["gradient_noise_scale_curved"](w)) == pytest.approx(curved, rel=1e-12)


def test_noise_scale_of_gaussian_noise_and_at_a_minimum():
    q = fd.problems.Quadratic(np.diag([2.0, 1.0]), noise=np.diag([3.0, 1.0]))
    found = observables.gradient_noise_scale(q)["gradient_noise_scale"]
    assert float(found(np.array([1.0, 1.0]))) == pytest.approx(4 / 5)
    assert np.isnan(float(found(np.zeros(2))))


@pytest.mark.parametrize("H", [np.array([[1.0, 0.3], [0.3, 0.5]]), np.array([1.0, 0.5])])
def test_noise_scale_of_fresh_samples(H):
    """By quadrature over the law of a sample: its gradient is a polynomial of degree 2 in three normals."""
    star, sigma, w = np.array([1.0, -0.5]), 0.5, np.array([0.2, 0.7])
    p, full = fd.problems.Streaming(H, star, sigma), H if H.ndim == 2 else np.diag(H)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    z = np.stack([x.ravel() for x in np.meshgrid(nodes, nodes, nodes)], axis=1)
    law = np.prod([x.ravel() for x in np.meshgrid(*[weights / weights.sum()] * 3)], axis=0)
    x = z[:, :2] @ np.linalg.cholesky(full).T
    rows = x * (x @ (w - star) - sigma * z[:, 2])[:, None]
    g = law @ rows
    Sigma = (rows - g).T @ (law[:, None] * (rows - g))
    found = observables.gradient_noise_scale(p, curvature=True)
    assert float(found["gradient_noise_scale"](w)) == pytest.approx(np.trace(Sigma) / (g @ g), rel=1e-12)
    curved = np.trace(full @ Sigma) / (g @ full @ g)
    assert float(found["gradient_noise_scale_curved"](w)) == pytest.approx(curved, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: observables.hessian_eigenvalues(p, 3), "`k` must be at most the number of parameters 2"),
        (lambda p: observables.hessian_eigenvalues(p, 0), "`k` must be"),
        (lambda p: observables.hessian_trace(p, 5), "`probes` must be"),
        (lambda p: observables.hessian_trace("p"), "`problem` must be a Problem"),
        (lambda p: observables.gradient_noise_scale(p), "`problem` must have samples or Gaussian noise"),
    ],
)
def test_refused_in_words(call, message):
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w**2), np.zeros(2))
    with pytest.raises(fd.ArgumentError, match=message):
        call(p)
