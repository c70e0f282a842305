"""Stops, open ends, restarts, divergence, budgets: how a run can end, and what it says of it."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import flowdyn as fd

QUARTIC = fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4, np.zeros(1))  # w = w0 / sqrt(1 + 2 w0^2 t)
FLOWS = {
    "lsoda": lambda: fd.solvers.Scipy("LSODA", rtol=1e-10),
    "radau": lambda: fd.solvers.Scipy("Radau", rtol=1e-10),
    "diffrax": lambda: fd.solvers.Diffrax(rtol=1e-10),
}


@pytest.mark.parametrize("solver", FLOWS)
def test_stop_is_found_on_the_solution(solver):
    run = fd.solve(fd.GradientFlow(QUARTIC), [1.0], t=9.0, stop={"loss": ("<", 1 / 64)}, solver=FLOWS[solver]())
    assert run.t[-1].item() == pytest.approx(1.5, abs=1e-6)  # w = 1/2
    assert run.w[-1].item() == pytest.approx(0.5, abs=1e-7)
    assert int(run.status) == 1 and "loss < 0.015625" in run.attrs["stopped_by"]
    assert (np.diff(run.t) > 0).all()


def test_stop_of_an_exact_flow_and_recursion():
    p = fd.problems.Quadratic(1.0)
    run = fd.solve(fd.GradientFlow(p), [1.0], t=np.inf, stop={"loss": ("<", 0.5 * np.exp(-4))})
    assert run.t[-1].item() == pytest.approx(2.0, abs=1e-12)
    for solver in (None, fd.solvers.Iteration()):
        for t in (5.0, np.inf):
            gd = fd.solve(fd.GradientDescent(p, 0.1), [1.0], t=t, stop={"loss": ("<", 0.5 * 0.81**9.5)}, solver=solver)
            assert gd.k[-1].item() == 10  # first k with 0.9^2k below 0.9^19
            assert gd.w[-1].item() == pytest.approx(0.9**10, abs=1e-14)


STEPPERS = ("LSODA", "RK45", "DOP853", "RK23", "Radau", "BDF")


@pytest.mark.parametrize("method", STEPPERS)
@pytest.mark.parametrize("level", [1e-4, 1e-6])
def test_a_rule_that_holds_inside_a_step_only_is_found(method, level):
    swing = fd.HeavyBallFlow(fd.problems.Quadratic(1.0), 0.0)  # w = cos t: the loss is below the level near pi/2
    run = fd.solve(swing, [1.0], t=20.0, stop={"loss": ("<", level)}, solver=fd.solvers.Scipy(method))
    assert run.t[-1].item() == pytest.approx(np.arccos(np.sqrt(2 * level)), abs=1e-7)
    narrow = fd.solve(swing, [1.0], t=20.0, stop={"grad_norm": (">", 1.1), "loss": ("<", level)})
    assert narrow.t[-1].item() == pytest.approx(np.arccos(np.sqrt(2 * level)), abs=1e-7)
    never = fd.solve(swing, [1.0], t=20.0, stop={"grad_norm": (">", 1 + 1e-5)}, solver=fd.solvers.Scipy(method))
    assert int(never.status) == 0


@pytest.mark.parametrize("t", [0.5, 100.0, np.inf])
def test_a_rule_that_holds_for_a_while_is_found_between_saves(t):
    flow = fd.GradientFlow(fd.problems.Quadratic(np.diag([1.0, 30.0])))
    observe = {"m": lambda w: w[0] + w[1]}  # exp(-t) - exp(-30 t) rises through 0.8, and falls again
    root = brentq(lambda x: np.exp(-x) - np.exp(-30 * x) - 0.8, 0.01, 0.11)
    run = fd.solve(flow, [1.0, -1.0], t, saves=3, observe=observe, stop={"m": (">", 0.8)})
    assert run.t[-1].item() == pytest.approx(root, rel=1e-13)
    top = brentq(lambda x: np.exp(-x) - 30 * np.exp(-30 * x), 0.01, 1.0)
    height = np.exp(-top) - np.exp(-30 * top)
    for level, found in ((height * (1 - 1e-9), True), (height * (1 + 1e-9), False)):
        run = fd.solve(flow, [1.0, -1.0], 100.0, saves=3, observe=observe, stop={"m": (">", level)})
        assert (int(run.status) == 1) is found


@pytest.mark.parametrize("level", [1.85, 1.1, 0.55, 0.3])
def test_the_exact_recursion_stops_where_the_iterated_one_does(level):
    method = fd.GradientDescent(fd.problems.Quadratic(np.diag([1.0, 196.0, 5.0])), 0.01)  # one mode alternates
    observe = {"m": lambda w: jnp.abs(w[0] - w[1]) - 2 * w[2]}
    start = [1.0, -1.0, 1.0]
    first = [
        fd.solve(method, start, steps=3000, saves=4, observe=observe, stop={"m": (">", level)}, solver=solver).k.values[
            -1
        ]
        for solver in (fd.solvers.Exact(), fd.solvers.Iteration())
    ]
    assert first[0] == first[1] > 0


def test_a_run_that_leaves_the_domain_of_its_loss_is_not_a_success():
    p = fd.problems.CustomProblem(jnp.log, 1.0)  # w_{k+1} = w_k - 0.3 / w_k turns negative at step 3
    gd = fd.GradientDescent(p, 0.3)
    with pytest.raises(fd.RunError, match=r"step 3.*the loss is not a number"):
        fd.solve(gd, 1.0, steps=6)
    kept = fd.solve(gd, 1.0, steps=6, on_divergence="keep")
    assert int(kept.status) == 3 and float(kept.t_stop) == pytest.approx(0.9)
    assert np.isfinite(kept.w[:3]).all() and np.isnan(kept.w[3:]).all() and np.isnan(kept.loss[3:]).all()
    with pytest.raises(fd.RunError, match="every rung"):
        fd.eta_limit(gd, 1.0, t=1.0)
    noisy = fd.problems.CustomProblem(jnp.log, 1.0, sample_losses=lambda w: jnp.log(w) * jnp.array([0.5, 1.5]))
    sgd = fd.solve(fd.SGD(noisy, 0.3), 1.0, steps=6, realizations=8, on_divergence="keep")
    assert (sgd.status.isin([2, 3]) == np.isnan(sgd.w).any("t")).all() and bool(np.isnan(sgd.w).any())
    assert np.isfinite(sgd.loss.values[np.isfinite(sgd.w.values)]).all()


def test_stop_on_a_users_functional_and_at_the_start():
    observe = {"size": lambda w: jnp.abs(w[0])}
    run = fd.solve(fd.GradientFlow(QUARTIC), [1.0], t=9.0, observe=observe, stop={"size": ("<", 0.5)})
    assert run.t[-1].item() == pytest.approx(1.5, abs=1e-6)
    at_once = fd.solve(fd.GradientFlow(QUARTIC), [0.1], t=9.0, observe=observe, stop={"size": ("<", 0.5)})
    assert at_once.sizes["t"] == 1 and int(at_once.status) == 1


@pytest.mark.parametrize("solver", [None, fd.solvers.Scipy(), fd.solvers.Scipy("Radau")])
def test_a_rule_that_is_never_met_is_told(solver):
    flow = fd.GradientFlow(fd.problems.LinearRegression([[1.0], [1.0]], [0.0, 1.0]))  # the loss ends at 1/4
    with pytest.raises(fd.RunError, match=r"`stop` is never met: loss < 0\.2 does not hold by t ="):
        fd.solve(flow, [1.0], t=np.inf, stop={"loss": ("<", 0.2)}, solver=solver)


@pytest.mark.filterwarnings("ignore:lsoda")
@pytest.mark.parametrize(
    "system",
    [
        fd.ODE(lambda t, y: -np.asarray(y)),
        pytest.param(fd.ODE(lambda t, y: -(np.asarray(y) ** 3)), marks=pytest.mark.slow),  # at rest by t = 6e210
        fd.GradientFlow(fd.problems.DiagonalNetwork([[1.0, 2.0]], [1.0])),
    ],
)
def test_a_system_at_rest_is_not_blamed_for_a_rule_that_is_never_met(system):
    with pytest.raises(fd.RunError, match=r"`stop` is never met: sum < -1 does not hold by t ="):
        fd.solve(system, np.full(4, 0.5), np.inf, observe={"sum": lambda w: sum(w)}, stop={"sum": ("<", -1.0)})


@pytest.mark.parametrize("solver", [None, fd.solvers.Scipy("DOP853")])
def test_of_many_starts_the_first_that_is_lost_is_named(solver):
    """y' = y^2 has its pole at 1 / y(0)."""
    with pytest.raises(fd.RunError, match=r"^2 of 4 starts: the run diverged at t = 0.5; .*\(start 3, the first\)"):
        fd.solve(fd.ODE(lambda t, y: y**2), [[0.1], [1.0], [0.2], [2.0]], 2.0, solver=solver)


