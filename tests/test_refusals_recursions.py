"""Refused: recursions of a user's own, and optimisers, that cannot be traced, called or followed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusal import assert_refused

import flowdyn as fd
from flowdyn._tools.dependence import may_jump

P = fd.problems.CustomProblem(lambda w: 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4, np.array([1.5, 0.2]))
START = [1.5, 0.2]
TRACED = "must be written with jax.numpy so that JAX can differentiate it, got "
WITH_INIT = {"init": lambda w: {"w": w, "m": 0 * w}, "params": lambda s: s["w"]}


def branching(z, eta):
    return z - eta * z if z[0] > 0 else z


def counting(z, eta, k):
    return z - eta * z if k < 3 else z


def drawn(z, eta, x):
    return z - eta * (z - x) if z[0] > 0 else z


def pulled(z, eta, x):
    return z - eta * (np.eye(2) @ z + np.eye(2) @ x)


def rolling(s, eta, x):
    m = s["m"] - eta * (s["m"] + s["w"] + x)
    return {"w": s["w"] + eta * m, "m": m}


def optimiser(factory):
    return lambda: fd.Optax(P, factory, 0.02)


FOREIGN = {
    "an if": (lambda: fd.solve(fd.Recursion(branching, 0.1), [1.0], t=1.0), f"`step` {TRACED}.*jnp.where in place of"),
    "an if at construction": (lambda: fd.Recursion(branching, 0.1, jnp.zeros(1)), f"`step` {TRACED}"),
    "an if on k": (lambda: fd.solve(fd.Recursion(counting, 0.1), [1.0], t=1.0), f"`step` {TRACED}"),
    "an if of a ladder": (lambda: fd.eta_limit(fd.Recursion(branching, 0.1), [1.0], t=1.0), f"`step` {TRACED}"),
    "numpy": (
        lambda: fd.solve(fd.Recursion(lambda z, eta: z - eta * np.sin(z), 0.1), [1.0], t=1.0),
        f"`step` {TRACED}.*jnp.sin in place of np.sin",
    ),
    "numpy in an increment": (
        lambda: fd.fast_forward(fd.Recursion(lambda z, eta: -np.sin(z), 0.1, increment=True), [1.0], t=1.0),
        f"`step` {TRACED}",
    ),
    "numpy in init": (
        lambda: fd.Recursion(lambda s, eta: s, 0.1, jnp.zeros(1), init=np.sin, params=lambda s: s),
        f"`init` {TRACED}",
    ),
    "an if in params": (
        lambda: fd.Recursion(
            lambda s, eta: s, 0.1, jnp.zeros(1), init=lambda w: w, params=lambda s: s if s[0] > 0 else -s
        ),
        f"`params` {TRACED}",
    ),
    "a name that is none": (
        lambda: fd.Recursion(lambda s, eta: s["p"], 0.1, jnp.zeros(1), **WITH_INIT),
        r"`step` must be a function that can be called as step\(state, eta\), state m\[1\], w\[1\], got KeyError: 'p'",
    ),
    "a name that is none in params": (
        lambda: fd.Recursion(lambda s, eta: s, 0.1, jnp.zeros(1), init=lambda w: {"w": w}, params=lambda s: s["x"]),
        r"`params` must be a function that can be called as params\(state\).*KeyError: 'x'",
    ),
    "an if with noise": (
        lambda: fd.solve(fd.RandomRecursion(drawn, 0.1, normals=1), [1.0], t=1.0),
        f"`step` {TRACED}",
    ),
    "an if with noise at construction": (
        lambda: fd.RandomRecursion(drawn, 0.1, jnp.zeros(1), samples=[[1.0], [-1.0]]),
        f"`step` {TRACED}",
    ),
    "another number of normals": (
        lambda: fd.solve(fd.RandomRecursion(pulled, 0.1, normals=3), [1.0, 1.0], t=1.0),
        r"called as step\(state, eta, x\), x 3 normals, state w\[2\], got TypeError: dot_general",
    ),
    "samples of text": (
        lambda: fd.RandomRecursion(pulled, 0.1, samples=["a", "b"]),
        r"`samples` must hold real numbers, got \['a' 'b'\]; number the samples",
    ),
    "text in samples": (lambda: fd.RandomRecursion(pulled, 0.1, samples={"a": ["b"]}), "`samples` must hold real"),
    "parameters for a state": (
        lambda: fd.RandomRecursion(rolling, 0.1, jnp.zeros(1), normals=1, **WITH_INIT).exact_moments([0.0], [5]),
        r"`w0` must be a flat state, m\[1\], w\[1\], got 1 numbers; method.lift\(w0\)",
    ),
    "parameters for a state of the equation": (
        lambda: fd.RandomRecursion(rolling, 0.1, jnp.zeros(1), normals=1, **WITH_INIT).limit(1).exact_moments([0], [1]),
        r"`w0` must be a flat state, m\[1\], w\[1\], got 1 numbers; method.lift\(w0\)",
    ),
    "optax: lookahead": (
        optimiser(lambda h: optax.lookahead(optax.sgd(h), 5, 0.5)),
        r"`factory` must return an optimiser that is updated by a gradient alone, of the problem's own parameters "
        r"\(w\[2\]\), .*AttributeError: .*fast",
    ),
    "optax: whole numbers of h": (
        optimiser(lambda h: optax.sgd(optax.cosine_decay_schedule(h, int(1 / h)))),
        f"`factory` {TRACED}.*; the factory is traced in h and the count of steps",
    ),
    "optax: an if on h": (optimiser(lambda h: optax.sgd(h if h < 0.1 else 0.1)), f"`factory` {TRACED}"),
    "optax: numpy": (optimiser(lambda h: optax.sgd(np.sqrt(h))), f"`factory` {TRACED}"),
    "optax: an if on the count": (
        optimiser(lambda h: optax.sgd(lambda n: h if n < 10 else h / 2)),
        f"`factory` {TRACED}",
    ),
    "optax: no such rate": (optimiser(lambda h: optax.sgd(h, friction=1.0)), r"called as factory\(h\).*TypeError: sgd"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_a_users_function_raises_is_told_in_words(name):
    assert_refused(*FOREIGN[name])


def descended(factory):
    return fd.Optax(P, factory, 0.02)


def signed(z, eta):
    return z - eta * (jnp.sign(z) + 0.1 * z)


def chosen(z, eta):
    return z - eta * jnp.where(z > 0, 1.0, -1.0)


def over_its_size(z, eta):
    return z - eta * z / jnp.abs(z)


def signs_with_decay(h):
    return optax.chain(optax.scale_by_sign(), optax.add_decayed_weights(0.1), optax.scale(-h))


def lion(h):
    return optax.lion(h, b1=1 - 2 * h, b2=1 - h)


def yogi(h):
    return optax.yogi(h, b1=1 - 4 * h, b2=1 - h)


SIGNS = {
    "a sign with decay": (
        lambda: fd.Recursion(signed, 0.02),
        [1.0],
        "Recursion: .* near t = 0.9. d\\(w\\)/dt goes from -1",
    ),
    "where": (
        lambda: fd.Recursion(chosen, 0.02),
        [1.0],
        "Recursion: .* near t = 0.98 d\\(w\\)/dt goes from -1 to 1 at",
    ),
    "over its size": (lambda: fd.Recursion(over_its_size, 0.02), [1.0], "Recursion: .* d\\(w\\)/dt goes from -1 to 1"),
    "optax: signs with decay": (lambda: descended(signs_with_decay), START, "Optax: .* d\\(w\\)/dt goes from"),
    "optax: lion": (lambda: descended(lion), START, "Optax: .* near t = 0.5.* d\\(w\\)/dt goes from"),
    "optax: yogi": (lambda: descended(yogi), START, "Optax: .* d\\(nu\\)/dt goes from"),
    "a clip around lion": (lambda: fd.Clipped(descended(lion), 1.0), START, "Clipped: .* d\\(w\\)/dt goes from"),
}


@pytest.mark.parametrize("name", SIGNS)
def test_a_sign_on_the_way_has_no_flow_of_higher_order(name):
    """They passed where their step was not the same everywhere, and their ladders ended without an order, or stuck."""
    make, start, words = SIGNS[name]
    flow = make().limit(1)
    state = np.asarray(flow.lift(flow.ravel(start)))
    assert_refused(lambda: flow.check_path(state, 1.5), f"`order` must be 0 for {words}")
    flow.check_path(state, 0.1)  # it does not come there
    if name not in SLIDES:
        make().limit(0).check_path(state, 1.5)


SLIDES = {"a sign with decay", "where", "over its size", "optax: signs with decay"}
SLIDING = (
    "`t` must end before the flow of .* slides along a jump of its step, .*, got {}, and d\\('w'\\)/dt turns between"
)


@pytest.mark.parametrize("name", ["where", "over its size"])
def test_a_flow_that_slides_is_refused_before_it_is_solved(name):
    """Steps shrank at t = 1, where z' = -sign(z) comes to 0, until `max_steps` of them were used up."""
    make, start, _ = SIGNS[name]
    flow = make().limit(0)
    assert_refused(lambda: fd.solve(flow, start, t=1.5), SLIDING.format("1.5") + r" -1 and 1 from about t = (0\.99|1)")
    assert abs(float(fd.solve(flow, start, t=0.9, saves=2).w[-1].item()) - 0.1) < 1e-8


