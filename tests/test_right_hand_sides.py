"""Every method without noise, one evaluation at a time, against its formula in numpy or in exact fractions."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import flowdyn as fd
from flowdyn.methods import curvature
from flowdyn.methods.spectral import descent_shares, flow_shares, relaxation
from flowdyn.problems.base import Spectrum

A = np.array([[2.0, 0.5], [0.5, 1.0]])
Q = fd.problems.Quadratic(A)
W, V = np.array([0.7, -1.3]), np.array([-0.4, 0.9])
SCHEDULE = fd.schedules.PiecewiseConstant([0.5, 0.25], [2])
NET = fd.problems.DiagonalNetwork([[1.0, 0.5, -2.0], [0.3, -1.0, 0.4]], [1.0, -0.5])
SQUARES = fd.problems.SquaredRegression([[1.0, 2.0, 0.3], [0.5, -1.0, 0.2]], [1.5, 0.4])


@pytest.mark.parametrize(
    "x", [1e-12, 1e-3, 0.1, 0.49, 0.5, 0.51, 0.75, 1.0, 1.5, 2.0, 2.5, -1e-9, -0.3, -0.5, -0.7, -1.5]
)
def test_gain_of_descent_in_exact_fractions(x):
    steps = np.array([0, 1, 2, 7, 50])
    truth = [float(1 - (1 - Fraction(x)) ** int(k)) for k in steps]
    found = descent_shares(np.array([x]), steps[:, None])
    assert np.allclose(found.covered[:, 0], truth, rtol=1e-13, atol=0)


def test_gain_of_the_flow_keeps_its_digits():
    found = flow_shares(np.array([1e-9, 2.0, -0.5]), np.array([[0.0], [1.0], [3.0]])).covered
    assert np.allclose(found[:, 0], [0, 1e-9 - 5e-19, 3e-9 - 4.5e-18], rtol=1e-14, atol=0)
    assert np.allclose(found[:, 1], 1 - np.exp([0, -2.0, -6.0])) and np.allclose(found[:, 2], 1 - np.exp([0, 0.5, 1.5]))


def test_relaxation_moves_the_modes_and_nothing_else():
    """Modes along (3, 4)/5 alone, whose minimiser is at 2: the part across stays."""
    u = np.array([0.6, 0.8])
    states = relaxation(Spectrum(np.array([1.5]), u[:, None], np.array([2.0])), flow_shares)(W, np.array([0.0, 0.4]))
    share = 1 - np.exp(-1.5 * 0.4)
    assert np.allclose(states, [W, W + share * (2.0 - u @ W) * u]) and relaxation(None, flow_shares) is None


def test_descent_takes_its_step_and_knows_its_clock():
    gd = fd.GradientDescent(Q, SCHEDULE)
    assert np.allclose([gd.step(1, W), gd.step(2, W)], [W - 0.5 * A @ W, W - 0.25 * A @ W])
    assert np.allclose(gd.clock([0, 1, 2, 3, 4]), [0, 0.5, 1.0, 1.25, 1.5]) and gd.closed_form() is None
    assert fd.GradientDescent(Q, 0.1).clock(np.array(7)) == pytest.approx(0.7, rel=1e-15)
    assert np.allclose(fd.GradientFlow(Q).drift(0.0, W), -A @ W)
    assert [gd.expected_order(p) for p in range(4)] == [1, 2, 3, 4] and gd.expected_order() == 1
    assert isinstance(gd.limit(), fd.GradientFlow) and fd.ModifiedFlow(Q, 0.1).order == 1
    assert isinstance(fd.HeavyBall(Q, 0.01, 1.0).limit(), fd.HeavyBallFlow)
    assert isinstance(fd.Nesterov(Q, 0.01).limit(), fd.NesterovFlow)
    with pytest.raises(fd.ArgumentError, match="one number for its limit of order 1"):
        gd.limit(1)
    with pytest.raises(fd.ArgumentError, match="one number for a change of step size"):
        gd.with_eta(0.1)
    again = fd.HeavyBall(Q, 0.01, 3.0).with_eta(0.04)
    assert float(again.eta.eta) == 0.04 and float(again.friction) == 3.0 and again.problem is Q
    assert again.numbers["eta"] == 0.04 and gd.numbers["eta"] is gd.eta


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_modified_flow_is_the_logarithm_of_a_step(order):
    """On a quadratic the rate is -log(1 - x) / eta, x = eta lam, cut after the term x^(p + 1)."""
    eta = 0.3
    lam, U = np.linalg.eigh(A)
    rates = sum((eta * lam) ** j / j for j in range(1, order + 2)) / eta
    flow = fd.GradientDescent(Q, eta).limit(order)
    assert np.allclose(flow.drift(0.0, W), -U @ (rates * (U.T @ W)), rtol=1e-12)
    truth = U @ (np.exp(-rates * 0.9) * (U.T @ W))
    assert np.allclose(flow.closed_form()(W, np.array([0.9]))[0], truth, rtol=1e-12)


def test_modified_flow_of_a_curved_loss_has_the_terms_of_backward_analysis():
    """f = -w^3: f - (eta/2) f'f + eta^2 (f'f'f/3 + f''ff/12) = -w^3 - (3/2) eta w^5 - (7/2) eta^2 w^7."""
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4, np.ones(1))
    w, eta = 0.8, 1e-3
    terms = np.array([-(w**3), -1.5 * eta * w**5, -3.5 * eta**2 * w**7])
    for order in (0, 1, 2):
        gap = float(fd.ModifiedFlow(p, eta, order).drift(0.0, np.array([w]))[0]) - terms[: order + 1].sum()
        assert abs(gap) < 20 * eta ** (order + 1) * (order > 0) + 1e-15


