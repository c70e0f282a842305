"""Steps that count, that have no power of eta, that jump at first, and step sizes that change: limits or refusals."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flowdyn as fd

P = fd.problems.Quadratic(1.0)


def by_optax(factory, **options):
    return fd.Optax(P, factory, 0.05, **options)


def recursion(step, eta=0.1, **options):
    return fd.Recursion(step, eta, **options)


def rates(h):
    return {"b1": 1 - 2 * h, "b2": 1 - h, "eps": 0.05}


def schedule(h):
    return optax.cosine_decay_schedule(h, 100)


def begun(method, order):
    """What `solve` checks first."""
    flow = method.limit(order)
    flow.check_start(np.asarray(flow.lift(np.ones(1))))


COUNTS = r"training time alone; a schedule or a fixed rate counts steps, got 'w' whose rate changes by .* at any eta; "
IN_TIME = r"write a schedule over the training time: optax.sgd\(lambda n: h \* optax.cosine_decay_schedule\(1.0, T\)"
REFUSED = {
    "cosine": (by_optax(lambda h: optax.sgd(schedule(h))), (0, 1), COUNTS + IN_TIME),
    "cosine in Adam": (by_optax(lambda h: optax.adam(schedule(h), **rates(h))), (0, 1), COUNTS + IN_TIME),
    "warm-up": (by_optax(lambda h: optax.sgd(optax.linear_schedule(0.0, h, 50))), (1,), COUNTS + IN_TIME),
    "cut": (by_optax(lambda h: optax.sgd(optax.piecewise_constant_schedule(h, {10: 0.5}))), (1,), COUNTS + IN_TIME),
    "fixed bias": (recursion(lambda z, eta, k: z - eta * z / (1 - 0.9 ** (k + 1))), (0, 1), COUNTS + "write eta"),
    "another power": (
        recursion(lambda z, eta: z - eta**1.5 * z),
        (0, 1, 2),
        r"in proportion to the time step as eta -> 0, got 'w' that changes like eta\^1.5; give clock_power=1.5",
    ),
    "a logarithm": (recursion(lambda z, eta: z - eta * jnp.log(eta) * z), (0, 1), r"whose slope grows like log\(eta\)"),
    "AMSGrad from nothing": (
        by_optax(lambda h: optax.amsgrad(h, **rates(h))),
        (0, 1),
        r"from the first step on, got 'nu_max' that it changes by 1 at any eta; write eta\*k for k, or start it where",
    ),
    "schedule and k": (
        recursion(lambda z, eta, k: z - eta * z * jnp.cos(eta * k), fd.schedules.PowerDecay(0.1, 0.5)),
        (0,),
        "`eta` must be one number for the limit of a step that depends on k, got 'PowerDecay'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_its_reason(name):
    method, orders, message = REFUSED[name]
    for order in orders:
        with pytest.raises(fd.ArgumentError, match=message):
            begun(method, order)


ACCEPTED = {
    "cosine in time": by_optax(lambda h: optax.sgd(lambda n: h * optax.cosine_decay_schedule(1.0, 2.0)(h * n))),
    "Adam from nothing": by_optax(lambda h: optax.adam(h, **rates(h))),
    "AdamW from nothing": by_optax(lambda h: optax.adamw(h, **rates(h))),
    "its own clock": recursion(lambda z, eta: z - eta**1.5 * z, clock_power=1.5),
    "a root behind": recursion(lambda z, eta: z - eta * z - eta**1.5 * z),
    "k/(k + 3)": fd.Recursion(
        lambda s, h, k: {"w": s["w"] + h * (k / (k + 3)) * s["v"], "v": k / (k + 3) * s["v"] - h * s["w"]},
        0.1,
        jnp.zeros(1),
        init=lambda w: {"w": w, "v": 0 * w},
        params=lambda s: s["w"],
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_follows_training_time_is_let_pass(name):
    begun(ACCEPTED[name], 1)


def test_a_schedule_over_training_time_has_its_order():
    """w_k is a product in closed form: of 1 - h (1 + cos(pi t_k/2))/2."""
    factory = ACCEPTED["cosine in time"].factory
    gaps = []
    for h in (0.02, 0.01):
        run = fd.solve(fd.Optax(P, factory, h).limit(1), [1.0], t=1.0, saves=2)
        t = h * np.arange(round(1 / h))
        gaps.append(abs(float(run.w[-1].item()) - np.prod(1 - h * (1 + np.cos(np.pi * t / 2)) / 2)))
    assert abs(np.log2(gaps[0] / gaps[1]) - 2) < 0.03, gaps


def test_a_changing_step_size_has_a_limit_of_order_zero():
    method = recursion(lambda z, eta: z - eta * jnp.sin(z), fd.schedules.PowerDecay(0.1, 0.5))
    run = fd.solve(method.limit(0), [1.0], t=1.0, saves=2)
    assert np.isclose(float(run.w[-1].item()), 2 * np.arctan(np.tan(0.5) * np.exp(-1)), rtol=1e-8)
    with pytest.raises(fd.ArgumentError, match="`eta` must be one number for its limit of order 1"):
        method.limit(1)
