"""Small starts in every adaptive solver of ODEs, against closed forms in mpmath; breakpoints; ends at rest."""

import dataclasses
import functools
import json

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import flowdyn as fd
from flowdyn.solvers import diffrax_solve, scipy_ivp

STARTS = [1e-3, 1e-20, 1e-80, 1e-150]
QUICK = [fd.solvers.Auto(), fd.solvers.Scipy(), fd.solvers.Scipy("DOP853"), fd.solvers.Diffrax()]
BDF = fd.solvers.Scipy("BDF")  # its steps are loops of Python: in two of the tests here, in all of nightly size
LONG = [BDF, fd.solvers.Scipy("RK45"), fd.solvers.Scipy("Radau"), fd.solvers.Scipy("RK23", rtol=1e-6)]
LONG += [fd.solvers.Diffrax(method) for method in ("Dopri5", "Dopri8", "Kvaerno5")]
LONG += [fd.solvers.Diffrax(method, rtol=1e-6) for method in ("Bosh3", "Kvaerno3", "Kvaerno4")]
LONG += [fd.solvers.Diffrax(method, rtol=1e-4) for method in ("Heun", "Midpoint", "Ralston")]
SLOW = [pytest.param(solver, marks=pytest.mark.slow) for solver in LONG]
RATE = 4  # of a network of depth two with one sample x = 1
QUARTIC = fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4 - jnp.sum(w**2) / 2, np.array([1.0]))


def each(*solvers):
    """The test with every one of them."""
    label = lambda solver: f"{type(solver).__name__}-{getattr(solver, 'method', '')}"  # noqa: E731
    return pytest.mark.parametrize("solver", solvers, ids=label)


solvers = each(*QUICK, *SLOW)
solvers_and_bdf = each(*QUICK, BDF, *SLOW[1:])


@pytest.fixture(autouse=True)
def digits():
    """800 of them: the squares of 1e-150 beside 1, and their squares. Only here: other tests use mpmath too."""
    with mpmath.workdps(800):
        yield


def test_every_adaptive_method_is_tried():
    adaptive = {name for name, how in diffrax_solve.METHODS.items() if how.adapts} | set(scipy_ivp.ORDERS)
    assert {solver.method for solver in QUICK[1:] + LONG} == adaptive


def relative(value, truth):
    return float(abs(mpmath.mpf(float(value)) / truth - 1))


def growth(t, y, rate):
    return rate * y


@solvers_and_bdf
def test_growth_and_decay(solver):
    grow, decay = fd.ODE(growth, args=(1.0,)), fd.ODE(growth, args=(-1.0,))
    for start in STARTS:
        size = mpmath.mpf(start)
        up = fd.solve(grow, [start], t=np.linspace(0, 60, 4), solver=solver)
        assert (
            max(relative(w, size * mpmath.exp(t)) for w, t in zip(up.w.values[:, 0], up.t.values, strict=True))
            < 1e3 * solver.rtol
        )
        down = fd.solve(decay, [start], t=np.linspace(0, 60, 4), solver=solver)
        errors = [
            float(abs(float(w) - size * mpmath.exp(-t)) / size)
            for w, t in zip(down.w.values[:, 0], down.t.values, strict=True)
        ]
        assert max(errors) < 10 * solver.rtol


@solvers
def test_a_flow_leaves_its_saddle(solver):
    for start in STARTS:
        escape = -np.log(start)
        times = np.array([0.5 * escape, escape, escape + 2, escape + 20])
        run = fd.solve(fd.GradientFlow(QUARTIC), [start], t=times, solver=solver)
        for w, t in zip(run.w.values[:, 0], run.t.values, strict=True):
            truth = 1 / mpmath.sqrt(1 + (mpmath.mpf(start) ** -2 - 1) * mpmath.exp(-2 * mpmath.mpf(float(t))))
            assert relative(w, truth) < 1e4 * solver.rtol


def fed(w, source):
    """A saddle in w1, which a decaying w0 pushes off."""
    return w[1] ** 4 / 4 - w[1] ** 2 / 2 + w[0] ** 2 / 2 - source * w[0] * w[1]


