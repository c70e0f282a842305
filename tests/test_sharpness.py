"""Sharpness: the largest eigenvalue of the Hessian, or not a number where it is not found."""

import numpy as np
import pytest

import flowdyn as fd


@pytest.mark.parametrize("size", [6, 260])
def test_sharpness_is_the_largest_eigenvalue(size):
    """Dense below 200 parameters, an iteration above; an indefinite Hessian too."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((size, size))
    A = A @ A.T / size - 0.3 * np.eye(size)
    p = fd.problems.CustomProblem(lambda w: 0.5 * w @ A @ w - quartic(w), np.zeros(size))
    w = rng.standard_normal(size)
    run = fd.solve(fd.GradientDescent(p, 1e-3), w, steps=2, observe=fd.observables.sharpness(p, eta=1e-3))
    truth = [np.linalg.eigvalsh(A - 0.12 * np.diag(state**2))[-1] for state in run.w.values]
    assert np.allclose(run.sharpness, truth, rtol=1e-8) and np.allclose(run.sharpness_eta, 1e-3 * np.array(truth))


def quartic(w):
    """0.01 sum w^4, whose Hessian is 0.12 diag(w^2)."""
    return 0.01 * (w**4).sum()


def test_sharpness_of_a_flat_loss_with_many_parameters():
    flat = fd.problems.CustomProblem(lambda w: 0.0 * (w @ w), np.ones(300))
    run = fd.solve(fd.GradientFlow(flat), np.ones(300), t=1.0, saves=2, observe=fd.observables.sharpness(flat))
    assert (run.sharpness == 0).all()


def found_on(eigenvalues):
    """Sharpness of a diagonal quadratic with more parameters than are treated densely."""
    problem = fd.problems.Quadratic(np.diag(eigenvalues))
    return float(fd.observables.sharpness(problem)["sharpness"](np.zeros(len(eigenvalues))))


def test_sharpness_that_is_not_found_is_not_a_number():
    """A top eigenvalue of 1e-9 is less than the rounding of the others."""
    assert np.isnan(found_on(np.r_[-np.linspace(1, 1e6, 249), 1e-9]))


@pytest.mark.parametrize(
    ("below", "top"),
    [(-np.linspace(1, 100, 249), 1e-3), (np.linspace(0, 1, 249), 1.0001), (-np.linspace(1, 1e6, 249), 1e-3)],
    ids=["small", "crowded", "a billionth"],
)
def test_a_top_eigenvalue_that_is_small_or_crowded_is_found(below, top):
    assert found_on(np.r_[below, top]) == pytest.approx(top, rel=1e-5)
