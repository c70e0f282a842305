"""eta_limit and fast_forward: orders against theory, floors, warnings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import flowdyn as fd
from flowdyn.convergence import prediction_error
from flowdyn.convergence.ladder import common_steps
from flowdyn.convergence.order_fit import fit_order

ETAS = 2.0 ** -np.arange(4, 10)
W0 = np.array([1.2, 0.3])


def loss(w):
    """Section 6 of the theory: 1/2 (w0^2 w1 - 1)^2 + 0.1 sum w^4."""
    return 0.5 * (w[0] ** 2 * w[1] - 1) ** 2 + 0.1 * jnp.sum(w**4)


@pytest.fixture(scope="module")
def problem():
    return fd.problems.CustomProblem(loss, W0)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_gradient_descent_follows_its_modified_flows(problem, order):
    ladder = fd.eta_limit(fd.GradientDescent(problem, 0.1), W0, t=2.0, etas=ETAS, order=order)
    assert float(ladder.order_expected) == order + 1
    assert abs(float(ladder.order) - (order + 1)) < 0.05
    # the two finest rungs alone, in case the fit flattered itself
    e = ladder.sup_error.values
    assert abs(np.log2(e[-2] / e[-1]) - (order + 1)) < 0.05
    low, high = ladder.order_interval.values
    assert low <= float(ladder.order) <= high and high - low < 0.05
    assert ladder.attrs["verdict"] == "resolved"
    assert (ladder.solver_error < 0.01 * ladder.sup_error).all()


def nested(order):
    """Modified equation of gradient descent by nested directional derivatives, up to the third order."""
    f = lambda w: -jax.grad(loss)(w)  # noqa: E731

    def along(g, v):
        return lambda w: jax.jvp(g, (w,), (v(w),))[1]

    # exp(eta D_F) = 1 + eta f, so F = log(1 + eta f . grad)/eta: solve order by order with F = sum eta^j F_j
    terms = [f]
    terms.append(lambda w: -0.5 * along(f, f)(w))
    F2 = terms[1]
    # eta^3: F3 + 1/2 (F1'F2 + F2'F1) + 1/6 (F1'F1)'F1 = 0
    F1F1 = along(f, f)
    terms.append(lambda w: -0.5 * (along(f, F2)(w) + along(F2, f)(w)) - along(F1F1, f)(w) / 6)
    F3 = terms[2]
    third = along(F1F1, f)
    # eta^4: F4 + 1/2 (F1'F3 + F3'F1 + F2'F2) + 1/6 (all products of F1, F1, F2) + 1/24 D_F1^3 F1 = 0
    terms.append(
        lambda w: (
            -0.5 * (along(f, F3)(w) + along(F3, f)(w) + along(F2, F2)(w))
            - (along(along(F2, f), f)(w) + along(along(f, F2), f)(w) + along(along(f, f), F2)(w)) / 6
            - along(third, f)(w) / 24
        )
    )
    return jax.jit(lambda w, eta: sum(eta**j * terms[j](w) for j in range(order + 1)))


@pytest.mark.parametrize("order", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_difference_form_agrees_with_nested_derivatives(problem, order):
    w = jnp.array([0.9, 0.7])
    series, gaps = nested(order), []
    for eta in (0.04, 0.02, 0.01, 0.005):
        flow = fd.ModifiedFlow(problem, eta, order)
        gaps.append(float(jnp.abs(flow.drift(0.0, w) - series(w, eta)).max()))
    if order == 0:
        assert max(gaps) < 1e-15
    else:  # they differ by terms of order eta^(p+1) only
        slopes = np.log2(np.array(gaps[:-1]) / gaps[1:])
        assert abs(slopes[-1] - (order + 1)) < 0.15 and gaps[-1] < 1e-3 * 0.1**order


@pytest.mark.parametrize(("order", "tolerance"), [(0, 0.03), (1, 0.05)])
@pytest.mark.parametrize("start", ["zero", "off the span"])
@pytest.mark.parametrize("rank", ["full", "deficient"])
def test_linear_regression_ladder(wide, order, tolerance, start, rank):
    X, y = wide
    if rank == "deficient":
        X, y = np.vstack([X, X[:3] + X[3:6]]), np.append(y, [0.5, 0.0, -0.5])
    p = fd.problems.LinearRegression(X, y)
    w0 = p.init() if start == "zero" else np.sin(np.arange(50.0))
    ladder = fd.eta_limit(fd.GradientDescent(p, 2.0**-8), w0, t=3.0, order=order)
    assert abs(float(ladder.order) - (order + 1)) < tolerance
    assert ladder.sizes["eta"] == 6


@pytest.mark.parametrize("method", [fd.HeavyBall, fd.Nesterov])
def test_momentum_methods_have_order_one_in_the_root_of_eta(method):
    extra = {"friction": 1.0} if method is fd.HeavyBall else {}
    p = fd.problems.Quadratic(1.0)
    ladder = fd.eta_limit(method(p, eta=0.01, **extra), [1.0], t=5.0)
    assert np.allclose(ladder.h, np.sqrt(ladder.eta))
    assert abs(float(ladder.order) - 1.0) < 0.03
    slopes = np.diff(np.log(ladder.sup_error)) / np.diff(np.log(ladder.eta))
    assert np.allclose(slopes[-1], 0.5, atol=0.01)


def test_errors_below_the_floor_are_not_fitted(problem):
    # at order 5 the gap of the finest rungs is below what float64 can resolve
    with pytest.warns(fd.FlowdynWarning, match="solver error and rounding.*; use larger `etas`, or a tighter `solver`"):
        ladder = fd.eta_limit(fd.GradientDescent(problem, 0.1), W0, t=2.0, etas=2.0 ** -np.arange(7, 13), order=5)
    assert ladder.attrs["verdict"].startswith("not resolved") and np.isnan(ladder.order)


def test_fit_recovers_a_known_law_and_its_interval_covers_it():
    h = 2.0 ** -np.arange(3, 9)
    for p in (1, 2, 3):
        for b in (-0.5, 0.0, 2.0):
            fit = fit_order(h, 3.0 * h**p * (1 + b * h), np.zeros(6), expected=p)
            assert abs(fit.order - p) < 0.03
            assert fit.low - 1e-9 <= p <= fit.high + 1e-9
    few = fit_order(h, h, np.full(6, 0.02), expected=1)
    assert few.used.tolist() == [True, True, False, False, False, False] and np.isnan(few.order)  # above 2 x 0.02
    assert "solver error and rounding hide it" in few.verdict


@pytest.mark.parametrize(
    ("rungs", "noise", "unresolved"),
    [
        pytest.param(5, 0.0, 0.1, marks=pytest.mark.slow),
        (6, 0.0, 0.1),
        pytest.param(5, 0.1, 0.1, marks=pytest.mark.slow),
        pytest.param(6, 0.2, 0.1, marks=pytest.mark.slow),
    ],
)
def test_intervals_cover_the_order(rungs, noise, unresolved):
    """Of e = h^p (1 + b_1 h + ...) + noise with random b the binomial interval of the coverage reaches 93 to 99 %."""
    rng, h = np.random.default_rng(1), 2.0 ** -np.arange(rungs)
    missed = resolved = 0
    for _ in range(60):
        p, b = rng.integers(1, 5), rng.normal(0, rng.choice([0.3, 0.7, 1.0]), 5)
        errors = h**p * (1 + np.sum(b * h[:, None] ** np.arange(1, 6), axis=1))
        fit = fit_order(h, errors + noise * h**p * rng.standard_normal(rungs), 1e-9 * h**p, noise * h**p, expected=p)
        resolved += bool(np.isfinite(fit.order))
        missed += bool(np.isfinite(fit.order) and not fit.low <= p <= fit.high)
    assert resolved >= (1 - unresolved) * 60
    interval = stats.binomtest(resolved - missed, resolved).proportion_ci(0.95)
    assert interval.high >= 0.93 and (interval.low <= 0.99)


def test_a_sign_change_and_a_cancelling_constant_do_not_mislead():
    etas = np.array([0.8, 0.4, 0.2, 0.1])  # order 1, whose next term is of the other sign: means of 400000 paths
    fit = fit_order(etas, np.array([0.216, -0.119, -0.091, -0.052]), np.full(4, 1e-4), np.full(4, 0.004), expected=1)
    assert np.isnan(fit.order) or fit.low <= 1 <= fit.high
    h = 2.0 ** -np.arange(6)
    fit = fit_order(h, h**2 + 0.01 * h, 1e-9 * h**2, expected=1)
    assert fit.verdict == "not resolved: order 1.0 with a large correction, or 2.0; use smaller `etas`"
    larger = fit_order(h, h**2 + 0.05 * h, 1e-9 * h**2, expected=1)  # 3/5 of the finest error
    assert larger.low < 1 < larger.high
    faint = fit_order(h[:5], h[:5], np.zeros(5), np.full(5, 0.025), expected=1)  # the finest error is 2.5 of its noise
    assert faint.low < 1 < faint.high


@pytest.mark.parametrize("rungs", [12, 16])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_ladder_over_many_decades_is_fitted_or_refused(rungs, noise):
    for ratio in (10.0, 100.0):
        h = ratio ** -np.arange(float(rungs))
        for p in (1, 3):
            fit = fit_order(h, h**p * (1 + h), np.full(rungs, 1e-15), noise * h**p, expected=p)
            assert fit.verdict.startswith("not resolved") or fit.low <= p <= fit.high


def test_common_steps_of_uneven_ladders():
    ks = common_steps(np.array([0.3, 0.2, 0.1]), 3.0, 101)
    times = [k * h for k, h in zip(ks, (0.3, 0.2, 0.1), strict=True)]
    assert np.allclose(times[0], [0, 0.6, 1.2, 1.8, 2.4, 3.0]) and np.allclose(times, times[0])
    assert len(common_steps(np.array([0.1, 0.05, 0.025]), 100.0, 11)[0]) == 11


def test_diverging_rung_is_named(problem):
    with pytest.warns(fd.FlowdynWarning), pytest.raises(fd.RunError, match=r"eta = 4"):
        fd.eta_limit(fd.GradientDescent(problem, 0.1), W0, t=40.0, etas=[4.0, 2.0, 1.0])


def test_prediction_meets_exact_descent_at_tiny_eta(wide):
    p = fd.problems.LinearRegression(*wide)
    for eta in (1e-4, 1e-8):
        gd = fd.GradientDescent(p, eta)
        exact = fd.solve(gd, p.init(), t=[50.0], solver=fd.solvers.Exact())
        near = fd.fast_forward(gd, p.init(), t=50.0, order=2)
        assert np.abs(near.w - exact.w).max() < 1e-10


def test_prediction_estimates_its_error(problem):
    for eta in (0.02, 0.01, 0.005):
        gd = fd.GradientDescent(problem, eta)
        truth = fd.solve(gd, W0, t=[1.0, 2.0])
        for order in (1, 2, 3):
            near = fd.fast_forward(gd, W0, t=[1.0, 2.0], order=order)
            error = np.linalg.norm(near.w - truth.w, axis=1)
            assert (error <= near.error_estimate).all()
            assert (near.error_estimate < 0.1).all()


def test_the_bilinear_game_gains_what_backward_analysis_says():
    """Simultaneous descent on xy grows by (1 + eta^2)^(1/2) a step, its modified flow of order 1 like exp(eta/2 t)."""
    held = jax.lax.stop_gradient  # a player sees the other's move as given: the gradient is the rotation (y, -x)
    game = fd.problems.CustomProblem(lambda z: z[0] * held(z[1]) - held(z[0]) * z[1], np.zeros(2))
    descent = fd.solve(fd.GradientDescent(game, 0.1), [1.0, 0.0], t=10.0)
    assert np.linalg.norm(descent.w[-1]) == pytest.approx(1.644632, abs=1e-6)  # 1.01^50
    flow = fd.solve(fd.ModifiedFlow(game, 0.1, 1), [1.0, 0.0], t=10.0)
    assert np.linalg.norm(flow.w[-1]) == pytest.approx(1.648721, abs=1e-6)  # exp(1/2)
    # next of log(1 + eta^2) / (2 eta) = eta/2 - eta^3/4 + ..., the rate that descent has
    finer = fd.solve(fd.ModifiedFlow(game, 0.1, 3), [1.0, 0.0], t=10.0)
    assert np.linalg.norm(finer.w[-1]) == pytest.approx(np.exp(0.5 - 0.0025), abs=3e-6)


def test_principal_flow_meets_descent_on_a_quadratic():
    # as p grows the modified rate tends to -log(1 - eta lam)/eta (Rosca et al.)
    p = fd.problems.Quadratic(np.diag([1.0, 3.0]))
    gd = fd.solve(fd.GradientDescent(p, 0.1), [1.0, 1.0], t=2.0)
    errors = []
    for order in (2, 4, 8, 16):
        flow = fd.solve(fd.ModifiedFlow(p, 0.1, order), [1.0, 1.0], t=gd.t.values)
        errors.append(float(fd.comparison.sup_error(gd, flow)))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-9


def test_richardson_extrapolation_is_second_order(problem):
    flow = fd.solve(fd.GradientFlow(problem), W0, t=[2.0], solver=fd.solvers.Scipy("DOP853", rtol=1e-13))
    gaps = []
    for eta in (0.04, 0.02, 0.01, 0.005):
        coarse = fd.solve(fd.GradientDescent(problem, eta), W0, t=[2.0]).w.values
        fine = fd.solve(fd.GradientDescent(problem, eta / 2), W0, t=[2.0]).w.values
        gaps.append(np.linalg.norm(2 * fine - coarse - flow.w.values))
    assert abs(np.log2(gaps[-2] / gaps[-1]) - 2) < 0.1


def test_prediction_warns_where_its_series_diverges():
    p = fd.problems.Quadratic(np.diag([10.0, 1.0]))
    with pytest.warns(fd.FlowdynWarning, match="largest curvature on the way is 3"):
        fd.fast_forward(fd.GradientDescent(p, 0.3), [1.0, 1.0], t=3.0)


def test_a_prediction_looks_at_the_curvature_on_the_way():
    p = fd.problems.CustomProblem(lambda w: w**2 / 2 - w**4 / 4, 1.0)  # curvature 1 - 3 w^2 at w -> 0 is 1
    with pytest.warns(fd.FlowdynWarning, match="on the way is 1.[12]"):
        fd.fast_forward(fd.GradientDescent(p, 1.2), 0.5, t=[6.0, 12.0])


def test_a_prediction_whose_series_diverges_has_no_error_estimate():
    """What the recursion's own first steps measure is true all the same."""
    with pytest.warns(fd.FlowdynWarning, match="does not converge"):
        far = fd.fast_forward(fd.GradientDescent(fd.problems.Quadratic(1.0), 1.5), [1.0], t=[3.0, 30.0, 1500.0])
    said = far.error_estimate.values
    assert np.isnan(said[2])
    flow = np.exp(-sum(1.5**j / j for j in (1, 2, 3)) / 1.5 * np.array([3.0, 30.0]))
    assert np.allclose(said[:2], np.abs(np.array([0.25, 0.5**20]) - flow), rtol=1e-6)