def test_a_singularity_is_not_taken_for_rest():
    blow_up = fd.ODE(lambda t, y: y**2)
    with pytest.raises(fd.RunError, match="diverged at t = 1"):
        fd.solve(blow_up, [1.0], np.inf, observe={"y": lambda w: w[0]}, stop={"y": ("<", -1.0)})


@pytest.mark.parametrize("solver", [None, *FLOWS])
def test_members_that_stop_apart_and_at_once(solver):
    p = fd.problems.Quadratic(1.0)
    starts = np.array([[0.0], [1.0], [2.0], [1e-6]])
    chosen = None if solver is None else FLOWS[solver]()
    run = fd.solve(fd.GradientFlow(p), starts, t=20.0, stop={"loss": ("<", 1e-8)}, solver=chosen)
    end = np.log(1 / np.sqrt(2e-8))
    assert np.allclose(run.t_stop, [0.0, end, end + np.log(2), 0.0], atol=1e-6) and (run.status == 1).all()
    at_once = fd.solve(fd.GradientFlow(p), starts[[0, 3]], t=20.0, stop={"loss": ("<", 1e-8)}, solver=chosen)
    assert (at_once.t_stop == 0).all() and np.array_equal(at_once.w[:, 0], starts[[0, 3]])


@pytest.mark.parametrize("saves", [5, 40])
def test_open_end_keeps_a_thinned_record(saves):
    stop = {"grad_norm": ("<", 1e-6)}  # w^3 = 1e-6: w = 1e-2, t = (1e4 - 1) / 2
    run = fd.solve(fd.GradientFlow(QUARTIC), [1.0], t=np.inf, stop=stop, saves=saves)
    assert run.t[-1].item() == pytest.approx(4999.5, rel=1e-5)
    assert 2 <= run.sizes["t"] <= saves and run.t[0] == 0
    gd = fd.solve(fd.GradientDescent(QUARTIC, 0.5), [1.0], t=np.inf, stop=stop, saves=saves)
    assert 2 <= gd.sizes["t"] <= saves and (np.diff(gd.k) > 0).all()
    w, k = 1.0, 0
    while w**3 >= 1e-6:
        w, k = w - 0.5 * w**3, k + 1
    assert gd.k[-1].item() == k


