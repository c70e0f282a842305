"""What identifies a user's function in a recipe:  hash(its syntax tree, the values that it uses).

    print = "ast:" + sha256(nodes, names; numbers, texts, arrays and functions that they stand for)

The tree is that of the source, so that comments and layout do not count, nor the version of Python. Where there is no
source (a function typed into plain Python), it is the compiled code, which only the same version of Python compares
("code3.12:..."). Functions of installed packages go by their names, since their sources change with every release.
"""

import ast
import functools
import hashlib
import inspect
import linecache
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from flowdyn import _check

DEEPEST = 4  # functions that functions use are looked into so far
MANY = 1000  # members of a list or a dictionary beyond which it counts by its length
INSTALLED = ("site-packages", "dist-packages")


def fingerprint(function: Callable) -> str:
    """The kind of the print, a colon and its digest."""
    kinds: set[str] = set()
    text = "\n".join(_parts(function, DEEPEST, kinds))
    kind = "code{}.{}".format(*sys.version_info[:2]) if "code" in kinds else "ast"
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()}"


def source_hash(function: Callable) -> str | None:
    """SHA-256 of the source as it stands, by which older files name a function."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (TypeError, OSError):
        return None


def fingerprints(functions: Mapping[str, Callable] | None) -> dict[str, str]:
    """The prints of named functions."""
    return {name: fingerprint(function) for name, function in (functions or {}).items()}


def warn_of_others(argument: str, known: Any, functions: Mapping[str, Callable] | None, stacklevel: int) -> None:
    """Warn of functions that are not those with the prints `known`; older files know none."""
    for name, function in (functions or {}).items():
        there, here = known.get(name) if isinstance(known, dict) else None, fingerprint(function)
        if isinstance(there, str) and is_other(there, here):
            warn_of_other(f"{argument}[{name!r}]" if name else argument, name or argument, stacklevel + 1)


def is_other(there: str, here: str) -> bool:
    """Whether two prints can be compared, and differ."""
    return there.split(":")[0] == here.split(":")[0] and there != here


def warn_of_other(argument: str, label: str, stacklevel: int) -> None:
    """Warn the caller of `rebuild` or `rerun` of another function."""
    warnings.warn(
        f"`{argument}` differs in its source, or in a value that it uses, from the one that made this file ({label})",
        _check.FlowdynWarning,
        stacklevel=stacklevel + 1,
    )


def _parts(value: Any, depth: int, kinds: set[str]) -> Iterator[str]:
    """What a value is, piece by piece."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield repr(value)
    elif isinstance(value, list | tuple | dict):
        items = list(value.items()) if isinstance(value, dict) else list(value)
        yield f"{type(value).__name__} {len(items)}"
        for item in items if len(items) < MANY and depth else []:
            yield from _parts(item, depth - 1, kinds)
    elif isinstance(value, types.ModuleType | type):
        yield value.__name__
    elif isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, dict(value.keywords)), depth, kinds)
    elif isinstance(value, types.MethodType):
        yield from _parts((value.__func__, value.__self__), depth, kinds)
    elif callable(value) and isinstance(inspect.unwrap(value), types.FunctionType):
        yield from _function(inspect.unwrap(value), depth, kinds)
    elif hasattr(value, "__array__") and (array := _array(value)) is not None:
        yield f"{array.dtype}{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    else:
        yield f"{type(value).__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
        if depth:
            yield from _parts(dict(getattr(value, "__dict__", {})), depth - 1, kinds)


def _array(value: Any) -> np.ndarray | None:
    """A value as an array of numbers; None where it is not one after all: a key of JAX, a Dataset."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return None if array.dtype.hasobject else array


def _function(function: types.FunctionType, depth: int, kinds: set[str]) -> Iterator[str]:
    """A function by its name where it is installed, else by its tree and the values that it uses."""
    code, module = function.__code__, function.__module__ or ""
    if module.split(".")[0] == "flowdyn" or any(place in code.co_filename for place in INSTALLED) or not depth:
        yield f"{module}.{function.__qualname__}"
        return
    tree = _tree(code)
    if tree is None:
        kinds.add("code")
        yield from _code(code)
        names = set(code.co_names)
    else:
        yield from _nodes(tree)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    yield from _parts((function.__defaults__, function.__kwdefaults__), depth - 1, kinds)
    used = inspect.getclosurevars(function)
    outside = {name: value for name, value in used.globals.items() if name in names} | dict(used.nonlocals)
    for name, value in sorted(outside.items()):
        if value is not function and not isinstance(value, types.ModuleType):
            yield name
            yield from _parts(value, depth - 1, kinds)


def _tree(code: types.CodeType) -> ast.AST | None:
    """Syntax tree of a function, found by its lines and columns; None where there is no source."""
    kind = ast.Lambda if code.co_name == "<lambda>" else ast.FunctionDef
    found: list[Any] = [
        node
        for first, node in _defined("".join(linecache.getlines(code.co_filename)))
        if isinstance(node, kind) and first == code.co_firstlineno
    ]
    if len(found) > 1:  # lambdas on one line: the one whose body has the columns of the code
        spots = {(line, column) for line, _, column, _ in code.co_positions() if line and column}
        found = [node for node in found if _first_spot(node) in spots] or found[:0]
        found.sort(key=lambda node: -node.col_offset)
    return found[0] if found else None


@functools.lru_cache(maxsize=8)  # a file of hundreds of lines takes longer to parse than many a run of its functions
def _defined(source: str) -> list[tuple[int, ast.AST]]:
    """First line and tree of each function of a source, decorators included; none where it is no Python."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    functions = [node for node in ast.walk(module) if isinstance(node, ast.Lambda | ast.FunctionDef)]
    return [(min(n.lineno for n in (node, *getattr(node, "decorator_list", []))), node) for node in functions]


def _first_spot(node: ast.Lambda) -> tuple[int, int]:
    """Line and column of the first thing that a lambda's body computes."""
    inner: ast.expr = node.body
    return inner.lineno, inner.col_offset


def _nodes(node: Any) -> Iterator[str]:
    """A tree in a form that no version of Python changes: empty fields, docstrings and places are left out."""
    if isinstance(node, list):
        for part in node:
            yield from _nodes(part)
    elif isinstance(node, ast.AST):
        yield type(node).__name__
        for field, value in ast.iter_fields(node):
            is_name = field in ("kind", "type_comment", "name") and not isinstance(node, ast.alias)
            if (value is None and not isinstance(node, ast.Constant)) or value == [] or is_name or field == "ctx":
                continue
            yield field
            is_documented = field == "body" and isinstance(node, ast.FunctionDef) and bool(ast.get_docstring(node))
            yield from _nodes(list(value or ())[1:] if is_documented else value)
    else:
        yield repr(node)


def _code(code: types.CodeType) -> Iterator[str]:
    """Compiled code with its constants."""
    yield code.co_code.hex()
    yield repr(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        else:
            yield repr(constant)
