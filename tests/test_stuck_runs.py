"""Runs whose steps vanish where all is finite: they are said to be stuck, and what is not finite is said to be that."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd

KINK = fd.problems.CustomProblem(lambda w: jnp.abs(w[0]) + w[1] ** 2, np.ones(2))  # w0 = 1 - t, until t = 1
SINGLE = fd.problems.DiagonalNetwork([[1.0]], [1.0])


def meaning(run):
    return run.status.attrs["flag_meanings"].split()[int(run.status)]


@pytest.mark.parametrize("method", ["BDF", "Radau", "LSODA", "DOP853"])
@pytest.mark.parametrize(
    "inside", [lambda t: (t > 5) & (t < 5.001), lambda t: (t >= 5) & (t <= 5.001)], ids=["open", "closed"]
)
def test_a_pulse_from_rest_whose_edges_are_named(method, inside):
    """A function may have either value at an edge: BDF and Radau ended there, where it had the one from the left."""
    pulse = fd.ODE(lambda t, y: jnp.where(inside(t), 1000.0, 0.0) - y)
    run = fd.solve(pulse, [0.0], t=[5.0, 10.0], solver=fd.solvers.Scipy(method, breakpoints=[5.0, 5.001]))
    assert run.w.values[0, 0] == 0
    assert abs(run.w.values[1, 0] / (-1000 * np.expm1(-0.001) * np.exp(-4.999)) - 1) < 1e-6


@pytest.mark.parametrize("method", ["BDF", "Radau", "LSODA", "DOP853"])
def test_steps_that_vanish_at_a_kink(method):
    solver = fd.solvers.Scipy(method, rtol=1e-12)
    flow, options = fd.GradientFlow(KINK), {"t": 2.0, "saves": 5, "solver": solver}
    run = fd.solve(flow, [1.0, 1.0], **options, on_divergence="keep")
    assert meaning(run) == "stuck" and abs(float(run.t_stop) - 1) < 1e-9
    np.testing.assert_allclose(run.w.values[:2, 0], [1.0, 0.5], rtol=1e-10)
    with pytest.raises(fd.RunError, match=r"got stuck at t = 1;.* kink, a jump or a pole.*`breakpoints`.*`rtol`"):
        fd.solve(flow, [1.0, 1.0], **options)


def test_a_prediction_across_a_kink_says_so():
    with pytest.raises(fd.RunError, match=r"got stuck at t = 1 \(.*kink"):
        fd.fast_forward(fd.GradientDescent(KINK, 1e-6), [1.0, 1.0], t=2.0)


def test_a_tolerance_out_of_reach_of_an_implicit_method():
    """Beside w+ = 1 the equations of a step cannot be solved to 1e-300, the size of w-."""
    options = {"t": 220.0, "saves": 2, "solver": fd.solvers.Diffrax("Kvaerno5")}
    with pytest.raises(fd.RunError, match=r"got stuck at t = .*a tolerance out of reach"):
        fd.solve(fd.GradientFlow(SINGLE), SINGLE.init(1e-150), **options)


def test_an_implicit_step_of_fixed_length_without_a_solution():
    # y1 = y + 0.3 y1^2 has none where 1.2 y > 1
    with pytest.raises(fd.RunError, match=r"got stuck at t = .*equations of an implicit step.*smaller `dt`"):
        fd.solve(fd.ODE(lambda t, y: y**2), [1.0], t=2.0, solver=fd.solvers.Diffrax("Kvaerno3", dt=0.3))


@pytest.mark.parametrize(
    "solver",
    [*(fd.solvers.Scipy(method) for method in ("LSODA", "Radau", "BDF", "RK45")), fd.solvers.Diffrax("Kvaerno3")],
    ids=lambda solver: solver.method,
)
def test_the_edge_of_a_domain_is_no_kink(solver):
    """y' = -1 - sqrt(y) comes to 0 at t = 2 - 2 log 2, and there is nothing beyond."""
    run = fd.solve(fd.ODE(lambda t, y: -1 - jnp.sqrt(y)), [1.0], t=2.0, saves=5, solver=solver, on_divergence="keep")
    assert meaning(run) == "nonfinite" and abs(float(run.t_stop) - (2 - 2 * np.log(2))) < 1e-4


def test_what_grew_has_diverged():
    with pytest.raises(fd.RunError, match="diverged at t = 1;"):
        fd.solve(fd.ODE(lambda t, y: y**2), [1.0], t=2.0, solver=fd.solvers.Scipy("BDF"))


def test_numbers_of_the_flags_stay_what_they_are_in_files():
    run = fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=1.0, saves=2)
    before = "reached_end stopped diverged nonfinite max_steps max_seconds at_rest"
    assert run.status.attrs["flag_meanings"] == f"{before} stuck"
    assert run.status.attrs["flag_values"].tolist() == list(range(8))


def test_a_budget_that_went_into_short_steps():
    with pytest.raises(fd.RunError, match=r"used up `max_steps` at t = 1; .*steps have shrunk to .*kinks"):
        fd.solve(fd.GradientFlow(KINK), [1.0, 1.0], t=2.0, solver=fd.solvers.Scipy("RK45", rtol=1e-12), max_steps=2000)


@pytest.mark.parametrize(("inside", "outside"), [("LSODA", "RK45"), ("RK45", "LSODA"), ("Radau", "LSODA")])
def test_a_solver_inside_a_right_hand_side_is_another_than_lsoda_where_that_is_outside(inside, outside):
    """The flow of y' = -y takes y to y / sqrt(e) by t = 1/2: y' = -y / sqrt(e) of it is exp(-t / sqrt(e))."""

    def nested(method):
        def drift(t, y):
            return -fd.solve(decay, np.asarray(y), t=0.5, solver=fd.solvers.Scipy(method, rtol=1e-6)).w.values[-1]

        return fd.ODE(drift)

    decay = fd.ODE(lambda t, y: -y)
    found = fd.solve(nested(inside), [1.0, 2.0], t=1.0, solver=fd.solvers.Scipy(outside, rtol=1e-6))
    assert np.allclose(found.w[-1], np.array([1.0, 2.0]) * np.exp(-np.exp(-0.5)), rtol=1e-4)
    with pytest.raises(
        fd.ArgumentError, match=r"^`solver` must not come to LSODA inside .*; give another inside, e.g."
    ):
        fd.solve(nested("LSODA"), [1.0, 2.0], t=1.0, solver=fd.solvers.Scipy("LSODA"))
    after = fd.solve(decay, [1.0, 2.0], t=1.0, solver=fd.solvers.Scipy("LSODA"))  # the thread is out of it again
    assert np.allclose(after.w[-1], np.array([1.0, 2.0]) / np.e, rtol=1e-6)