def thresholded(w, eta):
    """Descent on two coupled parameters with a soft threshold: w_1 comes to 0 and stays."""
    x = w - eta * (jnp.array([[2.0, 0.5], [0.5, 1.0]]) @ w - jnp.array([2.0, 0.2]))
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5 * eta, 0.0)


def test_sliding_of_one_coordinate_and_of_signs_of_gradients():
    """Half a minute, and two, went by before."""
    kinks = fd.Recursion(thresholded, 0.02).limit(0)
    assert_refused(lambda: kinks.check_path(np.ones(2), 6.0), SLIDING.format("6"))
    kinks.check_path(np.ones(2), 0.3)
    signs = descended(optax.sign_sgd).limit(0)
    assert_refused(lambda: signs.check_path(np.array(START), 2.0), SLIDING.format("2") + ".*fd.SignDescent")


def test_every_driver_looks_at_the_way():
    method = fd.Recursion(chosen, 0.02)
    for call in (
        lambda: fd.eta_limit(fd.Recursion(signed, 0.02), [1.0], t=2.0, order=1),
        lambda: fd.fast_forward(fd.Recursion(signed, 0.02), [1.0], t=2.0),
        lambda: fd.solve(fd.Recursion(signed, 0.02).limit(1), [1.0], t=2.0),
    ):
        assert_refused(call, "`order` must be 0 for Recursion: its step jumps on the way")
    assert method.is_users