def test_a_step_size_is_doubted_above_the_threshold_and_not_at_it():
    p = fd.problems.Quadratic(np.diag([2.0, 1.0]))
    assert fd.GradientDescent(p, 1.0).warn_before(W) is None
    assert "2/lambda_max = 1 at the start" in fd.GradientDescent(p, 1.0 + 1e-6).warn_before(W)
    assert fd.GradientDescent(p, SCHEDULE).warn_before(W) is None
    noisy = fd.problems.Quadratic(np.diag([2.0, 1.0]), noise=np.eye(2))
    assert fd.SVAG(noisy, 4.0, l=4).warn_before(W) is None  # the step is eta / l
    said = fd.SVAG(noisy, 6.0, l=4).warn_before(W)
    assert said.startswith("`eta` / `l` = 1.5 is above") and said.endswith("use a smaller eta or a larger l")
    assert fd.GradientDescent(fd.problems.Quadratic(-np.eye(2)), 5.0).warn_before(W) is None


def quartic(size):
    """0.01 sum w^4 + 0.005 (sum w)^2."""
    return fd.problems.CustomProblem(lambda w: 0.01 * jnp.sum(w**4) + 0.005 * jnp.sum(w) ** 2, np.ones(size))


@pytest.mark.parametrize("size", [3, 40])
def test_largest_curvature_by_matrix_and_by_iteration(size):
    w = np.linspace(0.1, 1.0, size)
    truth = np.linalg.eigvalsh(np.diag(0.12 * w**2) + 0.01)[-1]
    assert curvature.largest_curvature(quartic(size), w) == pytest.approx(truth, rel=1e-6)
    assert curvature.largest_curvature(quartic(size), np.r_[np.inf, w[1:]]) == 0.0
    assert curvature.largest_curvature(fd.problems.Quadratic(0.3), np.ones(1)) == pytest.approx(0.3)


@pytest.mark.parametrize("of_size", [False, True])
def test_an_iteration_that_gives_up_has_found_a_lower_bound(of_size, monkeypatch):
    w = np.linspace(0.1, 1.0, 40)
    values = np.linalg.eigvalsh(np.diag(0.12 * w**2) + 0.01)
    curvature._found.cache_clear()
    monkeypatch.setattr(curvature, "MOST_PRODUCTS", 3)
    found = curvature.largest_curvature(quartic(40), w, of_size=of_size)
    assert values[0] < found < values[-1] * (1 - 1e-6)
    curvature._found.cache_clear()


