"""A user's own stochastic differential equation:  dX = f(t, X, *args) dt + g(t, X, *args) dW"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import by_structure
from flowdyn._tools.leaves import cast_tree
from flowdyn.methods.named_state import NamedState, NameLike, Shapes, checked_names
from flowdyn.methods.systems import Calculus, Noise, SDESystem


def _decay(t: Any, x: Any) -> Any:
    return -x


def _proportional(t: Any, x: Any) -> Any:
    return 0.5 * x


class SDE(NamedState, SDESystem):
    r"""Drift and diffusion of one's own, written with jax.numpy or with plain numpy.

    .. math:: dX = f(t, X)\,dt + g(t, X)\,dW

    Parameters
    ----------
    f : callable
        ``f(t, x, *args)`` returns the drift, shape (S,) of x.
    g : callable
        ``g(t, x, *args)`` returns the diffusion: shape (S, m); (S,) for diagonal noise, and where additive noise is.
    calculus : {"ito", "stratonovich"}
        What the integral means.
    noise : {"additive", "diagonal", "general"}
        g does not depend on x; or entry i of g depends on entry i of x alone and drives it alone; or anything.
    args : tuple of arrays, optional
        Further arguments of both; with jax.numpy, new values do not compile anew.
    names : tuple of str or mapping of str to tuple of int, optional
        Names of the entries of a flat x, as the Dataset has them; or a mapping from name to shape: then f and g see a
        mapping of arrays and f returns one; g may too, an axis of length m behind each shape where noise is general. A
        run that starts from a mapping gives its names and shapes.

    Raises
    ------
    ArgumentError
        If f or g does not take ``(t, x, *args)``, a choice is another, or a name is one of the Dataset's own; by
        :func:`flowdyn.solve`, if shapes are wrong or g is not of the stated noise kind.

    Notes
    -----
    A plain-numpy g runs on :class:`flowdyn.solvers.Sdeint` alone. Source: the definition; Kloeden and Platen (1992) for
    the kinds of noise.

    Examples
    --------
    >>> import flowdyn as fd
    >>> sde = fd.SDE(lambda t, x: -x, lambda t, x: 0.8 * x, noise="diagonal")
    >>> run = fd.solve(sde, [1.0], t=1.0, realizations=2000, seed=1)
    >>> bool(abs(run.w.isel(t=-1).mean() - 0.3679) < 0.03)  # exp(-1)
    True
    """

    f: Callable
    g: Callable
    calculus: str = eqx.field(static=True)
    noise: str = eqx.field(static=True)
    args: tuple
    pieces: Shapes = eqx.field(static=True)
    is_mapping: bool = eqx.field(static=True)
    symbol: ClassVar[str] = "X"
    summary: ClassVar[str] = "a user's stochastic differential equation dX = f dt + g dW"

    def __init__(
        self,
        f: Callable,
        g: Callable,
        calculus: Calculus = "ito",
        noise: Noise = "general",
        args: tuple = (),
        names: NameLike | None = None,
    ) -> None:
        if not isinstance(args, tuple):
            raise _check.fail("args", "must be a tuple", args, "write args=(value,)")
        for name, function in (("f", f), ("g", g)):
            _check.function(name, function, f"{name}(t, x, *args)", 2 + len(args))
        self.f, self.g = f, g
        self.calculus, self.noise = (
            _check.choice("calculus", calculus, get_args(Calculus)),
            _check.choice("noise", noise, get_args(Noise)),
        )
        self.args = cast_tree("args", args)
        self.pieces, self.is_mapping = checked_names(names)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Decay with noise in proportion."""
        return cls(_decay, _proportional, noise="diagonal"), np.array([0.3, 0.4])

    def config(self) -> dict[str, Any]:
        """Both functions, what they mean, their arguments, and the names of the state where it has any."""
        given = {"f": self.f, "g": self.g, "calculus": self.calculus, "noise": self.noise, "args": self.args}
        return given | self.named()

    def drift(self, t: Any, state: Any) -> Any:
        """``f(t, x, *args)`` as a flat vector."""
        return self.flat(self.called("f", self.f, t, state), state)

    def _g(self, t: Any, state: Any) -> Any:
        given = self.called("g", self.g, t, state)
        named = self.is_mapping and isinstance(given, Mapping)
        value: Any = self.stacked("g", given, columns=self._has_columns(given)) if named else given
        shape, size = np.shape(value), np.shape(state)[0]
        if self.noise == "diagonal" and shape != (size,):
            raise _check.fail("g", f"must return shape ({size},) for diagonal noise", _check.Words(f"shape {shape}"))
        if self.noise == "additive" and shape == (size,):  # one entry a component here too
            return value
        if self.noise != "diagonal" and (len(shape) != 2 or shape[0] != size):
            raise _check.fail(
                "g",
                f"must return shape ({size}, m), one column a Brownian motion",
                _check.Words(f"shape {shape}"),
                'or say noise="diagonal" for one entry a component',
            )
        return value

    def _has_columns(self, value: Mapping[str, Any]) -> bool:
        """Whether each piece of g has an axis of Brownian motions behind its own."""
        if self.noise == "diagonal":
            return False
        return self.noise == "general" or any(np.ndim(value.get(name, 0.0)) > len(shape) for name, shape in self.pieces)

    def diffusion(self, t: Any, state: Any) -> Any:
        """``g`` as a matrix (S, m)."""
        value = self._g(t, state)
        if np.ndim(value) == 2:
            return value
        return jnp.diag(value) if isinstance(value, jax.Array) else np.diag(value)

    def diffusion_product(self, t: Any, state: Any, increment: Any) -> Any:
        """``g dW`` without forming a matrix for diagonal noise."""
        value = self._g(t, state)
        return value * increment if np.ndim(value) == 1 else value @ increment

    def noise_dim(self, state: np.ndarray) -> int:
        """Number m of Brownian motions, the columns of g."""
        return int(np.shape(self.diffusion(0.0, np.asarray(state)))[1])

    def is_traceable(self, state: np.ndarray) -> bool:
        """Whether JAX can trace f and g."""
        return by_structure(_is_traceable, self, np.shape(state))

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a g that is not of the stated noise kind, seen by moving one entry of the state at a time."""
        self.drift(0.0, state0)
        base = np.asarray(self._g(0.0, state0))
        if self.noise == "general":
            return
        for i in range(min(state0.size, 32)):
            moved = state0.copy()
            moved[i] += 0.1 + 0.01 * abs(moved[i])
            change = np.abs(np.asarray(self._g(0.0, moved)) - base)
            if self.noise == "diagonal":
                change[i] = 0.0
            if change.max(initial=0.0) > 0:
                rule = "must not depend on x" if self.noise == "additive" else "must depend in entry i on x_i alone"
                raise _check.fail(
                    "noise", f"= {self.noise!r} says that g {rule}", f"a change with x[{i}]", 'say noise="general"'
                )


def _is_traceable(system: SDE, shape: tuple[int, ...]) -> bool:
    shapes = (jax.ShapeDtypeStruct((), jnp.float64), jax.ShapeDtypeStruct(shape, jnp.float64))
    try:
        jax.eval_shape(system.drift, *shapes)
        jax.eval_shape(system.diffusion, *shapes)
    except _check.ArgumentError:
        raise
    except Exception:  # whatever f or g raise on tracers: called with numbers, they tell their own story
        return False
    return True
