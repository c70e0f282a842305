"""What depends on what in a function that JAX can trace, read off its operations; no value is computed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxprs_in_params

# operations that jump, or undo a jump, where their operands do
JUMPING = frozenset(["sign", "floor", "ceil", "round", "abs", "argmax", "argmin"])
BFLOAT16 = jnp.bfloat16.dtype  # numpy does not take it for a number with a point
LOOPS = ("scan", "while")  # where an output may depend on what another one was before


def may_jump(function: Callable, *shapes: Any) -> bool:
    """Whether an operation that jumps has an operand that depends on the arguments."""
    closed = jax.make_jaxpr(function)(*shapes)
    return reach(closed.jaxpr, [True] * len(closed.jaxpr.invars))[0]


def narrowed_to(function: Callable, *shapes: Any) -> str | None:
    """The type of fewer digits that a number which depends on the arguments is rounded to on its way, if any."""
    found: list[str] = []

    def rounds(equation: Any, _: list[bool]) -> bool:
        if equation.primitive.name == "convert_element_type":
            types = [np.dtype(t) for t in (equation.invars[0].aval.dtype, equation.params["new_dtype"])]
            are_real = all(np.issubdtype(t, np.floating) or t == BFLOAT16 for t in types)
            if are_real and types[1].itemsize < types[0].itemsize:
                found.append(types[1].name)
        return False

    closed = jax.make_jaxpr(function)(*shapes)
    reach(closed.jaxpr, [True] * len(closed.jaxpr.invars), rounds)
    return found[0] if found else None


def _jumps(equation: Any, operands: list[bool]) -> bool:
    """Whether an operation jumps in the operands that are marked."""
    name = equation.primitive.name
    if name == "select_n":
        return operands[0]
    if name == "convert_element_type":
        return equation.invars[0].aval.dtype == bool
    return name in JUMPING


def reach(jaxpr: Any, inputs: list[bool], is_sought: Callable = _jumps) -> tuple[bool, list[bool]]:
    """Whether an operation is one that is sought, and which outputs depend on the inputs that are marked."""
    marked = {v for v, of in zip(jaxpr.invars, inputs, strict=True) if of}
    found = False
    for equation in jaxpr.eqns:
        operands = [not isinstance(v, Literal) and v in marked for v in equation.invars]
        name, depends = equation.primitive.name, [True] * len(equation.outvars)
        if not any(operands) or (name == "mul" and any(map(_is_zero, equation.invars))):  # as a decay of 0
            continue
        found |= is_sought(equation, operands)
        for inner in jaxprs_in_params(equation.params):
            fits = name not in LOOPS and (len(inner.invars), len(inner.outvars)) == (len(operands), len(depends))
            within, out = reach(inner, operands if fits else [True] * len(inner.invars), is_sought)
            found, depends = found or within, out if fits else depends
        marked |= {v for v, of in zip(equation.outvars, depends, strict=True) if of}
    return found, [not isinstance(v, Literal) and v in marked for v in jaxpr.outvars]


def _is_zero(atom: Any) -> bool:
    return isinstance(atom, Literal) and bool(np.all(np.asarray(atom.val) == 0))
