"""Methods of systems and problems, bound without Equinox's own classes: pytrees that are called, compiled and sent."""

import inspect
import pickle

import jax
import numpy as np
import pytest

import flowdyn as fd

FLOW = fd.GradientFlow(fd.problems.Quadratic(np.diag([2.0, 0.5])))
W = np.array([1.0, -3.0])


def test_a_method_is_a_pytree_of_its_module_with_its_names():
    drift = FLOW.drift
    assert jax.tree.leaves(drift) and len(jax.tree.leaves(drift)) == len(jax.tree.leaves(FLOW))
    assert (drift.__name__, drift.__qualname__) == ("drift", "GradientFlow.drift")
    assert drift.__doc__ == type(FLOW).drift.__doc__ and drift.__self__ is FLOW
    assert list(inspect.signature(drift).parameters) == ["t", "state"]
    assert drift == FLOW.drift and hash(drift) == hash(FLOW.drift) and drift != FLOW.ravel
    assert "bound method GradientFlow.drift of GradientFlow" in repr(drift)


@pytest.mark.parametrize("way", ["jit", "jit of its argument", "vmap", "pickle", "doubled"])
def test_a_method_does_what_its_function_does(way):
    """Of L = sum a w^2 / 2 the force is -a w."""
    expected = -np.array([2.0, 0.5]) * W
    calls = {
        "jit": lambda: jax.jit(FLOW.drift)(0.0, W),
        "jit of its argument": lambda: jax.jit(lambda method: method(0.0, W))(FLOW.drift),
        "vmap": lambda: jax.vmap(FLOW.drift, (None, 0))(0.0, W[None])[0],
        "pickle": lambda: pickle.loads(pickle.dumps(FLOW.drift))(0.0, W),
        "doubled": lambda: jax.tree.map(lambda leaf: 2 * leaf, FLOW.drift)(0.0, W) / 2,
    }
    np.testing.assert_allclose(calls[way](), expected, rtol=1e-15)


def test_its_own_classes_of_equinox_are_not_leant_on():
    kinds = {type(FLOW.drift), type(FLOW.problem.loss)}
    assert {kind.__module__ for kind in kinds} == {"flowdyn._tools.plain_help"}
