"""Keyword arguments that `solve` does not have, told in words: most of them are options of a solver."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from flowdyn import _check, solvers

P = ParamSpec("P")
R = TypeVar("R")


def told(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which refuses keyword arguments that it does not have by their names."""
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> R:
        for name in options:
            if name not in known:
                _refuse(name, known[2:])
        return function(*args, **options)

    return checked


def _refuse(name: str, known: Iterable[str]) -> None:
    """Say that an argument of no such name is an option of a solver, or which name is meant."""
    having = [solver for solver in solvers.REGISTRY if name in _options(solver)]
    if having:
        rule = f"is an option of a solver ({', '.join(having)}) and none of solve"
        raise _check.ArgumentError(f"`{name}` {rule}; write solver=fd.solvers.{having[0]}({name}=...)")
    _check.choice("options", name, known)


def _options(solver: str) -> set[str]:
    cls = getattr(solvers, solver)
    return {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
