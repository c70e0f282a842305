"""Averaged iterates: exact moments beside closed linear algebra, orders, every kind of system."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

import flowdyn as fd

A, SIGMA = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 0.5]])
NOISY = fd.problems.Quadratic(A, noise=SIGMA)
SCALAR = fd.problems.Quadratic(2.0, noise=1.0)


@pytest.mark.parametrize("eta", [0.1, 0.4])
def test_the_covariance_of_the_mean_does_not_depend_on_the_step_size(eta):
    """K Cov -> A^-1 Sigma A^-1; what is left is of order 1/K and drops out of 2 C(2K) - C(K)."""
    found = fd.averaged(fd.SGD(NOISY, eta), "polyak").exact_moments([1.0, -1.0], [20_000, 40_000])[1]
    scaled = found * np.array([20_000, 40_000])[:, None, None]
    assert np.allclose(2 * scaled[1] - scaled[0], [[0.46530612, -0.54693878], [-0.54693878, 0.93061224]], atol=1e-8)


def stationary_mean(system, count, variance):
    """Variance of the mean from a stationary start: its law is linear in the start."""
    response = system.exact_moments([1.0], [count])[0].item() - system.exact_moments([0.0], [count])[0].item()
    return system.exact_moments([0.0], [count])[1].item() + response**2 * variance


def test_variance_of_the_mean_of_a_stationary_run():
    lam, eta = 2.0, 0.1
    sgd = fd.averaged(fd.SGD(SCALAR, eta), "polyak")
    assert stationary_mean(sgd, 30, eta / (lam * (2 - eta * lam))) == pytest.approx(0.0071002938, abs=1e-10)
    ou = fd.averaged(fd.OrnsteinUhlenbeck(lam, eta), "polyak")
    assert stationary_mean(ou, 3.0, eta / (2 * lam)) == pytest.approx(0.0069478872, abs=1e-10)


def test_variance_of_an_exponential_average():
    lam, kappa, v = 2.0, 0.7, 0.3
    ou = fd.averaged(fd.OrnsteinUhlenbeck(lam, 2 * lam * v), "ema", rate=kappa)
    assert ou.exact_moments([1.0], [60.0])[1].item() == pytest.approx(v * kappa / (kappa + lam), rel=1e-12)
    # SGD: the stationary covariance of (w, e) solves a discrete Lyapunov equation
    h, q = 0.1, 1 - 0.1 * lam
    M = np.array([[q, 0], [kappa * h * q, 1 - kappa * h]])
    b = 0.1 * np.array([1.0, kappa * h])
    wanted = scipy.linalg.solve_discrete_lyapunov(M, np.outer(b, b))[1, 1]
    sgd = fd.averaged(fd.SGD(SCALAR, h), "ema", rate=kappa)
    assert sgd.exact_moments([1.0], [1000])[1].item() == pytest.approx(wanted, rel=1e-12)


def test_iterates_are_averaged_as_written():
    p = fd.problems.CustomProblem(lambda w: w["a"] ** 2 + w["b"] ** 4, {"a": 1.0, "b": 0.5})
    method = fd.HeavyBall(p, 0.01, 1.0)
    plain = fd.solve(method, p.init(), steps=30)
    run = fd.solve(fd.averaged(method), p.init(), steps=30)
    assert np.allclose(run.a, plain.a, rtol=1e-14) and np.allclose(run.a_velocity, plain.a_velocity, rtol=1e-13)
    for name in ("a", "b"):
        wanted = np.cumsum(plain[name].values[1:], axis=0) / np.arange(1, 31)
        assert np.allclose(run[f"{name}_mean"].values[1:], wanted, rtol=1e-12)
        assert run[f"{name}_mean"][0] == plain[name][0]
    assert np.allclose(run.loss_at_mean, run.a_mean**2 + run.b_mean**4) and np.allclose(
        run.loss, plain.loss, rtol=1e-13
    )
    ema = fd.solve(fd.averaged(method, "ema", rate=2.0), p.init(), steps=30)
    e = plain.a.values[0]
    for w in plain.a.values[1:]:
        e = e + 2.0 * 0.1 * (w - e)
    assert np.allclose(ema.a_ema[-1], e, rtol=1e-12)


def test_an_ensemble_has_the_law_of_its_average():
    system = fd.averaged(fd.SGD(NOISY, 0.1), "polyak")
    run = fd.solve(system, [1.0, -1.0], steps=30, saves=2, realizations=4000, seed=3)
    mean, cov = system.exact_moments([1.0, -1.0], [30])
    ends = run.w_mean.isel(t=-1).values
    assert np.allclose(ends.mean(axis=0), mean[0], atol=4 * np.sqrt(cov[0].max() / 4000))
    assert np.allclose(np.cov(ends.T), cov[0], rtol=0, atol=0.12 * cov[0].max())
    plain = fd.solve(fd.SGD(NOISY, 0.1), [1.0, -1.0], steps=30, saves=2, realizations=3, seed=3)
    assert np.array_equal(run.w[:3], plain.w)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("average", "rate"), [("polyak", None), ("ema", 0.7)])
def test_weak_orders_of_the_average_by_exact_moments(average, rate, order):
    method = fd.averaged(fd.SGD(NOISY, 0.1), average, rate)
    tests = {"first": lambda w: w[0], "square": lambda w: w[0] ** 2}
    ladder = fd.eta_limit(method, [1.0, -1.0], t=2.0, order=order, observable=tests)
    assert np.allclose(ladder.order, order, atol=0.06) and (ladder.standard_error == 0).all()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_orders_without_noise(order):
    p = fd.problems.CustomProblem(
        lambda w: 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4, jnp.array([1.5, 0.2])
    )
    method = fd.averaged(fd.HeavyBall(p, 0.04**2, 1.5), *(("polyak",) if order != 1 else ("ema", 0.7)))
    ladder = fd.eta_limit(method, [1.5, 0.2], t=1.0, etas=0.04**2 / 4.0 ** np.arange(4), order=order, saves=5)
    assert abs(float(ladder.order) - order - 1) < 0.06


def test_flows_and_equations_of_any_kind():
    run = fd.solve(fd.averaged(fd.ODE(lambda t, y: -y), "ema", 1.0), [1.0, 2.0], t=2.0)
    assert np.allclose(run.w_ema[-1], 3 * np.exp(-2) * np.array([1.0, 2.0]), atol=1e-7)
    own = fd.Recursion(lambda w, h: w - h * w, 0.1, jnp.zeros(2))
    run = fd.solve(fd.averaged(own), [1.0, 2.0], steps=2)
    assert np.allclose(run.w_mean[-1], (0.9 + 0.81) / 2 * np.array([1.0, 2.0]))
    mirror = fd.solve(fd.averaged(fd.MirrorDescent(NOISY, 0.1, "entropy")), [1.0, 0.5], steps=10)
    assert np.allclose(mirror.w_mean[-1], mirror.w[1:].mean("t"), rtol=1e-12)
    sde = fd.SDE(lambda t, x: -x, lambda t, x: 0.8 * x, noise="diagonal")
    run = fd.solve(fd.averaged(sde, "ema", 1.0), [1.0], t=1.0, realizations=500, seed=1)
    assert abs(float(run.w_ema.isel(t=-1).mean()) - 2 * np.exp(-1)) < 0.1  # e' = w - e, E w = exp(-t): (1 + t) exp(-t)


def test_rebuild_and_restart():
    method = fd.averaged(fd.SGD(NOISY, 0.1), "ema", rate=0.5)
    run = fd.solve(method, [1.0, -1.0], steps=20, saves=3, realizations=3)
    assert fd.rerun(run).w_ema.equals(run.w_ema)
    rest = fd.solve(method, run.isel(t=1), steps=10, saves=2)
    assert np.array_equal(rest.w_ema.isel(t=-1), run.w_ema.isel(t=-1))


REFUSED = {
    "no rate": (lambda: fd.averaged(fd.SGD(NOISY, 0.1), "ema"), "`rate` must be the rate kappa"),
    "a rate": (lambda: fd.averaged(fd.SGD(NOISY, 0.1), "polyak", 1.0), "`rate` must be None for the mean"),
    "negative": (lambda: fd.averaged(fd.SGD(NOISY, 0.1), "ema", -1.0), "`rate` must be positive"),
    "length": (lambda: fd.averaged(fd.ODE(lambda t, y: -y)), "`method` must say how many parameters it has"),
    "kind": (lambda: fd.averaged(fd.SGD(NOISY, 0.1), "mean"), "`average` must be one of"),
    "no system": (lambda: fd.averaged(3), "`system` must be a flowdyn system"),
    "another": (lambda: fd.AveragedFlow(fd.SGD(NOISY, 0.1)), "`method` must be an ordinary differential equation"),
    "large rate of noise": (
        lambda: fd.averaged(fd.SGD(NOISY, 0.5), "ema", 2.5),
        "`rate` must keep 1 - rate\\*h >= 0",
    ),
    "large rate": (
        lambda: fd.averaged(fd.GradientDescent(NOISY, 0.5), "ema", 2.5),
        "`rate` must keep 1 - rate\\*h >= 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, message = REFUSED[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()


def ema_by_hand(w, rate):
    """Averages of rows that follow the first, step by step."""
    e = [w[0]]
    for x in w[1:]:
        e.append(e[-1] + rate * (x - e[-1]))
    return np.array(e)


def mean_by_hand(w):
    """Means of the rows after the first."""
    return np.concatenate([w[:1], np.cumsum(w[1:], axis=0) / np.arange(1, len(w))[:, None]])


BY_HAND = {"polyak": (mean_by_hand, {}, "mean"), "ema": (lambda w: ema_by_hand(w, 0.15), {"rate": 1.5}, "ema")}


@pytest.mark.parametrize("outer", BY_HAND)
@pytest.mark.parametrize("inner", BY_HAND)
def test_the_average_of_an_average(inner, outer):
    """Before, it was refused by names that nobody could change."""
    (first, one, name), (second, two, last) = BY_HAND[inner], BY_HAND[outer]
    method = fd.averaged(fd.averaged(fd.SGD(NOISY, 0.1), inner, **one), outer, **two)
    run = fd.solve(method, [1.0, -1.0], t=2.0, realizations=1, seed=4)
    w = run.w.values[0]
    assert np.allclose(run[f"w_{name}"][0], first(w), rtol=1e-12, atol=1e-14)
    found = run[f"w_{name}_{last}"].values[0]
    assert np.allclose(found, second(first(w)), rtol=1e-12, atol=1e-14)
    loss = "loss_at_" + (f"{last}_2" if inner == outer else last)
    assert np.allclose(run[loss][0], [0.5 * x @ A @ x for x in found], rtol=1e-12)
    assert fd.rerun(run).w.equals(run.w)


@pytest.mark.parametrize("outer", BY_HAND)
@pytest.mark.parametrize("inner", BY_HAND)
def test_orders_of_the_average_of_an_average(inner, outer):
    """Without noise the drifts of order 1 and 2 are flows; the equation of order 2 stands half a step later twice."""
    (_, one, name), (_, two, last) = BY_HAND[inner], BY_HAND[outer]
    around = lambda method: fd.averaged(fd.averaged(method, inner, **one), outer, **two)  # noqa: E731
    still, start, gaps = fd.problems.Quadratic(A, noise=np.zeros((2, 2))), np.array([1.0, -1.0]), []
    drift = jax.jit(lambda equation, z: equation.drift(0.0, z))
    for eta in (0.1, 0.05, 0.025, 0.0125):
        run = fd.solve(around(fd.GradientDescent(still, eta)), start, t=2.0, saves=2)
        end, row = run[f"w_{name}_{last}"].values[-1], []
        for order in (1, 2):
            equation = around(fd.SGD(still, eta)).limit(order)
            z = np.asarray(equation.lift(start))
            flow = solve_ivp(lambda t, z, e=equation: drift(e, z), (0, 2), z, "DOP853", rtol=1e-10, atol=1e-12)
            row.append(np.abs(np.asarray(equation.project(flow.y[:, -1])) - end).max())
        gaps.append(row)
    slopes = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert np.abs(slopes[-1] - [1, 2]).max() < 0.06 and np.abs(slopes - [1, 2]).max() < 0.2


def test_a_mean_of_a_mean_has_its_order_beyond_its_first_steps():
    """At the end gap / h^2 tends to a constant; the largest gap on the way, at the first steps, is slower to do so."""
    twice = fd.averaged(fd.averaged(fd.GradientDescent(fd.problems.Quadratic(1.0), 0.1)))
    etas = 0.1 / 2.0 ** np.arange(5)
    ladder = fd.eta_limit(twice, [1.0], t=1.0, order=1, saves=2, etas=etas)
    by_hand = [mean_by_hand(mean_by_hand((1 - h) ** np.arange(round(1 / h) + 1.0)[:, None]))[-1] for h in etas]
    assert np.allclose(ladder.w_mean_mean.isel(t=-1).values, by_hand, rtol=1e-12)
    gaps = np.abs(ladder.w_mean_mean_limit.isel(t=-1).values - by_hand).ravel()
    assert ladder.verdict == "resolved" and abs(float(ladder.order) - 2) < 0.03
    shares = gaps / etas**2
    assert (np.diff(np.diff(shares)) < 0).all() and (np.diff(shares) > 0).all()  # tends to a constant


def test_an_average_of_an_average_has_no_law_of_the_state_alone():
    equation = fd.averaged(fd.averaged(fd.OrnsteinUhlenbeck(2.0, 1.0)), "ema", rate=1.0)
    assert equation.linear_law() is None and equation.exact_moments(np.array([1.0]), np.array([2.0])) is None
    assert np.isfinite(fd.solve(equation, [1.0], t=1.0, realizations=2, saves=2).w_mean_ema).all()
