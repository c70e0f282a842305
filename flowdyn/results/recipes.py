"""Systems as data, and back: what a file says about how it was made, and the same objects again.

    {"class": "GradientDescent", "args": {"problem": {"class": "LinearRegression", "args": {"X": {"array": "X"}, ...}},
     "eta": 0.01}}

Names are looked up in the registries only; nothing in a file is ever executed. A user's own functions are named with
a print of what they are (``user_functions.py``), and must be handed in again.
"""

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from flowdyn import _check, methods, problems, schedules, solvers
from flowdyn._tools.registry import look_up
from flowdyn.methods.systems import System
from flowdyn.problems.base import Problem
from flowdyn.problems.inputs import Labels
from flowdyn.results.user_functions import fingerprint, is_other, source_hash, warn_of_other
from flowdyn.solvers.base import Solver

MAX_JSON = 1 << 18  # characters of a description that is read from a file
NAMES = {**problems.REGISTRY, **methods.REGISTRY, **dict.fromkeys(schedules.REGISTRY, "schedules")}

# variable name -> (dims, values, long name)
Arrays = dict[str, tuple[tuple[str, ...], np.ndarray, str]]


def describe(module: Any) -> tuple[dict[str, Any], Arrays]:
    """Return a JSON-able description of a system and the arrays that it refers to."""
    arrays: Arrays = {}
    return _object(module, arrays), arrays


def describe_solver(solver: Solver) -> dict[str, Any]:
    """Name and effective options of a solver."""
    return {"class": type(solver).__name__, "args": solver.config()}


def _object(module: Any, arrays: Arrays) -> dict[str, Any]:
    name = type(module).__name__
    if name not in NAMES:
        return {"custom": name}
    args = module.config() if isinstance(module, Problem | System) else dict(vars(module))
    declared = module.arrays if isinstance(module, Problem) else {}
    spec = {}
    for key, value in args.items():
        if key == "w0_like":
            spec[key] = _skeleton(value)
            continue
        dims, long_name = declared.get(key, (None, f"{key} of {name}"))
        spec[key] = _encoded(value, key, dims, long_name, arrays)
    return {"class": name, "args": spec} | ({"form": module.form} if isinstance(module, System) and module.form else {})


def _encoded(value: Any, name: str, dims: tuple[str, ...] | None, long_name: str, arrays: Arrays) -> Any:
    if isinstance(value, schedules.Constant):
        return float(value.eta)
    if isinstance(value, Problem | System | schedules.Schedule):
        return _object(value, arrays)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {k: _encoded(v, f"{name}_{k}", None, f"{long_name}, {k}", arrays) for k, v in value.items()}}
    if type(value) in (list, tuple):
        parts = [_encoded(v, f"{name}_{i}", None, f"{long_name}, entry {i}", arrays) for i, v in enumerate(value)]
        return {type(value).__name__: parts}
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.ndim == 0:
            return array.item()
        arrays[name] = (dims or tuple(f"{name}_dim_{axis}" for axis in range(array.ndim)), array, long_name)
        return {"array": name}
    return _custom(value)


def _custom(value: Any) -> dict[str, str]:
    return {"custom": getattr(value, "__qualname__", type(value).__name__), "print": fingerprint(value)}


def _skeleton(tree: Any) -> Any:
    """Structure of the parameters: nested dicts, lists and tuples of shapes; anything else must be handed in."""
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        return {"dict": {key: _skeleton(part) for key, part in tree.items()}}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_skeleton(part) for part in tree]}
    if hasattr(tree, "__array__") and np.asarray(tree).dtype.kind == "f":
        return {"zeros": list(np.asarray(tree).shape)}
    return None if tree is None else {"custom": type(tree).__name__}


def read_json(text: Any, what: str) -> Any:
    """Parse JSON from a file strictly: bounded, finite numbers, no duplicate keys."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            raise ValueError("duplicate keys")
        return dict(pairs)

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not allowed")

    try:
        if not isinstance(text, str) or len(text) > MAX_JSON:
            raise ValueError("missing or too long")
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _check.FileError(f"{what} must be valid JSON, got {error}; the file is damaged") from None


def build_system(recipe: Mapping[str, Any], ds: Any, handed: Mapping[str, Any]) -> System:
    """The system that the recipe of a result describes; functions of a user's own are taken from `handed`."""
    spec = recipe.get("system")
    _refuse_missing(recipe, handed)
    system = _build(spec, _Source(ds, recipe.get("target"), handed))
    if not isinstance(system, System):
        raise _check.FileError("its recipe must describe a method; the file is damaged")
    asked = custom_parts(recipe)
    for name, value in handed.items():
        if value is not None and name not in (*asked, "observe", "observable"):
            raise _check.fail(name, f"must be one of the functions that the run names, {sorted(asked)}", value)
    return system


