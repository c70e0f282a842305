"""Calls of functions that a user wrote:  name(args)  as JAX traces it, any failure told in one line."""

from collections.abc import Callable
from typing import Any

import jax

from flowdyn import _check
from flowdyn._tools.compiled import bind, split

INSTEAD = "jnp.where in place of `if`, jnp.sin in place of np.sin"


def traced_call(
    name: str, function: Callable, arguments: tuple, rule: Callable[[], str], instead: str = INSTEAD
) -> Any:
    """``function(*arguments)``; what JAX cannot trace, and whatever else it raises, is an ArgumentError about `name`.

    `rule` is asked for its words where it is broken, `instead` is how to write what JAX cannot trace.
    """
    try:
        return function(*arguments)
    except _check.FlowdynError:
        raise
    except jax.errors.JAXTypeError as error:
        raise not_traceable(name, error, instead) from None
    except Exception as error:  # a user's function may raise anything on arguments that it was not written for
        raise _check.ArgumentError(
            f"`{name}` {rule()}, got {type(error).__name__}: {_first_line(error)}; "
            "the function's own traceback stands above"
        ) from error


def traced_once(function: Callable) -> Callable:
    """A user's function that is traced, and differentiated, once for all programs that it is in.

    Each program traced it anew: a step that solves an equation takes a tenth of a second a time. One that holds arrays
    is left as it is, since programs take these as data.
    """
    return function if split(function)[0] else bind(_call, function)


def _call(function: Callable, *args: Any) -> Any:
    return function(*args)


def not_traceable(name: str, error: Exception, instead: str = "") -> _check.ArgumentError:
    """The error for a function with operations that JAX cannot trace."""
    return _check.ArgumentError(
        f"`{name}` must be written with jax.numpy so that JAX can differentiate it, got {_first_line(error)}"
        + (f"; {instead}" if instead else "")
    )


def callable_as(form: str) -> str:
    """The rule that a function can be called in a form: ``step(state, eta), state w[2]``."""
    return f"must be a function that can be called as {form}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
