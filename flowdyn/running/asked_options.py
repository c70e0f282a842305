"""Keyword arguments that a function does not have and a solver has:  solve(..., rtol=)  ->  solver=Auto(rtol=)."""

import dataclasses

from flowdyn import solvers
from flowdyn._tools.calls import told_with


def _of_a_solver(argument: str, function: str) -> str | None:
    """Say that an argument is an option of a solver, where it is."""
    having = [solver for solver in solvers.REGISTRY if argument in _options(solver)]
    if not having:
        return None
    rule = f"is an option of a solver ({', '.join(having)}) and none of {function}"
    return f"`{argument}` {rule}; write solver=fd.solvers.{having[0]}({argument}=...)"


def _options(solver: str) -> set[str]:
    cls = getattr(solvers, solver)
    return {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()


told_of_solvers = told_with(_of_a_solver)
