"""From a result back to a user's own things: a network out of a file, states by their names, what is asked for."""

import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from refusal import assert_refused

import flowdyn as fd

X = np.random.default_rng(0).standard_normal((10, 2))
Y = np.tanh(X[:, 0])
NETWORK = eqx.nn.MLP(2, "scalar", 4, 1, key=jax.random.key(0))
OTHER = eqx.nn.MLP(2, "scalar", 5, 1, key=jax.random.key(0))


def predict(network, data):
    """Predictions of a network at all samples."""
    return jax.vmap(network)(data)


def mean_loss(network, data):
    """Half the mean of the squares."""
    return 0.5 * jnp.mean((predict(network, data) - Y) ** 2)


def trained_by_hand(network, eta, steps):
    """Gradient descent as a user of Equinox writes it."""
    network = jax.tree.map(lambda leaf: leaf.astype(float) if eqx.is_inexact_array(leaf) else leaf, network)
    for _ in range(steps):
        gradient = eqx.filter_grad(mean_loss)(network, jnp.asarray(X))
        network = eqx.apply_updates(network, jax.tree.map(lambda g: -eta * g, gradient))
    return network


@pytest.fixture(scope="module")
def problem():
    return fd.problems.CustomRegression(predict, Y, NETWORK, data=X)


@pytest.fixture(scope="module")
def run(problem):
    return fd.solve(fd.GradientDescent(problem, 0.1), problem.init(), steps=5)


@pytest.fixture(scope="module")
def path(run, tmp_path_factory):
    return fd.save(run, tmp_path_factory.mktemp("network") / "run.nc")


def test_from_a_file_to_predictions_in_three_lines(path):
    run = fd.load(path)
    network = run.isel(t=-1).flowdyn.unravel(NETWORK)
    predictions = jax.vmap(network)(X)
    assert isinstance(network, eqx.nn.MLP) and network.activation is NETWORK.activation
    assert np.allclose(predictions, predict(trained_by_hand(NETWORK, 0.1, 5), X), rtol=1e-12)


def test_a_problem_gives_its_pytree_from_a_dataset_and_a_vector(problem, run, path):
    fresh, loaded = (problem.unravel(ds.isel(t=-1)) for ds in (run, fd.load(path)))
    assert eqx.tree_equal(fresh, loaded)
    assert np.array_equal(problem.ravel(run.isel(t=-1)), problem.ravel(fresh))
    assert eqx.tree_equal(problem.unravel(problem.ravel(fresh)), fresh)


def test_a_member_and_a_start_are_models_too():
    p = fd.problems.Quadratic(np.diag([1.0, 2.0]), noise=np.eye(2))
    members = fd.solve(fd.SGD(p, 0.1), [1.0, -1.0], steps=4, realizations=3)
    assert np.array_equal(p.unravel(members.isel(t=2, realization=1)), members.w.values[1, 2])
    assert np.array_equal(p.ravel(members.isel(t=2, realization=1)), members.w.values[1, 2])
    weights = {"inner": {"kernel": np.ones((2, 3))}, "bias": 0.5}  # as Flax lays its parameters out
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w["inner"]["kernel"] ** 2) + w["bias"] ** 2, weights)
    starts = fd.solve(fd.GradientFlow(p), np.stack([p.init(), 2 * p.init()]), t=0.5, saves=3)
    found = p.unravel(starts.isel(t=-1, start=1).transpose(..., "inner_kernel_dim_1", "inner_kernel_dim_0"))
    assert jax.tree.structure(found) == jax.tree.structure(weights)
    assert np.allclose(found["inner"]["kernel"], 2 * np.exp(-1.0) * np.ones((2, 3)), rtol=1e-6)


def test_matrices_of_a_layered_problem_by_their_names():
    p, w0 = fd.problems.DeepLinear.example()
    run = fd.solve(fd.GradientFlow(p), w0, t=0.5, saves=3)
    assert np.array_equal(p.unravel(run.isel(t=-1))["W1"], run.W1[-1])


