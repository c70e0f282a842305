"""Any recursion has its limits of every order: numbers of an independent script, closed forms, refusals."""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flowdyn as fd
from flowdyn._tools import compiled

START, RUNGS = [1.5, 0.2], [0.05, 0.025, 0.0125, 0.00625]


def toy(w):
    """A saddle's valley with a weak quartic."""
    return 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4


GRAD = jax.grad(toy)
P = fd.problems.CustomProblem(toy, jnp.array(START))


def moving(w):
    return {"w": w, "v": 0 * w}


def heavy_ball(s, h):
    v = (1 - 1.5 * h) * s["v"] - h * GRAD(s["w"])
    return {"w": s["w"] + h * v, "v": v}


def nesterov(s, h):
    y = s["w"] + h * (1 - 1.5 * h) * s["v"]
    after = y - h**2 * GRAD(y)
    return {"w": after, "v": (after - s["w"]) / h}


def rmsprop(s, h):
    g = GRAD(s["w"])
    return {"w": s["w"] - h * g / (jnp.sqrt(s["v"]) + 0.01), "v": (1 - 2 * h) * s["v"] + 2 * h * g**2}


def recursion(step, start=moving, **options):
    return fd.Recursion(step, RUNGS[0], jnp.zeros(2), init=start, params=lambda s: s["w"], **options)


def optax_rmsprop(h):
    return optax.rmsprop(h, decay=1 - 2 * h, eps=0.05, initial_scale=0.3)


# errors of the finest rung at T = 1 (largest entry of w) and the slope of the last pair, orders 0, 1, 2
NUMBERS = {
    "heavy ball": (lambda: recursion(heavy_ball), (1.753e-3, 8.213e-6, 6.939e-8), (1.001, 1.978, 3.007)),
    "nesterov": (lambda: recursion(nesterov), (7.651e-4, 8.133e-6, 6.942e-8), None),
    "rmsprop": (
        lambda: recursion(rmsprop, lambda w: {"w": w, "v": 0 * w + 0.3}),
        (4.489e-4, 3.314e-5, 2.749e-6),
        (1.046, 1.993, 2.919),
    ),
    "optax sgd": (lambda: fd.Optax(P, lambda h: optax.sgd(h), RUNGS[0]), (7.24e-4, 9.43e-6, 2.70e-7), None),
    "optax rmsprop": (lambda: fd.Optax(P, optax_rmsprop, RUNGS[0]), (None, 2.73e-5, 1.94e-6), None),
    "trace": (
        lambda: fd.Optax(P, lambda h: optax.sgd(h * h, momentum=1 - 2 * h), RUNGS[0]),
        (None, 5.51e-6, 6.54e-8),
        None,
    ),
}


def end_errors(method, order):
    ladder = fd.eta_limit(method, START, t=1.0, etas=RUNGS, order=order, saves=2)
    name = "w"
    limit = ladder[f"{name}_limit"].isel(t=-1).values
    return np.abs(ladder[name].isel(t=-1).values - limit).max(axis=-1), ladder


# each is a program of its own: all of one recursion here, and every other at one order
HERE = {("heavy ball", 0), ("heavy ball", 1), ("heavy ball", 2), ("nesterov", 1), ("rmsprop", 2)}
HERE |= {("optax sgd", 0), ("optax rmsprop", 1), ("trace", 2)}
ALL = [(name, order) for name, (_, errors, _) in NUMBERS.items() for order in range(3) if errors[order] is not None]


@pytest.mark.parametrize(
    ("name", "order"), [pair if pair in HERE else pytest.param(*pair, marks=pytest.mark.slow) for pair in ALL]
)
def test_errors_and_slopes_of_an_independent_script(name, order):
    make, errors, slopes = NUMBERS[name]
    found, _ = end_errors(make(), order)
    digits = len(f"{errors[order]:.3e}".split("e")[0].rstrip("0")) - 2
    assert abs(found[-1] / errors[order] - 1) < 0.6 * 10.0**-digits, found
    if slopes:
        assert abs(np.log2(found[-2] / found[-1]) - slopes[order]) < 6e-3


def chain(h):
    steps = [optax.ema(1 - 4 * h, debias=False), optax.scale_by_rms(decay=1 - h, eps=0.05, initial_scale=0.3)]
    return optax.chain(*steps, optax.add_decayed_weights(0.1), optax.scale(-h))


def network():
    return eqx.nn.MLP(2, 1, 5, 1, activation=jnp.tanh, key=jax.random.key(0), dtype=float)


