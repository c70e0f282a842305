"""Digits that must not be lost: laws as eta -> 0, certificates that are certificates."""

import numpy as np
import pytest

from flowdyn import theory

A = np.array([[2.0, 0.5], [0.5, 1.0]])
SIGMA = np.array([[1.0, 0.2], [0.2, 0.5]])
RATES, BASIS = np.linalg.eigh(A)


@pytest.mark.parametrize("eta", [0.3, 1e-3, 1e-9, 1e-12, 1e-15])
def test_stationary_covariance_of_sgd(eta):
    """In the eigenbasis S_ij = eta Sigma_ij / (lam_i + lam_j - eta lam_i lam_j)."""
    noise = BASIS.T @ SIGMA @ BASIS
    truth = BASIS @ (eta * noise / (np.add.outer(RATES, RATES) - eta * np.outer(RATES, RATES))) @ BASIS.T
    assert np.allclose(theory.stationary_cov(A, SIGMA, eta), truth, rtol=1e-12, atol=0)


@pytest.mark.parametrize("eta", [0.3, 1e-3, 1e-9, 1e-12, 1e-15])
def test_transient_law_of_sgd_over_one_unit_of_time(eta):
    """(1 - eta lam)^k by log1p, and the geometric sum of its powers by expm1."""
    k = round(2 / eta)
    logs = np.log1p(-eta * RATES)
    mean, cov = theory.sgd_mean_cov(A, SIGMA, eta, [1.0, -1.0], [k])
    assert np.allclose(mean[0], BASIS @ (np.exp(k * logs) * (BASIS.T @ [1.0, -1.0])), rtol=1e-12, atol=0)
    pairs = np.add.outer(logs, logs)
    truth = BASIS @ (eta**2 * (BASIS.T @ SIGMA @ BASIS) * np.expm1(k * pairs) / np.expm1(pairs)) @ BASIS.T
    assert np.allclose(cov[0], truth, rtol=1e-12, atol=0)


def test_a_matrix_that_is_not_symmetric_solves_its_equation():
    B = np.array([[0.5, 2.0], [-2.0, 0.4]])
    S = theory.stationary_cov(B, SIGMA, 0.1)
    M = np.eye(2) - 0.1 * B
    assert np.allclose(S, M @ S @ M.T + 0.01 * SIGMA, atol=1e-15)


@pytest.mark.parametrize(
    ("X", "y"),
    [([[1.0, 2.0], [0.0, -1.0]], [1.0, 0.0]), ([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]], [1.0, 0.0]), ([[1.0]], [2.0])],
)
def test_the_dual_of_a_nonnegative_interpolant_is_a_certificate(X, y):
    """X^T v <= 1 with v . y = sum theta proves that no nonnegative interpolant is smaller."""
    found = theory.basis_pursuit(X, y, nonnegative=True)
    assert (np.transpose(X) @ found.dual).max() <= 1 + 1e-12
    assert found.dual @ y == pytest.approx(found.theta.sum(), abs=1e-12) and found.gap < 1e-12
