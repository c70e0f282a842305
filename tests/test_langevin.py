"""Langevin and SGLD: laws by matrix equations, quadrature and a transfer operator on a grid, numbers of a script."""

import jax
import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import cumulative_simpson, simpson

import flowdyn as fd

A, SIGMA = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 0.5]])
OBSERVED = {"w0": lambda w: w[0], "square": lambda w: w[0] ** 2}
T = 0.25
WELL = fd.problems.CustomProblem(lambda w: w[0] ** 4 / 4 - w[0] ** 2 / 2, np.ones(1))
SAMPLES = fd.problems.LinearRegression(
    np.random.default_rng(1).standard_normal((5, 2)), np.random.default_rng(2).standard_normal(5)
)


@pytest.mark.parametrize(("lam", "s", "eta"), [(1.0, 1.0, 0.1), (2.0, 0.0, 0.3), (0.5, 2.0, 1.0)])
def test_the_stationary_variance_of_sgld(lam, s, eta):
    problem = fd.problems.Quadratic(lam, noise=s**2) if s else fd.problems.Quadratic(lam)
    sgld = fd.SGLD(problem, eta, temperature=0.7)
    assert np.isclose(
        sgld.exact_moments([1.0], [2000])[1][-1], (1.4 + eta * s**2) / (lam * (2 - eta * lam)), rtol=1e-12
    )
    langevin = sgld.limit(1)
    assert np.isclose(langevin.exact_moments([1.0], [200.0])[1][-1], 0.7 / lam, rtol=1e-12)


def test_laws_in_two_dimensions():
    sgld = fd.SGLD(fd.problems.Quadratic(A, noise=SIGMA), 0.1, T, batch_size=2)
    noise = 0.01 / 2 * SIGMA + 2 * T * 0.1 * np.eye(2)
    exact = scipy.linalg.solve_discrete_lyapunov(np.eye(2) - 0.1 * A, noise)
    assert np.allclose(sgld.exact_moments([1.0, 0.0], [2000])[1][-1], exact, rtol=1e-10)
    gaps = []
    for eta in (0.1, 0.05, 0.025, 0.0125):
        noise = eta**2 * SIGMA + 2 * T * eta * np.eye(2)
        exact = scipy.linalg.solve_discrete_lyapunov(np.eye(2) - eta * A, noise)
        equation = fd.SGLDEquation(fd.problems.Quadratic(A, noise=SIGMA), eta, T)
        gaps.append(np.linalg.norm(equation.exact_moments([1.0, 0.0], [80.0])[1][-1] - exact))
    assert abs(np.log2(gaps[-2] / gaps[-1]) - 2) < 0.05


@pytest.mark.parametrize(("order", "tolerance"), [(1, 0.01), (2, 0.01)])
@pytest.mark.parametrize("problem", [fd.problems.Quadratic(A, noise=SIGMA), fd.problems.Quadratic(A)])
def test_weak_orders(problem, order, tolerance):
    ladder = fd.eta_limit(fd.SGLD(problem, 0.05, 0.3), [1.0, 1.0], t=2.0, order=order, observable=OBSERVED)
    assert (ladder.members == 0).all() and np.abs(ladder.order - order).max() < tolerance


def test_weak_orders_with_samples():
    """Noise in proportion to the distance: means and second moments are exact there too."""
    for order in (1, 2):
        method = fd.SGLD(SAMPLES, 0.02, 0.3, batch_size=2, sampling="without")
        ladder = fd.eta_limit(method, [1.0, 1.0], t=1.0, order=order, observable=OBSERVED)
        assert (ladder.members == 0).all() and np.abs(ladder.order - order).max() < 0.1


def test_samples_have_the_moments_of_all_draws():
    """Moments after one step of one sample of five: their spread and the injected noise."""
    sgld, w = fd.SGLD(SAMPLES, 0.1, T), np.array([0.4, -0.2])
    ends = w - 0.1 * np.asarray(SAMPLES.sample_grads(w))
    mean, cov = sgld.exact_moments(w, np.array([1]))
    assert np.allclose(mean[-1], ends.mean(axis=0), rtol=1e-12)
    assert np.allclose(cov[-1], np.cov(ends.T, bias=True) + 2 * T * 0.1 * np.eye(2), rtol=1e-12)
    last = fd.solve(sgld, w, steps=1, realizations=20_000, seed=2).w.isel(t=-1).values
    assert np.abs(last.mean(axis=0) - mean[-1]).max() < 5 * last.std() / np.sqrt(20_000)
    assert np.allclose(np.cov(last.T), cov[-1], atol=0.05 * cov[-1].max())


