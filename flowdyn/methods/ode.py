"""A user's own ordinary differential equation:  y' = f(t, y, *args)"""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import by_structure
from flowdyn._tools.leaves import cast_tree
from flowdyn.methods.named_state import NamedState, NameLike, Shapes, checked_names
from flowdyn.methods.systems import ODESystem


def _decay(t: Any, y: Any) -> Any:
    return -y


class ODE(NamedState, ODESystem):
    r"""A right-hand side of one's own, written with jax.numpy or with plain numpy.

    .. math:: y' = f(t, y, \ldots)

    Parameters
    ----------
    f : callable
        ``f(t, y, *args)`` returns an array of the shape (S,) of y.
    args : tuple of arrays, optional
        Further arguments; with jax.numpy, new values do not compile anew.
    names : tuple of str or mapping of str to tuple of int, optional
        Names of the entries of a flat y, as the Dataset has them; or a mapping from name to shape: then f sees and
        returns a mapping of arrays. A run that starts from a mapping gives its names and shapes.

    Raises
    ------
    ArgumentError
        If f does not take ``(t, y, *args)``, `args` is not a tuple, or a name is one of the Dataset's own; by
        :func:`flowdyn.solve`, if f returns complex numbers or another shape than that of y.

    Notes
    -----
    A plain-numpy function runs on the scipy solver alone, without an exact Jacobian. Source: the definition.

    Examples
    --------
    >>> import flowdyn as fd, jax.numpy as jnp
    >>> run = fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=1.0)
    >>> round(float(run.w.isel(t=-1).item()), 6)
    0.367879
    >>> swing = fd.ODE(lambda t, y: {"angle": y["speed"], "speed": -jnp.sin(y["angle"])})
    >>> round(float(fd.solve(swing, {"angle": 0.1, "speed": 0.0}, t=1.0).angle[-1]), 4)
    0.0541
    """

    f: Callable
    args: tuple
    pieces: Shapes = eqx.field(static=True)
    is_mapping: bool = eqx.field(static=True)
    symbol: ClassVar[str] = "y"
    summary: ClassVar[str] = "a user's ordinary differential equation y' = f(t, y)"

    def __init__(self, f: Callable, args: tuple = (), names: NameLike | None = None):
        if not isinstance(args, tuple):
            raise _check.fail("args", "must be a tuple", args, "write args=(value,)")
        _check.function("f", f, "f(t, y, *args)", 2 + len(args))
        self.f = f
        self.args = cast_tree("args", args)
        self.pieces, self.is_mapping = checked_names(names)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Exponential decay of two entries."""
        return cls(_decay), np.array([0.3, 0.4])

    def config(self) -> dict[str, Any]:
        """The right-hand side, its arguments, and the names of the state where it has any."""
        return {"f": self.f, "args": self.args} | self.named()

    def drift(self, t: Any, state: Any) -> Any:
        """``f(t, y, *args)`` as a flat vector."""
        return self.flat(self.called("f", self.f, t, state), state)

    def is_traceable(self, state: np.ndarray) -> bool:
        """Whether JAX can trace f; a plain-numpy f raises when it meets a tracer."""
        return by_structure(_is_traceable, self, np.shape(state))


def _is_traceable(system: ODE, shape: tuple[int, ...]) -> bool:
    try:
        jax.eval_shape(system.drift, jax.ShapeDtypeStruct((), jnp.float64), jax.ShapeDtypeStruct(shape, float))
    except _check.ArgumentError:
        raise
    except Exception:  # whatever f raises on tracers: called with numbers, it will tell its own story
        return False
    return True
