"""What a cell of a sweep costs beside its run, in calls of Python functions: seconds differ from machine to machine."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import flowdyn as fd

TABLE = fd.problems.LinearRegression([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 2.0, 3.0])
PROBLEM = fd.problems.Quadratic(np.diag([1.0, 2.0, 3.0]))


def descent(eta, scale):
    return fd.GradientDescent(PROBLEM, eta), [scale, scale, 1.0], {"steps": 100, "saves": 11}


def calls(run):
    """Calls of functions written in Python."""
    counted = 0

    def count(frame, event, arg):
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)
    return counted


def test_a_cell_beside_others_takes_few_calls(tmp_path):
    """5500 calls a cell were 1.4 ms: 1e5 cells took more than two minutes."""

    def sweep(count, store):
        fd.sweep(
            descent, {"eta": np.linspace(0.01, 0.3, count), "scale": [1.0, 2.0]}, tmp_path / store, block=2 * count
        )

    sweep(32, "first")  # compiles
    few, many = calls(lambda: sweep(32, "few")), calls(lambda: sweep(64, "many"))
    assert (many - few) / 64 < 900


def noisy(eta, seed):
    return fd.SGD(TABLE, eta, 2), [1.0, 1.0], {"steps": 10, "saves": 3, "realizations": 2, "seed": seed}


def test_a_random_cell_takes_no_dataset_of_its_own():
    """4,900 calls a cell, two fifths of them for a Dataset that was taken apart at once."""

    def sweep(count):
        fd.sweep(noisy, {"eta": [0.1, 0.2], "seed": range(count)}, block=2 * count)

    sweep(16)  # compiles
    sweep(32)
    few, many = calls(lambda: sweep(16)), calls(lambda: sweep(32))
    assert (many - few) / 32 < 3500


def test_methods_of_a_module_are_pytrees_still():
    """As Equinox has them: a bound method can be handed to a compiled function, its numbers are leaves."""
    quadratic = fd.problems.Quadratic(2.0)
    method = quadratic.loss
    assert [float(leaf.item()) for leaf in jax.tree.leaves(method)] == [2.0]
    assert float(eqx.filter_jit(lambda f, w: f(w))(method, jnp.array([3.0]))) == 9.0
    assert eqx.tree_equal(method, quadratic.loss) and method.__self__ is quadratic
    assert method.__name__ == "loss" and method.__doc__ == fd.problems.Quadratic.loss.__doc__
    doubled = jax.tree.map(lambda leaf: 2 * leaf, method)
    assert float(doubled(jnp.array([3.0]))) == 18.0
