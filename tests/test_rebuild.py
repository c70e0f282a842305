"""Rebuilt from its file, a run gives the same bits; functions of the user's own are handed in again."""

import ast
import functools
import json
import linecache
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kinds import made, with_recipe
from rebuilding import again, assert_same_bits, holds_a_function

import flowdyn as fd
from flowdyn.results.user_functions import fingerprint
from flowdyn.running.options import RunOptions

TWO = ("GradientFlow", "GradientDescent")  # on every problem here; the other methods in the tests of nightly size


def systems():
    """Deterministic examples of methods on three more problems; their own are among the tests of the contract."""
    for name in sorted(fd.methods.REGISTRY):
        system, _ = getattr(fd, name).example()
        others = [value for key, value in system.config().items() if key != "problem"]
        has_its_size = any(np.ndim(value) for value in others if hasattr(value, "shape"))
        is_on_quadratic = isinstance(system.config().get("problem"), fd.problems.Quadratic)
        if is_on_quadratic and not system.is_random and not has_its_size and not holds_a_function(system):
            for other in ("DiagonalNetwork", "SquaredPopulation", "LinearClassifier"):
                problem, start = getattr(fd.problems, other).example()
                moved = type(system)(**system.config() | {"problem": problem})
                marks = () if name in TWO else pytest.mark.slow
                yield pytest.param(moved, start, id=f"{name} of {other}", marks=marks)


@pytest.mark.parametrize(("system", "w0"), list(systems()))
def test_rebuild_gives_the_same_bits(system, w0, tmp_path):
    ds = fd.solve(system, w0, t=0.5, saves=6)
    assert_same_bits(again(ds, tmp_path), ds)


@pytest.mark.parametrize("kind", ["labelled", "schedule", "restart", "batch", "momentum", "ensemble"])
def test_rebuild_of_kinds_that_carry_no_function(kind, tmp_path):
    assert_same_bits(again(made(kind), tmp_path), made(kind))


def square(w):
    """Plain loss with a source that can be found."""
    return jnp.sum(w["a"] ** 2) + w["b"] ** 4


def test_custom_functions_are_handed_in_again(tmp_path):
    p = fd.problems.CustomProblem(square, {"a": np.array([1.0, 2.0]), "b": 0.5})
    observe = {"norm": lambda w: jnp.sum(w["a"] ** 2)}
    ds = fd.solve(fd.GradientFlow(p), p.init(), t=np.inf, stop={"norm": ("<", 0.1)}, observe=observe)
    assert_same_bits(again(ds, tmp_path, loss=square, observe=observe), ds)
    with pytest.raises(fd.ArgumentError, match=r"`loss` must be handed in again.*square"):
        fd.rebuild(ds, observe=observe)
    with pytest.raises(fd.ArgumentError, match=r"`observe` must hand in the functions \['norm'\]"):
        fd.rebuild(ds, loss=square)
    with pytest.warns(fd.FlowdynWarning, match="differs in its source"):
        fd.rebuild(ds, loss=lambda w: jnp.sum(w["a"] ** 2), observe=observe)


FLOW = fd.GradientFlow(fd.problems.Quadratic(1.0))
SHIFT = 1.0


def power(k):
    """A closure, by the value in it."""
    return lambda w: w[0] ** k


def test_another_observed_function_of_the_same_name_is_said(recwarn):
    ds = fd.solve(FLOW, [1.0], t=1.0, observe={"g": power(2)})
    fd.rerun(ds, observe={"g": power(2)})
    assert not recwarn.list
    for other in (power(3), lambda w: w[0] ** 2 + 1):
        with pytest.warns(fd.FlowdynWarning, match=r"`observe\['g'\]` differs in its source, or in a value"):
            fd.rebuild(ds, observe={"g": other})


def test_another_test_function_of_a_ladder_is_said():
    sgd, etas = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), 0.1), [0.1, 0.05, 0.025, 0.0125]
    ladder = fd.eta_limit(sgd, [1.0], 1.0, etas=etas, observable={"g": power(1)})
    assert fd.rerun(ladder, observable={"g": power(1)}).error.equals(ladder.error)
    with pytest.warns(fd.FlowdynWarning, match=r"`observable\['g'\]` differs"):
        fd.rebuild(ladder, observable={"g": power(2)})


def test_what_a_print_holds():
    first, second = (lambda w: w[0] - SHIFT), (lambda w: w[1] - SHIFT)  # on one line
    laid_out = lambda w: w[0] - SHIFT  # noqa: E731
    assert fingerprint(first) == fingerprint(laid_out) == fingerprint(jax.jit(first)) != fingerprint(second)
    typed = eval("lambda w: w[0] + 1")  # without a source
    assert fingerprint(typed).startswith("code") and fingerprint(typed) != fingerprint(eval("lambda w: w[0] + 2"))
    assert fingerprint(jnp.sum) != fingerprint(jnp.max)
    assert fingerprint(functools.partial(power, 2)) != fingerprint(functools.partial(power, 3))


def test_a_source_is_parsed_once_and_again_where_it_changed(monkeypatch, tmp_path):
    parsed, real, path = [], ast.parse, tmp_path / "own.py"
    monkeypatch.setattr(ast, "parse", lambda *args: parsed.append(args) or real(*args))
    prints = []
    for body in ("w[0] + 1", "w[0] + 2"):
        path.write_text(f"def first(w):\n    return {body}\n\n\ndef second(w):\n    return w[1]\n")
        own = runpy.run_path(str(path))
        linecache.checkcache(str(path))
        prints += [fingerprint(own[name]) for name in ("first", "second", "first")]
    assert len(parsed) == 2
    assert prints[0] == prints[2] != prints[3] and prints[1] == prints[4] != prints[0]


