"""Which solver runs a system: the user's if it can, else the first of the registry that does."""

import warnings
from typing import Any

import numpy as np

from flowdyn import _check, solvers
from flowdyn._tools.compiled import float64_is_on
from flowdyn._tools.registry import look_up
from flowdyn.methods.systems import ODESystem, System
from flowdyn.solvers.base import Solver


def check_choices(system: Any, solver: Any, on_divergence: str) -> None:
    """Refuse what is no system or solver, before anything is computed."""
    if not isinstance(system, System):
        raise _check.fail("system", "must be a flowdyn system", system, "e.g. fd.GradientFlow(problem) or fd.ODE(f)")
    if solver is not None and not isinstance(solver, Solver):
        names = ", ".join(f"fd.solvers.{name}(...)" for name in solvers.REGISTRY)
        raise _check.fail("solver", "must be a solver object", solver, f"one of {names}")
    _check.choice("on_divergence", on_divergence, ("raise", "keep"))
    if not float64_is_on():
        warnings.warn(
            "JAX runs in float32 (JAX_ENABLE_X64=0): results have 7 digits; unset the variable for float64",
            _check.FlowdynWarning,
            stacklevel=3,
        )


def refuse_stiffness(system: System, solver: Solver, end: float) -> None:
    """An explicit method beyond what a stiff system allows would take millions of steps."""
    if isinstance(system, ODESystem) and solver.is_explicit and end > system.explicit_until:
        raise _check.fail(
            "solver",
            f"must be implicit for {type(system).__name__} beyond t = {system.explicit_until:.3g}, where it is stiff",
            f"{type(solver).__name__} up to t = {end:g}",
            "use Scipy('LSODA'), 'Radau' or 'BDF'",
        )


def pick_solver(system: System, state0: np.ndarray, solver: Solver | None) -> Solver:
    """`solver` if it supports the system, else refuse; None means the first of the registry that does."""
    if solver is not None:
        why = solver.refuses(system, state0)
        if why:
            raise _check.ArgumentError(f"`solver` {type(solver).__name__} cannot run {type(system).__name__}: {why}")
        return solver
    reasons = []
    for name in solvers.REGISTRY:
        candidate = look_up("solver", name, solvers.__name__, solvers.REGISTRY)()
        why = candidate.refuses(system, state0)
        if why is None:
            return candidate
        reasons.append(f"{name}: {why}")
    raise _check.ArgumentError(
        f"`solver` must support {type(system).__name__}, got none that does ({'; '.join(reasons)})"
    )
