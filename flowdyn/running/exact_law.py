"""The exact mean and covariance beside a random run, where they are known and cost less than the run.

A decoration: what it takes is estimated before it is computed, and whatever it cannot do is said in words in the file.
"""

from collections.abc import Collection

import numpy as np

from flowdyn import _check
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.systems import Moments, RandomSystem
from flowdyn.problems.base import Variable
from flowdyn.results import dataset
from flowdyn.results.dataset import LabelledArray
from flowdyn.running.outcome import Outcome
from flowdyn.running.preparation import PreparedRun

ENTRIES = 200_000  # of the exact covariance over time, above which it is left out
WORK, STEP_WORK = 5e8, 50  # operations that a law may take: a tenth of a second, and as many as the run's own
FAILURES = (_check.RunError, ArithmeticError, ValueError, MemoryError, RuntimeError)  # RuntimeError: JAX's own
LEFT_OUT = "left out: "
DIAGONAL = "variances only: covariances between several parameters, or along several dimensions, are left out"


def law_beside(run: PreparedRun, outcome: Outcome, taken: Collection[str]) -> tuple[list[LabelledArray], str]:
    """Arrays of the law under names that are not `taken`, and why the law, or a part of it, is not among them."""
    system, size = run.system, run.first.size
    if not isinstance(system, RandomSystem) or not len(outcome.t):
        return [], ""
    when = outcome.t - run.start.t0
    if isinstance(system, RecursionSystem) and outcome.k is not None:
        when = outcome.k - run.start.k0
    reason = _too_dear(run, outcome, when)
    if reason:
        return [], f"{LEFT_OUT}{reason}"
    if run.has_many_starts:
        return [], f"{LEFT_OUT}its members start from different states" if system.moments_work(size, when) else ""
    try:
        of = system.project(run.start.states) if system.moments_of_parameters else run.start.states
        known = system.exact_moments(np.asarray(of), when)
    except FAILURES as error:
        return [], f"{LEFT_OUT}it could not be computed ({' '.join(str(error).split())[:160]})"
    if known is None:
        return [], ""
    if not all(np.isfinite(part).all() for part in known):
        return [], f"{LEFT_OUT}it grows beyond the range of float64"
    variables = system.parameters(size) if system.moments_of_parameters else system.layout(size)
    arrays = _labelled(variables, known)
    twice = sorted({array.name for array in arrays} & set(taken))
    if twice:
        return [], f"{LEFT_OUT}its names are taken ({', '.join(twice)})"
    return arrays, "" if _is_vector(variables) else DIAGONAL


def _too_dear(run: PreparedRun, outcome: Outcome, when: np.ndarray) -> str:
    """Why the law costs more than the run; "" where it does not, or where there is none."""
    system, size = run.system, run.first.size
    assert isinstance(system, RandomSystem)
    work = system.moments_work(size, when)
    if work == 0.0:
        return ""
    entries = len(outcome.t) * size**2
    if entries > ENTRIES:
        return f"its covariance has {entries:,} entries, more than {ENTRIES:,}; fewer `saves` have it"
    if not np.isfinite(work):
        return "its samples have too many second derivatives"
    steps = int(outcome.k[-1]) - run.start.k0 if outcome.k is not None else len(outcome.t)
    if work > WORK + STEP_WORK * run.members * size * steps:
        return f"about {work:.1e} operations, more than the run's own; system.exact_moments(w0, when) computes it"
    return ""


def _is_vector(variables: Collection[Variable]) -> bool:
    return [len(v.dims) for v in variables] == [1]


def _labelled(variables: tuple[Variable, ...], known: Moments) -> list[LabelledArray]:
    """Mean and covariance of one vector; of anything else means and variances, one variable a parameter."""
    means = dataset.split_state(variables, known[0])
    arrays = [
        LabelledArray(f"{v.name}_mean_exact", ("t", *v.dims), means[v.name], {"long_name": f"exact mean of {v.name}"})
        for v in variables
    ]
    if _is_vector(variables):
        (name, (dim,)) = variables[0].name, variables[0].dims
        text = {"long_name": f"exact covariance of {name}"}
        return [*arrays, LabelledArray(f"{name}_cov_exact", ("t", dim, f"{dim}_2"), known[1], text)]
    spread = dataset.split_state(variables, np.diagonal(known[1], axis1=1, axis2=2))
    return arrays + [
        LabelledArray(
            f"{v.name}_var_exact", ("t", *v.dims), spread[v.name], {"long_name": f"exact variance of {v.name}"}
        )
        for v in variables
    ]
