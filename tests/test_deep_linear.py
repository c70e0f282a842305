"""Deep linear networks and symmetric factorisation: exact flows, half-times, what flow and descent conserve."""

import itertools

import numpy as np
import pandas as pd
import pytest
from refusal import assert_refused
from scipy.linalg import expm

import flowdyn as fd
from flowdyn import theory

S = np.random.default_rng(5).standard_normal((2, 3))
TIGHT = fd.solvers.Scipy("DOP853", rtol=1e-13)


def product(w):
    """W_N ... W_1 of one mode."""
    out = 1.0
    for name in sorted(w):
        out = out * w[name][0, 0]
    return out


# u' = N u^{2 - 2/N} (s - u), s = 2, u0 = .01
@pytest.mark.parametrize(("depth", "half", "solver"), [(2, 1.3233262062, None), (3, 1.9775585796, TIGHT)])
def test_half_time_of_one_mode(depth, half, solver):
    p = fd.problems.DeepLinear([[2.0]], widths=[1] * (depth - 1))
    stop = {"u": (">", 1.0)}
    run = fd.solve(fd.GradientFlow(p), p.aligned(0.01), t=np.inf, observe={"u": product}, stop=stop, solver=solver)
    assert round(float(run.t_stop), 10) == half
    assert round(theory.deep_linear_time(depth, 2.0, 0.01, 1.0), 10) == half


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 9])
def test_time_of_one_mode_by_quadrature(depth):
    import mpmath

    N = mpmath.mpf(depth)
    edges = [mpmath.log(mpmath.mpf(u)) for u in ("1e-6", "1e-4", "0.01", "0.3", "1.4")]  # x = log u: smooth throughout
    s = mpmath.mpf("1.5")
    expected = mpmath.quad(lambda x: mpmath.exp(x * (2 / N - 1)) / (N * (s - mpmath.exp(x))), edges)
    assert theory.deep_linear_time(depth, 1.5, 1e-6, 1.4) == pytest.approx(float(expected), rel=1e-12)


def riccati(F, Q0, t, share):
    """The Riccati formula by exponentials of matrices; F is invertible."""
    E = expm(F * t)
    integral = np.linalg.solve(F, E @ E - np.eye(len(F))) / 2
    inner = np.eye(Q0.shape[1]) + share * Q0.T @ integral @ Q0
    return E @ Q0 @ np.linalg.solve(inner, Q0.T @ E)


@pytest.mark.parametrize("hidden", [1, 2, 4])
def test_balanced_flow_is_the_formula(hidden):
    rng = np.random.default_rng(7)
    square = rng.standard_normal((3, 3)) + np.eye(3)
    p = fd.problems.DeepLinear(square, widths=[hidden])
    w0 = p.init(0.4, seed=3)
    t = np.array([0.5, 1.0, 2.0])
    run = fd.solve(fd.GradientFlow(p), w0, t=t, solver=fd.solvers.Exact())
    F = np.block([[np.zeros((3, 3)), square.T], [square, np.zeros((3, 3))]])
    W1, W2 = map(np.asarray, p.layers(w0))
    for i, when in enumerate(t):
        Q = np.concatenate([run.W1.values[i].T, run.W2.values[i]])
        assert np.abs(Q @ Q.T - riccati(F, np.concatenate([W1.T, W2]), when, 1.0)).max() < 1e-11
    assert np.abs(run.theta - run.W2.values @ run.W1.values).max() < 1e-14


@pytest.mark.parametrize("kind", ["target", "white data", "symmetric"])
def test_exact_flow_beside_an_adaptive_solver(kind):
    """Each factor itself, not only its product: the rotation that the formula leaves open."""
    rng = np.random.default_rng(7)
    if kind == "symmetric":
        B = rng.standard_normal((4, 4))
        p = fd.problems.SymmetricFactorization(B + B.T, width=3)
        w0 = 0.7 * rng.standard_normal(p.size)  # any start
    else:
        X = np.linalg.qr(rng.standard_normal((7, 3)))[0] * 1.5
        given = {"S": S} if kind == "target" else {"X": X, "Y": rng.standard_normal((7, 2))}
        p = fd.problems.DeepLinear(**given, widths=[4])
        w0 = p.init(0.5, seed=1)
    run = fd.solve(fd.GradientFlow(p), w0, t=5.0, saves=11)
    assert "solved by Exact" in run.attrs["summary"]
    other = fd.solve(fd.GradientFlow(p), w0, t=run.t.values, solver=TIGHT)
    for name in (v.name for v in p.variables):
        assert np.abs(run[name] - other[name]).max() < 2e-12