def test_a_value_outside_that_changed_is_seen(monkeypatch):
    shifted = lambda w: w[0] - SHIFT  # noqa: E731
    before = fingerprint(shifted)
    monkeypatch.setattr(f"{__name__}.SHIFT", 2.0)
    assert fingerprint(shifted) != before


def test_a_run_without_prints_is_rebuilt():
    """As older files are."""
    ds = fd.solve(FLOW, [1.0], t=1.0, observe={"g": power(2)})
    record = RunOptions(t=1.0, observe={"g": power(2)}).encode()
    del record["observe_prints"]
    assert RunOptions.decode(record, ds, {"g": power(3)})["t"] == 1.0


def test_data_of_a_custom_problem_travel(tmp_path):
    def loss(w, data):
        return jnp.mean((data["x"] @ w - data["y"]) ** 2)

    data = {"x": np.arange(6.0).reshape(3, 2), "y": np.ones(3)}
    p = fd.problems.CustomProblem(loss, np.zeros(2), data=data)
    ds = fd.solve(fd.GradientDescent(p, 0.01), p.init(), steps=20)
    assert_same_bits(again(ds, tmp_path, loss=loss), ds)


def test_equal_runs_are_equal_but_for_times():
    p = fd.problems.CustomProblem.example()[0]
    a, b = (fd.solve(fd.GradientFlow(p), [1.2, 0.3], t=1.0) for _ in range(2))
    assert_same_bits(a, b)


def test_pytree_loss_of_the_theory_travels(tmp_path):
    def custom_loss(w):
        return 0.5 * (w["a"] ** 2 * w["b"] - 1) ** 2 + 0.1 * (w["a"] ** 4 + w["b"] ** 4)

    p = fd.problems.CustomProblem(custom_loss, {"a": 1.2, "b": 0.3})
    ds = fd.solve(fd.ModifiedFlow(p, 0.01, 3), {"a": 1.0, "b": 0.5}, t=1.0)
    assert ds.a.dims == ("t",)
    assert_same_bits(again(ds, tmp_path, loss=custom_loss), ds)


def test_a_description_that_asks_for_huge_arrays_is_refused_before_they_are_made():
    p = fd.problems.CustomProblem(square, {"a": np.array([1.0, 2.0]), "b": 0.5})
    ds = fd.solve(fd.GradientFlow(p), p.init(), t=0.1, saves=2)
    text = ds.recipe.item()
    huge = text.replace('{"zeros": [2]}', '{"zeros": [100000, 1000000]}')
    assert huge != text
    with pytest.raises(fd.FileError, match="asks for an array of shape"):
        fd.rebuild(with_recipe(ds, system=json.loads(huge)["system"]), loss=square)


def test_runs_joined_over_methods_keep_their_own_starts():
    problem, lam = fd.problems.Quadratic(np.diag([1.0, 0.3])), np.array([1.0, 0.3])
    descent = fd.solve(fd.GradientDescent(problem, 0.1), np.ones(2), steps=20, saves=5)
    heavy = fd.solve(fd.HeavyBall(problem, 0.1, 0.5), np.ones(2), steps=20, saves=5)
    both = fd.concat([descent, heavy], "method")  # which holds the start of a velocity too
    system, w0, options = fd.rebuild(both.isel(method=0))
    np.testing.assert_array_equal(w0, np.ones(2))
    last = fd.solve(system, w0, **options).isel(t=-1)
    np.testing.assert_allclose(last.w, (1 - 0.1 * lam) ** 20, rtol=1e-12)
    system, w0, options = fd.rebuild(both.isel(method=1))
    assert fd.solve(system, w0, **options).w.equals(heavy.w)


def test_runs_of_one_start_beside_runs_of_several_keep_the_order_of_their_axes():
    problem = fd.problems.Quadratic(np.diag([1.0, 0.3]))
    one = fd.solve(fd.GradientDescent(problem, 0.1), [1.0, 2.0], steps=4)
    starts = np.array([[1.0, 2.0], [3.0, 4.0]])
    both = fd.concat([one, fd.solve(fd.HeavyBall(problem, 0.1, 0.5), starts, steps=4)], "method")
    np.testing.assert_array_equal(fd.rebuild(both.isel(method=1))[1], starts)
    np.testing.assert_array_equal(fd.rebuild(both.isel(method=0))[1], [[1.0, 2.0], [1.0, 2.0]])


@pytest.mark.parametrize("turned", [False, True])
def test_a_recursion_and_its_flow_are_joined_in_either_order(turned):
    """w_k = (1 - eta)^k and w(t) = exp(-t); the flow has no step numbers."""
    problem = fd.problems.Quadratic(1.0)
    parts = [
        fd.solve(fd.GradientDescent(problem, 0.1), [1.0], steps=10),
        fd.solve(fd.GradientFlow(problem), [1.0], t=1.0),
    ]
    both = fd.concat(parts[::-1] if turned else parts, "method")
    descent, flow = (both.isel(method=i).w.sel(t=1.0).item() for i in ((1, 0) if turned else (0, 1)))
    assert descent == pytest.approx(0.9**10, rel=1e-12) and flow == pytest.approx(np.exp(-1.0), rel=1e-12)