def regression(labels):
    """Two features with labels."""
    return fd.problems.LinearRegression(xr.DataArray(np.eye(2), [("sample", [0, 1]), ("feature", labels)]), np.ones(2))


LABELLED, TURNED = regression(["a", "b"]), regression(["b", "a"])
SHORT = {"t": 1.0, "saves": 3}


def labelled():
    return fd.solve(fd.GradientFlow(LABELLED), LABELLED.init(), **SHORT)


REFUSED = {
    "all times": (
        lambda: LABELLED.unravel(labelled()),
        r"`w` must hold one value of 'w'.*select one, e.g. run.isel\(t=-1\)",
    ),
    "all starts": (
        lambda: LABELLED.unravel(fd.solve(fd.GradientFlow(LABELLED), np.eye(2), **SHORT)),
        r"select one, e.g. run.isel\(start=0, t=-1\)",
    ),
    "labels in another order": (
        lambda: TURNED.unravel(labelled().isel(t=-1)),
        "must carry the labels of the problem's features",
    ),
    "a feature cut out": (lambda: LABELLED.unravel(labelled().isel(t=-1, feature=[0])), "`w.w` must"),
    "one feature": (
        lambda: LABELLED.unravel(labelled().isel(t=-1, feature=0)),
        r"must hold 'w' over \['feature'\], got the dimensions \[\]",
    ),
    "no parameters": (lambda: LABELLED.ravel(labelled()[["loss"]].isel(t=-1)), r"`w0` must hold the parameters w\[2\]"),
    "ends alone": (
        lambda: LABELLED.unravel(fd.solve(fd.GradientFlow(LABELLED), LABELLED.init(), observe_only=True, **SHORT)),
        r"it kept its ends alone: ds.rename\(w_last='w', ...\)",
    ),
    "a vector of another length": (
        lambda: LABELLED.unravel(np.zeros(3)),
        r"`w` must have shape \(2,\), the parameters w\[2\], got shape \(3,\)",
    ),
    "a matrix": (lambda: LABELLED.unravel(np.zeros((3, 2))), r"select one, e.g. w\[-1\]"),
    "another network": (
        lambda: fd.problems.CustomRegression(predict, Y, OTHER, data=X).unravel(np.zeros(17)),
        r"`w` must have shape \(21,\)",
    ),
    "nothing like it": (lambda: labelled().flowdyn.unravel(None), "`like` must be a problem or a pytree"),
    "order of a run": (lambda: labelled().flowdyn.order, "a run has no order"),
    "w0_like is a dataset": (
        lambda: fd.problems.CustomProblem(mean_loss, labelled()),
        r"`w0_like` must be an example of the parameters, got a Dataset",
    ),
    "w0_like without a key": (
        lambda: fd.problems.CustomProblem(lambda w: w["b"] ** 2, {"a": 1.0}),
        r"`w0_like` \(a\[\]\) must be parameters that loss\(w\) can be called with, got KeyError: 'b'",
    ),
    "w0_like of another shape": (
        lambda: fd.problems.CustomRegression(lambda w, x: x @ w, Y, np.ones(3), data=X),
        r"`w0_like` \(w\[3\]\) must be parameters that predict\(w, data\) can be called with, got TypeError",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_words(name):
    assert_refused(*REFUSED[name])


def test_what_raised_in_a_loss_is_kept():
    with pytest.raises(fd.ArgumentError) as caught:
        fd.problems.CustomProblem(lambda w: w["b"] ** 2, {"a": 1.0})
    assert isinstance(caught.value.__cause__, KeyError)


def test_rebuild_asks_for_all_that_is_missing_at_once(run):
    with pytest.raises(fd.ArgumentError, match=r"`predict` and `w0_like` must be handed in again") as caught:
        fd.rebuild(run)
    assert str(caught.value).endswith("only names them (predict, MLP); call rebuild(ds, predict=..., w0_like=...)")
    with pytest.raises(fd.ArgumentError, match=r"names it \(MLP\); call rebuild\(ds, w0_like=\.\.\.\)$"):
        fd.rebuild(run, predict=predict)
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w**2), np.ones(2))
    observed = fd.solve(fd.GradientFlow(p), p.init(), observe={"g": jnp.sum}, **SHORT)
    with pytest.raises(fd.ArgumentError, match=r"call rebuild\(ds, loss=\.\.\., observe=\{'g': \.\.\.\}\)$"):
        fd.rebuild(observed)


