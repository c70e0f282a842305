"""Potentials of mirror descent by name: the dual variable grad phi(x), and x back from it.

entropy      phi = sum x log x - x,  x > 0          log x                          exp y
simplex      phi = sum x log x,  x > 0, sum x = 1   log x                          softmax y
hypentropy   phi' = arcsinh(x/b),  b > 0            arcsinh(x/b)                   b sinh y
norm         phi = sum |x|^p / p,  p > 1            sign(x) |x|^(p-1)              sign(y) |y|^(1/(p-1))
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import is_traced, leaf
from flowdyn.problems.base import Vector

PotentialName = Literal["entropy", "simplex", "hypentropy", "norm"]
ON_SIMPLEX = 1e-9  # distance of a sum from 1
_Map = Callable[[Any, Any], jax.Array]


class Potential(NamedTuple):
    """The two maps of a potential, the least value of its parameter (None: it has none), and where x must lie."""

    dual: _Map
    primal: _Map
    above: float | None
    needs: str  # of the parameter
    is_positive: bool  # x > 0
    sums_to_one: bool = False


def _sinh_dual(x: Any, b: Any) -> jax.Array:
    return jnp.arcsinh(jnp.asarray(x) / b)


def _sinh_primal(y: Any, b: Any) -> jax.Array:
    return b * jnp.sinh(jnp.asarray(y))


def _power_dual(x: Any, p: Any) -> jax.Array:
    return jnp.sign(x) * jnp.abs(x) ** (p - 1)


def _power_primal(y: Any, p: Any) -> jax.Array:
    return jnp.sign(y) * jnp.abs(y) ** (1 / (p - 1))


def _log(x: Any, _: Any) -> jax.Array:
    return jnp.log(jnp.asarray(x))


POTENTIALS: dict[str, Potential] = {
    "entropy": Potential(_log, lambda y, _: jnp.exp(jnp.asarray(y)), None, "", True),
    "simplex": Potential(_log, lambda y, _: jax.nn.softmax(jnp.asarray(y)), None, "", True, True),
    "hypentropy": Potential(_sinh_dual, _sinh_primal, 0.0, "the scale b, above 0", False),
    "norm": Potential(_power_dual, _power_primal, 1.0, "the power p, above 1", False),
}


def checked_potential(name: Any, parameter: Any) -> tuple[PotentialName, jax.Array | None]:
    """A name with the parameter that it needs, or without one."""
    chosen = _check.choice("potential", name, get_args(PotentialName))
    kind = POTENTIALS[chosen]
    if kind.above is None:
        if parameter is not None:
            raise _check.fail("parameter", f"must be None for the potential {chosen!r}", parameter)
        return chosen, None  # type: ignore[return-value]
    if not is_traced(parameter) and (parameter is None or _check.real("parameter", parameter) <= kind.above):
        raise _check.fail("parameter", f"must be {kind.needs}, for the potential {chosen!r}", parameter)
    return chosen, leaf("parameter", parameter, ndim=0)  # type: ignore[return-value]


def check_domain(name: str, w0: Vector) -> None:
    """Refuse a start at which a potential has no gradient."""
    kind, x = POTENTIALS[name], np.asarray(w0)
    if kind.is_positive and (x <= 0).any():
        raise _check.fail("w0", f"must be positive for the potential {name!r}", x)
    if kind.sums_to_one and abs(x.sum() - 1) > ON_SIMPLEX:
        raise _check.fail("w0", f"must sum to 1 for the potential {name!r}", float(x.sum()), "divide it by its sum")