@solvers
def test_a_saddle_left_by_a_tiny_source(solver):
    # up to squares of the source w0 = exp(-t) and w1 = source sinh(t), until w1 alone matters
    for source in (1e-10, 1e-20, 1e-30):
        p, escape = fd.problems.CustomProblem(fed, np.ones(2), data=source), np.log(2 / source)
        run = fd.solve(fd.GradientFlow(p), [1.0, 0.0], t=[escape / 2, escape, escape + 10], solver=solver)
        for w, t in zip(run.w.values[:, 1], run.t.values, strict=True):
            t = mpmath.mpf(float(t))
            start = mpmath.mpf(source) / 2 * (1 - mpmath.exp(-2 * t))  # of w1 = start exp(t)
            assert relative(w, 1 / mpmath.sqrt(1 + (start**-2 - 1) * mpmath.exp(-2 * t))) < 1e4 * solver.rtol


@solvers
def test_a_chain_of_two_zeros(solver):
    c = 1e-30
    chain = fd.ODE(lambda t, y: jnp.stack([-y[0], y[1] + c * y[0], 2 * y[2] + c * y[1]]))
    run = fd.solve(chain, [1.0, 0.0, 0.0], t=[1.0, 20.0, 60.0], solver=solver)
    for (_, one, two), t in zip(run.w.values, run.t.values, strict=True):
        t, size = mpmath.mpf(float(t)), mpmath.mpf(c)
        assert relative(one, size * mpmath.sinh(t)) < 1e4 * solver.rtol
        inner = (1 - mpmath.exp(-t)) - (1 - mpmath.exp(-3 * t)) / 3
        assert relative(two, size**2 / 2 * mpmath.exp(2 * t) * inner) < 1e4 * solver.rtol


@solvers
def test_a_tiny_source_that_begins_late(solver):
    late = fd.ODE(lambda t, y: jnp.stack([-y[0], y[1] + jnp.where(t > 5, 1e-30, 0.0)]))
    run = fd.solve(late, [1.0, 0.0], t=[10.0, 75.0], solver=solver)
    for w, t in zip(run.w.values[:, 1], run.t.values, strict=True):
        assert relative(w, mpmath.mpf(1e-30) * mpmath.expm1(mpmath.mpf(float(t)) - 5)) < 1e4 * solver.rtol


def test_rounding_is_no_source():
    # what is left of z.z - z.z in rounding must not set the tolerance of a coordinate that should stay 0
    cancels = fd.ODE(lambda t, y: jnp.stack([1 - y[0], 0.3 - y[1], (1.1 * y[0]) * y[1] - 1.1 * (y[0] * y[1])]))
    for solver in QUICK:
        run = fd.solve(cancels, [0.0, 0.0, 0.0], t=10.0, solver=solver)
        assert json.loads(run.attrs["flowdyn_stats"])["n_steps"] < 500, solver
        assert abs(run.w.values[-1, 2]) < 1e-13


def network_of_depth_two(alpha, y, t):
    """theta(t) of w+^2 - w-^2 on one sample x = 1, loss (theta - y)^2 / 2.

    s = (w+ / alpha)^2 solves the Riccati equation s' = 4 (y s - alpha^2 (s^2 - 1)).
    """
    a, y, t = mpmath.mpf(alpha) ** 2, mpmath.mpf(y), mpmath.mpf(float(t))
    root = mpmath.sqrt(y**2 + 4 * a**2)
    low, high = (y - root) / (2 * a), (y + root) / (2 * a)
    growth = (1 - low) / (high - 1) * mpmath.exp(RATE * root * t)
    s = (low + growth * high) / (1 + growth)
    return a * (s - 1 / s)


@solvers
def test_a_diagonal_network_of_depth_two(solver):
    p = fd.problems.DiagonalNetwork([[1.0]], [0.25])
    for alpha in STARTS:
        escape = float(np.log(0.25) - 2 * np.log(alpha)) / (0.25 * RATE)
        times = escape * np.array([0.3, 0.9, 1.0, 1.2])
        run = fd.solve(fd.GradientFlow(p), p.init(alpha), t=times, solver=solver)
        for theta, t in zip(run.theta.values[:, 0], run.t.values, strict=True):
            assert relative(theta, network_of_depth_two(alpha, 0.25, t)) < 1e5 * solver.rtol


