"""Loops of small steps as one function of machine code:  call(tagged "small")  ->  one kernel of XLA's CPU backend.

XLA sends every operation of a loop off by itself, some 50 ns each, and wakes idle cores for those that do not depend on
each other; a step of an explicit method has a hundred of them and a few microseconds of arithmetic. What XLA does for
loops below a kilobyte, to compile them as a whole, a tag on a call does for larger ones: half the time of a step at 400
unknowns, on one core, and less time of compilation.

Only plain arithmetic can be compiled so (`PLAIN`): sorts, factorizations, Fourier transforms and calls back to Python
are functions of libraries. Nor is it worth it where operations are large: then they have libraries and threads of their
own. The choice depends on the shapes of one run alone, so that a run has the same bits among others.

All numbers go in as one vector: XLA aborts the process where an argument of such a call is left without use.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from flowdyn._tools.threads import is_accelerated

TAGS = {"xla_cpu_small_call": "true", "inlineable": "false"}
WITHIN = {"xla_cpu_small_call": "false", "inlineable": "true"}  # calls of its own are nothing special
LARGE = 1 << 14  # numbers of a result, from which an operation has threads of its own
LARGE_MATRIX = 1 << 18  # numbers of a matrix beside a vector, likewise
LARGE_PRODUCT = 1 << 13  # multiplications of a product of two matrices, from which a library is faster
LONG, MANY = 800, 40  # operations of a program, and functions like exp, from which all at once take LLVM too long

EXACT = {"float64", "float32", "int32", "uint32", "bool"}  # whose numbers are doubles, too
COUNTERS = {"int64"}  # below 2^53 where they count steps

CONTROL = """
    while cond scan jit pjit closed_call core_call remat2 checkpoint custom_jvp_call custom_vjp_call custom_lin_call
    """
MOVES = "broadcast_in_dim copy dynamic_update_slice expand_dims reshape squeeze stop_gradient transpose"
SCATTERS = "scatter scatter-add scatter-mul scatter-min scatter-max scatter_add scatter_mul"
PLAIN = """
    abs acos acosh add add_any and argmax argmin asin asinh atan atan2 atanh bitcast_convert_type cbrt ceil clamp
    complex concatenate conj convert_element_type cos cosh cummax cummin cumprod cumsum cumlogsumexp digamma div
    dynamic_slice eq eq_to erf erf_inv erfc exp exp2 expm1 floor gather ge gt imag integer_pow iota is_finite le le_to
    lgamma log log1p logistic lt lt_to max min mul ne neg nextafter not or pad population_count pow random_bits
    random_fold_in random_seed random_split random_unwrap random_wrap real reduce reduce_and reduce_max reduce_min
    reduce_or reduce_precision reduce_prod reduce_sum reduce_xor rem rev round rsqrt select_n shift_left
    shift_right_arithmetic shift_right_logical sign sin sinh slice split sqrt square sub tan tanh threefry2x32 xor
    """
FUNCTIONS = """
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh cumlogsumexp digamma erf erf_inv erfc exp exp2 expm1 lgamma log
    log1p logistic pow sin sinh tan tanh
    """
KINDS = {name: kind for kind in (CONTROL, MOVES, SCATTERS, PLAIN) for name in kind.split()}


class NotPlainError(Exception):
    """Raised while a program is traced that is not to be one kernel: it is traced again as it is."""


_asked: ContextVar[bool] = ContextVar("asked", default=False)


@contextlib.contextmanager
def as_one_kernel() -> Iterator[None]:
    """While a program is traced, let what asks for it be one kernel, or raise `NotPlainError`."""
    token = _asked.set(True)
    try:
        yield
    finally:
        _asked.reset(token)


def in_one_kernel(function: Callable, *args: Any) -> Any:
    """``function(*args)``, as one kernel where it may be."""
    if not _asked.get() or is_accelerated() or jnp.result_type(float) != np.float64:  # all numbers go in as doubles
        return function(*args)
    leaves, given = jax.tree.flatten(args)
    returned = None

    def flat(*leaves: Any) -> list:
        nonlocal returned
        out, returned = jax.tree.flatten(function(*jax.tree.unflatten(given, leaves)))
        return out

    closed = jax.make_jaxpr(flat)(*leaves)
    if not (_is_plain(closed.jaxpr) and _is_exact(closed.consts, EXACT) and _is_exact(leaves, EXACT | COUNTERS)):
        raise NotPlainError
    known = len(closed.consts)
    arrays = [jnp.asarray(array) for array in (*closed.consts, *leaves)]

    def whole(packed: jax.Array) -> list:
        inside = _unpacked(packed, arrays)
        with set_xla_metadata(**WITHIN):
            return jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, inside[:known]))(*inside[known:])

    packed = jnp.concatenate([array.astype(float).ravel() for array in arrays])
    with set_xla_metadata(**TAGS):
        out = jax.jit(whole)(packed)
    assert returned is not None
    return jax.tree.unflatten(returned, out)


def _unpacked(packed: jax.Array, arrays: list[jax.Array]) -> list[jax.Array]:
    ends = np.cumsum([array.size for array in arrays])
    return [
        packed[end - array.size : end].reshape(array.shape).astype(array.dtype)
        for array, end in zip(arrays, ends, strict=True)
    ]


def _is_exact(arrays: Any, names: set) -> bool:
    return all(jnp.asarray(array).dtype.name in names for array in arrays)


def _is_plain(jaxpr: Jaxpr) -> bool:
    operations = list(_operations(jaxpr))
    functions = sum(eqn.primitive.name in FUNCTIONS.split() for eqn in operations)
    return len(operations) < LONG and functions < MANY and all(map(_is_plain_operation, operations))


def _is_plain_operation(eqn: Any) -> bool:
    if eqn.primitive.name == "dot_general":
        return _is_small_product(eqn)
    kind = KINDS.get(eqn.primitive.name)
    if kind is SCATTERS:  # to one place: several at once are a loop of their own
        return math.prod(eqn.invars[1].aval.shape[:-1]) == 1
    return kind in (CONTROL, MOVES) or (kind is PLAIN and all(var.aval.size < LARGE for var in eqn.outvars))


def _is_small_product(eqn: Any) -> bool:
    left, right = (var.aval for var in eqn.invars)
    size = left.size * right.size
    (contracted, _), (batched, _) = eqn.params["dimension_numbers"]
    shared = math.prod(left.shape[i] for i in contracted)
    batch = math.prod(left.shape[i] for i in batched)
    rows, columns = (side.size // max(shared * batch, 1) for side in (left, right))
    if min(rows, columns) <= 1:
        return max(left.size, right.size) < LARGE_MATRIX and max(rows, columns) * batch < LARGE
    return size // max(shared * batch, 1) < LARGE_PRODUCT


def _operations(jaxpr: Jaxpr) -> Iterator[Any]:
    """All of them, those inside of others too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(part, "jaxpr", part)
                if isinstance(inner, Jaxpr):
                    yield from _operations(inner)
