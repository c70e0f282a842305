"""RMSProp, Adam and AdamW: numbers of an independent script, optax step by step, orders, what has no limit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import solve_ivp

import flowdyn as fd

START, RUNGS = [1.5, 0.2], [0.05, 0.025, 0.0125, 0.00625]


def toy(w):
    """A saddle's valley with a weak quartic."""
    return 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4


def grad(w):
    """Its gradient, written out."""
    r = w[0] * w[1] - 1
    return np.array([r * w[1] + 0.05 * (w[0] - 2) ** 3, r * w[0]])


P = fd.problems.CustomProblem(toy, jnp.array(START))
WARM = {"t0": 0.5, "m0": [0.3, -0.2], "v0": [0.4, 0.3]}


def end_errors(ladder):
    return np.abs(ladder.w.isel(t=-1).values - ladder.w_limit.isel(t=-1).values).max(axis=-1)


# orders 0, 1, 2: largest entry of the error at T = 1, finest rung, and the slope of the last pair
@pytest.mark.parametrize(
    ("order", "error", "slope"), [(0, 4.489e-4, 1.046), (1, 3.314e-5, 1.993), (2, 2.749e-6, 2.919)]
)
def test_rmsprop_has_the_numbers_of_an_independent_script(order, error, slope):
    method = fd.RMSProp(P, RUNGS[0], 2.0, eps=0.01, v0=0.3, v_used="before")
    found = end_errors(fd.eta_limit(method, START, t=1.0, etas=RUNGS, order=order, saves=2))
    assert abs(found[-1] / error - 1) < 2e-4 and abs(np.log2(found[-2] / found[-1]) - slope) < 1e-3


METHODS = {
    "adam": (lambda: fd.Adam(P, 0.02, [4.0, 1.0], eps=0.05, **WARM), (0, 1, 2)),
    "adam, uncorrected, v before": (
        lambda: fd.Adam(P, 0.02, [4.0, 1.0], eps=0.05, bias_correction=False, v_used="before", **WARM),
        (1,),
    ),
    "adamw, eps inside": (
        lambda: fd.AdamW(P, 0.02, [4.0, 1.0], eps=0.05, decay=0.1, eps_inside=True, **WARM),
        (2,),
    ),
}


@pytest.mark.parametrize(("name", "order"), [(name, p) for name, (_, orders) in METHODS.items() for p in orders])
def test_orders(name, order):
    method = METHODS[name][0]()
    ladder = fd.eta_limit(method, START, t=1.0, etas=0.02 / 2.0 ** np.arange(5), order=order, saves=6)
    assert abs(float(ladder.order) - order - 1) < 0.05 and float(ladder.order_expected) == order + 1


