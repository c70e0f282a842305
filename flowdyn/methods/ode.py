"""A user's own ordinary differential equation:  y' = f(t, y, *args)"""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import cast_tree, flat_vector, own_copy
from flowdyn.methods.systems import ODESystem
from flowdyn.problems.base import Variable


def _decay(t: Any, y: Any) -> Any:
    return -y


class ODE(ODESystem):
    r"""A right-hand side of one's own, written with jax.numpy or with plain numpy.

    .. math:: y' = f(t, y, \ldots)

    Parameters
    ----------
    f : callable
        ``f(t, y, *args)`` returns an array of the shape (S,) of y.
    args : tuple of arrays, optional
        Further arguments; with jax.numpy, new values do not compile anew.

    Raises
    ------
    ArgumentError
        If f does not take ``(t, y, *args)`` or `args` is not a tuple; by :func:`flowdyn.solve`, if f returns complex
        numbers or another shape than that of y.

    Notes
    -----
    A plain-numpy function runs on the scipy solver alone, without an exact Jacobian. Source: the definition.

    Examples
    --------
    >>> import flowdyn as fd
    >>> run = fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=1.0)
    >>> round(float(run.w.isel(t=-1).item()), 6)
    0.367879
    """

    f: Callable
    args: tuple
    summary: ClassVar[str] = "a user's ordinary differential equation y' = f(t, y)"

    def __init__(self, f: Callable, args: tuple = ()):
        if not isinstance(args, tuple):
            raise _check.fail("args", "must be a tuple", args, "write args=(value,)")
        _check.function("f", f, "f(t, y, *args)", 2 + len(args))
        self.f = f
        self.args = cast_tree("args", args)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Exponential decay of two entries."""
        return cls(_decay), np.array([0.3, 0.4])

    def drift(self, t: Any, state: Any) -> Any:
        """``f(t, y, *args)``; a scalar for a vector would be broadcast without a word, so shapes must agree."""
        value = self.f(t, own_copy(state), *self.args)
        if np.iscomplexobj(value):
            raise _check.fail(
                "f", "must return real numbers", _check.Words("complex ones"), "split y into real and imaginary part"
            )
        if np.shape(value) != np.shape(state):
            raise _check.fail(
                "f",
                f"must return the shape {np.shape(state)} of y",
                value if value is None else _check.Words(f"shape {np.shape(value)}"),
            )
        return value

    def layout(self, size: int) -> tuple[Variable, ...]:
        """One vector ``w`` over `param`, as long as the start."""
        return (Variable("w", ("param",), (size,), "state y"),)

    def ravel(self, w0: Any) -> np.ndarray:
        """Flat state; a number is a state of one entry."""
        return flat_vector("w0", w0)

    def is_traceable(self, state: np.ndarray) -> bool:
        """Whether JAX can trace f; a plain-numpy f raises when it meets a tracer."""
        try:
            jax.eval_shape(self.drift, jax.ShapeDtypeStruct((), jnp.float64), jax.ShapeDtypeStruct(state.shape, float))
        except _check.ArgumentError:
            raise
        except Exception:  # whatever f raises on tracers: called with numbers, it will tell its own story
            return False
        return True
