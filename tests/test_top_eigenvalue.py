"""The top eigenvalue of a matrix known by its products, beside LAPACK's of the matrix itself."""

import subprocess
import sys

import numpy as np
import pytest

from flowdyn._tools.thick_restart import top_eigenvalue

rng = np.random.default_rng(5)
B = rng.standard_normal((120, 120))
Q = np.linalg.qr(B)[0]
MATRICES = {
    "Wishart": B @ B.T / 120,
    "indefinite": (B + B.T) / 2,
    "crowded": Q * np.r_[np.linspace(0, 1, 119), 1.001] @ Q.T,
    "graded": Q * np.geomspace(1e-6, 1, 120) @ Q.T,
    "a double one": Q * np.r_[np.linspace(0, 1, 118), 2, 2] @ Q.T,
    "of low rank": np.diag(np.r_[np.zeros(115), 1.0, 2, 3, 4, 5]),
    "the identity": np.eye(120),
    "zero": np.zeros((120, 120)),
    "two by two": np.array([[1.0, 2.0], [2.0, -3.0]]),
    "one by one": np.array([[-0.3]]),
}


def found_of(matrix, **options):
    """What is found, and by how many products."""
    products = []

    def product(v):
        products.append(v.copy())
        return matrix @ v

    found = top_eigenvalue(product, len(matrix), **{"tol": 1e-6, "most_products": 220} | options)
    return found, products


@pytest.mark.parametrize("of_size", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_it_is_that_of_the_matrix(name, of_size):
    """The residual is a millionth, and the error its square over the gap: twelve digits where that is 1e-3."""
    values = np.linalg.eigvalsh(MATRICES[name])
    truth = np.abs(values).max() if of_size else values[-1]
    found, products = found_of(MATRICES[name], of_size=of_size)
    assert found == pytest.approx(truth, rel=1e-11, abs=1e-14)
    assert len(products) <= 220


def test_vectors_stay_orthogonal_through_restarts():
    """Those of one cycle are; a restart takes the next from where the last cycle ended."""
    _, products = found_of(MATRICES["crowded"])
    assert len(products) > 20
    first = np.array(products[:20])
    assert np.abs(first @ first.T - np.eye(20)).max() < 1e-14
    later = np.array(products[20:32])
    assert np.abs(later @ later.T - np.eye(12)).max() < 1e-14


def test_products_are_bounded_and_what_is_found_then_is_a_lower_bound():
    values = np.linalg.eigvalsh(MATRICES["crowded"])
    found, products = found_of(MATRICES["crowded"], most_products=9)
    assert len(products) == 9 and values[0] < found < values[-1] - 1e-6


def test_a_product_that_is_not_finite_is_told():
    broken = np.eye(40)
    broken[3, 3] = np.inf
    assert np.isnan(found_of(broken)[0])
    assert len(found_of(broken)[1]) == 1


def test_a_ladder_needs_no_linear_algebra_of_scipy():
    """Loading it costs a fifth of a second, more than the products do."""
    code = (
        "import sys; sys.modules['dask'] = None  # xarray loads it where it is installed, and it scipy.sparse\n"
        "import numpy as np, flowdyn as fd\n"
        "from flowdyn.convergence.default_scales import stable_eta\n"
        "p = fd.problems.DiagonalNetwork(np.eye(20), np.ones(20))\n"
        "eta = stable_eta(p, p.init(0.1), 0.05)\n"
        "fd.eta_limit(fd.GradientDescent(p, eta), p.init(0.1), 0.05, eta / 2.0 ** np.arange(3))\n"
        "assert not {'scipy.sparse', 'scipy.linalg', 'scipy.integrate'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