def test_symmetric_flow_is_the_formula_with_twice_the_integral():
    F = np.array([[1.0, 0.4], [0.4, -0.6]])
    U0 = np.array([[0.3, -0.2, 0.5], [0.1, 0.4, 0.2]])
    p = fd.problems.SymmetricFactorization(F, width=3)
    run = fd.solve(fd.GradientFlow(p), U0, t=[0.7, 3.0], solver=fd.solvers.Exact())
    for i in range(2):
        assert np.abs(run.theta[i] - riccati(F, U0, float(run.t[i]), 2.0)).max() < 1e-12


def test_exact_flow_far_out_and_from_a_tiny_start():
    """u(t) = s / (1 + (s/u0 - 1) e^{-2 s t}) for each mode; at rest a run costs nothing."""
    p = fd.problems.DeepLinear(np.diag([3.0, 1.0]), widths=[2])
    t = np.array([20.0, 45.0, 60.0, 1e6])
    run = fd.solve(fd.GradientFlow(p), p.aligned([1e-40, 1e-30]), t=t)
    for i, (s, u0) in enumerate([(3.0, 1e-40), (1.0, 1e-30)]):
        expected = s / (1 + (s / u0 - 1) * np.exp(-2 * s * t))
        assert np.abs(run.theta[:, i, i] / expected - 1).max() < 1e-11


def test_modes_that_sleep_at_a_saddle_are_not_taken_for_rest():
    """After the first mode the path stands still to 1e-13 for a long time; the others come later."""
    rng = np.random.default_rng(7)
    p = fd.problems.DeepLinear(rng.standard_normal((3, 3)) + 2 * np.eye(3), widths=[3])
    run = fd.solve(fd.GradientFlow(p), p.aligned([1e-2, 1e-13, 1e-13]), t=[200.0])
    assert np.abs(run.theta[0] - p.target).max() < 1e-12


def test_a_restart_goes_on_exactly():
    p = fd.problems.DeepLinear(S, widths=[3])
    flow, w0 = fd.GradientFlow(p), p.init(0.3)
    first = fd.solve(flow, w0, t=2.0, saves=3)
    on = fd.solve(flow, first.isel(t=-1), t=5.0, saves=4)
    whole = fd.solve(flow, w0, t=[5.0])
    assert "Exact" in on.attrs["summary"] and np.abs(on.W1[-1] - whole.W1[-1]).max() < 1e-12


def test_starts_are_balanced():
    p = fd.problems.DeepLinear(S, widths=[4, 2, 3])
    goal = np.outer([1.0, 2.0], [0.5, 0.0, -0.3])
    for w in (p.init(0.3, seed=2), p.balanced(goal), p.aligned([0.2, 0.1])):
        W = list(map(np.asarray, p.layers(w)))
        for low, high in itertools.pairwise(W):
            assert np.abs(high.T @ high - low @ low.T).max() < 1e-14
    assert np.abs(p.theta(p.balanced(goal)) - goal).max() < 1e-14
    assert np.linalg.norm(p.layers(p.init(0.3, seed=2))[1], 2) == pytest.approx(0.3, rel=1e-12)
    assert not np.array_equal(p.init(0.3, seed=2), p.init(0.3, seed=3))
    U, _, Vt = np.linalg.svd(S)
    assert np.abs(p.theta(p.aligned([0.2, 0.1])) - (U * [0.2, 0.1]) @ Vt[:2]).max() < 1e-14


def test_data_are_a_target_up_to_a_constant():
    rng = np.random.default_rng(7)
    X, Y = np.linalg.qr(rng.standard_normal((6, 3)))[0], rng.standard_normal((6, 2))
    data, target = fd.problems.DeepLinear(X=X, Y=Y, widths=[2]), fd.problems.DeepLinear(Y.T @ X, widths=[2])
    w = data.init(0.8)
    constant = 0.5 * (np.sum(Y**2) - np.sum((Y.T @ X) ** 2))
    assert float(data.loss(w)) == pytest.approx(float(target.loss(w)) + constant, rel=1e-13)
    assert np.abs(data.grad(w) - target.grad(w)).max() < 1e-13
    assert data.sample_count == 6 and target.sample_count is None
    with pytest.raises(fd.ArgumentError, match="`sample_losses` is not defined for DeepLinear"):
        target.sample_losses(w)
    batch = data.batch_losses(w, np.array([4, 1]))
    assert np.abs(batch - data.sample_losses(w)[np.array([4, 1])]).max() < 1e-13


