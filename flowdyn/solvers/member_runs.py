"""What a solver runs for a task with members, and what is settled before its first step."""

import copy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools import randomness
from flowdyn.solvers.base import HUGE, Task
from flowdyn.solvers.segments import Segments
from flowdyn.solvers.step_loops import prefetch_of
from flowdyn.solvers.step_program import StepProgram, block_size


class MemberRun(NamedTuple):
    """What a solver runs for a task with members."""

    task: Task
    program: StepProgram
    segments: Segments
    epoch: int = 0
    epoch_bits: int = 0


class Parts:
    """A run with what is settled before its first step: its program, its keys, and the size of its blocks."""

    def __init__(self, run: MemberRun):
        task, program, segments = run.task, run.program, run.segments
        self.task, self.segments, self.epoch = task, segments, run.epoch
        if len(segments.last) and int(segments.last[-1]) * program.refine >= randomness.MAX_COUNTER:
            steps = int(segments.last[-1])
            raise _check.fail("t", f"must need fewer than {randomness.MAX_COUNTER:,} steps of noise", steps)
        if task.stop is not None:
            program = program._replace(stop=(task.stop.traced, task.stop.spec))
        self.block = block_size(task, program, segments, run.epoch, run.epoch_bits)
        self.turns = -(-task.members // self.block)
        self.program = program._replace(prefetch=prefetch_of(program, segments))
        self.keys = (
            randomness.lane_keys(task.seed, program.random_inputs.calls),
            randomness.lane_keys(task.seed, -(-run.epoch_bits // 64), stream=1),
        )
        self.limits = np.zeros(0) if task.stop is None else task.stop.thresholds

    def until_bad(self) -> "Parts":
        """The same run, whose members are stopped where they are no longer finite."""
        other = copy.copy(self)
        other.program = self.program._replace(stop=(_badness, ()))
        return other


def _badness(system: Any, spec: tuple, state: jax.Array, limits: jax.Array) -> jax.Array:
    """Nonnegative where a state is not finite or beyond HUGE."""
    return jnp.where(jnp.max(jnp.abs(state)) <= HUGE, -1.0, 1.0)
