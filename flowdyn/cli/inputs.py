"""What the shell's options mean: a problem with its start, a method, a solver, observables and rules to stop by."""

import argparse
import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from flowdyn import _check
from flowdyn.cli.printing import METHOD_OPTIONS


def problem_of(options: argparse.Namespace) -> tuple[Any, Any]:
    """The problem and its start."""
    from flowdyn import problems
    from flowdyn.problems.examples import sparse_table

    of_table = ("problem", "target", "standardize", "center", "intercept", "index")
    if options.data is None:
        for name in of_table:
            if getattr(options, name) not in (None, False):
                raise _check.fail(f"--{name}", "needs DATA", getattr(options, name), "give a .csv or .nc file first")
        problem: Any = problems.DiagonalNetwork(*sparse_table(_check.seed(options.seed, "--seed")))
    else:
        cls = _problem_class("LinearRegression" if options.problem is None else options.problem)
        problem = cls.from_file(options.data, **{name: getattr(options, name) for name in of_table[1:]})
    if "alpha" in inspect.signature(problem.init).parameters:
        return problem, problem.init(0.1 if options.alpha is None else options.alpha)
    if options.alpha is not None:
        raise _check.fail("alpha", f"is not an option of {type(problem).__name__}, which starts at 0", options.alpha)
    return problem, problem.init()


def _problem_class(name: str) -> Any:
    from flowdyn import problems
    from flowdyn.problems.regression import TableProblem

    exact = {_folded(known): known for known in problems.REGISTRY}.get(_folded(name), name)
    if exact in problems.REGISTRY and issubclass(cls := getattr(problems, exact), TableProblem):
        return cls
    known = list(table_problems())
    if exact in problems.REGISTRY:
        raise _check.fail("--problem", f"must be one that a table of X and y defines, one of {known}", name)
    return _check.choice("--problem", name, known)


def table_problems() -> dict[str, Any]:
    """The problems that a table of X and y defines."""
    from flowdyn import problems
    from flowdyn.problems.regression import TableProblem

    found = {name: getattr(problems, name) for name in problems.REGISTRY}
    return {name: cls for name, cls in found.items() if issubclass(cls, TableProblem)}


def runnable_methods(command: str) -> dict[str, Any]:
    """The methods that a command can run on a table's problem."""
    from flowdyn import methods

    found = {name: getattr(methods, name) for name in methods.REGISTRY}
    return {name: cls for name, cls in found.items() if _is_run(cls, command)}


def _is_run(cls: Any, command: str) -> bool:
    """Whether it is of the command's kind, on a problem of a table, without functions that must be handed in."""
    from flowdyn.methods.base import RecursionSystem
    from flowdyn.problems.base import Problem

    names = inspect.signature(cls).parameters
    if next(iter(names), None) != "problem" or (command == "eta-limit" and not issubclass(cls, RecursionSystem)):
        return False
    kinds = get_args(names["problem"].annotation) or (names["problem"].annotation,)
    tables = () if Problem in kinds else table_problems().values()
    takes_table = Problem in kinds or any(issubclass(problem, kind) for problem in tables for kind in kinds)
    return takes_table and not any(a.annotation is Callable for a in names.values() if a.default is a.empty)


def method_class(options: argparse.Namespace) -> Any:
    """The class that --method names, in any case and with hyphens or without."""
    from flowdyn import methods

    name = {_folded(known): known for known in methods.REGISTRY}.get(_folded(options.method), str(options.method))
    if name not in methods.REGISTRY:
        _check.choice("--method", name, runnable_methods(options.command))
    cls = getattr(methods, name)
    if _is_run(cls, options.command):
        return cls
    names = list(runnable_methods(options.command))
    if _is_run(cls, "solve"):
        raise _check.fail("--method", f"must be a recursion, one of {names}", name)
    raise _check.fail("--method", f"must be one of {names}", name, "use it from Python")


def _folded(name: Any) -> str:
    return str(name).lower().replace("_", "").replace("-", "")


def method_of(options: argparse.Namespace, cls: Any, problem: Any, **given: Any) -> Any:
    """The method of class `cls` with the options that it takes; others are refused, unless what is `given` counts."""
    signature = inspect.signature(cls).parameters
    arguments = {argument: value for argument, value in given.items() if argument in signature and value is not None}
    for option, argument in METHOD_OPTIONS.items():
        value = getattr(options, option, None)
        if argument not in given and value is not None:
            if argument not in signature:
                raise _check.fail(option, f"is not an option of {cls.__name__}", value)
            arguments[argument] = value
    options.settable = [name for name in signature if name not in ("problem", "w0", *METHOD_OPTIONS.values())]
    arguments |= _set_arguments(options.set, options.settable, cls.__name__)
    flags = {argument: "--" + option.replace("_", "-") for option, argument in METHOD_OPTIONS.items()}
    for name, parameter in signature.items():
        if parameter.default is parameter.empty and name != "problem" and name not in arguments:
            raise _check.ArgumentError(f"`{flags.get(name, f'--set {name}=...')}` must be given for {cls.__name__}")
    return cls(problem, **arguments)