def test_an_unbalanced_start_has_no_exact_flow():
    p = fd.problems.DeepLinear(S, widths=[2])
    w0 = p.init(0.5)
    flow, off = fd.GradientFlow(p), w0 + np.eye(len(w0))[0]
    words = (
        r"cannot run GradientFlow: its closed form holds from balanced starts, and W2\^T W2 - W1 W1\^T is .* here; use"
    )
    assert_refused(lambda: fd.solve(flow, off, t=1.0, solver=fd.solvers.Exact()), words)
    assert "solved by Auto" in fd.solve(flow, off, t=0.1).attrs["summary"]
    both = fd.solve(flow, np.stack([w0, off]), t=0.5, saves=2)
    alone = fd.solve(flow, off, t=0.5, saves=2)
    assert np.abs(both.W1[1] - alone.W1).max() < 1e-6
    assert_refused(lambda: p.exact_flow()(off, np.array([1.0])), "`w0` must be balanced for the exact flow")


def test_where_no_exact_flow_is_known():
    rng = np.random.default_rng(7)
    deep = fd.problems.DeepLinear(S, widths=[2, 2])
    skew = fd.problems.DeepLinear(X=rng.standard_normal((6, 3)), Y=rng.standard_normal((6, 2)), widths=[2])
    for p in (deep, skew):
        with pytest.raises(fd.ArgumentError, match="it has no closed form here"):
            fd.solve(fd.GradientFlow(p), p.init(0.5), t=1.0, solver=fd.solvers.Exact())


def test_descent_beside_its_flow():
    p = fd.problems.DeepLinear(S, widths=[2])
    ladder = fd.eta_limit(fd.GradientDescent(p, 0.02), p.init(0.5, seed=1), t=2.0)
    assert ladder.attrs["verdict"] == "resolved" and abs(float(ladder.order) - 1) < 0.05


def gradients(p, w):
    """G1, ..., GN by their own formula: (W_N ... W_{i+1})^T (theta - S) (W_{i-1} ... W_1)^T."""
    W = list(map(np.asarray, p.layers(w)))
    found = []
    for i in range(len(W)):
        above, below = np.eye(W[-1].shape[0]), np.eye(W[0].shape[1])
        for part in W[i + 1 :][::-1]:
            above = above @ part
        for part in W[:i]:
            below = part @ below
        found.append(above.T @ (np.asarray(p.theta(w)) - np.asarray(p.S)) @ below.T)
    return found


@pytest.mark.parametrize("widths", [[3], [3, 2]])
def test_descent_changes_the_imbalance_by_eta_squared(widths):
    """W1 W1^T - W2^T W2 changes by eta^2 (G1 G1^T - G2^T G2) a step, exactly."""
    p, eta = fd.problems.DeepLinear(S, widths=widths), 0.1
    rng = np.random.default_rng(1)
    run = fd.solve(
        fd.GradientDescent(p, eta), 0.5 * rng.standard_normal(p.size), steps=6, observe=fd.observables.imbalance(p)
    )
    for i in range(1, len(widths) + 1):
        assert run[f"imbalance_{i}"].dims == ("t", f"hidden_{i}", f"hidden_{i}_2")
        for k in range(6):
            w = np.concatenate([run[v.name].values[k].ravel() for v in p.variables])
            G = gradients(p, w)
            change = run[f"imbalance_{i}"].values[k + 1] - run[f"imbalance_{i}"].values[k]
            assert np.abs(change - eta**2 * (G[i].T @ G[i] - G[i - 1] @ G[i - 1].T)).max() < 1e-14
    total = np.sqrt(sum((run[f"imbalance_{i}"].values ** 2).sum(axis=(1, 2)) for i in range(1, len(widths) + 1)))
    assert np.abs(run.imbalance - total).max() < 1e-14