CUBIC = fd.problems.CustomProblem(lambda w: (jnp.sum(w[:1] ** 3 - w[1:] ** 3) - 1) ** 2 / 2, np.ones(2))


@solvers
def test_a_diagonal_network_of_depth_three(solver):
    # before its escape at t = 1 / (3 w), w+' = 3 w+^2 and w-' = -3 w-^2 up to terms of size w^3
    for start in (1e-20, 1e-60, 1e-100):
        times = np.array([0.1, 0.5, 0.9]) / (3 * start)
        run = fd.solve(fd.GradientFlow(CUBIC), [start, start], t=times, solver=solver)
        for (plus, minus), share in zip(run.w.values, (0.1, 0.5, 0.9), strict=True):
            assert plus * (1 - share) == pytest.approx(start, rel=1e3 * solver.rtol)
            assert minus * (1 + share) == pytest.approx(start, rel=1e3 * solver.rtol)


@solvers_and_bdf
@pytest.mark.parametrize("traced", [True, False])
def test_a_coordinate_that_comes_back_from_nothing(solver, traced):
    # y = exp((t - 10)^2 - 100): from 1 down to 4e-44 and up again
    if not traced and not solver.support.plain_numpy:
        pytest.skip("it takes functions of JAX alone")
    there_and_back = fd.ODE(lambda t, y: 2 * (t - 10) * (y if traced else np.asarray(y)))
    run = fd.solve(there_and_back, [1.0, -2.0], t=[10.0, 15.0, 20.0], solver=solver)
    truth = np.exp((run.t.values - 10) ** 2 - 100)
    assert np.abs(run.w.values / np.outer(truth, [1.0, -2.0]) - 1).max() < 1e4 * solver.rtol


def dip(t, y, depth):
    """y = exp(depth (cos t - 1)): for depths of 5 to 13.5 down to 5e-5 ... 2e-12, and back to 1."""
    return -depth * jnp.sin(t) * y


@solvers
def test_a_coordinate_that_comes_back_from_near_nothing(solver):
    for depth in (5.0, 7.0, 9.0, 11.0, 13.5):
        run = fd.solve(fd.ODE(dip, args=(depth,)), [1.0, -2.0], t=[0.0, np.pi, 2 * np.pi], solver=solver)
        assert run.w.values[-1] == pytest.approx([1.0, -2.0], rel=1e3 * solver.rtol)
        assert run.w.values[1] == pytest.approx(np.exp(-2 * depth) * run.w.values[0], rel=1e3 * solver.rtol)


@pytest.mark.parametrize("depth", [50.0, pytest.param(100.0, marks=pytest.mark.slow)])
@each(fd.solvers.Auto(), fd.solvers.Scipy(), BDF, pytest.param(fd.solvers.Scipy("Radau"), marks=pytest.mark.slow))
def test_no_step_jumps_over_growth_that_both_its_ends_hide(solver, depth):
    # down to 1e-43 and 1e-87: below its tolerance steps grow, and the rate is 0 again where one may end
    run = fd.solve(fd.ODE(dip, args=(depth,)), [1.0, -2.0], t=2 * np.pi, saves=2, solver=solver)
    assert run.w.values[-1] == pytest.approx([1.0, -2.0], rel=1e4 * solver.rtol)


def test_a_spiral_that_comes_back_from_near_nothing():
    # z = exp((13 (cos t - 1)) + 5 i t): its coordinates cross zero all along, and only the bottom is a dip
    turn = jnp.array([[0.0, -5.0], [5.0, 0.0]])
    spiral = fd.ODE(lambda t, z: -13 * jnp.sin(t) * z + turn @ z)
    for solver in QUICK:
        run = fd.solve(spiral, [1.0, 0.0], t=2 * np.pi, saves=2, solver=solver)
        assert run.w.values[-1] == pytest.approx([1.0, 0.0], abs=1e3 * solver.rtol), solver


