"""Argument checks, and the wording of every error: `name`, the rule, the value got, the way out.

This module imports numpy alone, so that the shell can use it before anything heavy is loaded.
"""

import difflib
import inspect
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

LARGE = 1e75  # data beyond it have squares, or sums of products of squares, that overflow


class FlowdynError(Exception):
    """Base of every error that flowdyn raises on purpose; raised as one of its three kinds."""


class ArgumentError(FlowdynError, ValueError):
    """Raised when an argument breaks a rule; the message names it and the way out. A ValueError too."""


class RunError(FlowdynError, RuntimeError):
    """Raised when a run ends early (diverged, not finite, out of budget); the message says where. A RuntimeError."""


class BudgetError(RunError):
    """Raised when a run ends because its budget of steps or seconds is spent. A RunError."""


class DivergenceError(RunError):
    """Raised when a run ends because its state diverged or is not finite. A RunError."""


class FileError(FlowdynError, OSError):
    """Raised when a file cannot be read, written or trusted; the message says why. An OSError too."""


class FlowdynWarning(UserWarning):
    """Warned where something is allowed but doubtful, e.g. a step size above the stability threshold."""


class Words(str):
    """What was found, said in words (``shape (3,)``) where the value itself would be too long; shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


def short(value: Any, limit: int = 80) -> str:
    """One line of at most `limit` characters that shows `value`."""
    value = value.item() if isinstance(value, np.generic) else value  # 0.5 rather than np.float64(0.5)
    text = " ".join(np.array2string(value, threshold=6).split()) if isinstance(value, np.ndarray) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


# said of a run that diverged
KEEP = "; `on_divergence='keep'` keeps the part before it"


def fail(name: str, rule: str, value: Any, way_out: str = "") -> ArgumentError:
    """Build the error "`name` rule, got value; way out" for the caller to raise."""
    return ArgumentError(f"`{name}` {rule}, got {short(value)}" + (f"; {way_out}" if way_out else ""))


def real_array(name: str, value: Any, *, ndim: int | None = None, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return `value` as a finite float64 array of the asked dimension and shape, else raise ArgumentError."""
    if np.ma.is_masked(value):
        raise fail(
            name, "must have no masked values", Words(f"{int(np.ma.count_masked(value))} of them"), "fill or drop them"
        )
    try:
        raw = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise fail(name, "must be an array of numbers", value, str(error).splitlines()[0]) from None
    if raw.dtype.kind not in "biuf":
        found = value if raw.dtype.kind == "O" else Words(f"dtype {raw.dtype}")
        raise fail(name, "must hold real numbers", found)
    array = raw.astype(np.float64)
    if ndim is not None and array.ndim != ndim:
        raise fail(name, f"must be {ndim}-dimensional", Words(f"shape {array.shape}"))
    if shape is not None and array.shape != shape:
        raise fail(name, f"must have shape {shape}", Words(f"shape {array.shape}"))
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        at = f"[{', '.join(map(str, where))}]" if where else ""
        raise ArgumentError(f"`{name}` must be finite, got {array[where]} at {name}{at}; remove or fill missing values")
    return array


def matrix(name: str, value: Any) -> np.ndarray:
    """Return `value` as a float64 matrix with at least one entry, none of them beyond LARGE."""
    array = real_array(name, value, ndim=2)
    if 0 in array.shape:
        raise fail(name, "must have at least one row and one column", Words(f"shape {array.shape}"))
    if np.abs(array).max() > LARGE:
        raise fail(name, f"must be at most {LARGE:g} in size", float(np.abs(array).max()))
    return array


def counts(name: str, value: Any) -> np.ndarray:
    """Return `value` as increasing step numbers, int64."""
    given = np.atleast_1d(real_array(name, value))
    if (given < 0).any() or (given > 2**53).any() or (np.diff(given) <= 0).any() or (given != np.rint(given)).any():
        raise fail(name, "must be increasing whole step numbers", value)
    return given.astype(np.int64)


def real(name: str, value: Any, *, positive: bool = False, nonnegative: bool = False) -> float:
    """Return `value` as a finite float, positive or nonnegative where asked."""
    if isinstance(value, bool | np.bool_ | str | bytes):  # float() would take them
        raise fail(name, "must be a number", value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise fail(name, "must be a number", value) from None
    if not math.isfinite(number):
        raise fail(name, "must be finite", value)
    if positive and number <= 0:
        raise fail(name, "must be positive", value)
    if nonnegative and number < 0:
        raise fail(name, "must not be negative", value)
    return number


def integer(name: str, value: Any, *, minimum: int, maximum: int = 2**62) -> int:
    """Return `value` as an int from `minimum` to `maximum`; 3.0 and True are refused."""
    number: int | None
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise fail(name, "must be a whole number", value, f"give an int, e.g. {max(minimum, 1)}")
    if number < minimum:
        raise fail(name, f"must be at least {minimum}", value)
    if number > maximum:  # numbers of steps are counted in int64
        raise fail(name, "must be at most 2**62" if maximum == 2**62 else f"must be at most {maximum:,}", value)
    return number


def flag(name: str, value: Any) -> bool:
    """Return `value` as a bool; any other object has a truth value too, and `"no"` has the wrong one."""
    if not isinstance(value, bool | np.bool_):
        raise fail(name, "must be True or False", value)
    return bool(value)


def seed(value: Any, name: str = "seed") -> int:
    """Return `value` as a seed: 63 bits of a key of random numbers; a larger one would lose its head without a word."""
    try:
        return integer(name, value, minimum=0, maximum=2**63 - 1)
    except ArgumentError:
        raise fail(name, "must be a whole number from 0 to 2**63 - 1", value) from None


def function(name: str, value: Any, form: str, count: int) -> Callable:
    """Return `value` if it can be called with `count` positional arguments, as `form` (``f(t, y)``) shows them."""
    if not callable(value):
        raise fail(name, f"must be a function {form}", value)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # some built-in functions do not tell theirs
        return value
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        raise fail(name, f"must be a function {form}", signature, str(error)) from None
    return value


def choice(name: str, value: Any, allowed: Iterable[str], way_out: str = "") -> str:
    """Return `value` if it is one of `allowed`; the error lists them and the nearest."""
    names = list(allowed)
    if isinstance(value, str) and value in names:
        return value
    near = _nearest(str(value), names)
    raise fail(name, f"must be one of {names}", value, way_out if near is None else f"did you mean {near!r}?")


def _nearest(text: str, names: list[str]) -> str | None:
    """The name that is meant: by its initials (``gd``: GradientDescent), or spelt nearly so."""
    by_initials = {"".join(filter(str.isupper, name)).casefold(): name for name in reversed(names)}
    if len(text) > 1 and text.casefold() in by_initials:
        return by_initials[text.casefold()]
    folded = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(text, names, n=1)
    return near[0] if near else next((folded[n] for n in difflib.get_close_matches(text.casefold(), folded, n=1)), None)


def times(name: str, value: Any) -> np.ndarray:
    """Return `value` as a strictly increasing 1-dimensional float64 array with at least one entry."""
    array = real_array(name, value, ndim=1)
    if array.size == 0:
        raise fail(name, "must hold at least one time", value)
    if (np.diff(array) <= 0).any():
        i = int(np.argmax(np.diff(array) <= 0))
        raise ArgumentError(
            f"`{name}` must be strictly increasing, got {array[i]} before {array[i + 1]}; sort it and drop duplicates"
        )
    return array
