"""Calls by arguments that there are not, told in words:  f(a, b, *, option)  refuses  f(a, b, opton=1).

Signatures stay as they are, for editors and type checkers; what a call that succeeds costs is a frame.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from flowdyn import _check

P = ParamSpec("P")
R = TypeVar("R")
Hint = Callable[[str, str], str | None]  # (argument, function) -> a refusal of its own


def told(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which refuses arguments that it does not have, and asks for those that are missing."""
    return told_with(lambda argument, name: None)(function)


def told_with(hint: Hint) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The same with a way out for arguments that belong elsewhere."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            try:
                return function(*args, **options)
            except TypeError as error:
                refuse_call(error, checked, args, options, hint)
                raise

        return checked

    return decorate


def refuse_call(
    error: TypeError, called: Callable, args: tuple, options: Mapping[str, Any], hint: Hint | None = None
) -> None:
    """Raise the refusal of a call that does not fit what was called; nothing if the error is of another kind."""
    name, parameters = called.__name__, inspect.signature(called).parameters.values()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    for option in options:
        if option not in known and not takes_any:
            own = hint(option, name) if hint else None
            if own:
                raise _check.ArgumentError(own) from None
            _refuse(option, name, known)
    try:
        inspect.signature(called).bind(*args, **options)
    except TypeError as misfit:
        named = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p.kind is not p.VAR_POSITIONAL]
        form = ", ".join(p.name for p in named if p.default is p.empty)
        raise _check.ArgumentError(
            f"`{name}` must be called as {name}({form}, ...), got a call with {misfit}"
        ) from None


def _refuse(option: str, name: str, known: list[str]) -> None:
    """Say that there is no such argument, and which is meant."""
    try:
        _check.choice(f"argument of {name}", option, known)
    except _check.ArgumentError as refusal:
        raise refusal from None
