"""Flows that turn for long have explicit steps; what ends with their budget is not blamed on kinks."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import flowdyn as fd
from flowdyn.solvers.turning import ritz_values, turns

DUFFING = fd.problems.CustomProblem(lambda w: jnp.sum(w**2) / 2 + jnp.sum(w**4) / 4, np.ones(1))
BOWL = fd.problems.Quadratic(np.diag([1.0, 4.0]))


def test_eigenvalues_of_a_small_matrix():
    A = np.random.default_rng(1).standard_normal((7, 7))
    found = np.sort_complex(ritz_values(lambda v: A @ v, 7))
    np.testing.assert_allclose(found, np.sort_complex(np.linalg.eigvals(A)), rtol=1e-10)


def test_extreme_eigenvalues_of_a_large_matrix():
    """Turns at a rate of 50 among 198 decays between 0 and 1; the basis is a random one."""
    A = np.diag(np.append(np.zeros(2), -np.linspace(0, 1, 198)))
    A[0, 1], A[1, 0] = 50.0, -50.0
    Q = np.linalg.qr(np.random.default_rng(2).standard_normal((200, 200)))[0]
    found = ritz_values(lambda v: Q @ (A @ (Q.T @ v)), 200)
    assert len(found) == 24
    assert abs(found[np.argmax(found.imag)] - 50j) < 1e-8 and found.real.min() > -1.01


def test_what_is_not_finite_has_no_eigenvalues():
    assert len(ritz_values(lambda v: np.full(3, np.nan), 3)) == 0


@pytest.mark.parametrize(
    ("system", "state", "end", "expected"),
    [
        (fd.HeavyBallFlow(BOWL, 0.0), np.ones(4), 100.0, True),
        (fd.HeavyBallFlow(BOWL, 0.01), np.ones(4), 1e4, True),
        (fd.HeavyBallFlow(BOWL, 0.0), np.ones(4), 0.1, False),  # no turn is done
        (fd.HeavyBallFlow(BOWL, 5.0), np.ones(4), 100.0, False),  # overdamped
        (fd.HeavyBallFlow(BOWL, 0.5), np.ones(4), 1e5, False),  # turns end long before
        (fd.GradientFlow(BOWL), np.ones(2), 1e4, False),
        (fd.HeavyBallFlow(fd.problems.Quadratic(np.diag([1.0, 1e8])), 0.0), np.ones(4), 100.0, True),
        (fd.ODE(lambda t, y: jnp.stack([-y[1], y[0], -1e6 * y[2]])), np.ones(3), 100.0, False),  # stiff beside turns
    ],
    ids=["turns", "friction", "short", "overdamped", "ended", "descent", "fast turns", "stiff"],
)
def test_which_systems_turn(system, state, end, expected):
    assert turns(system, state, end) is expected


def test_a_long_oscillation_is_predicted_by_explicit_steps():
    """w'' + w + w^3 = 0 from rest at 1: cn(sqrt 2 t | 1/4); LSODA takes 6,600 steps to t = 20."""
    ball, times = fd.HeavyBall(DUFFING, 1e-14, friction=0.0), np.array([10.0, 20.0])
    run = fd.fast_forward(ball, [1.0], times, 0, max_steps=1000)
    assert "DOP853" in run.recipe.item()
    exact = scipy.special.ellipj(np.sqrt(2) * times, 0.25)[1]
    np.testing.assert_allclose(run.w.values[:, 0], exact, atol=1e-5)  # the recursion is 1e-7 t from its limit


def test_a_budget_that_a_smooth_flow_uses_up_is_not_blamed_on_kinks():
    with pytest.raises(fd.RunError) as raised:
        fd.fast_forward(fd.HeavyBall(DUFFING, 1e-14, friction=0.0), [1.0], 20.0, 0, max_steps=100)
    text = str(raised.value)
    assert "(100 steps a run)" in text and "used up `max_steps` at t = " in text and "raise `max_steps`" in text
    assert "kink" not in text