def wavy(w):
    """A valley along a cosine, with waves across: its curvature changes sign on the way down."""
    return w[0] ** 2 / 2 + 0.3 * jnp.sin(3 * w[0]) + (w[1] - jnp.cos(w[0])) ** 2 / 2


def wavy_gradient(w):
    rest = w[1] - np.cos(w[0])
    return np.array([w[0] + 0.9 * np.cos(3 * w[0]) + rest * np.sin(w[0]), rest])


VALLEY = fd.problems.CustomProblem(lambda w: wavy(w[:2]) + 1e-3 * w[2] ** 4, np.zeros(3))  # and a slow direction


@pytest.mark.filterwarnings("ignore:`eta` times the largest curvature:flowdyn._check.FlowdynWarning")
@pytest.mark.parametrize(("steps", "head"), [(23, 512), (60, 8), (1000, 512)])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_an_error_estimate_is_never_below_a_third_of_the_truth(order, steps, head, monkeypatch):
    """Also beyond the steps that are taken exactly, where a slow direction keeps what the first steps have missed."""
    monkeypatch.setattr(prediction_error, "HEAD", head)
    rng = np.random.default_rng(order)
    starts = [np.array([2.5, -1.0, 2.0]), *rng.uniform(-2.5, 2.5, (2, 3))]
    ratios = []
    for start, eta in zip(starts, [0.2577, *rng.uniform(0.02, 0.26, 2)], strict=True):
        w = start
        for _ in range(steps):
            w = w - eta * np.append(wavy_gradient(w[:2]), 4e-3 * w[2] ** 3)
        run = fd.fast_forward(fd.GradientDescent(VALLEY, eta), start, t=eta * steps, order=order)
        said, truth = float(run.error_estimate[-1]), float(np.linalg.norm(run.w.values[-1] - w))
        ratios += [(said + 1e-13) / (truth + 1e-13)] if np.isfinite(said) else []
    assert len(ratios) >= 2 and min(ratios) > 1 / 3
    assert head < 512 or np.median(ratios) < 5  # with fewer steps of its own it has to be cautious


