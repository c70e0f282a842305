"""What everything in the registries must do, whatever it is."""

import jax
import numpy as np
import pytest
from cases import PROBLEMS, SOLVERS, SYSTEMS, start

import flowdyn as fd
from flowdyn import methods, problems, solvers
from flowdyn.problems.base import Problem


@pytest.mark.parametrize(
    ("registry", "cases"),
    [(problems.REGISTRY, PROBLEMS), (methods.REGISTRY, SYSTEMS), (solvers.REGISTRY, SOLVERS)],
    ids=["problems", "methods", "solvers"],
)
def test_every_registered_name_has_a_case(registry, cases):
    assert sorted(registry) == sorted(cases)


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradient_matches_differences(name):
    p = PROBLEMS[name]()
    w, h = start(p), 1e-5
    numeric = [(float(p.loss(w + h * e)) - float(p.loss(w - h * e))) / (2 * h) for e in np.eye(p.size)]
    assert np.allclose(p.grad(w), numeric, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", PROBLEMS)
def test_hessian_matches_differences_and_hvp(name):
    p = PROBLEMS[name]()
    w, h = start(p), 1e-5
    numeric = np.array([(p.grad(w + h * e) - p.grad(w - h * e)) / (2 * h) for e in np.eye(p.size)])
    H = np.asarray(p.hessian(w))
    v = np.arange(1.0, p.size + 1)
    assert np.allclose(H, numeric, rtol=1e-6, atol=1e-7)
    assert np.allclose(p.hvp(w, v), numeric @ v, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in PROBLEMS if n not in ("SquaredPopulation", "Quadratic", "CustomProblem")])
def test_noise_is_the_covariance_of_the_sample_gradients(name):
    p = PROBLEMS[name]()
    w, h = start(p), 1e-5
    losses = np.asarray(p.sample_losses(w))
    assert np.isclose(losses.mean(), float(p.loss(w)), rtol=1e-12)
    rows = [
        (np.asarray(p.sample_losses(w + h * e)) - np.asarray(p.sample_losses(w - h * e))) / (2 * h)
        for e in np.eye(p.size)
    ]
    covariance = np.cov(np.array(rows), bias=True)
    G = np.asarray(p.noise_factor(w))
    assert G.shape == (p.size, len(losses))
    assert np.allclose(G @ G.T, covariance, rtol=1e-5, atol=1e-7)
    assert np.allclose(p.noise_cov(w), covariance, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", PROBLEMS)
def test_ravel_and_unravel_are_inverse(name):
    p = PROBLEMS[name]()
    w = start(p)
    assert np.array_equal(p.ravel(p.unravel(w)), w)
    edges = np.cumsum([v.size for v in p.variables])[:-1]
    named = {v.name: part.reshape(v.shape) for v, part in zip(p.variables, np.split(w, edges), strict=True)}
    assert np.array_equal(p.ravel(named), w)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_solves_or_refuses_in_words(name, solver):
    p = PROBLEMS["Quadratic"]()
    system, w0 = SYSTEMS[name](p), np.array([1.0, -0.5])
    chosen = SOLVERS[solver]()
    if chosen.refuses(system, np.asarray(system.lift(w0))):
        with pytest.raises(fd.ArgumentError, match=rf"^`solver` {solver} cannot run {name}: [^\n]+$"):
            fd.solve(system, w0, t=0.5, saves=3, solver=chosen)
        return
    if system.is_random:
        _is_a_sound_ensemble(system, w0, chosen)
        return
    reference = fd.solve(system, w0, t=0.5, saves=3, solver=None)
    run = fd.solve(system, w0, t=0.5, saves=3, solver=chosen)
    first = system.layout(len(np.asarray(system.lift(w0))))[0].name
    assert np.abs(run[first] - reference[first]).max() < 2e-8
    assert int(run.status) == 0


def _is_a_sound_ensemble(system, w0, solver):
    """Starts at w0, stays finite, spreads, and follows the seed and nothing else."""
    run = fd.solve(system, w0, t=0.5, saves=3, solver=solver, realizations=5, seed=1)
    assert run.w.shape == (5, 3, 2) and np.isfinite(run.w).all() and (run.status == 0).all()
    assert (run.w[:, 0] == w0).all() and run.w[:, -1].std() > 1e-4
    fewer = fd.solve(system, w0, t=0.5, saves=3, solver=solver, realizations=2, seed=1)
    other = fd.solve(system, w0, t=0.5, saves=3, solver=solver, realizations=2, seed=2)
    assert np.array_equal(fewer.w, run.w[:2]) and not np.array_equal(other.w[:, -1], fewer.w[:, -1])


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_flows_downhill_and_descends(name):
    p = PROBLEMS[name]()
    w0 = start(p)
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
