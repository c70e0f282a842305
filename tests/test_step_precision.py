"""Steps that compute in fewer digits are refused by name; traces that no step reads are no state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusal import assert_refused

import flowdyn as fd
from flowdyn._tools.dependence import narrowed_to

P = fd.problems.CustomProblem(lambda w: 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4, np.array([1.5, 0.2]))


def single(w):
    return jnp.sum(jnp.sin(w.astype(jnp.float32)) ** 2)


SINGLE = {
    "the state": lambda: fd.Recursion(lambda w, eta: (w - eta * w).astype(jnp.float32), 0.02).limit(0),
    "a loss": lambda: fd.Recursion(lambda w, eta: w - eta * jax.grad(single)(w), 0.02).limit(1),
    "a compiled loss": lambda: fd.Recursion(lambda w, eta: w - eta * jax.jit(jax.grad(single))(w), 0.02).limit(2),
    "means": lambda: fd.RandomRecursion(lambda w, h, x: w - h * jax.grad(single)(w) * x, 0.02, normals=1).limit(0),
    "noise": lambda: fd.RandomRecursion(lambda w, h, x: w - h * jax.grad(single)(w) * x, 0.02, normals=1).limit(2),
    "an optimiser": lambda: fd.Optax(fd.problems.CustomProblem(single, np.ones(2)), optax.sgd, 0.02).limit(1),
}


@pytest.mark.parametrize("name", SINGLE)
def test_single_precision_is_named_at_once(name):
    """A toy of one parameter took a minute to end in "raise max_steps"."""
    flow = SINGLE[name]()
    words = (
        "`step` must compute in float64 for a limit, which is made of its slopes, got numbers that it rounds to float32"
    )
    assert_refused(lambda: flow.check_start(np.ones(2)), words)


def test_what_is_rounded_and_what_is_not():
    flat = jax.ShapeDtypeStruct((2,), jnp.float64)
    assert narrowed_to(lambda w: w.astype(jnp.bfloat16).sum(), flat) == "bfloat16"
    assert narrowed_to(lambda w: w * (w > 0).astype(jnp.float32), flat) is None  # 0 and 1 lose nothing
    assert narrowed_to(lambda w: w * jnp.pi.__float__() + jnp.float32(2.0), flat) is None
    assert narrowed_to(lambda w: jnp.sin(w), flat) is None


UNREAD = {
    "sgd": (lambda h: optax.sgd(h, momentum=0.0), optax.sgd),
    "nesterov": (lambda h: optax.sgd(h, momentum=0.0, nesterov=True), optax.sgd),
    "lars": (lambda h: optax.lars(h, momentum=0.0), None),
    "sign of a moment": (lambda h: optax.chain(optax.scale_by_adam(b1=0.0, b2=1 - h, eps=0.1), optax.scale(-h)), None),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_trace_of_decay_0_is_no_state(name):
    factory, same = UNREAD[name]
    method = fd.Optax(P, factory, 0.02)
    names = [v.name for v in method.layout(0)]
    assert "trace" not in names and "mu" not in names
    if same is not None:
        pair = [fd.Optax(P, f, 0.02).limit(1).drift(0.0, jnp.array([1.5, 0.2])) for f in (factory, same)]
        assert np.allclose(pair[0], pair[1], rtol=1e-14, atol=0)