def fit():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 2)), rng.standard_normal(12)
    return fd.problems.CustomRegression(lambda model, X: jax.vmap(model)(X)[:, 0], y, network(), X)


def adam(h):
    return optax.adam(h, b1=1 - 4 * h, b2=1 - h, eps=0.05)


def adamw(h):
    return optax.adamw(h, b1=1 - 4 * h, b2=1 - h, eps=0.05, weight_decay=0.1)


def clipped(h, norm=0.2):
    return optax.chain(optax.clip_by_global_norm(norm), optax.ema(1 - 4 * h, debias=False), optax.scale(-h))


def trace(h):
    return optax.sgd(h * h, momentum=1 - 2 * h)


WARM = {"t0": 0.5, "moments": {"mu": [0.3, -0.2], "nu": [0.4, 0.3]}}
OPTIMISERS = {
    "sgd": (optax.sgd, {}),
    "rmsprop": (optax_rmsprop, {}),
    "adam": (adam, WARM),
    "adamw": (adamw, WARM),
    "trace": (trace, {}),
    "chain": (chain, {}),
    "clipped": (clipped, {}),
}


QUICK = {("trace", 0), ("chain", 0), ("chain", 1)}  # the trace of order 2 is among the numbers above
EACH = [(name, order) for name in OPTIMISERS for order in range(3)]


@pytest.mark.parametrize(
    ("name", "order"), [pair if pair in QUICK else pytest.param(*pair, marks=pytest.mark.slow) for pair in EACH]
)
def test_six_optimisers_and_more_have_their_orders(name, order):
    factory, options = OPTIMISERS[name]
    method = fd.Optax(P, factory, 0.02, **options)
    if name == "trace" and order == 0:
        with pytest.raises(fd.ArgumentError, match=r"`step` must tend to the identity .* got 'trace' that still"):
            fd.eta_limit(method, START, t=1.0, order=0)
        return
    ladder = fd.eta_limit(method, START, t=1.0, etas=0.02 / 2.0 ** np.arange(5), order=order, saves=11)
    assert abs(float(ladder.order) - order - 1) < 0.05, ladder.order


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_same_on_a_network(name, order):
    p = fit()
    factory, options = OPTIMISERS[name]
    if name == "clipped":  # its gradients are smaller: the clip holds all the way, for at a kink orders end

        def factory(h):
            return clipped(h, 0.05)

    warm = {}
    if options:
        pieces = [v.name for v in fd.Optax(p, factory, 0.02).layout(0)][len(p.variables) :]
        warm = {"t0": 0.5, "moments": {n: 0.3 if n.startswith("nu") else 0.05 for n in pieces}}
    method = fd.Optax(p, factory, 0.02, **warm)
    if name == "trace" and order == 0:
        with pytest.raises(fd.ArgumentError, match="must tend to the identity"):
            fd.eta_limit(method, p.init(), t=1.0, order=0)
        return
    ladder = fd.eta_limit(method, p.init(), t=1.0, etas=0.02 / 2.0 ** np.arange(5), order=order, saves=11)
    assert abs(float(ladder.order) - order - 1) < 0.05, ladder.order


def test_the_trace_of_gradients_has_one_order_less_than_the_parameters():
    """It is of size 1/h: w has order 3 beside the flow of order 2, the trace itself order 2."""
    ladder = fd.eta_limit(fd.Optax(P, trace, RUNGS[0]), START, t=1.0, etas=RUNGS, order=2, saves=2)
    for name, order in (("w", 3), ("trace", 2)):
        gaps = np.abs(ladder[name] - ladder[f"{name}_limit"]).isel(t=-1).values.max(axis=-1)
        assert abs(np.log2(gaps[-2] / gaps[-1]) - order) < 0.05


@pytest.mark.parametrize("order", [2, *(pytest.param(order, marks=pytest.mark.slow) for order in (1, 3))])
@pytest.mark.parametrize("make", [lambda: fd.HeavyBall(P, 0.04**2, 1.5), lambda: fd.Nesterov(P, 0.04**2)])
def test_built_in_momentum_has_all_orders(make, order):
    method = make()
    ladder = fd.eta_limit(method, START, t=1.0, order=order, saves=11)
    assert abs(float(ladder.order) - float(ladder.order_expected)) < 0.05
    assert float(ladder.order_expected) == (order + 1 if isinstance(method, fd.HeavyBall) else 2)


@pytest.mark.parametrize("order", [1, 2])
def test_normalised_descent_has_all_orders(order):
    method, w0 = fd.NormalizedGradientDescent.example()
    ladder = fd.eta_limit(fd.NormalizedGradientDescent(method.problem, 0.1), w0, t=1.0, order=order, saves=11)
    assert abs(float(ladder.order) - order - 1) < 0.05


