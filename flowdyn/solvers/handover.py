"""Whether an implicit method is cheaper than the explicit steps that are left, and how it goes on from there.

    left = (t_end - t) / h * cost of six or twelve right-hand sides
        against  N compiled steps of Rodas5P, each with a Jacobian and its LU, N' of LSODA in Python with few of them,
        or the whole run by one of both in fewer unknowns, where the system has such a form

Costs are counted, not timed: the same run decides alike on every machine.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flowdyn._tools.compiled import split
from flowdyn._tools.inline_calls import with_inline_calls
from flowdyn.methods.systems import ODESystem, System
from flowdyn.solvers.explicit_state import Method
from flowdyn.solvers.fewer_unknowns import successor
from flowdyn.solvers.right_hand_side import RightHandSide

if TYPE_CHECKING:
    from flowdyn.solvers.explicit_run import ExplicitRun

FLOPS, LU_FLOPS = 4e3, 1e4  # a microsecond, of products of matrices and vectors and of factorisations
OVERHEAD = 5.0  # microseconds of an explicit step beside its right-hand sides
IMPLICIT_STEPS, IMPLICIT_STEP = 700, 120.0  # steps that an implicit method takes at rtol 1e-8, and microseconds of each
JACOBIANS, IMPLICIT_ORDER = 30, 5
COMPILED = "Rodas5P"
COMPILED_STEPS, COMPILED_STEP = 300, 15.0  # the same of Rodas5P
VALUES, SOLUTIONS = 10, 9  # right-hand sides and solutions with the factors in a step of it
FEWER = "in fewer unknowns"
COMPILATION = 1e5  # microseconds for two or three programs more, were they to be run a few times
DENSE_BYTES = 1 << 28  # of a Jacobian: 5792 x 5792


class Decision(NamedTuple):
    """Which implicit method goes on ("" for none), and why."""

    method: str
    reason: str


def value_cost(system: System, size: int) -> float:
    """Microseconds of one right-hand side: passes over the state and products with the numbers of the system."""
    return (20 * size + 4 * sum(array.size for array in split(system)[0])) / FLOPS


def decide(
    drift: RightHandSide, carry: Any, end: float, rtol: float, evaluations: int, smaller: Callable[[], ODESystem | None]
) -> Decision:
    """Compare what is left of explicit steps with implicit methods."""
    task, size = drift.task, drift.task.state0.size
    steps = (end - float(carry.t)) / float(carry.h)
    explicit = steps * (OVERHEAD + evaluations * value_cost(task.system, size))
    costs = _costs(task.system, size, rtol)
    # without an end its steps may pass the time at which all is at rest
    if costs and (task.t is None or not drift.has_jacobian):
        del costs[COMPILED]
    if explicit > COMPILATION and (small := smaller()) is not None:
        unknowns = np.size(small.lift(task.state0))
        costs[FEWER] = COMPILATION + min(_costs(small, unknowns, rtol).values())
    method = min(costs, key=lambda name: costs[name], default="")
    left = "no end of" if np.isinf(steps) else f"{steps:.2g}"
    if not method or explicit <= costs[method]:
        return Decision("", f"{left} explicit steps are left, which cost less")
    return Decision(method, f"stiff, with {left} explicit steps left")


def _costs(system: System, size: int, rtol: float) -> dict[str, float]:
    """Microseconds of a run by each implicit method whose Jacobian there is room for."""
    if 8 * size**2 > DENSE_BYTES:
        return {}
    value = value_cost(system, size)
    factors = 2 / 3 * size**3 / LU_FLOPS
    more = max((1e-8 / rtol) ** (1 / IMPLICIT_ORDER), 1.0)
    each = COMPILED_STEP + (VALUES + size / 4) * value + factors + SOLUTIONS * 2 * size**2 / FLOPS
    return {
        COMPILED: more * COMPILED_STEPS * each,
        "LSODA": more * (IMPLICIT_STEPS * (IMPLICIT_STEP + 2 * value) + JACOBIANS * (size * value / 4 + factors)),
    }


def hand_over(run: "ExplicitRun") -> None:
    """Hand a stiff run over where that is cheaper, else have it ask again after twice as many stiff steps."""
    carry, t = run.carry, float(run.carry.t)
    decision = decide(run.drift, carry, run.end, run.options.rtol, run.program.method.evaluations, lambda: run.smaller)
    if not decision.method:
        run.patience *= 2
    elif decision.method == FEWER:
        run.successor = successor(run)
    else:
        run.choice = f"{run.choice}, from t = {t:.17g} on {decision.method}: {decision.reason}"
        if decision.method == COMPILED:
            run.program = run.program._replace(method=Method.RODAS5P)
            fresh = run.carry_at(t, np.asarray(carry.y), carry.path)
            run.carry = carry._replace(dense=fresh.dense, stiff=fresh.stiff)
        else:
            go_on(run, decision.method)


def go_on(run: "ExplicitRun", method: str) -> None:
    """End a run by a method of scipy, or have it begin again where coordinates have come back."""
    from flowdyn.solvers.continuing import ComesBackError, Continuation

    try:
        run.result = with_inline_calls(Continuation(run, method).result_of_both)
    except ComesBackError as found:
        run.begin_again(found.back)