def clipped_by_norm(h):
    return optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(h))


def relu_fit(w):
    x = jnp.linspace(-1.0, 1.0, 9)
    hidden = jax.nn.relu(jnp.outer(x, w[:4]) + w[4:8])
    return 0.5 * jnp.mean((hidden @ w[8:] - jnp.sin(3 * x)) ** 2)


NET = np.random.default_rng(0).standard_normal(12)
RIGHT = {
    "clip by norm": (lambda: descended(clipped_by_norm), START),
    "a loss with kinks": (lambda: fd.Optax(fd.problems.CustomProblem(relu_fit, NET), clipped_by_norm, 0.05), NET),
    "a loss with kinks of one's own": (lambda: fd.Recursion(lambda w, h: w - h * jax.grad(relu_fit)(w), 0.05), NET),
    "safe division": (
        lambda: fd.Recursion(lambda z, h: z - h * jnp.where(jnp.abs(z) > 1e-9, z**3 / (jnp.abs(z) + 1e-30), 0.0), 0.02),
        [1.0],
    ),
    "a kink by where": (
        lambda: fd.Recursion(lambda z, h: z - h * jnp.where(jnp.abs(z) < 0.1, 10 * z, jnp.sign(z)), 0.02),
        [1.0],
    ),
    "an oscillation": (lambda: fd.Recursion(lambda z, h: z - 95 * h * jnp.where(z > 0, z, 0.9 * z), 0.02), [1.0]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_kinks_are_no_signs(name):
    make, start = RIGHT[name]
    flow = make().limit(1)
    state = np.asarray(flow.lift(flow.ravel(start)))
    assert may_jump(lambda z: flow.recursion.step_at(0.02, 1.0, z), state)  # so that its way is looked at
    flow.check_path(state, 20.0)


def follow(make, start, order):
    flow = make().limit(order)
    return lambda: flow.check_start(np.asarray(flow.lift(flow.ravel(start))))


def fixed(s, eta):
    return {"w": s["w"] - eta * s["m"], "m": 0.9 * s["m"] + s["w"]}


def fixed_beta():
    return fd.Recursion(fixed, 0.05, jnp.zeros(1), **WITH_INIT)


def root():
    return fd.Recursion(lambda z, eta: z - jnp.sqrt(eta) * z, 0.05)


IDENTITY = "`step` must tend to the identity as eta -> 0, got "
TO_ONE = r"; let its rates tend to 1 with eta, e\.g\. decay = 1 - c\*h$"
TOLD = {
    "a root": (root, [1.0], (0, 1), r"got 'w' that changes like eta\^0.5; give clock_power=0.5: training time is then"),
    "a root of an optimiser": (
        lambda: descended(lambda h: optax.rmsprop(h, decay=1 - jnp.sqrt(h), initial_scale=0.3)),
        START,
        (0, 1),
        r"got 'nu' that changes like eta\^0.5; write it in the time step h",
    ),
    "a fixed beta": (fixed_beta, [1.0], (0, 1, 2), f"{IDENTITY}'m' that still changes by 1 at eta = 0{TO_ONE}"),
    "a fixed beta at rest": (fixed_beta, [0.0], (1,), f"{IDENTITY}'m' that still forgets where it was at eta = 0"),
    "a fixed factor": (
        lambda: fd.Recursion(lambda z, eta: 0.9 * z, 0.05),
        [1.0],
        (0, 1),
        f"{IDENTITY}'w' that still changes by 0.1 at eta = 0; eta does not enter it: multiply by eta what it adds",
    ),
    "Polyak's steps": (
        lambda: fd.Recursion(lambda z, eta: z - (0.5 * z @ z) / (z @ z) * z, 0.05),
        [1.0],
        (0, 1),
        f"{IDENTITY}'w' that still changes by 0.5 at eta = 0; eta does not enter it: multiply by eta what it adds",
    ),
    "rounds of steps": (
        lambda: fd.Recursion(lambda z, eta, k: z - eta * jnp.where(k % 4 >= 3, 4.0, 0.0) * z, 0.05),
        [1.0],
        (0,),
        r"write eta\*k for k; hand in a round of steps \(k % n\) as one; for samples",
    ),
    "a logarithm": (
        lambda: fd.Recursion(lambda z, eta: z - eta * jnp.log(eta) * z, 0.05),
        [1.0],
        (0,),
        r"must have a slope as eta -> 0, got 'w' whose slope grows like log\(eta\)",
    ),
    "a momentum that a sign starts on": (
        lambda: descended(lion),
        START,
        (0,),
        "got 'w' with a slope of 0.9985 near 0 and -0.0015 at 0; .*start warm what a sign is taken of",
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_said_of_a_step_is_true_of_it(name):
    """Cubes of derivatives stood for changes, one number stood for two slopes, a hint led to another refusal."""
    make, start, orders, words = TOLD[name]
    for order in orders:
        assert_refused(follow(make, start, order), words)


@pytest.mark.parametrize("power", [2, 3])
def test_a_step_of_second_order_stands_still_in_the_limit(power):
    """z - eta^2 z was called not smooth; its limit is z' = 0, and its gap 1 - exp(-eta t) + ... of order 1."""
    slow = fd.Recursion(lambda z, eta: z - eta**power * z, 0.05)
    follow(lambda: slow, [1.0], 0)()
    assert float(slow.limit(0).drift(0.0, jnp.ones(1))[0]) == 0
    follow(lambda: slow.with_eta(1e-9), [1.0], 0)()
    if power == 2:
        ladder = fd.eta_limit(slow, [1.0], t=1.0, saves=2)
        assert np.allclose(ladder.sup_error, 1 - (1 - ladder.eta**2) ** np.rint(1 / ladder.eta), rtol=1e-12)
        assert abs(float(ladder.order) - 1) < 0.01


def test_a_root_has_its_limit_on_its_own_clock():
    method = fd.Recursion(lambda z, eta: z - jnp.sqrt(eta) * z, 0.05, clock_power=0.5)
    for order in (0, 1):
        follow(lambda: method, [1.0], order)()


def test_equations_name_the_piece_and_the_method_without_noise():
    noisy = fd.RandomRecursion(lambda s, eta, x: fixed(s, eta), 0.1, jnp.zeros(1), normals=1, **WITH_INIT)
    assert_refused(follow(lambda: noisy, [1.0], 1), f"{IDENTITY}'m' that still changes by 1 at eta = 0")
    assert_refused(follow(lambda: noisy, [1.0], 0), f"{IDENTITY}'m' that still changes by 1 at eta = 0{TO_ONE}")
    silent = fd.problems.Quadratic(1.0)
    assert_refused(
        lambda: fd.NoisyAdam(silent, 0.1, [4.0, 1.0], 0.1, t0=0.5, m0=0.0, v0=0.1),
        "`problem` must have given samples .*; without noise it is fd.Adam",
    )


def test_a_ladder_of_order_3_refuses_steps_that_are_not_affine_in_h():
    curved = fd.RandomRecursion(lambda z, h, x: z - h * (z - h * z - x), 0.1, samples=[[1.0], [-1.0]])
    assert_refused(
        lambda: fd.eta_limit(curved, [1.0], t=1.0, order=3, covariance="matched", observable=lambda w: w[0]),
        "`order` must be at most 2 where a step is not affine in its length h",
    )


def jolted(z, eta, x):
    return z - eta * z + jnp.sqrt(eta) * x


NOISE = {"normals": {"normals": 1}, "samples": {"samples": [[1.0], [-1.0]]}}
IN_PROPORTION = r"`step` must have noise in proportion to the time step as eta -> 0, got 'w' with one that "


@pytest.mark.parametrize("name", NOISE)
def test_noise_in_a_root_of_eta_is_refused_wherever_its_limit_is_asked_for(name):
    """Coefficients and moments were NaN without a word, and the means alone had a flow of order 1."""
    known = fd.RandomRecursion(jolted, 0.1, jnp.zeros(1), **NOISE[name])
    for order in (0, 1, 2):
        assert_refused(
            lambda p=order: known.limit(p), rf"{IN_PROPORTION}shrinks like eta\^0.5; write its equation as fd"
        )
    free = fd.RandomRecursion(jolted, 0.1, **NOISE[name])
    for call in (free.limit(1).drift, free.limit(2).diffusion):
        assert_refused(lambda call=call: call(0.0, [1.0]), "`step` must have derivatives in eta at 0")
    assert_refused(lambda: free.limit(1).exact_moments([1.0], [1.0]), IN_PROPORTION)
    assert_refused(lambda: fd.solve(free.limit(0), [1.0], t=1.0), IN_PROPORTION)


def largest(s, h, x):
    """A state that is the largest square so far: from 10 on it stays, and at any other place it jumps."""
    m = jnp.maximum(s["m"], (s["w"] - x) ** 2)
    return {"w": s["w"] - h * (s["w"] - x) / jnp.sqrt(m), "m": m}


def test_noise_is_looked_at_where_a_run_starts():
    """It was at cos(1), cos(2), where no run begins: refused with `w0_like`, accepted without."""
    more = {"init": lambda w: {"w": w, "m": 0 * w + 10.0}, "params": lambda s: s["w"]}
    method = fd.RandomRecursion(largest, 0.05, jnp.zeros(1), samples=[[-1.0], [1.2]], **more)
    equation = method.limit(1)
    equation.check_start(np.asarray(method.lift(jnp.ones(1))))
    assert np.allclose(equation.drift(0.0, method.lift(jnp.ones(1))), [0.0, -0.9 / np.sqrt(10)])  # m, w


def test_noise_that_stays_has_no_equation():
    """Its columns have the derivative 0 at eta = 0: the equation was one without noise."""
    white = fd.RandomRecursion(lambda z, eta, x: z - eta * z + x, 0.1, normals=1)
    for order in (0, 1):
        assert_refused(follow(lambda: white, [1.0], order), f"{IN_PROPORTION}does not shrink")
    for order, eta in ((0, 0.1), (1, 0.1), (0, 1e-9), (1, 1e-9)):
        follow(lambda e=eta: fd.RandomRecursion(lambda z, h, x: z - h * (z - x), e, **NOISE["samples"]), [1.0], order)()


def heavy_step(s, eta, x=0.0):
    """Momentum .9 in the form that stands still at its start alone, where it is 0."""
    m = 0.9 * s["m"] + eta * (s["w"] + x)
    return {"w": s["w"] - m, "m": m}


def optimistic(s, eta):
    """Keeps the parameters of before, which are those of now at the start alone."""
    return {"w": s["w"] - 2 * eta * jnp.sin(s["w"]) + eta * jnp.sin(s["before"]), "before": s["w"]}


def test_a_step_that_is_the_identity_at_its_start_alone_has_no_limit_of_order_0():
    heavy = fd.Recursion(heavy_step, 0.01, jnp.zeros(1), **WITH_INIT)
    words = "got 'w' that still changes at eta = 0 once the state has left this start"
    for call in (
        lambda: fd.solve(heavy.limit(0), [1.0], t=0.2),
        lambda: fd.fast_forward(heavy, [1.0], t=0.2, order=0),
        lambda: fd.eta_limit(heavy, [1.0], t=0.2, order=0),
    ):
        assert_refused(call, words)
    both = {"init": lambda w: {"w": w, "before": w}, "params": lambda s: s["w"]}
    memory = fd.Recursion(optimistic, 0.01, jnp.zeros(1), **both)
    assert_refused(lambda: fd.solve(memory.limit(0), [1.0], t=1.0), "got 'before' that still changes at eta = 0 once")


def test_noise_does_not_make_a_step_the_identity():
    heavy = fd.RandomRecursion(heavy_step, 0.01, jnp.zeros(1), normals=1, **WITH_INIT)
    words = "still changes at eta = 0 once the state has left this start"
    assert_refused(lambda: fd.solve(heavy.limit(0), [1.0], t=0.2), words)
    for order in (1, 2):
        for call in (
            lambda p=order: fd.solve(heavy.limit(p), [1.0], t=0.2, realizations=2, seed=0),
            lambda p=order: heavy.limit(p).exact_moments(np.array([0.0, 1.0]), np.array([0.2])),
            lambda p=order: fd.eta_limit(heavy, [1.0], t=0.2, order=p, observable={"w": lambda w: w[0]}),
        ):
            assert_refused(call, words)


def test_a_step_onto_a_sphere_is_the_identity_on_it():
    """Rayleigh's quotient: the flow goes to the eigenvector of the least eigenvalue along the sphere."""
    rates = jnp.array([1.0, 2.0, 3.0])

    def onto(w, eta):
        w = w - eta * rates * w
        return w / jnp.linalg.norm(w)

    run = fd.solve(fd.Recursion(onto, 0.02).limit(0), [0.6, 0.0, 0.8], t=[0.0, 1.0])
    free = np.array([0.6, 0.0, 0.8]) * np.exp(-np.asarray(rates))
    assert np.allclose(run.w[-1], free / np.linalg.norm(free), atol=1e-7)


COUNTED = {
    "alternating": lambda z, eta, k: z - eta * (1 + 0.5 * jnp.cos(jnp.pi * k)) * z,
    "in turn": lambda z, eta, k: z - eta * jnp.array([1.0, 3.0])[jnp.asarray(k % 2).astype(int)] * z,
}


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", COUNTED)
def test_a_step_that_counts_has_no_limit(name, order):
    limit = fd.Recursion(COUNTED[name], 0.05).limit(order)
    assert_refused(lambda: fd.solve(limit, [1.0], t=1.0), "'w' whose rate changes by 67 % from a step to the next")


def test_observables_see_the_parameters_and_not_the_state():
    rolling_on = fd.Recursion(lambda s, eta: rolling(s, eta, 0.0), 0.1, jnp.zeros(1), **WITH_INIT)
    call = lambda: fd.solve(rolling_on, [1.0], steps=2, observe={"speed": lambda s: s["m"]["a"]})  # noqa: E731
    assert_refused(call, r"`observe\['speed'\]` must be a function of the parameters, defined at the start, got ")
