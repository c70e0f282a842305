"""Explicit steps as one compiled call: scipy's numbers to rounding, true counts, and what may go wrong inside."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

import flowdyn as fd
from flowdyn._tools import compiled
from flowdyn.solvers.base import Task
from flowdyn.solvers.compiled_steps import CompiledSteps
from flowdyn.solvers.making_steppers import Steppers
from flowdyn.solvers.order_eight import Dop853
from flowdyn.solvers.right_hand_side import RightHandSide
from flowdyn.solvers.stage_program import WIDE, program_of
from flowdyn.solvers.tolerances import Options

METHODS = ("DOP853", "RK45", "RK23")
START, BOUND = np.array([2.0, 0.1, 1e-3]), 7.0
ATOL = np.array([1e-12, 1e-9, 1e-8])


def swing(t, y, xp=jnp):
    return xp.stack([y[1], -xp.sin(y[0]) - 0.1 * y[1] * xp.cos(t), y[0] * y[2]])


def stepper(method, system, rtol, first_step=None, state=START):
    task = Task(system, state, 0.5, 0, np.array([BOUND]), None, 0, None, None, None, lambda share: None)
    steppers = Steppers(Options(method, rtol, None, None, ()), RightHandSide(task))
    more = {} if first_step is None else {"first_step": first_step}
    return CompiledSteps(steppers.program, steppers.drift, 0.5, state, BOUND, rtol=rtol, atol=ATOL, **more)


def scipys(method, rtol, **more):
    function = lambda t, y: swing(t, y, np)  # noqa: E731
    return getattr(scipy.integrate, method)(function, 0.5, START, BOUND, rtol=rtol, atol=ATOL, **more)


def is_close(found, truth, digits):
    return np.abs(found - truth).max() <= 10.0**-digits * np.abs(truth).max()


@pytest.mark.parametrize("h", [0.03, 0.3])
@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_that_of_scipy_to_rounding(method, h):
    """State, right-hand side, the next step (from the error), states inside. Sums of stages are in another order, so
    that bits differ; an error of 1e-9 that is a difference of numbers of size 1 has seven digits."""
    ours, theirs = (make(method, *first, 1e-2, first_step=h) for make, *first in ((stepper, fd.ODE(swing)), (scipys,)))
    ours.step()
    theirs.step()
    assert ours.t == theirs.t and ours.nfev == theirs.nfev and ours.status == theirs.status == "running"
    assert is_close(ours.y, theirs.y, 15) and is_close(ours.f, theirs.f, 15)
    assert ours.h == pytest.approx(theirs.h_abs, rel=1e-6)
    inside, truth = ours.dense_output(), theirs.dense_output()
    times = np.linspace(ours.t_old, ours.t, 7)
    assert is_close(inside(times), truth(times), 14) and is_close(inside(times[2]), truth(times[2]), 14)
    assert inside(times).shape == (3, 7) and ours.nfev == theirs.nfev
    assert is_close(inside(times[-1]), ours.y, 15) and is_close(inside(times[0]), START, 15)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_a_run_takes_the_steps_of_scipy(method, rtol):
    ours, theirs = stepper(method, fd.ODE(swing), rtol), scipys(method, rtol)
    assert ours.h == pytest.approx(theirs.h_abs, rel=1e-14) and ours.nfev == theirs.nfev == 2
    while theirs.status == "running":
        ours.step()
        theirs.step()
        assert ours.t == pytest.approx(theirs.t, rel=1e-6) and ours.nfev == theirs.nfev
        assert np.abs(ours.y - theirs.y).max() < 1e-6 * (ours.t - 0.5)
    assert ours.status == "finished" and ours.t == BOUND
    assert np.abs(ours.y - theirs.y).max() < 1e-2 * rtol


def outside(value):
    """A right-hand side that JAX can trace, and asks Python for each value."""
    return lambda t, y: jax.pure_callback(value, jax.ShapeDtypeStruct(y.shape, y.dtype), t, y)


def evaluations(run):
    return json.loads(run.attrs["flowdyn_stats"])["nfev"]


@pytest.mark.parametrize("method", METHODS)
def test_the_count_of_evaluations_is_true(method):
    calls = []
    f = outside(lambda t, y: calls.append(t) or -y * np.cos(t))
    run = fd.solve(fd.ODE(f), np.ones(2), t=3.0, saves=31, solver=fd.solvers.Scipy(method, rtol=1e-6, atol=1e-9))
    assert evaluations(run) == len(calls) > 50
    assert np.abs(run.w.values[:, 0] - np.exp(-np.sin(run.t.values))).max() < 1e-5


@pytest.mark.parametrize(("method", "stages", "inside"), [("DOP853", 12, True), ("RK45", 6, False), ("RK23", 3, False)])
def test_a_step_is_one_call(monkeypatch, method, stages, inside):
    """And one more where order 8 has saves inside; single values are the two of the first step."""
    calls, bind = [], compiled._program

    def watched(kernel, structure, statics):
        program = bind(kernel, structure, statics)
        return lambda *args: calls.append(kernel.__name__) or program(*args)

    monkeypatch.setattr(compiled, "_program", watched)
    solver = fd.solvers.Scipy(method, rtol=1e-6, atol=1e-9)
    run = fd.solve(fd.ODE(swing), START, t=3.0, saves=5, solver=solver)
    assert calls.count("drift") == 0
    assert 2 < calls.count("stages") <= 2 + (evaluations(run) - 2) // stages + (4 if inside else 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_refused_step_leaves_nothing_behind(method):
    """Its stages are not numbers; those of the steps that follow are their own."""
    f = lambda t, y: jnp.where(jnp.abs(y) > 10, jnp.nan, -50 * y)  # noqa: E731
    solver = fd.solvers.Scipy(method, rtol=1e-8, atol=1e-12, max_step=1.0)  # the first step that is tried
    run = fd.solve(fd.ODE(f), [1.0], t=1.0, saves=11, solver=solver)
    assert np.abs(run.w.values[:, 0] - np.exp(-50 * run.t.values)).max() < 1e-7


@pytest.mark.parametrize("method", METHODS)
def test_a_wall_of_nan_is_told(method):
    f = lambda t, y: jnp.where(t < 1, 1.0, jnp.nan) * jnp.ones(1)  # noqa: E731
    with pytest.raises(fd.RunError, match=r"stopped being finite at t = 1; .* spacing of t"):
        fd.solve(fd.ODE(f), [1.0], t=2.0, saves=3, solver=fd.solvers.Scipy(method))


@pytest.mark.parametrize("method", METHODS)
def test_what_a_function_inside_of_a_step_raises_comes_out(method):
    def value(t, y):
        if t > 0.5:
            raise ValueError("out of the table")
        return -y

    with pytest.raises(Exception, match="out of the table") as caught:
        fd.solve(fd.ODE(outside(value)), [1.0], t=1.0, solver=fd.solvers.Scipy(method))
    assert any(note.startswith("raised by the right-hand side at t = 0.") for note in caught.value.__notes__)


def test_where_single_values_do_as_well_they_are_taken():
    """Wide states, float32, functions of numpy, methods with steps of their own; DOP853 then has scipy's bits."""
    system = fd.ODE(lambda t, y: -y * jnp.cos(t))
    assert program_of(system, "DOP853", WIDE) and program_of(system, "LSODA", 2) is None
    assert program_of(system, "DOP853", WIDE + 1) is None
    with jax.enable_x64(False):
        assert program_of(system, "RK45", 2) is None
    task = Task(system, np.ones(WIDE + 1), 0.0, 0, np.array([1.0]), None, 0, None, None, None, lambda share: None)
    steppers = Steppers(Options("DOP853", 1e-6, 1e-9, None, ()), RightHandSide(task))
    ours = steppers.start(0.0, task.state0, 1.0, np.full(WIDE + 1, 1e-9))
    theirs = scipy.integrate.DOP853(RightHandSide(task), 0.0, task.state0, 1.0, rtol=1e-6, atol=1e-9)
    assert isinstance(ours, Dop853)
    ours.step()
    theirs.step()
    assert np.array_equal(ours.y, theirs.y)


@pytest.mark.parametrize("method", METHODS)
def test_steps_end_on_jumps(method):
    """y' = 1 before t = 1 and -2 after it."""
    f = fd.ODE(lambda t, y: jnp.where(t < 1, 1.0, -2.0) * jnp.ones(1))
    run = fd.solve(f, [0.0], t=2.0, saves=9, solver=fd.solvers.Scipy(method, breakpoints=[1.0]))
    t = run.t.values
    assert np.abs(run.w.values[:, 0] - np.where(t < 1, t, 1 - 2 * (t - 1))).max() < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_parameters_are_arguments(method):
    """Another number is no other program, and has its own solution."""
    seen = []
    listen = lambda event, *_, **__: seen.append(event) if event.endswith("backend_compile_duration") else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for rate in (1.0, 2.0, 0.5):
            before = len(seen)
            p = fd.problems.Quadratic(rate)
            run = fd.solve(fd.HeavyBallFlow(p, 0.0), [1.0], t=2.0, saves=3, solver=fd.solvers.Scipy(method, rtol=1e-6))
            assert np.abs(run.w.values[:, 0] - np.cos(np.sqrt(rate) * run.t.values)).max() < 1e-4
            assert rate == 1.0 or len(seen) == before
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