def test_heavy_ball_with_a_velocity():
    hb, state = fd.HeavyBall(Q, 0.04, 3.0), np.r_[W, V]
    v = (1 - 3.0 * 0.2) * V - 0.2 * A @ W
    assert np.allclose(hb.step(5, state), np.r_[W + 0.2 * v, v])
    assert np.allclose(fd.HeavyBallFlow(Q, 3.0).drift(1.0, state), np.r_[V, -3.0 * V - A @ W])
    assert np.allclose(hb.clock([0, 10]), [0.0, 2.0]) and hb.step_power == 0.5
    assert float(hb.limit(0).friction) == 3.0 and float(fd.HeavyBallFlow(Q, 0.0).friction) == 0.0
    assert float(fd.HeavyBall(Q, 0.0625, 4.0).friction) == 4.0  # no momentum is left, and none is negative
    # slopes are the step over h = 0.2, without a difference of states
    assert np.allclose(hb.slope(5, state), (np.r_[W + 0.2 * v, v] - state) / 0.2)
    with pytest.raises(fd.ArgumentError, match="for a momentum method"):
        fd.HeavyBall(Q, SCHEDULE, 1.0)
    # momentum is counted in h = sqrt(eta): 1 - 1.5 * 0.8 < 0, though 1.5 * 0.64 < 1
    with pytest.raises(fd.ArgumentError, match="keep the momentum"):
        fd.HeavyBall(Q, 0.64, 1.5)


def test_nesterov_with_a_velocity():
    nesterov, state = fd.Nesterov(Q, 0.04), np.r_[W, V]
    for k in (0, 1, 6):
        y = W + (k - 1) / (k + 2) * 0.2 * V
        new = y - 0.04 * A @ y
        assert np.allclose(nesterov.step(k, state), np.r_[new, (new - W) / 0.2])
    flow = nesterov.limit(0)
    assert np.allclose(flow.drift(1.6, state), np.r_[V, -3 / 1.6 * V - A @ W])
    assert np.allclose(flow.drift(0.0, state), np.r_[V, -A @ W / 4])  # w'' = -grad L / 4 at rest at t = 0
    assert np.allclose(nesterov.clock([0, 10]), [0.0, 2.0]) and nesterov.step_power == 0.5
    assert np.allclose(flow.lift(W), np.r_[W, 0.0, 0.0]) and np.allclose(flow.project(state), W)


def test_velocities_take_the_names_of_their_weights():
    assert [v.name for v in fd.HeavyBallFlow(Q, 1.0).layout(4)] == ["w", "velocity"]
    names = [v.name for v in fd.HeavyBallFlow(NET, 1.0).layout(12)]
    assert names == ["w_plus", "w_minus", "w_plus_velocity", "w_minus_velocity"]
    assert [v.shape for v in fd.HeavyBallFlow(NET, 1.0).layout(12)] == [(3,)] * 4


