"""Descent along signs: the sliding flow beside Filippov's by hand, a gap of order eta, no higher order."""

import numpy as np
import pytest

import flowdyn as fd

A = np.array([[2.0, 0.5], [0.5, 1.0]])
P = fd.problems.Quadratic(A)


def filippov(t):
    """From (1, 0.4): both signs are +, until the second gradient 0.5 a + b = 0.9 - 1.5 t vanishes at t = 0.6.

    Then b' = -0.5 a' keeps it at 0 while a' = -1, until a = 0 at t = 1, where b = -0.5 a = 0 too.
    """
    t = np.asarray(t)
    a = np.maximum(1 - t, 0.0)
    return np.stack([a, np.where(t < 0.6, 0.4 - t, -0.5 * a)], axis=-1)


def test_the_flow_slides():
    run = fd.solve(fd.SignFlow(P), [1.0, 0.4], t=1.5, saves=16)
    assert np.abs(run.w.values - filippov(run.t.values)).max() < 5e-6
    wide = [np.abs(fd.solve(fd.SignFlow(P, d), [1.0, 0.4], t=0.9).w[-1] - filippov(0.9)).max() for d in (1e-3, 5e-4)]
    assert np.isclose(wide[0] / wide[1], 2, rtol=0.05)  # off by O(delta)


def test_the_gap_is_of_order_eta_and_the_ladder_has_one_limit():
    shares = []
    for eta in (0.04, 0.02, 0.01, 0.005):
        run = fd.solve(fd.SignDescent(P, eta), [1.0, 0.4], t=1.5)
        shares.append(np.abs(run.w.values - filippov(run.t.values)).max() / eta)
    assert max(shares) < 2 and min(shares) > 0.2, shares
    assert isinstance(fd.SignDescent(P, 0.1).limit(), fd.SignFlow)


def test_steps_and_rebuild():
    w = np.array([1.0, 0.4])
    for _ in range(30):
        w = w - 0.07 * np.sign(A @ w)
    run = fd.solve(fd.SignDescent(P, 0.07), [1.0, 0.4], steps=30, saves=2)
    assert np.allclose(run.w[-1], w, rtol=0, atol=1e-14) and fd.rerun(run).w.equals(run.w)


@pytest.mark.parametrize("order", [1, 2])
def test_no_order_beyond_zero(order):
    with pytest.raises(
        fd.ArgumentError, match=r"`order` must be 0 for SignDescent: where a sign changes the flow slides"
    ):
        fd.eta_limit(fd.SignDescent(P, 0.1), [1.0, 0.4], t=1.0, order=order)


def test_a_width_is_positive():
    with pytest.raises(fd.ArgumentError, match="`width` must be positive"):
        fd.SignFlow(P, 0.0)
