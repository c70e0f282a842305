"""What depends on what in a function that JAX can trace, read off its operations; no value is computed."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Literal, jaxprs_in_params

# operations that jump, or undo a jump, where their operands do
JUMPING = frozenset(["sign", "floor", "ceil", "round", "abs", "argmax", "argmin"])
LOOPS = ("scan", "while")  # where an output may depend on what another one was before


def may_jump(function: Callable, *shapes: Any) -> bool:
    """Whether an operation that jumps has an operand that depends on the arguments."""
    closed = jax.make_jaxpr(function)(*shapes)
    return reach(closed.jaxpr, [True] * len(closed.jaxpr.invars))[0]


def reach(jaxpr: Any, inputs: list[bool]) -> tuple[bool, list[bool]]:
    """Whether something jumps, and which outputs depend on the inputs that are marked."""
    marked = {v for v, of in zip(jaxpr.invars, inputs, strict=True) if of}
    jumps = False
    for equation in jaxpr.eqns:
        operands = [not isinstance(v, Literal) and v in marked for v in equation.invars]
        if not any(operands):
            continue
        name, depends = equation.primitive.name, [True] * len(equation.outvars)
        if name == "select_n":
            jumps |= operands[0]
        elif name == "convert_element_type":
            jumps |= equation.invars[0].aval.dtype == bool
        else:
            jumps |= name in JUMPING
        for inner in jaxprs_in_params(equation.params):
            fits = name not in LOOPS and (len(inner.invars), len(inner.outvars)) == (len(operands), len(depends))
            found, out = reach(inner, operands if fits else [True] * len(inner.invars))
            jumps, depends = jumps or found, out if fits else depends
        marked |= {v for v, of in zip(equation.outvars, depends, strict=True) if of}
    return jumps, [not isinstance(v, Literal) and v in marked for v in jaxpr.outvars]