OPTAX = {
    "rmsprop": (
        lambda: fd.RMSProp(P, 0.02, beta=0.9, eps=1e-3, v0=0.3, eps_inside=True),
        lambda: optax.rmsprop(0.02, decay=0.9, eps=1e-3, initial_scale=0.3),
    ),
    "rmsprop by a rate": (
        lambda: fd.RMSProp(P, 0.02, 5.0, eps=1e-3),
        lambda: optax.rmsprop(0.02, decay=0.9, eps=1e-3, eps_in_sqrt=False),
    ),
    "adam": (lambda: fd.Adam(P, 0.02, betas=[0.9, 0.999]), lambda: optax.adam(0.02)),
    "adam by rates": (
        lambda: fd.Adam(P, 0.02, [4.0, 0.5], eps=1e-2),
        lambda: optax.adam(0.02, b1=0.92, b2=0.99, eps=1e-2),
    ),
    "adamw": (
        lambda: fd.AdamW(P, 0.02, decay=0.3, betas=[0.9, 0.99]),
        lambda: optax.adamw(0.02, b2=0.99, weight_decay=0.3),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_steps_are_those_of_optax(name):
    method, optimiser = (make() for make in OPTAX[name])
    w, state = jnp.array(START), optimiser.init(jnp.array(START))
    for _ in range(40):
        updates, state = optimiser.update(jax.grad(toy)(w), state, w)
        w = optax.apply_updates(w, updates)
    assert np.allclose(fd.solve(method, START, steps=40, saves=2).w.isel(t=-1), w, rtol=1e-11)


def test_v_before_its_update():
    h, w, m, v = 0.02, np.array(START), np.array([0.3, -0.2]), np.array([0.4, 0.3])
    for k in range(30):
        g = grad(w)
        m = (1 - 4 * h) * m + 4 * h * g
        mhat, vhat = m / (1 - (1 - 4 * h) ** (k + 26)), v / (1 - (1 - h) ** (k + 25))
        v = (1 - h) * v + h * g**2
        w = w - h * mhat / (np.sqrt(vhat) + 0.05)
    run = fd.solve(fd.Adam(P, h, [4.0, 1.0], eps=0.05, v_used="before", **WARM), START, steps=30, saves=2)
    ends = run.w[-1], run.first_moment[-1], run.second_moment[-1]
    assert np.allclose(ends, (w, m, v), rtol=1e-12)


def test_the_flow_is_the_one_written_down():
    def drift(t, z):
        w, m, v = np.split(z, 3)
        g = grad(w)
        mhat, vhat = m / (1 - np.exp(-4 * (t + 0.5))), v / (1 - np.exp(-(t + 0.5)))
        return np.concatenate([-mhat / (np.sqrt(vhat) + 0.05) - 0.1 * w, 4 * (g - m), g**2 - v])

    start = np.concatenate([START, WARM["m0"], WARM["v0"]])
    end = solve_ivp(drift, (0, 1), start, "DOP853", rtol=1e-12, atol=1e-13).y[:2, -1]
    flow = fd.AdamW(P, 0.02, [4.0, 1.0], eps=0.05, decay=0.1, **WARM).limit()
    assert isinstance(flow, fd.AdamFlow)
    assert np.allclose(fd.solve(flow, START, t=1.0, saves=2).w[-1], end, rtol=0, atol=1e-7)
    # the derivative of a step at h = 0 is the same right-hand side
    same = fd.RecursionFlow(fd.AdamW(P, 0.02, [4.0, 1.0], eps=0.05, decay=0.1, **WARM), 0)
    assert np.allclose(jax.jit(lambda z: same.drift(0.3, z))(start), drift(0.3, start), rtol=1e-9)


def test_rmsprop_on_a_quadratic_ends_in_a_two_cycle_of_half_eta():
    """Effective sharpness 2 in every coordinate: |w_i| = eta/2 and v_i = (lam_i eta/2)^2."""
    lam = np.array([1.0, 3.0])
    method = fd.RMSProp(fd.problems.Quadratic(np.diag(lam)), 0.01, 1.0, eps=0.0, v0=0.5)
    run = fd.solve(method, [1.0, -0.7], steps=40_000, saves=2)
    assert np.allclose(np.abs(run.w[-1]), 0.005, rtol=1e-6)
    assert np.allclose(run.second_moment[-1], (lam * 0.005) ** 2, rtol=1e-6)


def test_fast_forward_and_rebuild():
    method = fd.Adam(P, 1e-9, [4.0, 1.0], eps=0.05, **WARM)
    far, flow = fd.fast_forward(method, START, t=1.0), fd.solve(method.limit(), START, t=1.0, saves=2)
    assert np.allclose(far.w[-1], flow.w[-1], atol=1e-7) and float(far.error_estimate[-1]) < 1e-10
    run = fd.solve(fd.AdamW(P, 0.02, [4.0, 1.0], eps=0.05, decay=0.1, **WARM), START, t=1.0)
    assert fd.rerun(run, toy).equals(run) or fd.rerun(run, toy).w.equals(run.w)
    assert float(run.decay) == 0.1 and float(run.t0) == 0.5


def test_the_dataset_names_the_moments_of_each_variable():
    p = fd.problems.CustomProblem(lambda w: w["a"] ** 2 + w["b"] ** 4, {"a": 1.0, "b": 0.5})
    run = fd.solve(fd.RMSProp(p, 0.1, 1.0, v0=1.0), p.init(), steps=2)
    assert {"a", "b", "a_second_moment", "b_second_moment"} <= set(run.data_vars)


REFUSED = {
    "fixed beta2": (
        lambda: fd.Adam(P, 0.02, betas=[0.9, 0.999], **WARM).limit(),
        r"`betas` must follow eta for a limit: a memory of a fixed number of steps keeps a law of its own .*rates c = "
        r"\(1 - betas\)/eta, \[5.   0.05\] here",
    ),
    "fixed beta": (lambda: fd.RMSProp(P, 0.02, beta=0.9, v0=1.0).limit(1), "`beta` must follow eta for a limit"),
    "cold v": (lambda: fd.RMSProp(P, 0.02, 1.0).limit(), "`v0` must be positive for a limit: .* start warm"),
    "cold adam": (
        lambda: fd.Adam(P, 0.02, [4.0, 1.0], v0=1.0).limit(1),
        "`t0` must be positive for a limit where bias is corrected: the flow is singular",
    ),
    "both": (lambda: fd.Adam(P, 0.02, [4.0, 1.0], betas=[0.9, 0.9]), "`rates` must be given, or `betas` in its place"),
    "none": (lambda: fd.RMSProp(P, 0.02), "`rate` must be given, or `beta` in its place"),
    "one rate": (lambda: fd.Adam(P, 0.02, [4.0]), r"`rates` must have shape \(2,\)"),
    "large rate": (lambda: fd.Adam(P, 0.02, [4.0, 51.0]), r"`eta` must keep 1 - rates\*eta >= 0"),
    "negative rate": (lambda: fd.RMSProp(P, 0.02, -1.0), "`rate` must not be negative"),
    "beta of 1": (lambda: fd.RMSProp(P, 0.02, beta=1.0), "`beta` must be from 0 to below 1"),
    "negative v0": (lambda: fd.RMSProp(P, 0.02, 1.0, v0=-1.0), "`v0` must not be negative"),
    "long v0": (lambda: fd.RMSProp(P, 0.02, 1.0, v0=[1.0] * 3), r"`v0` must be a number or have shape \(2,\)"),
    "eps": (lambda: fd.RMSProp(P, 0.02, 1.0, eps=-1.0), "`eps` must not be negative"),
    "decay": (lambda: fd.AdamW(P, 0.02, [4.0, 1.0], decay=-1.0), "`decay` must not be negative"),
    "v_used": (lambda: fd.RMSProp(P, 0.02, 1.0, v_used="new"), "`v_used` must be one of"),
    "v before any": (lambda: fd.Adam(P, 0.02, [4.0, 1.0], v_used="before"), "`t0` must be positive where v is used"),
    "schedule": (
        lambda: fd.RMSProp(P, fd.schedules.PiecewiseConstant([0.02, 0.01], [10]), 1.0),
        "`eta` must be one number for RMSProp",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, message = REFUSED[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()