@pytest.mark.parametrize("order", [0, 2, *(pytest.param(order, marks=pytest.mark.slow) for order in (1, 3))])
def test_a_step_that_depends_on_k(order):
    """Nesterov's k/(k+3) stays at order 2 for every p: its friction is not smooth at t = 0."""

    def step(s, h, k):
        y = s["w"] + k / (k + 3) * h * s["v"]
        after = y - h**2 * GRAD(y)
        return {"w": after, "v": (after - s["w"]) / h}

    text = rf"not as expected: measured 2\.0., expected {order + 1}: the step or its loss may be less smooth"
    said = pytest.warns(fd.FlowdynWarning, match=text) if order > 1 else contextlib.nullcontext()
    with said:
        ladder = fd.eta_limit(recursion(step), START, t=1.0, etas=RUNGS, order=order, saves=5)
    assert abs(float(ladder.order) - min(order + 1, 2)) < 0.06


# S_h = exp(h D_F) exactly for z / (1 + h): F = -log(1 + h)/h z, and its series is that of the logarithm
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_flow_is_the_cut_series_of_the_logarithm(order):
    h = 0.1
    flow = fd.Recursion(lambda z, eta: z / (1 + eta), h).limit(order)
    x = 1 / (1 + h) - 1
    series = sum((-1) ** j / (j + 1) * x ** (j + 1) for j in range(order + 1)) / h if order else -1.0
    assert np.isclose(float(flow.drift(0.0, jnp.ones(1))[0]), series, rtol=1e-13)


@pytest.mark.parametrize("eta", [1e-4, 1e-9, 1e-13])
def test_no_digit_is_lost_at_tiny_steps(eta):
    exact = np.exp(-np.log1p(eta) / eta)  # (1 + eta)^(-1/eta)
    run = fd.fast_forward(fd.Recursion(lambda z, h: z / (1 + h), eta), [1.0], t=1.0)
    assert abs(float(run.w.item()) - exact) < 1e-12 + 10 * eta**3 and float(run.error_estimate.item()) < 1e-9
    exact = np.exp(np.log1p(eta**2 - eta) / eta)
    run = fd.fast_forward(fd.Recursion(lambda z, h: z - h * z + h**2 * z, eta), [1.0], t=1.0)
    assert abs(float(run.w.item()) - exact) < 1e-12 + 10 * eta**3 and float(run.error_estimate.item()) < 1e-10


def test_clock_power_and_roots_of_eta():
    def step(s, eta):
        return heavy_ball(s, jnp.sqrt(eta))

    method = fd.Recursion(step, 0.05**2, jnp.zeros(2), init=moving, params=lambda s: s["w"], clock_power=0.5)
    flow = fd.solve(fd.HeavyBallFlow(P, 1.5), START, t=1.0, saves=3)
    assert np.allclose(fd.solve(method.limit(), START, t=1.0, saves=3).w, flow.w, rtol=0, atol=1e-7)
    ladder = fd.eta_limit(method, START, t=1.0, order=1, saves=5)
    assert abs(float(ladder.order) - 2) < 0.05 and float(ladder.h[0]) == pytest.approx(0.05)


def test_increment_in_place_of_step():
    descent = fd.Recursion(lambda w, h: -GRAD(w), 0.02, increment=True)
    ours = fd.solve(fd.GradientDescent(P, 0.02), START, t=1.0).w
    assert np.allclose(fd.solve(descent, START, t=1.0).w, ours, rtol=1e-12)
    tiny = fd.fast_forward(fd.Recursion(lambda w, h: -GRAD(w), 1e-9, increment=True), START, t=1.0)
    assert np.allclose(tiny.w, fd.fast_forward(fd.GradientDescent(P, 1e-9), START, t=1.0).w, rtol=1e-12)


def test_the_dataset_names_the_pieces():
    run = fd.solve(recursion(rmsprop, lambda w: {"w": w, "v": 0 * w + 0.3}), START, steps=3)
    assert {"w", "v"} <= set(run.data_vars) and run.attrs["flowdyn_parameters"] == "w"
    shifted = fd.Recursion(
        lambda s, h: {"x": s["x"] - h * s["x"], "u": s["u"] - h * s["u"]},
        0.1,
        {"y": jnp.ones(2)},
        init=lambda w: {"x": w["y"], "u": 0 * w["y"]},
        params=lambda s: {"y": s["x"] + s["u"]},
    )
    run = fd.solve(shifted, {"y": [1.0, 2.0]}, steps=2)
    assert {"x", "u", "y"} <= set(run.data_vars) and np.allclose(run.y.values, run.x.values + run.u.values)