def test_the_flow_conserves_the_imbalance():
    p = fd.problems.DeepLinear(S, widths=[3, 4])
    w0 = 0.5 * np.random.default_rng(2).standard_normal(p.size)
    run = fd.solve(fd.GradientFlow(p), w0, t=3.0, solver=TIGHT, observe=fd.observables.imbalance(p))
    for name in ("imbalance", "imbalance_1", "imbalance_2"):
        assert np.abs(run[name] - run[name][0]).max() < 1e-11 * float(np.abs(run[name][0]).max())
    assert_refused(lambda: fd.observables.imbalance(fd.problems.Quadratic(1.0)), "`problem` must be a LayeredProblem")


def test_layout_labels_and_pytrees():
    frame = pd.DataFrame(S, columns=["age", "bmi", "dose"], index=["a", "b"])
    p = fd.problems.DeepLinear(frame, widths=[4])
    w0 = p.init(0.2)
    W1, W2 = p.layers(w0)
    assert np.array_equal(p.ravel([W1, W2]), w0) and np.array_equal(p.ravel({"W1": W1, "W2": W2}), w0)
    run = fd.solve(fd.GradientFlow(p), [np.asarray(W1), np.asarray(W2)], t=1.0, saves=3)
    assert run.W1.dims == ("t", "hidden_1", "feature") and run.W2.dims == ("t", "output", "hidden_1")
    assert run.theta.sel(output="b", feature="dose").shape == (3,)
    system, start, options = fd.rebuild(run)
    again = fd.solve(system, start, **options)
    assert again.W1.identical(run.W1) and again.output.values.tolist() == ["a", "b"]


def test_a_slow_tail_is_refused_far_out(monkeypatch):
    """A column that F does not fill decays like t^{-1/2}: the exact flow never comes to rest."""
    F, Q0 = np.diag([1.0, 0.0]), np.array([[0.5, 0.2], [0.3, 0.4]])
    assert theory.factor_flow(F, Q0, [50.0]).shape == (1, 2, 2)
    monkeypatch.setattr("flowdyn.theory.matrix_factors.LONGEST", 100)
    assert_refused(lambda: theory.factor_flow(F, Q0, [1e4]), r"`t` must be at most 100 times 1/\|\|F\|\|")


REFUSED = {
    "nothing": (lambda: fd.problems.DeepLinear(), "`S` must be given, or else both `X` and `Y`"),
    "both": (lambda: fd.problems.DeepLinear(S, X=S, Y=S), "`S` must be given, or else both"),
    "half": (lambda: fd.problems.DeepLinear(X=S), "`S` must be given, or else both"),
    "samples": (lambda: fd.problems.DeepLinear(X=S, Y=np.ones((3, 1))), "`Y` must have the samples of `X`"),
    "no layer": (lambda: fd.problems.DeepLinear(S, widths=[]), "at least one hidden layer.*LinearRegression"),
    "width": (lambda: fd.problems.DeepLinear(S, widths=[2, 0]), r"`widths\[1\]` must be at least 1"),
    "number": (lambda: fd.problems.DeepLinear(S, widths=3), "`widths` must be a sequence"),
    "empty": (lambda: fd.problems.DeepLinear(np.ones((0, 2))), "`S` must have at least one row"),
    "rank": (lambda: fd.problems.DeepLinear(S, widths=[1]).balanced(S), "`product` must have rank at most 1"),
    "strengths": (
        lambda: fd.problems.DeepLinear(S).aligned([1.0, 1.0, 1.0]),
        "`strengths` must be a number or up to 2",
    ),
    "negative": (lambda: fd.problems.DeepLinear(S).aligned(-1.0), "`strengths` must be"),
    "alpha": (lambda: fd.problems.DeepLinear(S).init(0.0), "`alpha` must be positive"),
    "not symmetric": (lambda: fd.problems.SymmetricFactorization([[0.0, 1.0], [0.0, 0.0]]), "`F` must be symmetric"),
    "not square": (lambda: fd.problems.SymmetricFactorization(S), "`F` must be a square matrix"),
    "flow of another": (lambda: theory.factor_flow(S, S, [1.0]), "`F` must be square and symmetric"),
    "rows": (lambda: theory.factor_flow(np.eye(3), S, [1.0]), "`Q0` must have the 3 rows of `F`"),
    "before": (lambda: theory.factor_flow(np.eye(2), S, [-1.0]), "`t` must not be negative"),
    "order": (lambda: theory.deep_linear_time(2, 1.0, 0.5, 0.2), "`u` must lie from u0 = 0.5 up to, and below"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_words(case):
    assert_refused(*REFUSED[case])