@pytest.mark.parametrize("name", ["GradientFlow", "GradientDescent", "HeavyBall", "NesterovFlow"])
def test_a_restart_goes_on_where_the_run_was(name):
    system = {
        "GradientFlow": lambda: fd.GradientFlow(QUARTIC),
        "GradientDescent": lambda: fd.GradientDescent(QUARTIC, 0.125),
        "HeavyBall": lambda: fd.HeavyBall(QUARTIC, 0.015625, 1.0),
        "NesterovFlow": lambda: fd.NesterovFlow(QUARTIC),
    }[name]()
    whole = fd.solve(system, [1.0], t=4.0, saves=9)
    half = fd.solve(system, [1.0], t=2.0, saves=5)
    rest = fd.solve(system, half.isel(t=-1), t=4.0, saves=5)
    assert rest.t[0].item() == 2.0
    assert np.abs(rest.w[-1] - whole.w[-1]).max() < 1e-7
    if "k" in rest.coords:
        assert rest.k[-1].item() == whole.k[-1].item()
        assert np.array_equal(rest.w[-1], whole.w[-1])


def test_step_size_above_the_threshold_warns_and_diverges_at_a_step():
    p = fd.problems.CustomProblem(lambda w: 5 * w[0] ** 2 + 0.5 * w[1] ** 2, np.zeros(2))
    with (
        pytest.warns(fd.FlowdynWarning, match=r"2/lambda_max = 0\.2 "),
        pytest.raises(fd.RunError, match=r"diverged at .*step 184"),
    ):
        # |1 - 0.45 * 10| = 3.5; the first k with 3.5^k > 1e100 is 184
        fd.solve(fd.GradientDescent(p, 0.45), [1.0, 1.0], steps=1000)
    with pytest.warns(fd.FlowdynWarning, match="stability threshold"):
        run = fd.solve(fd.GradientDescent(p, 0.45), [1.0, 1.0], steps=1000, saves=101, on_divergence="keep")
    assert run.sizes["t"] == 101 and int(run.status) == 2
    good = run.k.values < 184
    assert np.isfinite(run.w.values[good]).all() and np.isnan(run.w.values[~good]).all()
    assert np.isnan(run.loss.values[~good]).all()
    assert run.t_stop.item() == pytest.approx(0.45 * 184)


