"""Where things stand: levels that imports go down, back ends in files of their own, sizes, names."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import flowdyn as fd

SOURCE = Path(fd.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# lowest first; folders and single modules of one line do not import each other
LEVELS = [
    ["_check"],
    ["_tools"],
    ["schedules", "theory"],
    ["problems"],
    ["methods", "observables"],
    ["solvers"],
    ["results"],
    ["running", "plotting", "comparison"],
    ["convergence", "sweeps"],
    ["pages", "accessor"],
    ["cli"],
]
HEIGHT = {name: height for height, names in enumerate(LEVELS) for name in names}
ROOTS = ("__init__", "__main__")  # the package's face: its registry, and the command


def place(path):
    """First part of the path below the package, without its suffix."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that a file imports when it runs, lazily or not, and every name that might be one."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []  # for annotations only
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inner(path):
    """Folders and modules of the package that a file imports."""
    return {module.split(".")[1] for module in imports(path) if module.startswith("flowdyn.")}


def ids(path):
    return str(path.relative_to(SOURCE))


def test_every_place_has_a_level():
    assert {place(path) for path in FILES} - set(ROOTS) == set(HEIGHT)
    assert len(LEVELS) <= 11


@pytest.mark.parametrize("path", [path for path in FILES if place(path) not in ROOTS], ids=ids)
def test_imports_go_down(path):
    own = place(path)
    assert {name for name in inner(path) if name != own and HEIGHT[name] >= HEIGHT[own]} == set()


def test_no_two_modules_import_each_other_around_a_corner():
    names = {".".join(("flowdyn", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in FILES}
    edges = {name: {m for m in imports(path) if m in names and m != name} for name, path in names.items()}
    remaining = dict(edges)
    while remaining:
        free = [name for name, below in remaining.items() if not below & set(remaining)]
        assert free, f"a cycle among {sorted(remaining)}"
        for name in free:
            del remaining[name]


def test_few_modules_lie_loose():
    loose = {path.stem for path in SOURCE.glob("*.py")} - set(ROOTS)
    assert loose <= {"_check", "schedules", "comparison", "accessor"}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_file_imports_both_jax_and_xarray(path):
    roots = {module.split(".")[0] for module in imports(path)}
    assert not {"jax", "xarray"} <= roots


DIFFRAX = ("diffrax_solve.py", "diffrax_program.py", "following_controller.py", "diffrax_sde.py")
BACK_ENDS = {"diffrax": DIFFRAX, "sdeint": ("sdeint_paths.py",)}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_back_end_is_imported_in_its_own_file_only(path):
    roots = {module.split(".")[0] for module in imports(path)}
    assert all(path.name in files for module, files in BACK_ENDS.items() if module in roots)
    assert path.parent.name == "solvers" or "scipy.integrate" not in set(imports(path))


@pytest.mark.parametrize(
    "path", [path for path in FILES if place(path) in ("running", "convergence", "sweeps")], ids=ids
)
def test_drivers_name_no_solver(path):
    concrete = {f"flowdyn.solvers.{module}" for module in fd.solvers.REGISTRY.values()}
    assert not concrete & set(imports(path))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_module_bears_the_name_of_a_function_in_it(path):
    functions = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert path.stem not in functions


def functions_of(path):
    """Every function of a file with its length in lines, docstring left out, and its number of arguments."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            doc = node.body[0] if ast.get_docstring(node) else None
            skipped = doc.end_lineno - doc.lineno + 1 if doc else 0
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]
            yield node, node.end_lineno - node.lineno + 1 - skipped, len(arguments)


def lines_of(path):
    """Lines of a file, docstrings left out: a public name may say all that it has to."""
    text = path.read_text()
    documented = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    docs = [node.body[0] for node in documented if ast.get_docstring(node)]
    return len(text.splitlines()) - sum(doc.end_lineno - doc.lineno + 1 for doc in docs)


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_files_and_functions_are_short(path):
    assert lines_of(path) <= 230 and len(path.read_text().splitlines()) <= 400
    assert [(node.name, lines) for node, lines, _ in functions_of(path) if lines > 60] == []
    assert [(node.name, count) for node, _, count in functions_of(path) if count > 8] == []


def test_a_cheap_import():
    for name in ("problems", "methods", "observables", "solvers", "theory"):
        package = importlib.import_module(f"flowdyn.{name}")
        assert dir(package) == sorted(package.REGISTRY)


def test_the_page_shows_the_same_levels_and_every_place():
    page = (SOURCE.parent / "docs" / "architecture.md").read_text()
    block = page[page.index("    _check  <") : page.index("No file imports both")]
    assert [[name.strip() for name in level.split(",")] for level in block.split("<")] == LEVELS
    shown = set(re.findall(r"^\| `(\w+)(?:/|\.py)`", page, re.MULTILINE))
    assert shown == set(HEIGHT)
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", page):
        assert (SOURCE / path).is_file() or (SOURCE.parent / path).is_file(), path