@pytest.mark.parametrize("like", [OTHER, {"a": 1.0}, "no parameters"])
def test_another_network_is_refused_by_its_parameters(run, like):
    rule = r"`w0_like` must have the parameters of the result, layers_0_weight\[4, 2\], layers_0_bias\[4\], "
    if isinstance(like, str):
        with pytest.raises(fd.ArgumentError, match="`w0_like` must hold at least one real number"):
            fd.rebuild(run, predict=predict, w0_like=like)
        return
    assert_refused(lambda: fd.rebuild(run, predict=predict, w0_like=like), rule)


def test_the_accessor_is_the_functions_of_the_package(path, run):
    back = fd.load(path)
    system, w0, options = back.flowdyn.rebuild(predict=predict, w0_like=NETWORK)
    assert fd.solve(system, w0, **options).layers_0_bias.equals(run.layers_0_bias)
    assert back.flowdyn.recipe["system"]["class"] == "GradientDescent"
    assert back.flowdyn.plot().axes[0].get_ylabel() == "loss L(w)"
    quadratic = fd.problems.Quadratic(1.0, noise=1.0)
    ladder = fd.eta_limit(fd.GradientDescent(quadratic, 0.1), [1.0], t=1.0)
    order = ladder.flowdyn.order
    assert order.fitted == ladder.order and order.expected == 1 and order.interval[0] <= 1 <= order.interval[1]
    weak = fd.eta_limit(
        fd.SGD(quadratic, 0.1), [1.0], t=1.0, observable={"w": lambda w: w[0], "square": lambda w: w[0] ** 2}
    )
    assert weak.flowdyn.order.fitted.shape == (2,) and weak.flowdyn.order.interval.shape == (2, 2)


def test_the_first_name_that_loads_xarray_brings_the_accessor():
    code = (
        "import sys, flowdyn as fd\n"
        "fd.GradientFlow; before = 'flowdyn.accessor' in sys.modules, 'xarray' in sys.modules\n"
        "fd.load; import xarray as xr\n"
        "print(before, hasattr(xr.Dataset, 'flowdyn'), 'matplotlib' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert out.strip() == "(False, False) True False"


def test_the_how_to_for_flax_works_as_it_stands(tmp_path):
    """Both kinds of its modules: a file, and three lines later the predictions of the user's own network."""
    pytest.importorskip("flax", reason="Flax is no part of the test extra: it is 100 MB")
    page = (Path(__file__).parents[1] / "docs/howto/network.md").read_text()
    (block,) = re.findall("```py\n(.*?)```", page, re.DOTALL)
    x = np.linspace(-1, 1, 16)[:, None]
    names = {"jax": jax, "jnp": jnp, "fd": fd, "x": x, "y": np.sin(3 * x[:, 0])}
    exec(block, names)
    for run, like, predict in (
        (names["run"], names["params"], names["predict"]),
        (names["nnx_run"], names["net"], lambda net, x: net(x)[:, 0]),
    ):
        path = fd.save(run, tmp_path / f"{type(like).__name__}.nc")
        trained = fd.load(path).isel(t=-1).flowdyn.unravel(like)
        assert type(trained) is type(like) and jax.tree.structure(trained) == jax.tree.structure(like)
        half_mean_square = 0.5 * np.mean((np.asarray(predict(trained, x)) - names["y"]) ** 2)
        assert half_mean_square == pytest.approx(float(run.loss[-1]), rel=1e-5)
        assert float(run.loss[-1]) < 0.1 * float(run.loss[0])