def _refuse_missing(recipe: Mapping[str, Any], handed: Mapping[str, Any]) -> None:
    """Ask at once for all that a recipe only names and that is not handed in."""
    parts = {name: (what, "...") for name, what in custom_parts(recipe).items() if handed.get(name) is None}
    options = recipe.get("options")
    for name in ("observe", "observable") if parts else ():  # asked for on their own where nothing else is missing
        labels = options.get(name) if isinstance(options, dict) else None
        if labels and isinstance(labels, list) and handed.get(name) is None:
            parts[name] = (" ".join(map(str, labels)), f"{{{', '.join(f'{label!r}: ...' for label in labels)}}}")
    if not parts:
        return
    *most, last = [f"`{name}`" for name in parts]
    names, them = f"{', '.join(most)} and {last}" if most else last, "them" if most else "it"
    whats = ", ".join(what for what, _ in parts.values())
    call = ", ".join(f"{name}={form}" for name, (_, form) in parts.items())
    raise _check.ArgumentError(
        f"{names} must be handed in again, got a file that only names {them} ({whats}); call rebuild(ds, {call})"
    )


def custom_parts(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What a recipe can only name: names of arguments, with what stood there."""
    return dict(_asked(recipe.get("system"), "system"))


def _asked(spec: Any, name: str) -> Iterator[tuple[str, str]]:
    """Names of what a recipe cannot hold, each with what it was called."""
    if not isinstance(spec, dict):
        return
    if "custom" in spec:
        yield name, str(spec["custom"])
    for key, part in (spec.get("dict") or spec.get("args") or {}).items():
        yield from _asked(part, key)
    for kind in (list, tuple):
        for part in spec.get(kind.__name__, ()):
            yield from _asked(part, name)


def build_solver(solver: Any) -> Solver:
    """The solver that a recipe describes."""
    if not isinstance(solver, dict) or not isinstance(solver.get("args", {}), dict):
        raise _check.FileError("its recipe must describe a solver; the file is damaged")
    cls = look_up("solver", solver.get("class"), "flowdyn.solvers", solvers.REGISTRY)
    args = solver.get("args", {})
    _check_arguments("solver", cls, args)
    return cls(**args)


def _check_arguments(part: str, cls: Any, args: Mapping[str, Any]) -> None:
    unknown = set(args) - set(inspect.signature(cls).parameters)
    if unknown:
        raise _check.FileError(
            f"the {part} of its recipe has arguments {sorted(unknown)} that {cls.__name__} does not take"
        )


class _Source(NamedTuple):
    """Where the parts of a recipe come from."""

    ds: Any  # holds the arrays and labels
    target: str | None  # name of y
    handed: Mapping[str, Any]  # functions of a user's own


def _build(spec: Any, source: _Source, name: str = "system") -> Any:
    ds = source.ds
    if not isinstance(spec, dict):
        return spec
    if "custom" in spec:
        return _handed(spec, source.handed, name)
    if "array" in spec:
        if spec["array"] not in ds:
            raise _check.FileError(f"variable {spec['array']!r} must be in the file: {name} refers to it")
        return np.asarray(ds[spec["array"]].values)
    if "zeros" in spec:
        shape = [_check.integer("shape", n, minimum=0) for n in spec["zeros"]]
        if math.prod(shape) > sum(v.size for v in ds.variables.values()):
            raise _check.FileError(f"its recipe asks for an array of shape {shape}; the file is damaged")
        return np.zeros(shape)
    if "dict" in spec:
        return {key: _build(part, source, key) for key, part in spec["dict"].items()}
    for kind in (list, tuple):
        if kind.__name__ in spec:
            return kind(_build(part, source, name) for part in spec[kind.__name__])
    cls = class_of(spec.get("class"))
    if not isinstance(spec.get("args"), dict):
        raise _check.FileError("its recipe must give the arguments of each class; the file is damaged")
    args = {key: _build(part, source, key) for key, part in spec["args"].items()}
    _check_arguments("system", cls, args)
    if "labels" in inspect.signature(cls).parameters:
        coords = {dim: ds[dim].values for dim in ("feature", "sample", "param", "output") if dim in ds.coords}
        args["labels"] = Labels(coords, {"target": source.target} if source.target else None)
    return cls(**args)


def class_of(name: Any) -> Any:
    """The schedule, problem or method of a name that a recipe holds; nothing but a registered name is imported."""
    if name in schedules.REGISTRY:
        return schedules.REGISTRY[name]
    package, registry = (problems, problems.REGISTRY) if name in problems.REGISTRY else (methods, methods.REGISTRY)
    return look_up("system", name, package.__name__, registry)


def _handed(spec: Mapping[str, Any], handed: Mapping[str, Any], name: str) -> Any:
    given = handed[name]
    there = spec.get("print")
    if isinstance(there, str):
        differs = is_other(there, fingerprint(given))
    else:  # an older file
        differs = spec.get("sha256", source_hash(given)) != (source_hash(given) or spec.get("sha256"))
    if differs:
        warn_of_other(name, spec["custom"], 6)
    return given