def test_what_rests_at_zero_is_not_run_twice():
    damped = fd.ODE(lambda t, y: jnp.array([y[1], -y[0] - y[1]]))
    for solver in QUICK:
        run = fd.solve(damped, [1.0, 0.0], t=1e4, solver=solver)
        assert "reruns" not in json.loads(run.attrs["flowdyn_stats"]), solver


def test_what_crosses_zero_is_not_run_twice():
    # 300 crossings at times that no step knows of, in 60 coordinates
    rates = jnp.linspace(1.0, 10.0, 30)
    many = fd.ODE(lambda t, y: jnp.concatenate([rates * y[30:], -rates * y[:30]]))
    run = fd.solve(many, np.linspace(0.5, 1.5, 60), t=100.0, saves=2)
    assert "reruns" not in json.loads(run.attrs["flowdyn_stats"])


def test_a_tolerance_of_the_users_own_stays_absolute():
    run = fd.solve(fd.ODE(lambda t, y: y), [1e-20], t=60.0, saves=2, solver=fd.solvers.Scipy("RK45", atol=1e-9))
    peer = solve_ivp(lambda t, y: y, (0, 60), [1e-20], "RK45", rtol=1e-8, atol=1e-9)
    assert run.w.values[-1, 0] == pytest.approx(peer.y[0, -1], rel=1e-12)


def pulse(t, y):
    return jnp.where((t > 5) & (t < 5.01), 100.0, 0.0) * jnp.ones_like(y)


@pytest.mark.parametrize("solver", [fd.solvers.Auto, fd.solvers.Scipy, fd.solvers.Diffrax])
@pytest.mark.parametrize("options", [{"breakpoints": [5.01, 5.0]}, {"max_step": 0.005}])
def test_a_short_pulse_is_seen_where_it_is_named(solver, options):
    methods = {"Auto": [None], "Scipy": ["LSODA", "BDF", "DOP853"], "Diffrax": ["Tsit5", "Kvaerno5"]}
    for method in methods[solver.__name__]:
        named = {"method": method} if method else {}
        run = fd.solve(fd.ODE(pulse), [0.0], t=5.5, solver=solver(**named, **options))
        assert run.w.values[-1, 0] == pytest.approx(1.0, abs=1e-5)  # its area
        assert fd.rerun(run, f=pulse).w.equals(run.w)


STEPPERS = [fd.solvers.Auto, *(functools.partial(fd.solvers.Scipy, m) for m in ("LSODA", "BDF", "DOP853"))]


def forced(t, y, rate):
    """y = cos t attracts."""
    return -rate * (y - jnp.cos(t)) - jnp.sin(t)


@pytest.mark.parametrize("solver", [*STEPPERS, fd.solvers.Diffrax], ids=["Auto", "LSODA", "BDF", "DOP853", "Tsit5"])
@pytest.mark.parametrize("rate", [1.0, 1e4], ids=["soft", "stiff"])
def test_saves_beside_a_breakpoint_are_all_there(solver, rate):
    """One that lay two spacings behind it was left out, and later rows had the labels of the times before them."""
    times = np.concatenate([[0.1], 0.3 + np.spacing(0.3) * np.arange(-3, 5), [0.5]])
    run = fd.solve(fd.ODE(forced, args=(rate,)), [1.0], t=times, solver=solver(breakpoints=[0.2, 0.3]))
    assert (run.t.values == times).all()
    assert run.w.values[:, 0] == pytest.approx(np.cos(times), abs=1e-6)


def test_states_at_other_times_than_asked_for_are_refused(monkeypatch):
    real = fd.solvers.Scipy.run

    def without_its_second_row(self, task):
        result = real(self, task)
        keep = np.arange(len(result.t)) != 1
        return dataclasses.replace(result, t=result.t[keep], states=result.states[keep])

    monkeypatch.setattr(fd.solvers.Scipy, "run", without_its_second_row)
    with pytest.raises(fd.RunError, match="at the times it was asked for"):
        fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=1.0, solver=fd.solvers.Scipy())