def test_a_run_and_a_ladder_are_made_again():
    method = recursion(heavy_ball)
    run = fd.solve(method, START, t=1.0)
    names = {"step": heavy_ball, "init": moving, "params": method.params}
    assert fd.rerun(run, **names).w.equals(run.w)
    ladder = fd.eta_limit(method, START, t=1.0, order=1, saves=5)
    assert fd.rerun(ladder, **names).error.equals(ladder.error)
    best = fd.Optax(P, adam, 0.02, **WARM)
    run = fd.solve(best, START, t=1.0)
    again = fd.rerun(run, toy, factory=adam)
    assert again.nu.equals(run.nu) and again.w.equals(run.w)


def test_a_restart_goes_on(tmp_path):
    method = fd.Optax(P, adam, 0.02, t0=0.5, moments={"nu": 0.3})
    whole = fd.solve(method, START, t=1.0, saves=3)
    fd.save(whole, tmp_path / "run.nc")
    half = fd.load(tmp_path / "run.nc").isel(t=1)
    rest = fd.solve(method, half, t=1.0, saves=2)
    assert np.array_equal(rest.w.isel(t=-1), whole.w.isel(t=-1))


def test_a_ladder_compiles_once():
    before = compiled._program.cache_info().misses
    fd.eta_limit(fd.Optax(P, clipped, 0.02), START, t=0.5, etas=0.02 / 2.0 ** np.arange(4), order=1, saves=3)
    first = compiled._program.cache_info().misses - before
    fd.eta_limit(fd.Optax(P, clipped, 0.01), START, t=0.5, etas=0.01 / 2.0 ** np.arange(7), order=1, saves=3)
    assert compiled._program.cache_info().misses - before == first


@pytest.mark.parametrize("order", [0, 1])
def test_a_users_step_is_traced_for_the_first_ladder_alone(order):
    """It was traced anew for each rung at each tolerance: 58 calls in the second ladder."""
    calls = []

    def step(w, h):
        calls.append(h)
        return w - h * GRAD(w)

    for eta, rungs in ((0.02, 4), (0.01, 7)):
        calls.clear()
        fd.eta_limit(fd.Recursion(step, eta), START, t=0.5, etas=eta / 2.0 ** np.arange(rungs), order=order, saves=3)
    assert not calls