def _set_arguments(texts: list[str] | None, names: list[str], method: str) -> dict[str, Any]:
    """The arguments of --set: `rho=0.1`, `rates=1,2`, `normalized=false`, `potential=entropy`."""
    found = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign:
            raise _check.fail("--set", "must be NAME=VALUE", text, f"names of {method} are {names}")
        if not names:
            raise _check.fail("--set", f"is not an option of {method}, which takes no other arguments", text)
        found[_check.choice("--set", name.strip(), names, f"it is not an argument of {method}")] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    """Truth, number, numbers or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text[:1] in ("(", "["):
        raise _check.fail("--set", "must hold numbers without brackets, e.g. rates=1,2", text)
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return text
    return numbers if "," in text else numbers[0]


def solvers_by_name() -> dict[str, Any]:
    """Solvers by the names of their classes, and by those of their methods: `Scipy` and `LSODA`."""
    from flowdyn import solvers

    classes = [getattr(solvers, name) for name in solvers.REGISTRY]
    variants = [variant for cls in classes for variant in cls.variants()]
    named = {name: variant for variant in variants if (name := getattr(variant, "method", None))}
    return named | {cls.__name__: cls() for cls in classes}


def solver_of(options: argparse.Namespace, system: Any, w0: Any, pick: Callable[[Any], Any]) -> Any:
    """The solver that --solver and --rtol ask for; None where neither does. `pick` chooses where --rtol is alone."""
    if options.solver is None and options.rtol is None:
        return None
    state0 = system.lift(system.ravel(w0))
    solver = pick(state0) if options.solver is None else _solver(options.solver, system, state0)
    if options.rtol is None:
        return solver
    if "rtol" not in solver.config():
        rule = f"is for solvers with a tolerance, and {type(solver).__name__} has none"
        raise _check.fail("--rtol", rule, options.rtol, "leave it out")
    return dataclasses.replace(solver, rtol=options.rtol)


def _solver(asked: str, system: Any, state0: Any) -> Any:
    known = solvers_by_name()
    name = {_folded(name): name for name in known}.get(_folded(asked), asked)
    if name not in known:
        able = [name for name, solver in known.items() if solver.refuses(system, state0) is None]
        _check.choice("--solver", name, able)
    return known[name]


def observables_of(names: list[str] | None, problem: Any, w0: Any, eta: Any = None) -> dict[str, Any] | None:
    """What --observe asks for, by the names of :mod:`flowdyn.observables`."""
    from flowdyn import observables

    found: dict[str, Any] = {}
    for name in names or ():
        makers = {_folded(known): known for known in observables.REGISTRY if known != "Observable"}
        exact = makers.get(_folded(name), name)
        if exact not in makers.values():
            _check.choice("--observe", name, fitting_observables(problem, w0, eta))
        found |= _made(exact, problem, w0, eta)
    return found or None


def fitting_observables(problem: Any, w0: Any, eta: Any = None) -> dict[str, dict[str, Any]]:
    """The observables that a problem has, by the names of their makers."""
    from flowdyn import observables

    found = {}
    for name in observables.REGISTRY:
        try:
            if name != "Observable":
                found[name] = _made(name, problem, w0, eta)
        except _check.ArgumentError:
            continue
    return found


def _made(name: str, problem: Any, w0: Any, eta: Any) -> dict[str, Any]:
    from flowdyn import observables

    maker = getattr(observables, name)
    takes = inspect.signature(maker).parameters
    more = {key: value for key, value in (("w0", w0), ("eta", eta)) if key in takes and value is not None}
    return maker(problem, **more)


def stop_rules(texts: list[str] | None) -> Mapping[str, tuple[str, float]] | None:
    """The rules of --stop: `loss<1e-12`."""
    rules = {}
    for text in texts or ():
        found = re.fullmatch(r"\s*(\w+)\s*([<>])\s*(\S+)\s*", text)
        try:
            rules[found[1]] = (found[2], float(found[3]))  # type: ignore[index]
        except (TypeError, ValueError):
            raise _check.fail("--stop", 'must be NAME<VALUE or NAME>VALUE, e.g. "loss<1e-6"', text) from None
    return rules or None
