"""Equations of order 2 of steps that take signs of samples are refused; kinks, and jumps that no path meets, pass."""

import jax.numpy as jnp
import numpy as np
import pytest
from refusal import assert_refused
from scipy.stats import norm

import flowdyn as fd

QUANTILES = norm.ppf((np.arange(51) + 0.5) / 51)


def signed(w, h, x):
    return w - h * jnp.sign(w - x)


def pinball(w, h, x):
    return w + h * jnp.where(x > w, 0.9, -0.1)


def kept(s, h, x):
    """The sign enters a moment, and the parameters by way of it."""
    m = s["m"] + h * (jnp.sign(s["w"] - x) - s["m"])
    return {"m": m, "w": s["w"] - h * m}


def begun(method, start, order, covariance="plain", t=1.0):
    equation = method.limit(order, covariance)
    return lambda: equation.check_path(np.asarray(equation.lift(equation.ravel(start))), t)


JUMPS = r"`order` must be 1 for RandomRecursion: the step of a sample jumps .*, got 2, and near t = .* d\({}\)/dt of a "


@pytest.mark.parametrize("covariance", ["plain", "matched"])
@pytest.mark.parametrize("step", [signed, pinball])
def test_a_sign_of_a_sample_has_no_equation_of_order_2(step, covariance):
    """Its drift was b, that of order 1, where b - h/2 b'b is right: the derivative of a sign is 0."""
    method = fd.RandomRecursion(step, 0.1, samples=QUANTILES)
    assert_refused(begun(method, [0.7], 2, covariance), JUMPS.format("'w'"))
    begun(method, [0.7], 1)()


def test_solve_and_ladders_look():
    method = fd.RandomRecursion(signed, 0.1, samples=QUANTILES)
    for call in (
        lambda: fd.solve(method.limit(2), [0.7], t=1.0, realizations=2, seed=0),
        lambda: fd.eta_limit(method, [0.7], t=1.0, order=2, observable={"w": lambda w: w[0]}),
    ):
        assert_refused(call, JUMPS.format("'w'"))


def test_a_jump_is_named_by_its_piece_and_met_by_the_noise_alone():
    both = {"init": lambda w: {"w": w, "m": 0 * w}, "params": lambda s: s["w"]}
    method = fd.RandomRecursion(kept, 0.05, jnp.zeros(1), samples=QUANTILES, **both)
    assert_refused(begun(method, [0.7], 2, t=2.0), JUMPS.format("'m'"))
    still = fd.RandomRecursion(lambda w, h, x: w - h * (jnp.where(w > 0.2, 1.0, 0.0) - x), 0.05, samples=[1.0, -1.0])
    assert_refused(begun(still, [0.0], 2, t=4.0), JUMPS.format("'w'"))


RIGHT = {
    "clip by where": (lambda w, h, x: w - h * jnp.where(jnp.abs(w - x) > 1, jnp.sign(w - x), w - x), QUANTILES),
    "absolute values": (lambda w, h, x: w - h * jnp.abs(w - x) * (w - x), QUANTILES),
    "a maximum": (lambda w, h, x: w - h * jnp.maximum(w - x, 0.0), QUANTILES),
    "not met": (lambda w, h, x: w - h * (jnp.where(w > 5.0, 1.0, w) - x), QUANTILES),
    "of the sample alone": (lambda w, h, x: w - h * (w - jnp.sign(x)), QUANTILES),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_does_not_jump_is_let_pass(name):
    step, samples = RIGHT[name]
    begun(fd.RandomRecursion(step, 0.1, samples=samples), [0.7], 2)()
