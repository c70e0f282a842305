"""Refused: recursions of a user's own, and optimisers, that cannot be traced, called or followed."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusal import assert_refused

import flowdyn as fd

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
        r"\(w\[2\]\), .*'fast'",
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
