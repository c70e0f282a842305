"""The default solver of ODEs: its tableau, its steps from call to call, its hand-over, many starts at once."""

import json
import subprocess
import sys

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn._tools import compiled, quick_compilation
from flowdyn.running import observer
from flowdyn.solvers import explicit_batch, explicit_state, trial_steps, tsitouras
from flowdyn.solvers.tolerances import Path

STEEP = 2e5


def pulled(t, y):
    """y' = -STEEP (y - cos t): y is close to cos t + sin t / STEEP after a moment."""
    return -STEEP * (y - jnp.cos(t))


def pulled_truth(t):
    """Closed form from y(0) = 1 where the transient is over."""
    return (STEEP**2 * np.cos(t) + STEEP * np.sin(t)) / (STEEP**2 + 1)


def test_the_tableau_is_that_of_diffrax():
    theirs = diffrax.Tsit5.tableau
    for ours, row in zip(tsitouras.A[1:], theirs.a_lower, strict=True):
        assert np.array_equal(ours, row)
    assert np.array_equal(tsitouras.B, theirs.b_sol) and np.array_equal(tsitouras.C[1:], theirs.c)
    assert np.abs(np.array(tsitouras.ERROR) - theirs.b_error).max() < 1e-16
    for share in np.linspace(0, 1, 7):
        inner = [
            float(diffrax.Tsit5.interpolation_cls(t0=0.0, t1=1.0, y0=jnp.zeros(()), y1=None, k=row).evaluate(share))
            for row in jnp.eye(7)
        ]
        assert np.abs(tsitouras.INSIDE @ share ** np.arange(1, 5) - inner).max() < 1e-13


def test_the_conditions_of_order_five_hold():
    b, c = np.array(tsitouras.B), np.array(tsitouras.C)
    a = np.array([[*row, *[0.0] * (7 - len(row))] for row in tsitouras.A])
    assert np.abs(a.sum(axis=1) - c).max() < 1e-14
    fourth = b - np.array(tsitouras.ERROR)
    for weights, order in ((b, 5), (fourth, 4)):
        for power in range(order):
            assert weights @ c**power == pytest.approx(1 / (power + 1), abs=1e-14)
    # trees with branches: b.c(ac), b.a(c^2), b.a(a c), b.(a c)^2, ...
    ac, ac2, aac = a @ c, a @ c**2, a @ (a @ c)
    conditions = {1 / 6: b @ ac, 1 / 8: b @ (c * ac), 1 / 12: b @ ac2, 1 / 24: b @ aac}
    conditions |= {1 / 10: b @ (c**2 * ac), 1 / 15: b @ (c * ac2), 1 / 30: b @ (c * aac)}
    for truth, found in conditions.items():
        assert found == pytest.approx(truth, abs=1e-14)
    for found, truth in ((b @ ac**2, 1 / 20), (b @ (a @ c**3), 1 / 20), (b @ (a @ (c * ac)), 1 / 40)):
        assert found == pytest.approx(truth, abs=1e-14)
    assert b @ (a @ ac2) == pytest.approx(1 / 60, abs=1e-14) and b @ (a @ aac) == pytest.approx(1 / 120, abs=1e-14)


