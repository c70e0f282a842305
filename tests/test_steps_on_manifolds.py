"""A step that ends by a projection: powers of a matrix on the sphere, in closed form; what is refused of such steps."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd

RATES = np.array([0.5, 1.0, 2.0])
START = np.array([0.6, 0.64, 0.48])  # of norm 1


def normalised(w, eta):
    y = w - eta * RATES * w
    return y / jnp.linalg.norm(y)


def power(eta, t):
    """After t/eta steps: (1 - eta a)^k w0, normalised, since a norm drops out of the next step."""
    y = (1 - eta * RATES) ** round(t / eta) * START
    return y / np.linalg.norm(y)


@pytest.mark.parametrize("order", [1, 2])
def test_a_step_that_ends_by_a_projection_has_its_orders(order):
    etas = 0.1 / 2.0 ** np.arange(4)
    flows = [fd.solve(fd.Recursion(normalised, eta).limit(order), START, t=2.0, saves=2) for eta in etas]
    ends = np.array([flow.w.values[-1] for flow in flows])
    gaps = np.array([np.linalg.norm(end - power(eta, 2.0)) for end, eta in zip(ends, etas, strict=True)])
    assert abs(np.log2(gaps[-2] / gaps[-1]) - (order + 1)) < 0.06, gaps
    off = np.abs(np.linalg.norm(ends, axis=1) - 1)
    assert abs(np.log2(off[0] / off[1]) - (order + 2)) < 0.3, off  # the flow holds itself to the sphere


def test_the_way_is_foretold_with_an_error_that_holds():
    eta = 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fd.fast_forward(fd.Recursion(normalised, eta), START, t=1.0, order=1)
    gap = np.linalg.norm(found.w.values[-1] - power(eta, 1.0))
    assert gap <= float(found.error_estimate[-1]) <= 3 * gap + 1e-10


def tangent(s, h):
    """Momentum whose memory is fixed, on the sphere: what a step ends on still forgets at eta = 0."""
    m = 0.9 * s["m"] + 0.1 * RATES * s["w"]
    y = s["w"] - h * m
    return {"w": y / jnp.linalg.norm(y), "m": m}


def largest(s, h):
    """A state beside its largest value so far."""
    v = s["v"] + h * (s["w"] ** 2 - s["v"])
    return {"w": s["w"] - h * s["w"] / (jnp.maximum(s["x"], v) + 0.1), "v": v, "x": jnp.maximum(s["x"], v)}


def state(step, **more):
    def init(w):
        return {"w": w} | {name: 0 * w + value for name, value in more.items()}

    return fd.Recursion(step, 0.05, jnp.zeros(3), init=init, params=lambda s: s["w"])


REFUSED = {
    "off it": (
        fd.Recursion(normalised, 0.1),
        1.01 * START,
        r"`w0` must be on the manifold that the step projects onto, got 'w' at a distance of 0.0064 from it",
    ),
    "fixed memory": (state(tangent, m=0.0), START, "`step` must tend to the identity as eta -> 0, got 'm' that"),
    "a tie": (
        state(largest, v=0.1, x=0.1),
        START,
        "smooth in its state at the start, got 'x' with a kink there",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_such_step_is_told_apart(name):
    method, w0, message = REFUSED[name]
    for order in (0, 1):
        flow = method.limit(order)
        with pytest.raises(fd.ArgumentError, match=message):
            flow.check_start(np.asarray(flow.lift(w0)))  # as `solve` does


def test_beside_the_tie_a_maximum_has_its_limit():
    run = fd.solve(state(largest, v=0.1, x=0.5).limit(1), START, t=0.5, saves=2)  # x stays 0.5: w' = -w/0.6
    flow = START * (1 - 0.05 / 0.6) ** 10
    assert np.abs(run.w.values[-1] - flow).max() < 2e-3


def onto(bound):
    """Descent on w_0 + w_1^2/2, kept above a bound on each coordinate."""
    return fd.Recursion(lambda w, eta: jnp.maximum(w - eta * jnp.stack([jnp.ones(()), w[1]]), bound), 0.02)


def test_a_start_at_a_bound_that_holds_it_stays_there():
    """It was refused, although the recursion and the flow both stay: w_1 = e^-t goes its way."""
    run = fd.solve(onto(0.0).limit(0), [0.0, 1.0], t=1.0, saves=2)
    assert np.allclose(run.w[-1], [0.0, np.exp(-1)], rtol=0, atol=1e-8)
    method = onto(0.0)
    fd.Recursion(lambda w, eta: jnp.maximum(w - eta * (w + 1), 0.0), 0.02).limit(0).check_start(np.zeros(1))
    with pytest.raises(fd.ArgumentError, match="`step` must be smooth"):  # w_0 is let go: its rate at the tie is half
        fd.Recursion(lambda w, eta: jnp.maximum(w + eta, 0.0), 0.02).limit(0).check_start(np.zeros(1))
    method.limit(1).check_start(np.array([0.0, 1.0]))
