"""What everything in the registries must do, whatever it is; a class brings its own example."""

import inspect

import jax
import numpy as np
import pytest
from rebuilding import again, assert_same_bits, holds_a_function
from scipy.integrate import solve_ivp

import flowdyn as fd
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import ODESystem, SDESystem
from flowdyn.problems.base import Problem
from flowdyn.solvers.selection import pick_solver

PROBLEMS, METHODS, SOLVERS = sorted(fd.problems.REGISTRY), sorted(fd.methods.REGISTRY), sorted(fd.solvers.REGISTRY)


def problem(name):
    return getattr(fd.problems, name).example()


def method(name):
    return getattr(fd.methods, name).example()


def compiled(function):
    """One program in place of one an operation; a bound method does not hash."""
    return jax.jit(lambda *args: function(*args))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_public_name(name):
    assert getattr(fd, name) is getattr(fd.methods, name)
    assert name in dir(fd) and name in fd.__all__


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradient_matches_differences(name):
    p, w = problem(name)
    h, loss = 1e-5, compiled(p.loss)
    numeric = [(float(loss(w + h * e)) - float(loss(w - h * e))) / (2 * h) for e in np.eye(p.size)]
    assert np.allclose(compiled(p.grad)(w), numeric, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", PROBLEMS)
def test_hessian_matches_differences_and_hvp(name):
    p, w = problem(name)
    h, grad = 1e-5, compiled(p.grad)
    numeric = np.array([(np.asarray(grad(w + h * e)) - np.asarray(grad(w - h * e))) / (2 * h) for e in np.eye(p.size)])
    H = np.asarray(compiled(p.hessian)(w))
    v = np.arange(1.0, p.size + 1)
    assert np.allclose(H, numeric, rtol=1e-6, atol=1e-7)
    assert np.allclose(compiled(p.hvp)(w, v), numeric @ v, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_noise_is_the_covariance_of_the_sample_gradients(name):
    p, w = problem(name)
    h = 1e-5
    if p.sample_count is None:
        with pytest.raises(fd.ArgumentError, match="`sample_losses` is not defined"):
            p.sample_losses(w)
        return
    sample_losses = compiled(p.sample_losses)
    losses = np.asarray(sample_losses(w))
    assert losses.shape == (p.sample_count,)
    assert np.isclose(losses.mean(), float(p.loss(w)), rtol=1e-12)
    rows = [
        (np.asarray(sample_losses(w + h * e)) - np.asarray(sample_losses(w - h * e))) / (2 * h) for e in np.eye(p.size)
    ]
    covariance = np.cov(np.array(rows), bias=True)
    G = np.asarray(compiled(p.noise_factor)(w))
    assert G.shape == (p.size, len(losses))
    assert np.allclose(G @ G.T, covariance, rtol=1e-5, atol=1e-7)
    assert np.allclose(compiled(p.noise_cov)(w), covariance, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", PROBLEMS)
def test_ravel_and_unravel_are_inverse(name):
    p, w = problem(name)
    assert np.array_equal(p.ravel(p.unravel(w)), w)
    edges = np.cumsum([v.size for v in p.variables])[:-1]
    named = {v.name: part.reshape(v.shape) for v, part in zip(p.variables, np.split(w, edges), strict=True)}
    assert np.array_equal(p.ravel(named), w)


@pytest.mark.parametrize("name", [*PROBLEMS, *METHODS])
def test_a_repr_shows_the_numbers_on_one_line(name):
    made = (problem if name in PROBLEMS else method)(name)[0]
    text = repr(made)
    assert text.startswith(f"{name}(") and "\n" not in text and len(text) < 200
    if "eta" in inspect.signature(type(made)).parameters:
        assert "eta=0.01" in text or "eta=0.0001" in text


# a program of diffrax takes seconds to compile: on these here, on every system in the test of nightly size
LONG = ("Diffrax", "DiffraxSDE")
FEW = ("GradientFlow", "HeavyBallFlow", "NormalizedFlow", "ODE", "SDE")


# a plain loop of Python for a recursion, scipy's own driver for a flow: neither runs our solvers
def independent_end(system, w0, t):
    state = np.asarray(system.lift(w0), dtype=float)
    if isinstance(system, RecursionSystem):
        k, step = 0, compiled(system.step)
        while float(system.clock(k)) < t * (1 - 1e-9):
            state, k = np.asarray(step(k, state)), k + 1
        return state
    drift = compiled(system.drift)
    run = solve_ivp(lambda s, y: np.asarray(drift(s, y)), (0.0, t), state, "DOP853", rtol=1e-11, atol=1e-13)
    return run.y[:, -1]


@pytest.fixture(scope="module")
def ends():
    """Ends of the deterministic examples at t = 0.5, computed once."""
    found = {}

    def end(name):
        if name not in found:
            found[name] = independent_end(*method(name), 0.5)
        return found[name]

    return end


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", METHODS)
def test_solves_or_refuses_in_words(name, solver, ends):
    system, w0 = method(name)
    chosen = getattr(fd.solvers, solver).example()
    if chosen.refuses(system, np.asarray(system.lift(w0))):
        with pytest.raises(fd.ArgumentError, match=rf"^`solver` {solver} cannot run {name}: [^\n]+; use \w+[^\n]*$"):
            fd.solve(system, w0, t=0.5, saves=3, solver=chosen)
    elif type(chosen) is not type(default(system, w0)) and (solver not in LONG or name in FEW):
        solves(name, chosen, ends)


def default(system, w0):
    """The solver of those who name none: runs of its own are in one test, which compiles one program for all."""
    return pick_solver(system, np.asarray(system.lift(w0)), None)


@pytest.mark.slow
@pytest.mark.parametrize("solver", LONG)
@pytest.mark.parametrize("name", sorted(set(METHODS) - set(FEW)))
def test_diffrax_solves_what_it_does_not_refuse(name, solver, ends):
    system, w0 = method(name)
    chosen = getattr(fd.solvers, solver).example()
    if not chosen.refuses(system, np.asarray(system.lift(w0))):
        solves(name, chosen, ends)


def solves(name, chosen, ends):
    """The run has the independent end, or is a sound ensemble."""
    system, w0 = method(name)
    if system.is_random:
        is_a_sound_ensemble(system, w0, chosen)
        return
    run = fd.solve(system, w0, t=0.5, saves=3, solver=chosen)
    assert gap(run, name, ends) < 2e-8 and int(run.status) == 0


def gap(run, name, ends):
    """Largest distance between the end of a run and the independent one."""
    layout = method(name)[0].layout(len(ends(name)))
    end = np.concatenate([run[v.name].isel(t=-1).values.ravel() for v in layout])
    return np.abs(end - ends(name)).max()


def is_a_sound_ensemble(system, w0, solver):
    """Starts at w0, stays finite, spreads, and follows the seed and nothing else."""
    run = fd.solve(system, w0, t=0.5, saves=3, solver=solver, realizations=5, seed=1)
    assert run.w.shape == (5, 3, len(w0)) and np.isfinite(run.w).all() and (run.status == 0).all()
    assert (run.w[:, 0] == w0).all() and run.w[:, -1].std() > 1e-4
    fewer = fd.solve(system, w0, t=0.5, saves=3, solver=solver, realizations=2, seed=1)
    other = fd.solve(system, w0, t=0.5, saves=3, solver=solver, realizations=2, seed=2)
    assert np.array_equal(fewer.w, run.w[:2]) and not np.array_equal(other.w[:, -1], fewer.w[:, -1])


@pytest.mark.parametrize("name", METHODS)
def test_the_default_solver_gives_the_independent_end_and_again_the_same_bits(name, ends, tmp_path):
    system, w0 = method(name)
    run = fd.solve(system, w0, t=0.5, saves=3, realizations=5 if system.is_random else None, seed=5)
    assert (run.status == 0).all()
    if not system.is_random:
        assert gap(run, name, ends) < 2e-6
    solves(name, type(default(system, w0)).example(), ends)
    if not holds_a_function(system):
        assert_same_bits(again(run, tmp_path), run)


def flow_of(system):
    """The limit of order 0; None where noise that stays as eta -> 0 leaves none."""
    try:
        return system.limit(0)
    except fd.ArgumentError as refusal:
        if "there is no flow" not in str(refusal):
            raise
        return None


@pytest.mark.parametrize("name", [n for n in METHODS if issubclass(getattr(fd.methods, n), RecursionSystem)])
def test_a_recursion_has_a_limit_of_the_order_that_it_expects(name):
    system, _ = method(name)
    flow = flow_of(system)
    lowest = 1 if flow is None else 0
    assert isinstance(system.limit(1) if flow is None else flow, SDESystem if lowest else ODESystem)
    assert system.expected_order(lowest, "weak" if system.is_random else "sup") == 1.0
    other = system.with_eta(0.25)  # as the rungs of a ladder are made
    h = 0.25**system.step_power
    assert np.isclose(other.clock(2) / system.clock(2), h / float(system.numbers["eta"]) ** system.step_power)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_flows_downhill_and_descends(name):
    p, w0 = problem(name)
    flow = fd.solve(fd.GradientFlow(p), w0, t=0.2, saves=5)
    gd = fd.solve(fd.GradientDescent(p, eta=1e-3), w0, t=flow.t.values[1:])
    # d/dt L = -||grad L||^2 <= 0 along any gradient flow
    assert (np.diff(flow.loss) <= 1e-14).all() and (np.diff(gd.loss) <= 1e-14).all()
    first = p.variables[0].name
    assert np.abs(flow[first].values[1:] - gd[first].values).max() < 0.05


def test_a_problem_defines_nothing_but_loss_and_layout():
    class Rosenbrock(Problem):
        def loss(self, w):
            return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2

        @property
        def variables(self):
            return (fd.problems.Quadratic(np.eye(2)).variables[0],)

    run = fd.solve(fd.GradientFlow(Rosenbrock()), [-1.0, 1.0], t=np.inf, stop={"grad_norm": ("<", 1e-9)})
    assert np.allclose(run.w[-1], [1.0, 1.0], atol=1e-8)
    assert jax.config.jax_enable_x64
    with pytest.raises(NotImplementedError, match="Rosenbrock has no example"):
        Rosenbrock.example()