def test_it_needs_no_other_library():
    code = (
        "import sys, numpy as np, flowdyn as fd\n"
        "p = fd.problems.DiagonalNetwork([[1.0, 0.5]], [1.0])\n"
        "run = fd.solve(fd.GradientFlow(p), p.init(0.1), t=1.0)\n"
        "assert 'by Auto' in run.attrs['summary'], run.attrs\n"
        "assert not {'diffrax', 'scipy.integrate', 'dask.array'} & set(sys.modules)"  # dask: .6 s, for a first number
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def turning(t, y):
    return (1 + jnp.sin(t) / 2) * jnp.stack([-y[1], y[0]])


def test_what_a_run_returns_does_not_depend_on_its_calls(monkeypatch):
    times = np.linspace(0, 9, 400)
    stops = {"observe": {"y": lambda w: w[0]}, "stop": {"y": ("<", -0.999)}}
    whole = [fd.solve(fd.ODE(turning), [1.0, 0.0], t=times, **more) for more in ({}, stops)]
    angle = times + (1 - np.cos(times)) / 2
    assert np.abs(whole[0].w.values - np.stack([np.cos(angle), np.sin(angle)], axis=1)).max() < 1e-6
    monkeypatch.setattr(explicit_batch, "FIRST_TRIES", 3)
    monkeypatch.setattr(explicit_batch, "SHORT", 0.0)
    monkeypatch.setattr(explicit_state, "MOST_BYTES", 1)  # room for 16 saves a call
    cut = [fd.solve(fd.ODE(turning), [1.0, 0.0], t=times, **more) for more in ({}, stops)]
    for one, other in zip(whole, cut, strict=True):
        assert np.array_equal(one.w.values, other.w.values) and np.array_equal(one.t.values, other.t.values)


@pytest.mark.parametrize("level", [1e-4, 1e-6])
def test_stop_rules_are_looked_for_inside_steps(level):
    swing = fd.HeavyBallFlow(fd.problems.Quadratic(1.0), 0.0)  # w = cos t
    run = fd.solve(swing, [1.0], t=20.0, stop={"loss": ("<", level)}, solver=fd.solvers.Auto())
    assert run.t[-1].item() == pytest.approx(np.arccos(np.sqrt(2 * level)), abs=1e-7)
    narrow = {"grad_norm": (">", 1.1), "loss": ("<", level)}
    run = fd.solve(swing, [1.0], t=20.0, stop=narrow, solver=fd.solvers.Auto())
    assert run.t[-1].item() == pytest.approx(np.arccos(np.sqrt(2 * level)), abs=1e-7)


def test_a_stiff_run_is_handed_over_and_made_again_to_the_same_bits():
    run = fd.solve(fd.ODE(pulled), [1.0], t=20.0, saves=21)
    assert np.abs(run.w.values[1:, 0] - pulled_truth(run.t.values[1:])).max() < 1e-6
    choice = run.attrs["flowdyn_choice"]
    assert choice.startswith("Tsit5, from t = ") and "Rodas5P: stiff" in choice
    assert json.loads(run.recipe.item())["choice"] == choice
    system, w0, options = fd.rebuild(run, f=pulled)
    again = fd.solve(system, w0, **options)
    assert np.array_equal(again.w.values, run.w.values) and again.attrs["flowdyn_choice"] == choice


def test_a_small_coordinate_that_is_stiff_is_seen_at_once():
    def robertson(t, y):
        a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return jnp.stack([b - a, a - b - c, c])

    run = fd.solve(fd.ODE(robertson), [1.0, 0.0, 0.0], t=40.0, saves=2)
    last = run.w.values[-1]
    assert np.abs(last / [0.7158270687, 9.185534765e-6, 0.2841637457] - 1).max() < 1e-7  # Radau at rtol 1e-12
    assert float(run.attrs["flowdyn_choice"].split()[4]) < 0.1  # y_2 is 1e-5 of the others
    assert json.loads(run.attrs["flowdyn_stats"])["n_steps"] < 300


def test_few_stiff_steps_are_taken_as_they_are():
    run = fd.solve(fd.ODE(pulled), [1.0], t=0.01, saves=3)
    assert run.attrs["flowdyn_choice"] == "Tsit5"
    assert np.abs(run.w.values[1:, 0] - pulled_truth(run.t.values[1:])).max() < 1e-6


def test_a_coordinate_at_zero_needs_no_absolute_tolerance():
    still = fd.ODE(lambda t, y: jnp.stack([-y[0], 0 * y[1]]))
    run = fd.solve(still, [1.0, 0.0], t=1.0, saves=2, solver=fd.solvers.Auto(atol=0.0), progress=False)
    np.testing.assert_allclose(run.w.values[-1], [np.exp(-1), 0.0], rtol=1e-7, atol=0)


def test_long_rows_are_observed_in_turn(monkeypatch):
    def refused(*_):
        raise AssertionError("all rows at once leave the caches")

    monkeypatch.setattr(compiled, "_rows", refused)
    rows = np.random.default_rng(0).standard_normal((observer.CACHED // (8 * observer.LONG_ROW) + 1, observer.LONG_ROW))
    found = observer.map_states(lambda problem, w: (w**2).sum() / 2, fd.problems.Quadratic(1.0), rows)
    np.testing.assert_allclose(found, (rows**2).sum(axis=1) / 2, rtol=1e-13)


def test_no_dense_jacobian_of_a_large_system(monkeypatch):
    def refuse(*_):
        raise AssertionError("a Jacobian was asked for")

    monkeypatch.setattr("flowdyn.solvers.kernels.jacobian", refuse)
    run = fd.solve(fd.ODE(lambda t, y: -1e3 * (y - jnp.cos(t))), np.ones(3000), t=10.0, saves=2)
    truth = (1e6 * np.cos(10) + 1e3 * np.sin(10)) / (1e6 + 1)
    assert np.abs(run.w.values[-1] - truth).max() < 1e-6 and run.attrs["flowdyn_choice"] == "Tsit5"


def test_many_starts_are_the_same_in_any_company(monkeypatch):
    flow = fd.GradientFlow(fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4, np.ones(2)))
    starts = np.linspace(0.1, 3.0, 74).reshape(37, 2)
    whole = fd.solve(flow, starts, t=9.0, saves=5)
    truth = starts[:, None] / np.sqrt(1 + 2 * starts[:, None] ** 2 * whole.t.values[:, None])
    assert np.abs(whole.w.values / truth - 1).max() < 1e-6
    part = fd.solve(flow, starts[5:8], t=9.0, saves=5)
    monkeypatch.setattr(explicit_batch, "BLOCK", 4)
    monkeypatch.setattr(explicit_batch, "FIRST_TRIES", 3)
    other = fd.solve(flow, starts, t=9.0, saves=5)
    assert np.array_equal(part.w.values, whole.w.values[5:8]) and np.array_equal(other.w.values, whole.w.values)


def test_starts_of_one_batch_may_end_apart():
    flow = fd.ODE(lambda t, y: y**2)
    starts = [[0.5], [-1.0], [2.0]]
    run = fd.solve(flow, starts, t=1.0, saves=11, on_divergence="keep")
    assert run.status.values.tolist() == [0, 0, 2] and run.t_stop.values[2] == pytest.approx(0.5, rel=1e-6)
    assert run.w.values[1, -1, 0] == pytest.approx(-0.5, rel=1e-7) and run.w.values[2, 4, 0] == pytest.approx(10.0)
    stiff = fd.solve(fd.ODE(pulled), [[1.0], [1.0 + 1e-9]], t=20.0, saves=3)
    assert stiff.attrs["flowdyn_choice"].startswith("2 of 2: Tsit5, from t = ")


def test_starts_that_are_handed_over_apart_are_told_apart():
    starts = [[1.0], [1e3], [1e9]]  # a larger one takes longer until it is slow beside its steps
    alone = [fd.solve(fd.ODE(pulled), start, t=20.0, saves=3).attrs["flowdyn_choice"] for start in starts]
    times = sorted(float(text.split()[4]) for text in alone)
    assert times[0] < times[-1]
    together = fd.solve(fd.ODE(pulled), starts, t=20.0, saves=3).attrs["flowdyn_choice"]
    assert together.startswith(f"3 of 3: Tsit5, from t = {times[0]:.6g} to {times[-1]:.6g} on Rodas5P: stiff")


def pushed(t, y):
    """Nothing drives y until t = 1; then a pulse of 1e-30, which grows like e^(5 t)."""
    return 5 * y + jnp.where((t > 1) & (t < 1.5), 1e-30, 0.0)


def test_what_wakes_on_the_way_takes_its_scale_from_there():
    run = fd.solve(fd.ODE(pushed), [0.0], t=[1.0, 4.0], solver=fd.solvers.Auto(breakpoints=[1.0, 1.5]))
    truth = 1e-30 / 5 * (1 - np.exp(-2.5)) * np.exp(5 * 3.0)
    assert run.w.values[:, 0] == pytest.approx([0.0, truth], rel=1e-5, abs=0)


def test_the_choice_weighs_a_middle_size_by_its_cost():
    """400 unknowns of rate 1e3: factorisations are cheaper than 1e5 steps; 1e3 steps are cheaper than they are."""
    rates = np.linspace(1e3, 2e3, 400)
    decay = fd.ODE(lambda t, y: -rates * (y - jnp.cos(t)))
    truth = lambda t: (rates**2 * np.cos(t) + rates * np.sin(t)) / (rates**2 + 1)  # noqa: E731
    chosen = []
    for end in (1.0, 300.0):
        run = fd.solve(decay, np.ones(400), t=[end])
        assert np.abs(run.w.values[-1] - truth(end)).max() < 1e-6
        chosen.append(run.attrs["flowdyn_choice"])
    assert chosen[0] == "Tsit5" and "LSODA: stiff" in chosen[1]


def test_rodas_has_its_orders():
    """At the end of a step and inside of it: y' = -y^2 + cos t has terms of every kind; a tight run is the truth."""
    system = fd.ODE(lambda t, y: jnp.stack([-(y[0] ** 2) + y[1] * jnp.cos(t), y[0] - y[1] ** 3]))
    start = np.array([1.0, 0.5])
    truth = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, _: system.drift(t, y)), diffrax.Dopri8(), 0.0, 0.4, None, jnp.asarray(start),
        saveat=diffrax.SaveAt(dense=True), stepsize_controller=diffrax.PIDController(1e-14, 1e-14),
    )  # fmt: skip
    errors = []
    for h in (0.2, 0.1, 0.05):
        none = np.zeros(2, bool)
        path = Path.at(start, np.abs(start), none)
        carry = explicit_state.Carry.at(0.0, start, path, none, 0)._replace(k=system.drift(0.0, start))
        trial = trial_steps.implicit(system, carry, jnp.asarray(h), jnp.asarray(h))
        middle = start + h * np.stack(trial_steps.inside(0.3, explicit_state.Method.RODAS5P)) @ np.stack(
            trial.stages(True)
        )
        errors.append([np.abs(trial.y - truth.evaluate(h)).max(), np.abs(middle - truth.evaluate(0.3 * h)).max()])
    orders = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    assert np.abs(orders[-1] - [6, 5]).max() < 0.4  # of one step: one more than of the method, 5 and 4


