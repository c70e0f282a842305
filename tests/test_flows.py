"""Flows and recursions against closed forms, theorems and other solvers."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import j1

import flowdyn as fd

FLOW_SOLVERS = {
    "exact": lambda: fd.solvers.Exact(),
    "lsoda": lambda: fd.solvers.Scipy("LSODA", rtol=1e-11),
    "dop853": lambda: fd.solvers.Scipy("DOP853", rtol=1e-12),
    "tsit5": lambda: fd.solvers.Diffrax("Tsit5", rtol=1e-12),
}


def off_span(X, w):
    """Part of w outside the row span of X, relative."""
    inside = np.linalg.pinv(X) @ (X @ w)
    return np.linalg.norm(w - inside) / max(np.linalg.norm(w), 1e-300)


@pytest.mark.parametrize("solver", FLOW_SOLVERS)
def test_linear_flow_ends_at_the_minimum_norm_interpolant(wide, solver):
    X, y = wide
    p = fd.problems.LinearRegression(X, y)
    run = fd.solve(fd.GradientFlow(p), p.init(), t=60.0, solver=FLOW_SOLVERS[solver]())
    best = np.linalg.pinv(X) @ y  # Corollary 9.2
    assert np.abs(run.w[-1] - best).max() < 1e-10
    assert max(off_span(X, w) for w in run.w.values[1:]) <= 1e-12


def test_rank_deficient_data_and_a_start_off_the_span(wide):
    X, y = wide
    X = np.vstack([X, X[:3]])  # rank 20 of 23, and targets that contradict each other
    y = np.concatenate([y, y[:3] + 1.0])
    w0 = np.linspace(-1, 1, 50)
    p = fd.problems.LinearRegression(X, y)
    pinv = np.linalg.pinv(X)
    limit = pinv @ y + w0 - pinv @ (X @ w0)
    run = fd.solve(fd.GradientFlow(p), w0, t=80.0)
    gd = fd.solve(fd.GradientDescent(p, eta=2.0**-9), w0, t=80.0)
    stepped = fd.solve(fd.GradientDescent(p, eta=2.0**-9), w0, t=80.0, solver=fd.solvers.Iteration())
    for result in (run, gd, stepped):
        assert np.abs(result.w[-1] - limit).max() < 1e-10
    assert np.abs(gd.w - stepped.w).max() < 1e-11


def test_exact_flow_is_the_matrix_exponential(wide):
    from scipy.linalg import expm

    X, y = wide
    p = fd.problems.LinearRegression(X, y)
    run = fd.solve(fd.GradientFlow(p), p.init(), t=[0.01, 0.1, 1.0])
    for w, t in zip(run.w.values, run.t.values, strict=True):
        truth = np.linalg.pinv(X) @ (np.eye(20) - expm(-X @ X.T * t)) @ y
        assert np.abs(w - truth).max() < 1e-12


def test_one_dimensional_numbers():
    p = fd.problems.Quadratic(1.0)
    assert fd.solve(fd.GradientDescent(p, 0.1), [1.0], t=1.0).w[-1].item() == pytest.approx(0.9**10, abs=1e-15)
    assert fd.solve(fd.GradientFlow(p), [1.0], t=1.0).w[-1].item() == pytest.approx(np.exp(-1), abs=1e-15)


def test_recursion_is_the_plain_loop():
    def loss(w):
        return 0.5 * (w[0] ** 2 * w[1] - 1) ** 2

    p = fd.problems.CustomProblem(loss, np.zeros(2))
    w = np.array([1.2, 0.3])
    run = fd.solve(fd.GradientDescent(p, 0.05), w, steps=200, saves=201)
    for k in range(200):
        assert np.abs(run.w.values[k] - w).max() < 1e-13
        r = w[0] ** 2 * w[1] - 1
        w = w - 0.05 * r * np.array([2 * w[0] * w[1], w[0] ** 2])
    assert run.k.values.tolist() == list(range(201))
    assert np.allclose(run.t, 0.05 * run.k, rtol=0, atol=1e-15)


def test_population_flow_reaches_the_support_on_time():
    # Theorem 9.13: t = 1/2 (logit((1 - eps)^2) - logit(alpha^2))
    for alpha, eps, t in ((1e-4, 1e-3, 12.3168940), (1e-2, 1e-6, 11.1663011)):
        p = fd.problems.SquaredPopulation([1.0, 0.0])
        for solver in (None, fd.solvers.Scipy("DOP853", rtol=1e-13)):
            run = fd.solve(fd.GradientFlow(p), p.init(alpha), t=[t], solver=solver)
            assert run.w[0, 0].item() == pytest.approx(1 - eps, abs=2e-7 * eps + 1e-10)
            assert run.w[0, 1].item() == pytest.approx(alpha / np.sqrt(1 + 2 * alpha**2 * t), rel=1e-9)


@pytest.fixture(scope="module")
def diagonal(sparse):
    """Diagonal network n=40, d=200, alpha=1e-3 to T=30, and its flow written out, at rtol 1e-12: (weights, t)."""
    X, y = sparse

    def rhs(t, w):
        pull = 2 * X.T @ (X @ (w[:200] ** 2 - w[200:] ** 2) - y)
        return np.concatenate([-w[:200] * pull, w[200:] * pull])

    times = np.linspace(0, 30, 31)
    truth = solve_ivp(rhs, (0, 30), np.full(400, 1e-3), "DOP853", times, rtol=1e-12, atol=1e-14)
    assert truth.success
    return fd.problems.DiagonalNetwork(X, y), truth.y


@pytest.mark.parametrize(
    "solver",
    [
        fd.solvers.Scipy("LSODA"),
        fd.solvers.Scipy("RK45"),
        fd.solvers.Scipy("DOP853"),
        fd.solvers.Scipy("Radau"),
        fd.solvers.Scipy("BDF"),
        fd.solvers.Diffrax("Tsit5"),
        fd.solvers.Diffrax("Dopri8"),
    ],
    ids=lambda s: s.method,
)
def test_diagonal_network_solvers_agree(diagonal, solver):
    p, truth = diagonal
    assert solver.rtol == 1e-8
    run = fd.solve(fd.GradientFlow(p), p.init(1e-3), t=np.linspace(0, 30, 31), solver=solver)
    assert np.abs(run.w_plus.values.T - truth[:200]).max() < 1e-6
    assert np.abs(run.w_minus.values.T - truth[200:]).max() < 1e-6


@pytest.mark.parametrize(
    "solver",
    [
        *(fd.solvers.Scipy(m, rtol=1e-10) for m in ("LSODA", "DOP853")),
        pytest.param(fd.solvers.Scipy("Radau", rtol=1e-10), marks=pytest.mark.slow),
        fd.solvers.Diffrax("Tsit5", rtol=1e-10),
    ],
    ids=lambda s: s.method,
)
def test_diagonal_network_keeps_its_invariant(diagonal, solver):
    p, _ = diagonal
    run = fd.solve(fd.GradientFlow(p), p.init(1e-3), t=30.0, solver=solver)
    assert np.abs(run.w_plus * run.w_minus / 1e-6 - 1).max() < 1e-7  # (9.114)
    assert np.allclose(run.theta, run.w_plus**2 - run.w_minus**2, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("solver", ["Scipy", "Diffrax"])
def test_nesterov_flow_is_a_bessel_function(solver):
    """Su, Boyd and Candes (2016), equation (3)."""
    run = fd.solve(
        fd.NesterovFlow(fd.problems.Quadratic(1.0)), [1.0], t=5.0, solver=getattr(fd.solvers, solver).example()
    )
    t = run.t.values[1:]
    assert run.w[-1].item() == pytest.approx(-0.1310317, abs=1e-7)
    assert np.abs(run.w.values[1:, 0] - 2 * j1(t) / t).max() < 1e-7


def test_nesterov_is_its_textbook_form():
    """Su, Boyd and Candes (2016), equation (1)."""
    A = np.diag([1.0, 4.0])
    run = fd.solve(fd.Nesterov(fd.problems.Quadratic(A), eta=0.01), [1.0, -1.0], steps=50, saves=51)
    old = new = np.array([1.0, -1.0])
    for k in range(50):
        assert np.abs(run.w.values[k] - new).max() < 1e-12
        y = new + (k - 1) / (k + 2) * (new - old)
        old, new = new, y - 0.01 * A @ y
    assert np.allclose(run.t, 0.1 * run.k)


def test_heavy_ball_is_its_textbook_form_and_its_flow_is_damped_motion():
    p = fd.problems.Quadratic(1.0)
    run = fd.solve(fd.HeavyBall(p, eta=0.01, friction=2.0), [1.0], steps=50, saves=51)
    old = new = 1.0
    for k in range(50):
        assert run.w.values[k, 0] == pytest.approx(new, abs=1e-13)
        old, new = new, new + (1 - 2.0 * 0.1) * (new - old) - 0.01 * new
    flow = fd.solve(fd.HeavyBallFlow(p, friction=2.0), [1.0], t=3.0)
    assert np.abs(flow.w.values[:, 0] - (1 + flow.t.values) * np.exp(-flow.t.values)).max() < 1e-7


def test_the_flow_of_the_bilinear_game_keeps_its_norm():
    # L = xy, descended in x and ascended in y: x' = -y, y' = x
    flow = fd.solve(fd.ODE(lambda t, z: jnp.stack([-z[1], z[0]])), [1.0, 0.0], t=10.0)
    assert np.abs((flow.w**2).sum("param") - 1).max() < 1e-6


@pytest.mark.parametrize(
    "solver", [fd.solvers.Scipy(rtol=1e-10), fd.solvers.Diffrax(rtol=1e-10)], ids=["scipy", "diffrax"]
)
def test_custom_ode_with_arguments(solver):
    system = fd.ODE(lambda t, y, rate: -rate * y + jnp.sin(t), args=(2.0,))
    run = fd.solve(system, 1.0, t=4.0, solver=solver)
    t = run.t.values
    truth = 1.2 * np.exp(-2 * t) + (2 * np.sin(t) - np.cos(t)) / 5
    assert np.abs(run.w.values[:, 0] - truth).max() < 1e-8


def test_plain_numpy_ode_runs_on_scipy():
    run = fd.solve(fd.ODE(lambda t, y: -(np.asarray(y) ** 3)), [1.0], t=1.5, observe={"square": lambda y: y[0] ** 2})
    assert run.w[-1].item() == pytest.approx(0.5, abs=1e-7)
    assert run.square[-1].item() == pytest.approx(0.25, abs=1e-7)


def test_schedule_clock_and_steps():
    p = fd.problems.Quadratic(1.0)
    eta = fd.schedules.PiecewiseConstant([0.1, 0.01], [3])
    run = fd.solve(fd.GradientDescent(p, eta), [1.0], steps=5, saves=6)
    assert np.allclose(run.t, [0, 0.1, 0.2, 0.3, 0.31, 0.32])
    assert run.w[-1].item() == pytest.approx(0.9**3 * 0.99**2, abs=1e-14)
    decay = fd.schedules.PowerDecay(0.5, offset=1.0)
    run = fd.solve(fd.GradientDescent(p, decay), [1.0], steps=3, saves=4)
    assert np.allclose(run.t, np.cumsum([0, 0.5, 0.25, 0.5 / 3]))
    assert run.w[-1].item() == pytest.approx(0.5 * 0.75 * (1 - 0.5 / 3), abs=1e-14)


def test_several_starts_are_the_single_runs():
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4, np.zeros(2))
    starts = np.array([[1.0, 0.5], [2.0, -1.0], [0.1, 0.0]])
    for system in (fd.GradientFlow(p), fd.GradientDescent(p, 0.01)):
        for solver in (None, fd.solvers.Diffrax(rtol=1e-10)):
            if isinstance(system, fd.GradientDescent) and solver is not None:
                continue
            both = fd.solve(system, starts, t=1.0, solver=solver)
            assert both.w.dims == ("start", "t", "param")
            for i, w0 in enumerate(starts):
                alone = fd.solve(system, w0, t=1.0, solver=solver)
                assert np.abs(both.w[i] - alone.w).max() < 1e-9
    # w' = -w^3: w = w0 / sqrt(1 + 2 w0^2 t)
    truth = starts / np.sqrt(1 + 2 * starts**2)
    assert np.abs(fd.solve(fd.GradientFlow(p), starts, t=1.0).w[:, -1].values - truth).max() < 1e-7


@pytest.fixture
def every_step_is_long(monkeypatch):
    """So that a flow holds its derivative once, and takes it at one time step after the other."""
    monkeypatch.setattr("flowdyn.methods.following.LONG", 0)


def decay(w, h):
    return w * jnp.exp(-h)


def decay_by_root(w, h):
    """It has no derivative at h = 0 that autodiff finds."""
    return w * jnp.exp(-(jnp.sqrt(h) ** 2))


@pytest.mark.parametrize("step", [decay, decay_by_root])
@pytest.mark.usefixtures("every_step_is_long")
def test_the_flow_of_a_long_step_is_that_of_a_short_one(step):
    """w' = -w at every order; the derivative at h = 0 is extrapolated where there is none."""
    recursion = fd.Recursion(step, 1e-3)
    start = np.array([1.0, -2.0])
    assert np.abs(np.asarray(recursion.limit(0).drift(0.0, start)) + start).max() < 1e-11
    # order 2 of an exact flow: -z + O(h^3), the error of differences of slopes beside it
    assert np.abs(np.asarray(recursion.limit(2).drift(0.0, start)) + start).max() < 1e-9


@pytest.mark.usefixtures("every_step_is_long")
def test_the_slope_of_a_long_step_keeps_its_digits_at_a_tiny_step_size():
    recursion = fd.Recursion(decay, 1e-9)
    start = np.array([1.0, -2.0])
    exact = start * np.expm1(-1e-9) / 1e-9
    assert np.abs(np.asarray(recursion.slope(jnp.zeros(()), start)) - exact).max() < 1e-13  # a difference: 1e-7