@pytest.mark.parametrize("drift", [(0.3, 0.1), (0.25, 0.5), (0.1, 0.7)])
def test_rounding_that_adds_up_is_no_order(drift):
    """Steps w - h c and their flow agree exactly: what differs is n roundings, all of one sign in a binade."""
    method = fd.Recursion(lambda w, h: w - h * jnp.array(drift), 0.05, jnp.zeros(2))
    with pytest.warns(fd.FlowdynWarning, match="not resolved: only 0 of 6"):
        ladder = fd.eta_limit(method, [1.0, 0.8], t=1.0)
    assert 0 < ladder.sup_error.max() < 1e-12 and np.isnan(ladder.order)


def test_a_step_of_order_four_is_measured_where_order_one_is_expected():
    """The classical Runge-Kutta step of w' = -w^3: errors of h^4, the finest of which nearly drown in rounding."""

    def step(w, h):
        k1 = -(w**3)
        k2 = -((w + h / 2 * k1) ** 3)
        k3 = -((w + h / 2 * k2) ** 3)
        k4 = -((w + h * k3) ** 3)
        return w + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    with pytest.warns(fd.FlowdynWarning, match=r"not as expected: measured (3\.9|4\.0)., expected 1"):
        ladder = fd.eta_limit(fd.Recursion(step, 0.05, jnp.zeros(2)), [1.2, 0.4], t=1.0)
    assert abs(float(ladder.order) - 4) < 0.05
