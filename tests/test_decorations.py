"""What is computed beside a run costs less than the run, or is left out and said so."""

import numpy as np
import pytest

import flowdyn as fd
from flowdyn._tools import memory
from flowdyn.methods import curvature
from flowdyn.problems import linear_regression


def table(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return fd.problems.LinearRegression(rng.standard_normal((n, d)) / np.sqrt(n), rng.standard_normal(n))


@pytest.mark.parametrize(("n", "d", "steps"), [(20_000, 20, 50), (40, 31, 100_000), (40, 100, 1000)])
def test_a_law_that_costs_more_than_the_run_is_left_out_in_words(n, d, steps):
    p = table(n, d)
    run = fd.solve(fd.SGD(p, 0.01), np.zeros(d), steps=steps)
    assert "w_cov_exact" not in run and run.attrs["flowdyn_law"].startswith("left out: ")
    assert np.isfinite(run.w).all()


def test_a_law_of_many_samples_is_there_where_it_is_cheap():
    """Two steps of 20,640 samples against sums over the samples, taken by numpy."""
    n, d, eta = 20_640, 8, 1e-6
    p = table(n, d)
    run = fd.solve(fd.SGD(p, eta), np.ones(d), steps=2, saves=3)
    X, y, m, C = np.asarray(p.X), np.asarray(p.y), np.ones(d), np.zeros((d, d))
    for _ in range(2):
        grads = n * X * (X @ m - y)[:, None]
        own = (n * n * X * np.einsum("ij,jk,ik->i", X, C, X)[:, None]).T @ X / n  # mean_i A_i C A_i
        A = X.T @ X
        m, C = m - eta * grads.mean(axis=0), C - eta * (A @ C + C @ A) + eta**2 * (np.cov(grads.T, bias=True) + own)
    assert np.allclose(run.w_mean_exact[-1], m, rtol=1e-12) and np.allclose(run.w_cov_exact[-1], C, rtol=1e-7)


def test_a_cheap_law_is_there_and_its_samples_are_taken_one_by_one():
    """One step, w1 = w0 - eta g_i: Cov = eta^2 Cov_i(g_i), at an n whose n^2 d^2 numbers would not fit."""
    p = table(9000, 2)
    w0 = np.array([0.3, -0.2])
    run = fd.solve(fd.SGD(p, 0.01), w0, steps=1, saves=2)
    X, y = np.asarray(p.X), np.asarray(p.y)
    grads = 9000 * X * (X @ w0 - y)[:, None]
    assert np.allclose(run.w_cov_exact[-1], 1e-4 * np.cov(grads.T, bias=True), rtol=1e-9)
    assert "flowdyn_law" not in run.attrs


def test_nothing_is_said_where_no_law_is_known():
    rng = np.random.default_rng(0)
    p = fd.problems.SquaredRegression(rng.standard_normal((30, 20)), rng.uniform(0.5, 1.0, 30))
    run = fd.solve(fd.SGD(p, 0.001), p.init(0.1), steps=50, saves=3)
    assert "flowdyn_law" not in run.attrs and "w_cov_exact" not in run


def test_one_decomposition_a_problem(monkeypatch):
    calls = []
    real = np.linalg.svd
    monkeypatch.setattr(linear_regression.np.linalg, "svd", lambda *a, **k: calls.append(1) or real(*a, **k))
    p = table(30, 10)
    for system in (fd.GradientFlow(p), fd.GradientDescent(p, 0.01), fd.GradientDescent(p, 0.02)):
        fd.solve(system, np.zeros(10), t=1.0)
    assert len(calls) == 1


def test_the_check_of_a_step_size_decomposes_nothing(monkeypatch):
    """2,000 x 500: a random run asks for the largest curvature alone, in few products with the Hessian."""
    p = table(2000, 500)
    largest = np.linalg.eigvalsh(np.asarray(p.X).T @ np.asarray(p.X))[-1]

    def of_few(plain):  # Lanczos has a matrix of its own, of some tens of rows
        return lambda a, *more, **options: pytest.fail("a decomposition") if len(a) > 60 else plain(a, *more, **options)

    for module, name in ((linear_regression.np.linalg, "svd"), (np.linalg, "eigh"), (np.linalg, "eigvalsh")):
        monkeypatch.setattr(module, name, of_few(getattr(module, name)))
    products, real = [], curvature.bind

    def counted(kernel, *modules):
        call = real(kernel, *modules)
        return lambda *args: products.append(kernel.__name__) or call(*args)

    monkeypatch.setattr(curvature, "bind", counted)
    assert curvature.largest_curvature(p, np.zeros(500)) == pytest.approx(largest, rel=1e-5)
    assert set(products) == {"_hvp"} and len(products) <= curvature.MOST_PRODUCTS + 2
    with pytest.warns(fd.FlowdynWarning, match="stability threshold"):
        fd.solve(fd.SGD(p, 2.1 / largest), np.zeros(500), steps=2, saves=2, on_divergence="keep")


def test_a_decomposition_that_is_there_is_used():
    """The closed form of gradient descent decomposes the data; its curvature is then exact and free."""
    p = table(60, 40)
    assert p.known_spectrum() is None
    fd.solve(fd.GradientDescent(p, 0.01), np.zeros(40), steps=2)
    assert p.known_spectrum() is not None
    assert curvature.largest_curvature(p, np.zeros(40)) == p.spectrum().eigenvalues.max()


def test_few_results_are_remembered_and_none_for_other_arrays():
    made = []

    def square(a):
        made.append(1)
        return a**2

    arrays = [np.array([float(i)]) for i in range(memory.KEPT + 3)]
    assert all(memory.remember(square, a) == a**2 for a in arrays for _ in range(2))
    assert len(made) == len(arrays) and len(memory._results) <= memory.KEPT


def test_means_of_many_parameters_are_sampled_and_not_propagated_for_hours():
    """Too many parameters for one matrix: the work grows with the steps."""
    p = table(40, 60)
    works = [fd.SGD(p, 0.01).moments_work(60, np.array([k])) for k in (100, 200, 10_100)]
    assert works[2] - works[1] == pytest.approx(99 * (works[1] - works[0]))


def test_a_law_that_cannot_be_had_kills_no_run(monkeypatch):
    sgd = fd.SGD(fd.problems.Quadratic([[1.0]], noise=[[1.0]]), 0.1)
    for error in (MemoryError("no room"), np.linalg.LinAlgError("no"), RuntimeError("RESOURCE_EXHAUSTED")):

        def fails(self, w0, when, error=error):
            raise error

        monkeypatch.setattr(fd.SGD, "exact_moments", fails)
        run = fd.solve(sgd, [1.0], steps=3)
        assert run.attrs["flowdyn_law"] == f"left out: it could not be computed ({error})" and np.isfinite(run.w).all()


def test_a_law_beyond_the_range_of_doubles_is_left_out():
    """The run is cut where it diverges; its law would be inf there."""
    sgd = fd.SGD(fd.problems.Quadratic([[1.0]], noise=[[1.0]]), 30.0)
    with pytest.warns(fd.FlowdynWarning, match="stability"):
        run = fd.solve(sgd, [1.0], steps=400, on_divergence="keep")
    assert run.attrs["flowdyn_law"] == "left out: it grows beyond the range of float64"
    equation = fd.SGD(fd.problems.Quadratic([[-1.0]], noise=[[1.0]]), 0.1).limit(1)
    run = fd.solve(equation, [1.0], t=800.0, on_divergence="keep")
    assert "beyond the range of float64" in run.attrs["flowdyn_law"]


def test_a_law_of_members_that_start_apart_is_said_to_be_left_out():
    sgd = fd.SGD(table(5, 2), 0.01)
    first = fd.solve(sgd, np.ones(2), steps=4, realizations=3)
    again = fd.solve(sgd, first.isel(t=-1), steps=4)
    assert again.attrs["flowdyn_law"] == "left out: its members start from different states"
