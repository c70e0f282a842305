"""Loops of small steps as one function of machine code:  call(tagged "small")  ->  one kernel of XLA's CPU backend.

XLA sends every operation of a loop off by itself, some 50 ns each, and wakes idle cores for those that do not depend on
each other; a step of an explicit method has a hundred of them and a few microseconds of arithmetic. What XLA does for
loops below a kilobyte, to compile them as a whole, a tag on a call does for larger ones: half the time of a step at 400
unknowns, on one core. Compilation takes as much of a processor as before, but one core of it.

Only plain arithmetic can be compiled so (`PLAIN`): sorts, factorizations, Fourier transforms and calls back to Python
are functions of libraries. Nor is it worth it where operations are large: then they have libraries and threads of their
own. The choice depends on the shapes of one run alone, so that a run has the same bits among others.

All numbers go in as one vector: XLA aborts the process where an argument of such a call is left without use.
"""

import contextlib
import functools
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
LARGE_MATRIX = 1 << 18  # numbers of a matrix beside a vector, likewise, and of all that goes in
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
    concatenate convert_element_type cos cosh cummax cummin cumprod cumsum cumlogsumexp digamma div dynamic_slice eq
    eq_to erf erf_inv erfc exp exp2 expm1 floor gather ge gt integer_pow iota is_finite le le_to lgamma log log1p
    logistic lt lt_to max min mul ne neg nextafter not or pad population_count pow reduce reduce_and reduce_max
    reduce_min reduce_or reduce_precision reduce_prod reduce_sum reduce_xor rem rev round rsqrt select_n shift_left
    shift_right_arithmetic shift_right_logical sign sin sinh slice split sqrt square sub tan tanh xor
    """
NAMES = """
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh cumlogsumexp digamma erf erf_inv erfc exp exp2 expm1 lgamma log
    log1p logistic pow sin sinh tan tanh
    """
FUNCTIONS = set(NAMES.split())
KINDS = {name: kind for kind in (CONTROL, MOVES, SCATTERS, PLAIN) for name in kind.split()}


class NotPlainError(Exception):
    """Raised while a program is traced that is not to be one kernel, with what has been traced."""

    def __init__(self, closed: ClosedJaxpr, returned: Any):
        super().__init__("is not plain")
        self.closed, self.returned = closed, returned


_asked: ContextVar[bool] = ContextVar("asked", default=False)
_traced: ContextVar[NotPlainError | None] = ContextVar("traced", default=None)


def has_kernels() -> bool:
    """Whether programs run on the processor, and in doubles: all numbers go in as these."""
    return not is_accelerated() and jnp.result_type(float) == np.float64


@contextlib.contextmanager
def as_one_kernel() -> Iterator[None]:
    """While a program is traced, let what asks for it be one kernel, or raise `NotPlainError`."""
    token = _asked.set(True)
    try:
        yield
    finally:
        _asked.reset(token)


@contextlib.contextmanager
def already_traced(found: NotPlainError) -> Iterator[None]:
    """Let what asked for it be what has been traced: a user's function is not traced twice."""
    token = _traced.set(found)
    try:
        yield
    finally:
        _traced.reset(token)


def in_one_kernel(function: Callable, *args: Any) -> Any:
    """``function(*args)``, as one kernel where it may be."""
    leaves, given = jax.tree.flatten(args)
    moving = [isinstance(leaf, jax.Array) for leaf in leaves]
    arrays = [leaf for leaf, moves in zip(leaves, moving, strict=True) if moves]
    if (found := _traced.get()) is not None:
        return jax.tree.unflatten(found.returned, jaxpr_as_fun(found.closed)(*arrays))
    if not _asked.get():
        return function(*args)
    returned = None

    def flat(*arrays: Any) -> list:
        nonlocal returned
        source = iter(arrays)
        whole = [next(source) if moves else leaf for leaf, moves in zip(leaves, moving, strict=True)]
        out, returned = jax.tree.flatten(function(*jax.tree.unflatten(given, whole)))
        return out

    closed = jax.make_jaxpr(flat)(*arrays)
    if not (_is_plain(closed.jaxpr) and _is_small(closed.consts, EXACT) and _is_small(arrays, EXACT | COUNTERS)):
        raise NotPlainError(closed, returned)
    with set_xla_metadata(**TAGS):
        out = jax.jit(functools.partial(_unpacked_call, closed, arrays))(_packed([*closed.consts, *arrays]))
    assert returned is not None
    return jax.tree.unflatten(returned, out)


def _packed(arrays: list) -> jax.Array:
    return jnp.concatenate([jnp.asarray(array).astype(float).ravel() for array in arrays])


def _unpacked_call(closed: ClosedJaxpr, arrays: list, packed: jax.Array) -> list:
    inside, start = [], 0
    for array in [*closed.consts, *arrays]:
        inside.append(packed[start : start + array.size].reshape(array.shape).astype(array.dtype))
        start += array.size
    known = len(closed.consts)
    with set_xla_metadata(**WITHIN):
        return jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, inside[:known]))(*inside[known:])


def _is_small(arrays: list, names: set) -> bool:
    """Whether they are few numbers, all of which are doubles too."""
    exact = all(jnp.asarray(array).dtype.name in names for array in arrays)
    return exact and sum(array.size for array in arrays) < LARGE_MATRIX


def _is_plain(jaxpr: Jaxpr) -> bool:
    operations = list(_operations(jaxpr))
    functions = sum(eqn.primitive.name in FUNCTIONS for eqn in operations)
    return len(operations) < LONG and functions < MANY and all(map(_is_plain_operation, operations))


def _is_plain_operation(eqn: Any) -> bool:
    if eqn.primitive.name == "dot_general":
        return _is_small_product(eqn)
    kind = KINDS.get(eqn.primitive.name)
    if kind is SCATTERS:  # to one place: several at once are a loop of their own
        return math.prod(eqn.invars[1].aval.shape[:-1]) == 1
    results = [var.aval for var in eqn.outvars]
    if any(jnp.issubdtype(result.dtype, jnp.complexfloating) for result in results):  # slow to compile
        return False
    return kind in (CONTROL, MOVES) or (kind is PLAIN and all(result.size < LARGE for result in results))


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
