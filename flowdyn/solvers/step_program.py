"""What a block of an ensemble runs, and how many members it holds.

A sum's last bit may change with the size of the batch that it is vectorised over. Where a step holds one, the size of a
block does not depend on the number of members; elsewhere it is whatever is fastest. A member that runs alone fills no
block: a small state has neighbours enough to fill the lanes of a processor, whose bits are those of a full block, and a
large one none, so that its last bits may be others than in an ensemble.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core
import numpy as np

from flowdyn._tools import randomness
from flowdyn._tools.compiled import CACHE_SIZE, join, split
from flowdyn._tools.randomness import RandomInputs
from flowdyn._tools.threads import cores, is_accelerated
from flowdyn.solvers.base import Task
from flowdyn.solvers.segments import Segments

WIDE, NARROW = 2**17, 2**13  # numbers a block holds, without and with contractions
WIDEST = 2**26  # the same on an accelerator, where a member's last bits may depend on the number of them
FEW = 1024  # members that no second core is taken for
LANES, LARGE = 8, 64  # members of a block for one alone, and the numbers of a state that fills the lanes by itself
_EXACT_ORDER = ("dot_general", "reduce_sum", "reduce_prod", "cumsum", "scatter-add", "sort", "conv_general_dilated")


class StepProgram(NamedTuple):
    """What the compiled loop depends on: the step, what it draws, and whether it stops."""

    step: Callable  # step(system, StepTime, extra, state, epoch_state, draw) -> state
    random_inputs: RandomInputs
    refine: int = 1
    stop: tuple | None = None  # (traced margin, spec)
    prefetch: int = 1  # steps whose words are made together


class StepTime(NamedTuple):
    """Step number, time and time step."""

    n: Any
    t: Any
    h: Any


def recursion_step(system: Any, when: StepTime, extra: Any, state: Any, epoch_state: Any, draw: Any) -> jax.Array:
    """Step of a program that runs a recursion."""
    return system.step(when.n, state, draw, epoch_state)


def block_size(task: Task, program: StepProgram, segments: Segments, epoch: int, epoch_bits: int) -> int:
    """Number of members that run together: fixed where a step holds sums of products, whose last bits depend on it."""
    system, inputs = task.system, program.random_inputs
    width = max(task.state0.size, inputs.words, inputs.numbers, epoch_bits // 64, 1)
    if task.members == 1:
        return 1 if task.state0.size >= LARGE else LANES
    if is_accelerated():
        cap = max(WIDEST // (64 * width), 1)
        return 64 * min(-(-task.members // 64), cap)
    arrays, structure = split(system)
    extra = jax.tree.map(lambda a: a[0], segments.extra)
    leaves, shape_of = jax.tree.flatten((list(map(np.asarray, arrays)), extra))
    shapes = tuple((leaf.shape, leaf.dtype.name) for leaf in leaves)
    if _step_contracts(structure, shape_of, shapes, program, task.state0.size, epoch_bits):
        return int(np.clip(2 ** int(np.log2(max(NARROW / width, 1))), 16, 1024))
    cap = int(np.clip(2 ** int(np.log2(max(WIDE / width, 1))), 64, 16384))
    blocks = max(-(-task.members // cap), min(cores(), task.members // FEW))  # one a core, unless they are few
    return -(-task.members // (64 * blocks)) * 64


@functools.lru_cache(maxsize=CACHE_SIZE)
def _step_contracts(
    structure: tuple, tree: Any, shapes: tuple, program: StepProgram, size: int, epoch_bits: int
) -> bool:
    """Whether a step sums over anything, read off its program."""
    arrays, extra = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(*shape) for shape in shapes])

    def step(arrays: Any, extra: Any, state: Any, words: Any, numbers: Any, epoch: Any) -> Any:
        system = join(arrays, structure)
        epoch_state = system.start_epoch(epoch) if epoch_bits else ()
        return program.step(system, StepTime(0, 0.0, 1.0), extra, state, epoch_state, randomness.Draw(words, numbers))

    real = [jax.ShapeDtypeStruct((n,), np.float64) for n in (size, program.random_inputs.numbers)]
    drawn = [jax.ShapeDtypeStruct((n,), np.uint32) for n in (program.random_inputs.words, -(-epoch_bits // 32))]
    return _contracts(jax.make_jaxpr(step)(arrays, extra, real[0], drawn[0], real[1], drawn[1]).jaxpr)


def _contracts(jaxpr: Any) -> bool:
    """Whether a program sums over anything, in an order that may depend on the size of the batch."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in _EXACT_ORDER and any(
            np.prod(v.aval.shape, dtype=int) > 1 for v in equation.invars[:2]
        ):
            return True
        if any(_contracts(inner) for inner in jax.extend.core.jaxprs_in_params(equation.params)):
            return True
    return False
