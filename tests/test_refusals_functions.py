"""Refused: right-hand sides whose values have the wrong shape or kind."""

import jax.numpy as jnp
import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd

CASES = {
    "f of one number": (
        lambda: fd.solve(fd.ODE(lambda t, y: jnp.sum(y)), [1.0, 2.0], 1.0),
        r"`f` must return the shape \(2,\) of y",
    ),
    "f of three numbers": (
        lambda: fd.solve(fd.ODE(lambda t, y: np.zeros(3)), [1.0, 2.0], 1.0),
        r"`f` must return the shape \(2,\) of y",
    ),
    "f complex": (lambda: fd.solve(fd.ODE(lambda t, y: 1j * y), [1.0], t=1.0), "`f` must return real numbers"),
    "f of numpy": (
        lambda: fd.solve(fd.ODE(lambda t, y: -(np.asarray(y) ** 3)), [1.0], t=1.0, solver=fd.solvers.Diffrax()),
        r"jax\.numpy",
    ),
    "g flat": (lambda: fd.solve(fd.SDE(lambda t, x: -x, lambda t, x: x), [1.0], t=1.0), "one column a Brownian motion"),
    "f of noise of another shape": (
        lambda: fd.solve(fd.SDE(lambda t, x: -x[:1], lambda t, x: x, noise="diagonal"), [1.0, 2.0], t=1.0),
        "`f`",
    ),
    "g that is not additive": (
        lambda: fd.solve(fd.SDE(lambda t, x: -x, lambda t, x: x[:, None], noise="additive"), [1.0], t=1.0),
        "must not depend on x",
    ),
    "g that is not diagonal": (
        lambda: fd.solve(fd.SDE(lambda t, x: -x, lambda t, x: x[::-1], noise="diagonal"), [1.0, 2.0], t=1.0),
        "must depend in entry i on x_i alone",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name):
    assert_refused(*CASES[name])