X, Y = np.array([[2.0, 0.3], [-0.2, -1.0], [1.0, 1.0]]), np.array([1.0, -1.0, 1.0])
Z = Y[:, None] * X


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_the_normalised_clock(loss):
    """ds = L dt, or G dt with G = sum sigmoid(-m): w_s = Z^T p, u_s = exp(-log rate - u)."""
    p, u = fd.problems.LinearClassifier(X, Y, loss=loss), 0.9
    m = Z @ W
    rates = np.exp(-m) if loss == "exponential" else 1 / (1 + np.exp(m))
    flow, gd = fd.NormalizedFlow(p), fd.NormalizedGradientDescent(p, SCHEDULE)
    w_s, u_s = Z.T @ rates / rates.sum(), np.exp(-u) / rates.sum()
    assert np.allclose(flow.drift(3.0, np.r_[W, u]), np.r_[w_s, u_s], rtol=1e-12)
    assert np.allclose(gd.step(2, np.r_[W, u]), np.r_[W + 0.25 * w_s, np.log(np.exp(u) + 0.25 / rates.sum())])
    seen = flow.observables(np.r_[W, u])
    total = np.exp(-m).sum() if loss == "exponential" else np.log1p(np.exp(-m)).sum()
    smooth = total if loss == "exponential" else np.expm1(total)
    truth = [np.log(np.exp(u) - 1), np.log(total), np.linalg.norm(W), m.min(), -np.log(smooth)]
    truth[3:] /= np.linalg.norm(W)
    assert np.allclose([float(seen[v.name]) for v in flow.observable_variables], truth, rtol=1e-12)
    assert np.allclose(flow.lift(W), np.r_[W, 0.0]) and np.allclose(flow.project(np.r_[W, u]), W)
    assert flow.explicit_until == pytest.approx(1e6 / (4 + 0.09)) and flow.layout(3)[-1].shape == ()
    assert isinstance(gd.limit(), fd.NormalizedFlow)
    assert np.allclose(gd.slope(2, np.r_[W, u]), (gd.step(2, np.r_[W, u]) - np.r_[W, u]) / 0.25, rtol=1e-12)


def test_the_normalised_clock_at_the_ends_of_its_range():
    flow = fd.NormalizedFlow(fd.problems.LinearClassifier([[1.0]], [1]))  # L = exp(-w), and 1/L counts with 1 + t
    for w, u in ((600.0, 0.0), (-600.0, 0.0), (650.0, 50.0)):
        flow.check_start(np.array([w, u]))
    for w, u in ((600.1, 0.0), (-600.1, 0.0), (500.0, 1101.0), (-550.0, 51.0)):
        with pytest.raises(fd.ArgumentError, match="must have a loss between"):
            flow.check_start(np.array([w, u]))
    assert float(flow.drift(0.0, np.array([900.0, 0.0]))[1]) == pytest.approx(np.exp(700.0))
    assert float(flow.drift(0.0, np.array([699.0, 0.0]))[1]) == pytest.approx(np.exp(699.0))


@pytest.mark.parametrize(("p", "both", "c"), [(NET, True, 0.5), (SQUARES, False, 1 / 8)], ids=["network", "squares"])
def test_dual_flow_in_its_own_variable(p, both, c):
    """w = w(0) exp(-4 c A^T nu), nu' = A w^2 - y, A = [X, -X] or X."""
    Xs, y, nu = np.asarray(p.X), np.asarray(p.y), np.array([0.07, -0.11])
    M = np.hstack([Xs, -Xs]) if both else Xs
    w0 = np.linspace(0.4, -0.9, M.shape[1])
    w = w0 * np.exp(-4 * c * M.T @ nu)
    flow = fd.DualFlow(p, w0)
    assert np.allclose(flow.project(nu), w, rtol=1e-13) and np.allclose(flow.drift(0.0, nu), M @ w**2 - y, rtol=1e-12)
    assert np.allclose(flow.lift(w), nu, atol=1e-12) and (flow.lift(w0) == 0).all() and len(flow.lift(w0)) == 2
    seen = flow.observables(nu)
    assert np.allclose(np.concatenate([seen[v.name] for v in p.variables]), w)
    assert [v.shape for v in flow.layout(2)] == [(2,)]
    assert np.allclose(flow.lift(w * (1 + 1e-8)), nu, atol=1e-6)  # as near as a solver comes
    for off in (w * np.r_[1 + 1e-4, np.ones(len(w) - 1)], -w, np.r_[0.0, w[1:]]):
        with pytest.raises(fd.ArgumentError, match="must be reached by the flow"):
            flow.lift(off)
    still = fd.DualFlow(p, np.r_[0.0, w0[1:]])  # a weight that starts at 0 stays there
    assert np.allclose(still.lift(np.r_[0.0, w[1:]]), nu, atol=1e-12)


