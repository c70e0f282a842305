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
    make().limit(0).check_path(state, 1.5)


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
