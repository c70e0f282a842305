"""Calls by arguments that there are not: each function and class answers in one line, and keeps its signature."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import flowdyn as fd
from flowdyn._tools.calls import told

MODULES = (fd, fd.problems, fd.methods, fd.solvers, fd.schedules, fd.observables, fd.comparison, fd.theory)
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in dir(module)
    if not (inspect.isclass(getattr(module, name)) and issubclass(getattr(module, name), tuple))  # these are results
    if name[0] != "_" and callable(getattr(module, name)) and getattr(module, name).__module__ != "flowdyn._check"
}


def _is_open(called):
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(called).parameters.values())


@pytest.mark.parametrize("name", [name for name in PUBLIC if not inspect.isabstract(PUBLIC[name])])
def test_an_argument_that_there_is_not_is_told_in_one_line(name):
    called = PUBLIC[name]
    known = list(inspect.signature(called).parameters)
    if _is_open(called):
        pytest.skip("it takes any name")
    with pytest.raises(fd.ArgumentError, match="no_such_thing") as refused:
        called(no_such_thing=1)
    text = str(refused.value)
    assert "\n" not in text and called.__name__ in text and all(argument in text for argument in known[:2])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: fd.eta_limit(1, [1.0], t=1.0, ordr=2), "got 'ordr'; did you mean 'order'"),
        (lambda: fd.fast_forward(1, [1.0], t=1.0, rtol=1e-3), "write solver=fd.solvers.Auto(rtol=...)"),
        (lambda: fd.plot(1, style="x"), "`argument of plot` must be one of"),
        (lambda: fd.save(1), "got a call with missing a required argument: 'path'"),
        (lambda: fd.rebuild(), "got a call with missing a required argument: 'ds'"),
        (lambda: fd.rerun(overwrite=1), "`rerun` must be called as rerun(ds, ...)"),
        (lambda: fd.load("a", 1, 2), "`load` must be called as load(path, ...), got a call with too many positional"),
        (lambda: fd.GradientDescent(fd.problems.Quadratic(1.0), etaa=0.1), "did you mean 'eta'"),
        (lambda: fd.solvers.Auto(rtoll=1e-3), "did you mean 'rtol'"),
        (lambda: fd.problems.LinearRegression(np.eye(2)), "missing a required argument: 'y'"),
    ],
)
def test_the_name_that_is_meant_is_named(call, text):
    with pytest.raises(fd.ArgumentError) as refused:
        call()
    assert text in str(refused.value)


def test_what_a_function_itself_raises_is_passed_on():
    @told
    def function(a, *, option=1):
        raise TypeError("of my own")

    with pytest.raises(TypeError, match="of my own"):
        function(1, option=2)


@pytest.mark.parametrize("name", ["solve", "eta_limit", "sweep", "plot", "report", "save", "load"])
def test_signatures_stay_explicit(name):
    function = getattr(fd, name)
    tree = ast.parse(Path(inspect.getsourcefile(inspect.unwrap(function))).read_text())
    (written,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    names = [a.arg for a in (*written.args.posonlyargs, *written.args.args, *written.args.kwonlyargs)]
    assert list(inspect.signature(function).parameters) == names and function.__module__.startswith("flowdyn.")