def test_breakpoints_between_which_no_step_fits_are_one():
    near = [1e-320, 5.0, float(np.nextafter(5.0, 6.0)), 5.0 + 1e-14, 10.0 - 4e-15]
    for solver in (fd.solvers.Auto, fd.solvers.Scipy, fd.solvers.Diffrax):
        run = fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=[0.0, 5.0, 10.0], solver=solver(breakpoints=near))
        assert run.w.values[:, 0] == pytest.approx(np.exp([0.0, -5.0, -10.0]), rel=1e-6)


def test_breakpoints_and_longest_steps_are_checked():
    for solver in (fd.solvers.Auto, fd.solvers.Scipy, fd.solvers.Diffrax):
        with pytest.raises(fd.ArgumentError, match="`breakpoints`"):
            solver(breakpoints=[0.0, np.nan])
        with pytest.raises(fd.ArgumentError, match="`max_step` must be positive"):
            solver(max_step=0.0)
        assert solver(breakpoints=[2, 1, 2]) == solver(breakpoints=(1.0, 2.0))
    with pytest.raises(fd.ArgumentError, match="`dt` means fixed steps"):
        fd.solvers.Diffrax(dt=0.1, breakpoints=[1.0])
    with pytest.raises(fd.ArgumentError, match="`dt` means fixed steps"):
        fd.solvers.Diffrax(dt=0.1, max_step=1.0)


@pytest.mark.parametrize("open_end", [False, True])
def test_a_breakpoint_is_a_step_for_stop_rules_and_open_ends_too(open_end):
    ramp = fd.ODE(lambda t, y: jnp.where(t < 1, 1.0, -1.0) * jnp.ones_like(y))
    scipys = [fd.solvers.Scipy(method, breakpoints=[1.0]) for method in ("DOP853", "RK45", "Radau", "LSODA")]
    for solver in (fd.solvers.Auto(breakpoints=[1.0]), *scipys):
        end = np.inf if open_end else 3.0
        run = fd.solve(ramp, [0.0], end, observe={"y": lambda w: w[0]}, stop={"y": ("<", -0.5)}, solver=solver)
        assert run.t.values[-1] == pytest.approx(2.5, abs=1e-9)
    for solver in (fd.solvers.Auto(breakpoints=[1.0]), fd.solvers.Scipy("DOP853", breakpoints=[1.0])):
        saved = fd.solve(ramp, [0.0], [0.5, 1.0, 1.5], solver=solver)
        assert saved.w.values[:, 0] == pytest.approx([0.5, 1.0, 0.5], abs=1e-12)


@pytest.mark.parametrize("alpha", [1e3, 1e4])
def test_a_rule_below_what_arithmetic_reaches_ends_at_rest(alpha):
    # theta is a difference of squares of size alpha^2, so that the loss cannot fall below (1e-16 alpha^2)^2
    p = fd.problems.DiagonalNetwork([[1.0, 0.5, -0.3], [0.2, -1.0, 0.7]], [1.0, -0.4])
    for system in (fd.GradientFlow(p), fd.DualFlow(p, p.init(alpha))):
        with pytest.raises(fd.RunError, match=r"never met: loss < 1e-28 .* at rest up to rounding"):
            fd.solve(system, p.init(alpha), t=np.inf, stop={"loss": ("<", 1e-28)})
        kept = fd.solve(system, p.init(alpha), t=np.inf, stop={"loss": ("<", 1e-28)}, on_divergence="keep")
        assert kept.status.attrs["flag_meanings"].split()[int(kept.status)] == "at_rest"
        nearest = fd.theory.minimum_norm(p.X, p.y)  # the limit of large starts, by other means
        assert kept.theta.values[-1] == pytest.approx(np.asarray(nearest.theta), abs=1e-5)


