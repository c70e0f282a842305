"""Whether an implicit method is cheaper than the explicit steps that are left, and how it goes on from there.

    left = (t_end - t) / h * cost of six or twelve right-hand sides
        against  N compiled steps of Rodas5P, each with a Jacobian and its LU, N' of LSODA in Python with few of them

Costs are counted, not timed: the same run decides alike on every machine.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flowdyn._tools.compiled import split
from flowdyn._tools.inline_calls import with_inline_calls
from flowdyn.solvers.base import Result, Task

if TYPE_CHECKING:
    from flowdyn.solvers.explicit_run import ExplicitRun

FLOPS, LU_FLOPS = 4e3, 1e4  # a microsecond, of products of matrices and vectors and of factorisations
OVERHEAD = 5.0  # microseconds of an explicit step beside its right-hand sides
IMPLICIT_STEPS, IMPLICIT_STEP = 700, 120.0  # steps that an implicit method takes at rtol 1e-8, and microseconds of each
JACOBIANS, IMPLICIT_ORDER = 30, 5
COMPILED = "Rodas5P"
COMPILED_STEPS, COMPILED_STEP = 1500, 15.0  # the same of Rodas5P
VALUES, SOLUTIONS = 10, 9  # right-hand sides and solutions with the factors in a step of it
DENSE_BYTES = 1 << 28  # of a Jacobian: 5792 x 5792


class Decision(NamedTuple):
    """Which implicit method goes on ("" for none), and why."""

    method: str
    reason: str


def value_cost(task: Task) -> float:
    """Microseconds of one right-hand side: passes over the state and products with the numbers of the system."""
    return (20 * task.state0.size + 4 * sum(array.size for array in split(task.system)[0])) / FLOPS


def decide(task: Task, carry: Any, end: float, rtol: float, evaluations: int) -> Decision:
    """Compare what is left of explicit steps with an implicit method."""
    size = task.state0.size
    steps = (end - float(carry.t)) / float(carry.h)
    value = value_cost(task)
    explicit = steps * (OVERHEAD + evaluations * value)
    dense = 8 * size**2 <= DENSE_BYTES
    factors = 2 / 3 * size**3 / LU_FLOPS
    more = max((1e-8 / rtol) ** (1 / IMPLICIT_ORDER), 1.0)
    each = COMPILED_STEP + (VALUES + size / 2) * value + factors + SOLUTIONS * 2 * size**2 / FLOPS
    costs = {
        COMPILED: more * COMPILED_STEPS * each,
        "LSODA": more * (IMPLICIT_STEPS * (IMPLICIT_STEP + 2 * value) + JACOBIANS * (size * value / 4 + factors)),
    }
    if task.t is None:  # without an end its steps may pass the time at which all is at rest
        del costs[COMPILED]
    method = min(costs, key=lambda name: costs[name])
    left = "no end of" if np.isinf(steps) else f"{steps:.2g}"
    if not (dense and explicit > costs[method]):
        return Decision("", f"{left} explicit steps are left, which cost less")
    return Decision(method, f"stiff, with {left} explicit steps left")


def go_on(run: "ExplicitRun", method: str) -> tuple[Result | None, np.ndarray | None]:
    """The result of an implicit method from where the run is; or the coordinates that came back."""
    from flowdyn.solvers.continuing import ComesBackError, Continuation

    try:
        return with_inline_calls(Continuation(run, method).result_of_both), None
    except ComesBackError as found:
        return None, found.back
