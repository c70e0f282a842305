"""One program for a whole ladder or sweep, and no memory kept by problems that are gone."""

import functools
import gc

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from jax.extend.backend import get_backend
from jax.extend.core import jaxprs_in_params

import flowdyn as fd
from flowdyn._tools import compiled
from flowdyn._tools.leaves import leaf
from flowdyn.cli.commands import main


@pytest.fixture
def compilations():
    """Names of the events that XLA compiles while the test runs."""
    seen = []

    def listen(event, *_, **__):
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def test_the_recursion_of_a_ladder_compiles_once(compilations):
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4 + w[0] * w[1], np.ones(2))

    def ladder(m):
        before = len(compilations)
        fd.eta_limit(fd.GradientDescent(p, 0.1), [1.0, 0.5], t=1.0, etas=0.1 / 2.0 ** np.arange(m), order=1)
        return len(compilations) - before

    first = ladder(3)
    assert first > 0
    assert ladder(6) == 0  # more rungs, other step sizes and step numbers: nothing new


def implicit(w, h):
    """Implicit Euler of w' = (-w_0 + w_1^3, -w_1) by three steps of Newton."""
    rate = lambda x: jnp.array([-x[0] + x[1] ** 3, -x[1]])  # noqa: E731
    x = w
    for _ in range(3):
        x = x - jnp.linalg.solve(jnp.eye(2) - h * jax.jacfwd(rate)(x), x - w - h * rate(x))
    return x


def count_of(name, jaxpr):
    """Operations of a name that a program holds, those of its loops and functions once for each place."""
    inner = [within for equation in jaxpr.eqns for within in jaxprs_in_params(equation.params)]
    return sum(equation.primitive.name == name for equation in jaxpr.eqns) + sum(count_of(name, each) for each in inner)


@pytest.fixture
def held(monkeypatch):
    """Factorisations that each program of flowdyn holds, by the name of its kernel."""
    found, build = {}, compiled._program.__wrapped__

    @functools.lru_cache
    def watched(kernel, structure, statics):
        program = build(kernel, structure, statics)

        def call(*args):
            if kernel.__name__ not in found and not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args)):
                found[kernel.__name__] = count_of("lu", jax.make_jaxpr(program)(*args).jaxpr)
            return program(*args)

        return call

    monkeypatch.setattr(compiled, "_program", watched)
    return found


@pytest.mark.parametrize(("order", "most"), [(0, 3), (1, 5)])
def test_checks_trace_a_step_once_and_share_the_programs_that_hold_it(order, most, held):
    """Its derivative at h = 0 with the fall-back, and that in z; beyond order 0 itself. There were seven to eleven."""
    traced = []

    def step(w, h):
        traced.append(w)
        return implicit(w, h)

    flow, start = fd.Recursion(step, 0.1).limit(order), np.array([0.5, 0.5])
    flow.check_start(start)
    flow.check_path(start, 1.0)
    assert len(traced) <= 2
    assert 0 < sum(held.values()) <= 3 * most, held  # a step has three of them


def test_the_main_job_compiles_five_programs(compilations):
    """Products with the Hessian, the flow, the recursion, observables: no step size, time or problem has its own.

    The fifth is the empty one around a stepper, which a process of the shell does without.
    """
    jax.clear_caches()
    compiled._program.cache_clear()
    assert main(["eta-limit"]) == 0
    assert len(compilations) <= 5


def test_data_are_put_on_the_device_without_a_program(compilations):
    source = np.arange(77.0).reshape(11, 7)
    held = leaf("X", source, ndim=2)
    assert not compilations and held.dtype == jnp.float64
    source[:] = 0
    assert held[10, 6] == 76  # a copy


def test_a_flow_compiles_its_drift_once(compilations):
    """Steppers hand in times of two types; a method whose steps are compiled holds the drift once, in its own."""
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w**4), np.ones(3))

    def run(method):
        before = len(compilations)
        fd.solve(fd.GradientFlow(p), np.ones(3), t=1.0, solver=fd.solvers.Scipy(method))
        return len(compilations) - before

    assert run("LSODA") == 2  # with the observables; no Jacobian is asked for
    assert [run(method) for method in ("DOP853", "RK45", "RK23")] == [1, 1, 1]
    assert [run(method) for method in ("LSODA", "DOP853", "RK45", "RK23", "Radau")] == [0, 0, 0, 0, 1]  # a Jacobian


def test_a_random_ladder_compiles_once(compilations):
    def losses(w, c):
        return (w[0] ** 2 - c) ** 2

    p = fd.problems.CustomProblem(
        lambda w, c: jnp.mean(losses(w, c)), np.ones(1), data=np.array([1.0, 2.0, 3.0]), sample_losses=losses
    )
    observable = {"w": lambda w: w[0]}

    def ladder(etas):
        before = len(compilations)
        fd.eta_limit(fd.SGD(p, 0.01), [1.0], t=0.08, etas=etas, observable=observable, realizations=300)
        return len(compilations) - before

    assert ladder([0.04, 0.02, 0.01, 0.005]) > 0
    assert ladder([0.04, 0.02, 0.01, 0.005, 0.0025]) == 0


def test_a_sweep_over_alpha_and_data_compiles_once(compilations, sparse):
    X, y = sparse

    def run(alpha, scale):
        before = len(compilations)
        p = fd.problems.DiagonalNetwork(X[:10, :30] * scale, y[:10])
        for solver in (fd.solvers.Scipy("LSODA"), fd.solvers.Diffrax()):
            fd.solve(fd.GradientFlow(p), p.init(alpha), t=1.0 + alpha, solver=solver)
        fd.solve(fd.GradientDescent(p, 0.01 * alpha), p.init(alpha), steps=int(200 / alpha))
        return len(compilations) - before

    assert run(0.5, 1.0) > 0
    assert [run(alpha, scale) for alpha, scale in ((0.1, 1.0), (0.3, 2.0), (1.0, 0.5))] == [0, 0, 0]


def use(count):
    """That many problems, each with a loss of its own, and no reference to any of them afterwards."""
    for i in range(count):
        data = jnp.full(4, float(i))
        p = fd.problems.CustomProblem(lambda w, i=i, data=data: jnp.sum((w - i) ** 2 * data), np.zeros(4))
        fd.solve(fd.GradientDescent(p, 1e-4), np.zeros(4), steps=10)
    gc.collect()


def test_problems_that_are_gone_leave_no_program_and_no_array():
    """Counted, not weighed: once the caches are full, another problem's programs take the place of an older one's."""

    def kept():
        return len(get_backend().live_executables()), len(jax.live_arrays())

    use(20)  # two programs each, and the cache keeps 32
    warm = kept()
    use(12)
    programs, arrays = kept()
    assert programs <= warm[0] and arrays <= warm[1]


@pytest.mark.slow
def test_two_hundred_custom_problems_leak_no_memory():
    # one measurement after the caches of 40 problems are warm, one after 160 more; an executable weighs about 1.5 MB
    process = psutil.Process()
    use(40)
    warm = process.memory_info().rss
    use(160)
    assert process.memory_info().rss - warm < 150e6