@pytest.mark.parametrize("alpha", [1e3, 1e4])
def test_rest_is_found_where_rounding_begins(alpha):
    # the modes decay like exp(-4 alpha^2 lam t): rounding alone is left after a few dozen such times, and steps that
    # grow tenfold are looked at a few steps later
    p = fd.problems.DiagonalNetwork([[1.0, 0.5, -0.3], [0.2, -1.0, 0.7]], [1.0, -0.4])
    slowest = np.linalg.eigvalsh(p.X @ p.X.T).min()
    for system in (fd.GradientFlow(p), fd.DualFlow(p, p.init(alpha))):
        run = fd.solve(system, p.init(alpha), t=np.inf, stop={"loss": ("<", 1e-28)}, on_divergence="keep")
        assert 10 < 4 * alpha**2 * slowest * float(run.t[-1]) < 1e7


NETWORK = fd.problems.DiagonalNetwork([[1.0, 0.5, -0.3], [0.2, -1.0, 0.7]], [1.0, -0.4])
HALVED = fd.schedules.PiecewiseConstant([0.04, 0.02], [300])
DESCENTS = {
    "diagonal network": (fd.GradientDescent(NETWORK, 0.02), NETWORK.init(0.1)),
    "heavy ball": (fd.HeavyBall(NETWORK, 0.02, friction=1.0), NETWORK.init(0.1)),
    "decaying steps": (
        fd.GradientDescent(NETWORK, fd.schedules.PiecewiseConstant([0.05, 0.02], [300])),
        NETWORK.init(1.0),
    ),
}


@pytest.mark.parametrize("name", DESCENTS)
def test_a_recursion_ends_at_rest(name):
    method, w0 = DESCENTS[name]
    stop = {"loss": ("<", 1e-40)}
    with pytest.raises(fd.RunError, match=r"never met: loss < 1e-40 .* at rest up to rounding"):
        fd.solve(method, w0, t=np.inf, stop=stop)
    kept = fd.solve(method, w0, t=np.inf, stop=stop, on_divergence="keep")
    assert kept.status.attrs["flag_meanings"].split()[int(kept.status)] == "at_rest" and int(kept.k[-1]) < 100_000
    longer = fd.solve(method, w0, steps=4 * int(kept.k[-1]), saves=2)  # what it would have come to
    assert np.allclose(longer.theta[-1], kept.theta[-1], rtol=0, atol=1e-14) and float(kept.loss[-1]) < 1e-28


def test_a_rule_that_rounding_meets_by_chance_is_not_met():
    # within the compiled loop the loss is 0 at some step; computed again it is 1e-31
    p = fd.problems.LinearRegression(np.random.default_rng(0).standard_normal((5, 10)), np.arange(5.0))
    stop = {"loss": ("<", 1e-40)}
    run = fd.solve(fd.HeavyBall(p, 0.01, friction=1.0), np.zeros(10), t=np.inf, stop=stop, on_divergence="keep")
    named = run.status.attrs["flag_meanings"].split()[int(run.status)]
    assert named == ("stopped" if float(run.loss[-1]) < 1e-40 else "at_rest")


def test_a_recursion_that_still_moves_is_not_at_rest():
    quadratic = fd.problems.CustomProblem(lambda w: (w[0] - 1) ** 2 / 2 - w[1] ** 2 / 200 + w[1] ** 4 / 4, np.ones(2))
    saddle = fd.GradientDescent(quadratic, 0.1)  # w[1] grows by 1.001 a step, out of nothing
    run = fd.solve(saddle, [2.0, 1e-100], t=np.inf, stop={"loss": ("<", -2e-5)})
    assert int(run.status) == 1 and int(run.k[-1]) > 200_000
    warm = fd.schedules.PiecewiseConstant([1e-30, 0.1], [5000])  # nothing moves before step 5000
    run = fd.solve(fd.GradientDescent(quadratic, warm), [2.0, 0.0], t=np.inf, stop={"loss": ("<", 1e-12)})
    assert 5000 < int(run.k[-1]) < 5200
    slow = fd.solve(
        fd.GradientDescent(quadratic, 1e-13),
        [2.0, 0.0],
        t=np.inf,
        stop={"loss": ("<", 0.1)},
        max_steps=100_000,
        on_divergence="keep",
    )
    assert slow.status.attrs["flag_meanings"].split()[int(slow.status)] == "max_steps"
