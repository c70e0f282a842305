"""Degree of a function as a polynomial, read off the operations that it is made of.

    deg(f + g) = max(deg f, deg g),   deg(f g) = deg f + deg g,   deg(f^p) = p deg f,   all else: not a polynomial

No value is computed, so a function that is quadratic near some points only (Huber, a clip) is not taken for one.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal, jaxprs_in_params

NOT_POLYNOMIAL = math.inf
# operations that are linear in all their operands together
SHAPES = "broadcast_in_dim reshape squeeze expand_dims slice split stack transpose concatenate rev pad copy"
LINEAR = frozenset(f"add add_any sub neg reduce_sum cumsum convert_element_type real imag {SHAPES}".split())
PRODUCTS = frozenset(["mul", "dot_general"])
INDEXED = frozenset(["dynamic_slice", "gather", "select_n", "div"])  # linear if some operands are constants
# a function with derivatives of its own (custom_jvp, custom_vjp) is left out: they need not be those of its values
CALLS = frozenset(["pjit", "jit", "closed_call", "remat", "checkpoint"])


def degree_of(function: Callable, *shapes: Any) -> float:
    """Largest degree of the outputs of ``function`` as polynomials in its arguments; inf if they are none.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from flowdyn._tools.polynomial_degree import degree_of
    >>> w = jax.ShapeDtypeStruct((3,), float)
    >>> degree_of(lambda w: w @ w + w[0], w), degree_of(lambda w: jnp.abs(w).sum(), w)
    (2, inf)
    """
    closed = jax.make_jaxpr(function)(*shapes)
    return max(_degrees(closed.jaxpr, [1] * len(closed.jaxpr.invars)), default=0)


def _degrees(jaxpr: Any, inputs: list[float]) -> list[float]:
    known: dict[Any, float] = dict(zip(jaxpr.invars, inputs, strict=True))

    def of(atom: Any) -> float:
        return 0 if isinstance(atom, Literal) else known.get(atom, 0)

    for equation in jaxpr.eqns:
        operands = [of(atom) for atom in equation.invars]
        out = _outputs(equation, operands) if any(operands) else [0] * len(equation.outvars)
        known.update(zip(equation.outvars, out, strict=True))
    return [of(atom) for atom in jaxpr.outvars]


def operations_of(function: Callable, *shapes: Any) -> float:
    """Operations, about, that one call of ``function`` takes: a number made is one, a product summed over k is 2 k.

    Examples
    --------
    >>> import jax
    >>> from flowdyn._tools.polynomial_degree import operations_of
    >>> operations_of(lambda w: w @ w, jax.ShapeDtypeStruct((5,), float))
    10.0
    """
    return _operations(jax.make_jaxpr(function)(*shapes).jaxpr)


def _operations(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        size = float(sum(np.prod(v.aval.shape, dtype=float) for v in equation.outvars))
        if equation.primitive.name in CALLS:
            total += _operations(_inner(equation))
        elif equation.primitive.name == "dot_general":
            (summed, _), _ = equation.params["dimension_numbers"]
            total += 2 * size * float(np.prod([equation.invars[0].aval.shape[axis] for axis in summed]))
        else:
            total += size
    return total


def length_of(function: Callable, *shapes: Any) -> int:
    """Operations that a program of ``function`` is made of, those of the functions and loops in it counted once.

    Examples
    --------
    >>> import jax
    >>> from flowdyn._tools.polynomial_degree import length_of
    >>> length_of(lambda w: w * w + w, jax.ShapeDtypeStruct((5,), float))
    2
    """
    return _length(jax.make_jaxpr(function)(*shapes).jaxpr)


def _length(jaxpr: Any) -> int:
    inner = (within for equation in jaxpr.eqns for within in jaxprs_in_params(equation.params))
    return len(jaxpr.eqns) + sum(map(_length, inner))


def _inner(equation: Any) -> Any:
    """The programme that an equation calls."""
    inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
    return getattr(inner, "jaxpr", inner)


def _outputs(equation: Any, operands: list[float]) -> list[float]:
    name, count = equation.primitive.name, len(equation.outvars)
    if name in CALLS:
        return _degrees(_inner(equation), operands)
    if name in LINEAR:
        floats = all(np.issubdtype(v.aval.dtype, np.inexact) for v in equation.outvars)
        return [max(operands) if floats else NOT_POLYNOMIAL] * count
    if name in PRODUCTS:
        return [sum(operands)] * count
    if name == "square":
        return [2 * operands[0]]
    if name == "integer_pow" and equation.params["y"] >= 0:
        return [equation.params["y"] * operands[0]]
    if name == "pow" and isinstance(power := equation.invars[1], Literal) and power.val >= 0 and power.val % 1 == 0:
        return [int(power.val) * operands[0]]
    if name in INDEXED:
        # what is chosen or divided may depend on the arguments; where, by what and how may not
        where = operands[:1] if name == "select_n" else operands[1:]
        values = operands[1:] if name == "select_n" else operands[:1]
        return [NOT_POLYNOMIAL if any(where) else max(values)] * count
    return [NOT_POLYNOMIAL] * count