@pytest.mark.parametrize("eta", [0.2, 0.19])
def test_no_false_alarm_at_the_threshold(eta):
    p = fd.problems.Quadratic(np.diag([10.0, 1.0]))
    run = fd.solve(fd.GradientDescent(p, eta), [1.0, 1.0], steps=50)
    assert int(run.status) == 0


@pytest.mark.parametrize(
    "solver",
    [
        fd.solvers.Scipy("LSODA", rtol=1e-10),
        fd.solvers.Scipy("DOP853", rtol=1e-10),
        pytest.param(fd.solvers.Scipy("Radau", rtol=1e-10), marks=pytest.mark.slow),
        fd.solvers.Diffrax(rtol=1e-10),
    ],
)
def test_blow_up_is_told_and_the_good_part_is_kept(solver):
    system = fd.ODE(lambda t, y: y**2)  # 1 / (1 - t)
    with pytest.raises(fd.RunError, match=r"t = 1|max_steps"):
        fd.solve(system, [1.0], t=2.0, solver=solver)
    run = fd.solve(system, [1.0], t=2.0, saves=21, solver=solver, on_divergence="keep")
    early = run.t.values < 0.999
    assert np.abs(run.w.values[early, 0] * (1 - run.t.values[early]) - 1).max() < 1e-6
    assert np.isnan(run.w.values[run.t.values > 1.001]).all()
    assert int(run.status) in (2, 3, 4)


@pytest.mark.parametrize("method", ["LSODA", "RK45", "DOP853", "Radau", "BDF"])
@pytest.mark.parametrize("when", [-1.0, 0.5])
def test_nan_drift_ends_in_words_and_never_hangs(method, when):
    system = fd.ODE(lambda t, y: jnp.where(t > when, jnp.nan, -y))
    with pytest.raises(fd.RunError, match="finite"):
        fd.solve(system, [1.0], t=1.0, solver=fd.solvers.Scipy(method))


def test_budgets():
    with pytest.raises(fd.RunError, match="max_steps"):
        fd.solve(fd.GradientDescent(QUARTIC, 0.01), [1.0], t=10.0, max_steps=100)
    kept = fd.solve(fd.GradientDescent(QUARTIC, 0.01), [1.0], t=10.0, max_steps=100, on_divergence="keep")
    assert int(kept.status) == 4 and np.isfinite(kept.w.values[kept.k.values <= 100]).all()
    with pytest.raises(fd.RunError, match="max_steps"):
        fd.solve(fd.GradientFlow(QUARTIC), [1.0], t=1e6, max_steps=3)
    with pytest.raises(fd.RunError, match="max_seconds"):
        fd.solve(fd.GradientDescent(QUARTIC, 1e-9), [1.0], steps=10**9, max_seconds=0.3)


def test_observe_only_keeps_ends_and_functionals():
    run = fd.solve(fd.GradientFlow(QUARTIC), [1.0], t=1.5, observe={"cube": lambda w: w[0] ** 3}, observe_only=True)
    assert "w" not in run and run.w_last.item() == pytest.approx(0.5, abs=1e-7) and run.w_first.item() == 1.0
    assert run.cube.values[-1] == pytest.approx(0.125, abs=1e-7)