def test_a_stop_rule_is_found_inside_an_implicit_step():
    run = fd.solve(fd.ODE(pulled), [1.0], t=20.0, saves=5, observe={"x": lambda w: w[0]}, stop={"x": ("<", -0.5)})
    assert "Rodas5P" in run.attrs["flowdyn_choice"] and float(run.w[-1, 0]) == pytest.approx(-0.5, abs=1e-7)
    assert float(run.t[-1]) == pytest.approx(2 * np.pi / 3, abs=1e-5)  # cos t = -1/2, behind by 1 / STEEP


def test_an_implicit_step_does_not_jump_over_what_comes_back():
    """y decays to 1e-43 and grows again to 1, beside something stiff: y = exp(100 (cos t - 1))."""

    def f(t, s):
        return jnp.stack([-100 * jnp.sin(t) * s[0], -STEEP * (s[1] - jnp.cos(t))])

    run = fd.solve(fd.ODE(f), [1.0, 1.0], t=2 * np.pi, saves=33)
    assert "Rodas5P" in run.attrs["flowdyn_choice"]
    truth = np.exp(100 * (np.cos(run.t.values) - 1))
    assert np.abs(run.w.values[:, 0] / truth - 1).max() < 1e-4


def test_stiff_starts_are_the_same_alone_and_together():
    starts = np.array([[1.0], [2.0], [-1.0]])
    system = fd.ODE(pulled)
    together = fd.solve(system, starts, t=2.0, saves=5)
    for i, start in enumerate(starts):
        assert np.array_equal(together.w.values[i], fd.solve(system, start, t=2.0, saves=5).w.values)


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
    for name in ("QUICK", "ONE_KERNEL"):
        monkeypatch.setattr(quick_compilation, name, {"xla_no_such_option": True})
    monkeypatch.setattr(quick_compilation, "_unknown", unknown := set())
    compiled._program.cache_clear()
    traced = []
    system = fd.ODE(lambda t, y: [traced.append(t), -y][1])
    run = fd.solve(system, [1.0], t=1.0)
    assert float(run.w[-1, 0]) == pytest.approx(np.exp(-1), abs=1e-8)
    before = len(traced)
    fd.solve(system, [2.0], t=1.0)
    assert len(traced) == before  # refused once, not at every call
    assert unknown == {"xla_no_such_option"}
    compiled._program.cache_clear()


@pytest.mark.parametrize(("rate", "method"), [(1.0, "Tsit5"), (1e6, "Rodas5P")])
def test_a_right_hand_side_is_traced_once_for_all_stages(rate, method):
    """Tsitouras' pair has seven of them, Rodas5P with its derivatives eleven."""
    traced = []

    def field(t, y):
        traced.append(1)
        return -rate * (y - jnp.cos(t))

    run = fd.solve(fd.ODE(field), [1.0, 2.0], t=1.0)
    assert method in run.attrs["flowdyn_choice"]
    assert len(traced) <= 6, traced