def test_kernel_flow_of_a_model_whose_jacobian_is_singular():
    """J0 of two equal rows: z = w - w0 obeys z' = -2 c J^T (r + J z), by a matrix exponential in one dimension more."""
    p = fd.problems.SquaredRegression([[1.0, 2.0, 0.3], [1.0, 2.0, 0.3], [0.5, -1.0, 0.2]], [1.5, 0.7, 0.4])
    w0, w = np.array([0.6, -0.4, 1.1]), np.array([0.5, -0.7, 1.3])
    J, r = 2 * np.asarray(p.X) * w0, np.asarray(p.X) @ w0**2 - np.asarray(p.y)
    c = 1 / 12
    flow = fd.KernelFlow(p, w0)
    assert np.allclose(flow.predict(w), np.asarray(p.X) @ w0**2 + J @ (w - w0))
    assert np.allclose(flow.drift(0.0, w), -2 * c * J.T @ (r + J @ (w - w0)), rtol=1e-12)
    block = np.zeros((4, 4))
    block[:3, :3], block[:3, 3] = -2 * c * J.T @ J, -2 * c * J.T @ r
    for t in (0.0, 0.8, 30.0):
        truth = w0 + (expm(block * t) @ np.r_[w - w0, 1.0])[:3]
        assert np.allclose(flow.closed_form()(w, np.array([t]))[0], truth, rtol=1e-10)


def test_kernel_flow_from_tiny_weights():
    """From w = e (1, .., 1), e = 1e-18: w - w0 = -J^T (J J^T)^{-1} (1 - exp(-J J^T t)) r, J = 2 e [X, -X], r = -y."""
    w0, e = np.full(6, 1e-18), 1e-18
    M = np.hstack([np.asarray(NET.X), -np.asarray(NET.X)])
    s = 0.3
    truth = M.T @ np.linalg.solve(M @ M.T, (np.eye(2) - expm(-M @ M.T * s)) @ np.asarray(NET.y)) / (2 * e)
    found = fd.KernelFlow(NET, w0).closed_form()(w0, np.array([s / (2 * e) ** 2]))[0]
    assert np.allclose(found, truth, rtol=1e-9)


def test_slow_flow_of_label_noise_where_rows_are_equal():
    """-(c sigma^2 / 2B) P_T grad tr H with tr H = 2 c mean_i |grad f_i|^2 and the pseudoinverse of J."""
    Xs, b = np.array([[1.0, 2.0, 0.3], [1.0, 2.0, 0.3], [0.5, -1.0, 0.2]]), np.array([0.6, -0.4, 1.1])
    p = fd.problems.SquaredRegression(Xs, Xs @ b**2)
    J, c, sigma, B = 2 * Xs * b, 0.25, 0.7, 3
    force = 2 * c / 3 * 2 * 4 * (Xs**2).sum(axis=0) * b
    truth = -c * sigma**2 / (2 * B) * (force - np.linalg.pinv(J) @ J @ force)
    flow = fd.LabelNoiseFlow(p, sigma, B)
    assert np.allclose(flow.drift(0.0, b), truth, rtol=1e-9, atol=1e-14)
    assert float(flow.observables(b)["trace_hessian"]) == pytest.approx(2 * c / 3 * (J**2).sum())
    assert flow.observable_variables[-1].shape == () and fd.LabelNoiseFlow(p, sigma).batch_size == 1


def test_the_slow_flow_starts_where_the_data_are_met():
    """Residuals up to 1e-4 of the largest target; of 1 where all targets are 0."""
    zero = fd.LabelNoiseFlow(fd.problems.LinearRegression([[1.0]], [0.0]), 1.0)
    zero.check_start(np.array([1e-4]))
    for target, scale in ((-3.0, 3.0), (0.0, 1.0)):
        flow = fd.LabelNoiseFlow(fd.problems.LinearRegression([[1.0], [0.0]], [target, 0.0]), 1.0)
        flow.check_start(np.array([target + 0.9e-4 * scale]))
        with pytest.raises(fd.ArgumentError, match="must interpolate the data"):
            flow.check_start(np.array([target - 1.1e-4 * scale]))