def test_progress_is_reported_and_silent_otherwise(capfd):
    seen = []
    fd.solve(fd.GradientFlow(QUARTIC), [1.0], t=1.0, progress=seen.append)
    assert seen and seen[-1] == pytest.approx(1.0) and seen == sorted(seen)
    fd.solve(fd.GradientFlow(QUARTIC), [1.0], t=1.0)
    assert capfd.readouterr().err == ""


def test_float32_is_warned_of():
    import jax

    with jax.enable_x64(False), pytest.warns(fd.FlowdynWarning, match="float32"):
        fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)


@pytest.mark.parametrize("method", ["LSODA", "RK45", "DOP853", "Radau", "BDF"])
@pytest.mark.parametrize("budget", [{"max_steps": 40}, {"max_seconds": 0.5}])
def test_open_end_out_of_budget_ends_at_the_state_it_reached(method, budget):
    """w' = cos t from 0: the last row is sin t at its own time, not the start."""
    run = fd.solve(
        fd.ODE(lambda t, w: jnp.cos(t) * jnp.ones_like(w)),
        [0.0],
        t=np.inf,
        stop={"x": (">", 10.0)},
        observe={"x": lambda w: w[0]},
        solver=fd.solvers.Scipy(method, rtol=1e-9, atol=1e-9),
        on_divergence="keep",
        **budget,
    )
    assert int(run.status) in (4, 5)
    assert np.allclose(run.x, np.sin(run.t), atol=1e-4)


ENDS = {
    "flow": (lambda: fd.GradientFlow(fd.problems.Quadratic(1.0)), {}),
    "steps": (lambda: fd.GradientDescent(fd.problems.Quadratic(1.0), 0.1), {}),
    "ODE": (lambda: fd.ODE(lambda t, x: -x), {}),
    "LSODA": (lambda: fd.ODE(lambda t, x: -x), {"solver": fd.solvers.Scipy("LSODA")}),
    "Diffrax": (lambda: fd.ODE(lambda t, x: -x), {"solver": fd.solvers.Diffrax()}),
    "law": (lambda: fd.OrnsteinUhlenbeck(1.0, 1.0), {"realizations": 3}),
    "SGD": (lambda: fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), 0.1), {"realizations": 3}),
    **{
        type(solver).__name__ + ("" if solver.dt else " adaptive"): (
            lambda: fd.SDE(lambda t, x: -x, lambda t, x: 0.1 * x, noise="diagonal"),
            {"solver": solver, "realizations": 3},
        )
        for solver in (
            fd.solvers.EulerMaruyama(dt=0.1),
            fd.solvers.EulerMaruyama(),
            fd.solvers.Milstein(dt=0.1),
            fd.solvers.DiffraxSDE(dt=0.1),
            fd.solvers.DiffraxSDE(),
            fd.solvers.Sdeint(dt=0.1),
        )
    },
}


@pytest.mark.parametrize("name", ENDS)
def test_a_run_to_its_start_has_that_one_save(name):
    """As ``solve_ivp`` runs over (0, 0): an end is asked for by a loop over ends, and means what ``t=[0.0]`` does."""
    make, options = ENDS[name]
    for t in (0.0, [0.0]):
        run = fd.solve(make(), [2.0], t=t, **options)
        assert run.t.values.tolist() == [0.0] and (run.w.values == 2.0).all() and not run.status.values.any()
    first = fd.solve(make(), [2.0], t=0.5, saves=2, **options)
    if "realizations" not in options:
        last = first.isel(t=-1)
        again = fd.solve(make(), last, t=0.5, **options)
        assert again.t.values.tolist() == [0.5] and np.array_equal(again.w[0], last.w)
    with pytest.raises(fd.ArgumentError, match=r"`t` must not be before 0, where the run starts, got -0\.5"):
        fd.solve(make(), [2.0], t=-0.5, **options)


def test_no_step_is_the_start():
    run = fd.solve(fd.GradientDescent(fd.problems.Quadratic(1.0), 0.1), [2.0], steps=0)
    assert run.k.values.tolist() == [0] and run.t.values.tolist() == [0.0] and run.w.values.tolist() == [[2.0]]
    system, w0, options = fd.rebuild(run)
    assert options["steps"] == 0 and fd.solve(system, w0, **options).w.equals(run.w)
    with pytest.raises(fd.ArgumentError, match="`steps` must be at least 0, got -1"):
        fd.solve(system, w0, steps=-1)
