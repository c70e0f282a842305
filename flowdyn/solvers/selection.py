"""Which solver runs a system: the user's if it can, else the first of the registry that does.

Nothing here names a solver: what each takes is declared in its :attr:`Solver.support`.
"""

from collections.abc import Iterator

import numpy as np

from flowdyn import _check, solvers
from flowdyn._tools.registry import look_up
from flowdyn.methods.systems import System
from flowdyn.solvers.base import Demand, Solver

SHOWN = 3  # solvers that a message proposes, or tells why they cannot


def _classes() -> Iterator[type[Solver]]:
    for name in solvers.REGISTRY:
        yield look_up("solver", name, solvers.__name__, solvers.REGISTRY)


def check_solver(solver: object) -> None:
    """Refuse what is no solver object."""
    if solver is not None and not isinstance(solver, Solver):
        names = ", ".join(f"fd.solvers.{name}(...)" for name in solvers.REGISTRY)
        raise _check.fail("solver", "must be a solver object", solver, f"one of {names}")


def pick_solver(system: System, state0: np.ndarray, solver: Solver | None, demand: Demand = Demand()) -> Solver:  # noqa: B008
    """`solver` if it can run the system as demanded, else refuse; None means the first of the registry that can."""
    name = type(system).__name__
    check_solver(solver)
    if solver is not None:
        why = solver.refuses(system, state0, demand)
        if why:
            way_out = _way_out(system, state0, demand)
            raise _check.ArgumentError(f"`solver` {type(solver).__name__} cannot run {name}: {why}; {way_out}")
        return solver
    reasons: list[str] = []
    without_demand: list[str] = []  # reasons that lie in what is demanded, not in the system
    for cls in _classes():
        candidate = cls()
        why = candidate.refuses(system, state0, demand)
        if why is None:
            return candidate
        shown = without_demand if candidate.refuses(system, state0) is None else reasons
        shown.append(f"{cls.__name__}: {why}")
    able = next(_able(system, state0, demand), None)
    if able is not None:
        return able
    raise _check.ArgumentError(
        f"`solver` must be able to run {name}, got none that can ({'; '.join((without_demand or reasons)[:SHOWN])}); "
        f"{_way_out(system, state0, demand)}"
    )


def _able(system: System, state0: np.ndarray, demand: Demand) -> Iterator[Solver]:
    """One instance of each class that can run the system as demanded."""
    for cls in _classes():
        for candidate in (cls(), *cls.variants()):
            if candidate.refuses(system, state0, demand) is None:
                yield candidate
                break


def _way_out(system: System, state0: np.ndarray, demand: Demand) -> str:
    """What to use instead, or what to leave out."""
    able = [_call(solver) for solver in _able(system, state0, demand)][:SHOWN]
    if able:
        return f"use {' or '.join(able)}"
    without = {"stop": demand._replace(stop=False), "max_seconds": demand._replace(max_seconds=False)}
    spare = [f"leave `{name}` out" for name, less in without.items() if next(_able(system, state0, less), None)]
    if not system.is_traceable(state0):
        spare.append("write its functions with jax.numpy")
    return ", or ".join(spare) or "no solver can"


def _call(solver: Solver) -> str:
    """The shortest call that makes it, without what a class fills in by itself."""
    default = type(solver)()
    own = [repr(value) for name, value in solver.config().items() if default.config()[name] != value]
    return f"{type(solver).__name__}({', '.join(own[:1])})" if own else type(solver).__name__


def accurate_solver(
    system: System, state0: np.ndarray, rtol: float, *, end: float = 0.0, explicit: bool = True
) -> Solver:
    """The first solver of the registry that runs a system to a relative tolerance; closed forms come first.

    An explicit method of high order is the faster one where a recursion with the same time scales runs beside it.
    """
    for wanted in (True, False) if explicit else (False,):
        for cls in _classes():
            candidate = cls().at_tolerance(rtol, wanted)
            if candidate is not None and candidate.refuses(system, state0, Demand(end=end)) is None:
                return candidate
    raise _check.ArgumentError(
        f"`solver` must be able to run {type(system).__name__} to a tolerance, got none that can"
    )


def solver_on_path(system: System, state0: np.ndarray, brownian_dt: float, dt: float | None = None) -> Solver:
    """The solver of highest order that runs a system on a Brownian path kept at `brownian_dt`, in steps of `dt`."""
    able = [
        candidate
        for cls in _classes()
        if (candidate := cls().on_path(brownian_dt, dt)) is not None and candidate.refuses(system, state0) is None
    ]
    if not able:
        raise _check.ArgumentError(
            f"`solver` must share a Brownian path with {type(system).__name__}, got none that can"
        )
    return max(able, key=lambda solver: solver.order or 0.0)