def test_an_own_right_hand_side_is_called_as_it_is():
    flow = fd.ODE(lambda t, y, a: a * y + t, args=(3.0,))
    assert np.allclose(flow.drift(0.5, W), 3 * W + 0.5) and flow.explicit_until == np.inf
    assert flow.is_traceable(W) and not fd.ODE(lambda t, y: np.asarray(y) * float(t)).is_traceable(W)
    assert flow.layout(5)[0].shape == (5,) and flow.ravel(2.0).shape == (1,)
    for f, words in (
        (lambda t, y: 1j * y, "real numbers"),
        (lambda t, y: y[:1], "shape"),
        (lambda t, y: None, "shape"),
    ):
        with pytest.raises(fd.ArgumentError, match=words):
            fd.ODE(f).drift(0.0, W)
    for start in (np.ones((2, 2)), np.zeros(0), np.zeros((0, 2))):
        with pytest.raises(fd.ArgumentError, match="a number or a 1-dimensional array"):
            flow.ravel(start)
    with pytest.raises(fd.ArgumentError, match="must be a tuple"):
        fd.ODE(lambda t, y, a: y, args=[1.0])


def called(t, y):
    """Stiff, of numpy: y' = -1e6 (y - cos t)."""
    return jax.pure_callback(lambda t, y: -1e6 * (np.asarray(y) - np.cos(t)), jax.ShapeDtypeStruct((1,), float), t, y)


@jax.custom_vjp
def falling(y):
    return -1e6 * y


falling.defvjp(lambda y: (falling(y), None), lambda _, upper: (-1e6 * upper,))


@pytest.mark.parametrize("solver", [None, "LSODA", "Radau", "BDF"])
@pytest.mark.parametrize("f", [called, lambda t, y: falling(y - jnp.cos(t))], ids=["callback", "backwards"])
def test_what_jax_cannot_differentiate_forwards_is_differenced(f, solver):
    """y = (m^2 cos t + m sin t) / (m^2 + 1) past the first microseconds."""
    m = 1e6
    run = fd.solve(fd.ODE(f), [1.0], t=3.0, solver=fd.solvers.Scipy(solver) if solver else None)
    assert float(run.w[-1, 0]) == pytest.approx((m**2 * np.cos(3.0) + m * np.sin(3.0)) / (m**2 + 1), abs=1e-8)


def test_diffrax_takes_it_with_explicit_steps_alone():
    slow = fd.ODE(lambda t, y: called(t, y) / 1e6)  # y' = cos t - y
    run = fd.solve(slow, [1.0], t=3.0, solver=fd.solvers.Diffrax("Tsit5"))
    assert float(run.w[-1, 0]) == pytest.approx((np.cos(3) + np.sin(3) + np.exp(-3)) / 2, abs=1e-7)
    with pytest.raises(fd.ArgumentError, match="cannot run ODE: its implicit steps need derivatives"):
        fd.solve(slow, [1.0], t=3.0, solver=fd.solvers.Diffrax("Kvaerno5"))


def test_numbers_of_another_kind_are_taken_as_doubles():
    single = fd.solve(fd.ODE(lambda t, y: {"a": (-y["a"]).astype(jnp.float32)}), {"a": 1.0}, t=1.0)
    assert float(single.a[-1]) == pytest.approx(np.exp(-1.0), abs=1e-7)
    whole = fd.solve(fd.ODE(lambda t, y: jnp.ones(1, int)), [1.0], t=1.0)
    assert float(whole.w[-1, 0]) == pytest.approx(2.0, abs=1e-12)


def test_the_default_solver_runs_where_nothing_is_compiled():
    with jax.disable_jit():
        run = fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=1.0, saves=3)
        single = fd.solve(fd.ODE(lambda t, y: (-y).astype(jnp.float32)), [1.0, 1.0], t=1e-4, saves=2)
    np.testing.assert_allclose(single.w[-1], np.exp(-1e-4), rtol=1e-8)
    np.testing.assert_allclose(run.w[:, 0], np.exp(-run.t), rtol=1e-8)