REFUSED = {
    "fixed beta": (
        lambda: fd.Recursion(
            lambda s, h: {"w": s["w"] - h * s["m"], "m": 0.9 * s["m"] + 0.1 * GRAD(s["w"])},
            0.05,
            jnp.zeros(2),
            init=lambda w: {"w": w, "m": 0 * w},
            params=lambda s: s["w"],
        ),
        (0, 1, 2),
        "`step` must tend to the identity as eta -> 0, got 'm' that still changes",
    ),
    "fixed beta2": (
        lambda: fd.Optax(P, lambda h: optax.adam(h, b1=1 - h, b2=0.999, eps=0.05), 0.05),
        (0, 1),
        "`step` must tend to the identity as eta -> 0, got 'nu' that still changes",
    ),
    "trace": (lambda: fd.Optax(P, trace, 0.05), (0,), "got 'trace' that still changes .* or use order >= 1"),
    "sums": (
        lambda: fd.Optax(P, optax.adagrad, 0.05),
        (0,),
        r"got 'sum_of_squares' that still changes .*, e.g. decay = 1 - c\*h$",  # no order is a way out
    ),
    "signs": (
        lambda: fd.Recursion(lambda w, h: w - h * jnp.sign(GRAD(w)), 0.05),
        (1, 2),
        "`order` must be 0 for Recursion: its step takes the sign of its state",
    ),
    "infinite": (
        lambda: fd.Recursion(lambda w, h: w + w**2 / h, 0.05),
        (0,),
        "`step` must tend to the identity|must be finite as eta -> 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_limit_is_refused_in_words(name):
    make, orders, message = REFUSED[name]
    for order in orders:
        with pytest.raises(fd.ArgumentError, match=message):
            fd.eta_limit(make(), START, t=1.0, order=order)


def test_rounding_that_dominates_is_refused():
    rough = fd.Recursion(nesterov, 1e-13, jnp.zeros(2), init=moving, params=lambda s: s["w"])  # (after - w) / h
    with pytest.raises(fd.ArgumentError, match="its slope is a difference of two states"):
        fd.fast_forward(rough, START, t=1e-9, order=1)


BAD_CALLS = {
    "no function": (lambda: fd.Recursion(3, 0.1), "`step` must be a function"),
    "one argument": (lambda: fd.Recursion(lambda z: z, 0.1), "`step` must be a function"),
    "init alone": (lambda: fd.Recursion(heavy_ball, 0.1, jnp.zeros(2), init=moving), "`init` must be given with"),
    "a count": (
        lambda: fd.Recursion(
            lambda s, h: s, 0.1, jnp.zeros(2), init=lambda w: {"w": w, "n": jnp.array(0)}, params=lambda s: s["w"]
        ),
        "`init` must hold real arrays only",
    ),
    "another shape": (
        lambda: fd.Recursion(lambda z, h: z[:1], 0.1, jnp.zeros(2)),
        "`step` must return the structure",
    ),
    "a key": (lambda: fd.Optax(P, lambda h: optax.noisy_sgd(h, key=0), 0.1), "state is made of real arrays and counts"),
    "counters": (lambda: fd.Optax(P, lambda h: optax.MultiSteps(optax.sgd(h), 2), 0.1), "`factory` must return"),
    "no optimiser": (lambda: fd.Optax(P, lambda h: 3, 0.1), "must return an optax.GradientTransformation"),
    "moments": (lambda: fd.Optax(P, adam, 0.1, moments={"mv": 1.0}), "must have names of the optimiser's arrays"),
    "line search": (lambda: fd.Optax(P, lambda h: optax.lbfgs(h), 0.1), "`factory` must return an optimiser"),
    "random": (lambda: fd.RecursionFlow(fd.SGD.example()[0]), "`recursion` must be a deterministic recursion"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_say_what_to_do(name):
    make, message = BAD_CALLS[name]
    with pytest.raises(fd.ArgumentError, match=message):
        make()


def injected(h):
    return optax.inject_hyperparams(optax.sgd)(learning_rate=h)


def injected_schedule(h):
    return optax.inject_hyperparams(optax.sgd)(learning_rate=lambda n: h * jnp.cos(h * n))


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_rates_in_the_state_of_an_optimiser_are_functions_of_eta(order):
    """They were taken for pieces of the state that stay as eta -> 0, and every limit was refused for that."""
    h, half = 0.1, fd.problems.Quadratic(3.0)
    for factory, rate in ((injected, 1.0), (injected_schedule, np.cos(0.7))):
        flow = fd.Optax(half, factory, h).limit(order)
        assert [v.name for v in flow.layout(1)] == ["w"]
        flow.check_start(np.ones(1))
        if order and factory is injected_schedule:
            continue
        x = -3.0 * h
        series = sum((-1) ** j / (j + 1) * x ** (j + 1) for j in range(order + 1)) / h if order else -3.0 * rate
        drift = jax.jit(lambda w: flow.drift(0.7, w))(jnp.ones(1))  # noqa: B023
        assert np.isclose(float(drift[0]), series, rtol=1e-9)


def test_moments_stay_in_the_state_beside_injected_rates():
    def factory(h):
        return optax.inject_hyperparams(optax.adam)(learning_rate=h, b1=1 - 4 * h, b2=1 - h, eps=0.05)

    ours = fd.Optax(P, factory, 0.02)
    assert [v.name for v in ours.layout(2)] == ["w", "inner_state_mu", "inner_state_nu"]
    run, plain = fd.solve(ours, START, t=1.0, saves=3), fd.solve(fd.Optax(P, adam, 0.02), START, t=1.0, saves=3)
    assert np.allclose(run.w, plain.w, rtol=1e-13)


def started(method, order):
    flow = method.limit(order)
    return lambda: flow.check_start(np.asarray(flow.lift(flow.ravel(START))))


@pytest.mark.parametrize("order", [1, 2])
def test_a_sum_of_squares_that_is_not_scaled_has_no_order_beyond_one(order):
    """Its w changes its rate by g^2/(2 s) from a step to the next: 28 % at the start, at any eta; gaps are O(eta)."""
    g, s = np.array(GRAD(jnp.array(START))), 0.1
    shares = np.sqrt((s + g**2) / (s + 2 * g**2))  # but for the change of g, which is O(eta)
    words = rf"got 'w' whose rate changes by {100 * (1 - shares.min()):.0f} %; 'sum_of_squares' changes by "
    with pytest.raises(fd.ArgumentError, match=words + rf"{(g**2).max():.3g} a step at any eta"):
        started(fd.Optax(P, optax.adagrad, 0.02), order)()
    started(fd.Optax(P, lambda h: optax.adagrad(h, initial_accumulator_value=1 / h), 0.02), order)()
