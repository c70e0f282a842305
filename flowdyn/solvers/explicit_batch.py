"""Many explicit runs, each at its own pace:  threads over blocks of runs, one compiled loop over the runs of a block

Members in lock-step would all wait for the slowest. A jitted call releases the interpreter's lock, so threads take
blocks from one queue, and a block's size follows from bytes alone. What comes out is the same for any number of blocks.
On an accelerator lock-step is the cheaper one, and all members go in one call.
"""

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn._tools.stacked import bind_turns, stack
from flowdyn._tools.threads import cores, is_accelerated
from flowdyn.solvers.explicit_program import advance
from flowdyn.solvers.explicit_run import ExplicitRun
from flowdyn.solvers.explicit_state import Carry, Method
from flowdyn.solvers.fewer_unknowns import take_over
from flowdyn.solvers.handover import value_cost
from flowdyn.solvers.tolerances import Path

FIRST_TRIES, FIRST_COST = 256, 1e5  # steps of the first call of a run at the most, and microseconds they may cost
SHORT, LONG = 0.03, 0.1  # seconds of a call, between which the number of its steps is kept
MOST_TRIES = 1 << 20  # of a call: those that come back at once for a look would double it for ever
BLOCK, BLOCK_BYTES = 16, 1 << 26  # runs of a block, and its memory
WIDE, WIDE_BYTES = 1 << 14, 1 << 32  # the same on an accelerator


def first_tries(run: ExplicitRun) -> int:
    """Steps of a first call: so few where each is dear that a budget of seconds is looked at."""
    return max(min(FIRST_TRIES, int(FIRST_COST / (6 * value_cost(run.task.system, run.task.state0.size)))), 1)


def run_alone(run: ExplicitRun) -> None:
    """Go on until there is a result; calls are short, so that budgets and progress are kept to."""
    tries, program, call = first_tries(run), run.program, bind(advance, run.task.system, run.program)
    while not run.is_over:
        if run.program != program:  # handed over, or begun again
            program, call = run.program, bind(advance, run.task.system, run.program)
        began = time.monotonic()
        run.absorb(*call(run.carry, run.numbers(tries)))
        took = time.monotonic() - began
        tries = min(2 * tries, MOST_TRIES) if took < SHORT else max(tries // 2, 1) if took > LONG else tries
    if run.result is None and run.successor is not None:
        run_alone(run.successor)
        take_over(run)
        run_alone(run)  # where that broke off


def block_size(run: ExplicitRun) -> int:
    """Runs of a block, a power of two."""
    one = 8 * run.task.state0.size * (run.program.rows + 32)
    most, room = (WIDE, WIDE_BYTES) if is_accelerated() else (BLOCK, BLOCK_BYTES)
    return min(most, 1 << (max(room // one, 1).bit_length() - 1))


def run_together(runs: list[ExplicitRun]) -> None:
    """Go on with all of them until each has a result; their systems are one, or of one form, and so are their saves."""
    share = 1 << (-(-len(runs) // cores()) - 1).bit_length()  # so that few runs keep every core busy too
    size, tries = min(block_size(runs[0]), share), first_tries(runs[0])
    systems = stack([run.task.system for run in runs])
    with ThreadPoolExecutor(cores()) as threads:
        while left := [i for i, run in enumerate(runs) if not run.is_over]:
            alike = ([i for i in left if runs[i].program.method is method] for method in Method)
            # dealt out like cards: neighbours in a grid take about as many steps, and the longest block decides
            blocks = [some[i :: -(-len(some) // size)] for some in alike for i in range(-(-len(some) // size))]
            calls = [bind_turns(advance, systems, runs[block[0]].program) for block in blocks]
            began = time.monotonic()
            advanced = threads.map(functools.partial(_advance, runs, size, tries), calls, blocks)
            for block, (carries, *saved) in zip(blocks, advanced, strict=True):
                for place, i in enumerate(block):
                    runs[i].absorb(Carry(*(_row(part, place) for part in carries)), *(part[place] for part in saved))
            tries = min(2 * tries, MOST_TRIES) if time.monotonic() - began < 10 * LONG else tries
    ahead = [run for run in runs if run.result is None]
    if following := [run.successor for run in ahead if run.successor is not None]:
        run_together(following)
        for run in ahead:
            take_over(run)
    if broken_off := [run for run in ahead if run.result is None]:
        run_together(broken_off)


def _row(part: Any, i: int) -> Any:
    return Path(*(leaf[i] for leaf in part)) if isinstance(part, Path) else part[i]


def _advance(runs: list[ExplicitRun], size: int, tries: int, call: Callable, block: list[int]) -> tuple:
    """One call for a block; runs that fill it up take no step."""
    full = [*block, *[block[-1]] * (size - len(block))]
    given = [(runs[i].carry, runs[i].numbers(tries if at < len(block) else 0)) for at, i in enumerate(full)]
    stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *given)
    return jax.tree.map(np.asarray, call(full, *stacked))