def stationary_square(equation):
    """E x^2 of the stationary density exp(int 2b/s^2)/s^2 of a scalar equation, by quadrature."""
    x = np.linspace(-3.5, 3.5, 4001)
    b = np.asarray(jax.vmap(lambda z: equation.drift(0.0, z))(x[:, None]))[:, 0]
    s = np.asarray(jax.vmap(lambda z: equation.diffusion(0.0, z))(x[:, None]))[:, 0, 0] ** 2
    exponent = cumulative_simpson(2 * b / s, x=x, initial=0.0)
    density = np.exp(exponent - exponent.max()) / s
    return simpson(density * x**2, x=x) / simpson(density, x=x)


def reflected_square(eta, box=3.0, count=901):
    """E x^2 of unadjusted Langevin reflected at +-box: the fixed point of its transfer operator on a grid."""
    x = np.linspace(-box, box, count)
    sgld = fd.SGLD(WELL, eta, T)
    mean = np.asarray(jax.vmap(lambda z: sgld.mean_step(0, z))(x[:, None]))[:, 0]
    spread = np.sqrt(2 * T * eta)
    images = [np.exp(-((y - mean[:, None]) ** 2) / (2 * spread**2)) for y in (x, 2 * box - x, -2 * box - x)]
    kernel = sum(images)
    kernel /= kernel.sum(axis=1, keepdims=True)
    system = kernel.T - np.eye(count)
    system[-1] = 1.0
    return np.linalg.solve(system, np.eye(count)[-1]) @ x**2


def test_the_double_well():
    """E x^2: Langevin .8327454871; unadjusted Langevin in a box .8141579617 at eta = .1, .8284764883 at .025."""
    assert abs(stationary_square(fd.Langevin(WELL, T)) - 0.8327454871) < 6e-11
    found = {eta: reflected_square(eta) for eta in (0.1, 0.05, 0.025, 0.0125)}
    assert abs(found[0.1] - 0.8141579617) < 6e-11 and abs(found[0.025] - 0.8284764883) < 6e-11
    first = np.array([found[eta] - 0.8327454871 for eta in found])
    second = np.array([found[eta] - stationary_square(fd.SGLDEquation(WELL, eta, T)) for eta in found])
    assert abs(np.log2(first[-2] / first[-1]) - 1) < 0.1
    assert abs(np.log2(second[-2] / second[-1]) - 2) < 0.1


def test_sgld_runs_away_on_a_quartic():
    sgld = fd.SGLD(WELL, 0.1, T)
    with pytest.warns(fd.FlowdynWarning, match="threshold"):
        run = fd.solve(sgld, [6.0], steps=12, realizations=3, on_divergence="keep")
    assert (run.status != 0).all()


def test_made_again_from_a_file(tmp_path):
    run = fd.solve(fd.SGLD(SAMPLES, 0.01, T, batch_size=2), [1.0, 0.0], t=0.1, realizations=2, seed=3)
    fd.save(run, tmp_path / "run.nc")
    assert fd.rerun(fd.load(tmp_path / "run.nc")).w.equals(run.w)


BAD = {
    "temperature": (lambda: fd.Langevin(WELL, 0.0), "`temperature` must be positive"),
    "a flow": (lambda: fd.SGLD(WELL, 0.1, T).limit(0), "the noise stays as eta -> 0 and there is no flow"),
    "order 3": (lambda: fd.SGLD(WELL, 0.1, T).limit(3), "`order` must be 1 or 2"),
    "fresh": (lambda: fd.SGLD(fd.problems.Streaming.example()[0], 0.1, T), "must have given samples"),
    "reshuffle": (lambda: fd.SGLD(SAMPLES, 0.1, T, sampling="reshuffle"), "steps are not independent"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
