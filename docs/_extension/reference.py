"""The reference: one section a public name, from its docstring, in the order of the registries."""

import importlib
import inspect

import flowdyn as fd
from flowdyn.problems.base import Problem
from flowdyn.problems.regression import Regression
from flowdyn.solvers.base import Solver

GROUPS = {
    "running": ("solve", "sweep", "eta_limit", "fast_forward", "dimension_limit", "scaling_rule"),
    "results": ("save", "load", "concat", "rebuild", "rerun", "plot", "report"),
}
ERRORS = ("FlowdynError", "ArgumentError", "RunError", "FileError", "FlowdynWarning")
FUNCTIONS = ("linearize", "averaged")  # of fd that make methods
BASES = {"problems": (Problem, Regression), "solvers": (Solver,)}


def reference(group: str) -> str:
    """A table of the names of a group with their first sentences, then each of them in full."""
    names = members(group)
    rows = "\n".join(f"| {{py:obj}}`{full} <{full}>` | {_first(thing)} |" for full, thing in names.items())
    directives = "\n\n".join(_directive(full, thing) for full, thing in names.items())
    return f"| name | what it is |\n|---|---|\n{rows}\n\n```{{eval-rst}}\n{directives}\n```"


def members(group: str) -> dict[str, object]:
    """Public name -> object."""
    if group in GROUPS:
        names = (*GROUPS[group], *(_unplaced() if group == "results" else ()))
        return {f"flowdyn.{name}": getattr(fd, name) for name in names}
    if group == "errors":
        return {f"flowdyn.{name}": getattr(fd, name) for name in ERRORS}
    module = importlib.import_module(f"flowdyn.{group}")
    names = getattr(module, "REGISTRY", None) or [name for name in dir(module) if not name.startswith("_")]
    prefix = "flowdyn" if group == "methods" else f"flowdyn.{group}"
    found = {f"{prefix}.{name}": getattr(module, name) for name in names}
    if group == "methods":
        found |= {f"flowdyn.{name}": getattr(fd, name) for name in FUNCTIONS}
    found |= {f"{base.__module__}.{base.__qualname__}": base for base in BASES.get(group, ())}
    return {full: thing for full, thing in found.items() if callable(thing)}


def _unplaced() -> list[str]:
    """Public names of flowdyn that have no place yet: none is left out."""
    placed = {*ERRORS, *FUNCTIONS, *fd.methods.REGISTRY, *(name for names in GROUPS.values() for name in names)}
    return [name for name in fd.REGISTRY if name not in placed]


def _first(thing: object) -> str:
    """First sentence of a docstring, as Markdown."""
    text = inspect.getdoc(thing) or ""
    line = " ".join(text.split("\n\n")[0].split())
    line = line.replace("|", "\\|").replace("*", "\\*").replace("``", "`")
    for role in ("class", "func", "meth", "mod"):
        line = line.replace(f":{role}:`", "`")
    return line.replace("`~", "`")


def _directive(full: str, thing: object) -> str:
    kind = "autoclass" if inspect.isclass(thing) else "autofunction"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        kind = "autoexception"
    members = "\n   :members:" if isinstance(thing, type) and thing in sum(BASES.values(), ()) else ""
    return f".. {kind}:: {full}{members}"
