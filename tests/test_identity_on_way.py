"""Refused: steps that are the identity where the check used to look alone, at rest or late, and move elsewhere."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusal import assert_refused

import flowdyn as fd

P = fd.problems.CustomProblem(lambda w: 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4, np.array([1.5, 0.2]))
GRADIENT = -0.7 * np.array([0.2, 1.5]) - np.array([0.05 * 0.5**3, 0.0])  # of P at (1.5, .2)
BEFORE = {"init": lambda w: {"x": w, "before": w}, "params": lambda s: s["x"]}
AWAY = (
    "`step` must tend to the identity as eta -> 0, got 'before' that still changes at eta = 0 once the state has left "
    r"this start; keep a velocity \(x - before\)/h"
)
FIRST = (
    "`step` must tend to the identity as eta -> 0 from the first step on, got '{}' that it changes by {} at any eta; "
)


def follow(method, start, order):
    flow = method.limit(order)
    return lambda: flow.check_start(np.asarray(flow.lift(flow.ravel(start))))


def heavy(s, eta):
    """Heavy ball in its usual form: at rest at its start, where S_0(x, x) = (x, x)."""
    h = jnp.sqrt(eta)
    return {"x": s["x"] + (1 - 1.5 * h) * (s["x"] - s["before"]) - eta * jnp.sin(s["x"]), "before": s["x"]}


def nesterov(s, eta, k):
    y = s["x"] + k / (k + 3) * (s["x"] - s["before"])
    return {"x": y - eta * jnp.sin(y), "before": s["x"]}


@pytest.mark.parametrize("step", [heavy, nesterov])
def test_parameters_of_before_have_no_limit_of_order_0(step):
    """It was x' = 0: the recursion left it at once, and no ladder had an order."""
    method = fd.Recursion(step, 0.0025, jnp.zeros(1), clock_power=0.5, **BEFORE)
    assert_refused(follow(method, [1.0], 0), AWAY + r".*, or use order >= 1$")
    follow(method, [1.0], 1)()


def noisy(s, h, x):
    return {"x": s["x"] + (1 - 1.5 * h) * (s["x"] - s["before"]) - h**2 * (s["x"] - x), "before": s["x"]}


@pytest.mark.parametrize("noise", [{"samples": [[-1.0], [1.2]]}, {"normals": 1}], ids=["samples", "normals"])
def test_nor_have_they_an_equation(noise):
    """Columns of noise h^2 x vanish at eta = 0, as the mean does: there was no noise at all, and the state stood."""
    method = fd.RandomRecursion(noisy, 0.05, jnp.zeros(1), **noise, **BEFORE)
    for order in (0, 1):
        assert_refused(follow(method, [1.0], order), AWAY + r".*c\*h$")


def test_noise_alone_shows_what_a_step_forgets():
    """Means at rest: x = 0 stays there on average, and only the columns of noise have a direction."""
    method = fd.RandomRecursion(noisy, 0.05, jnp.zeros(1), samples=[[-1.0], [1.0]], **BEFORE)
    assert_refused(follow(method, [0.0], 1), AWAY)


@pytest.mark.parametrize("order", [0, 1])
def test_first_steps_that_move_at_any_eta_have_no_limit(order):
    """w/(k + 10) is small for late k alone."""
    classic = fd.Recursion(lambda w, eta, k: w - w / (k + 10), 0.02)
    assert_refused(follow(classic, [1.0], order), FIRST.format("w", "0.1") + r"write eta\*k for k, or start it where")


@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_the_largest_moment_jumps_in_the_first_step(eps):
    """Corrected for its bias it is the gradient's square after the first step, whatever eta is, and whatever eps."""
    method = fd.Optax(P, lambda h: optax.amsgrad(h, b1=1 - 4 * h, b2=1 - h, eps=eps), 0.01)
    assert_refused(follow(method, [1.5, 0.2], 0), FIRST.format("nu_max", f"{(GRADIENT**2).max():.3g}"))
