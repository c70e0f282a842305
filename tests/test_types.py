"""What editors and type checkers see: stubs that follow the registries, types in public signatures, completion."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jedi
import pytest

import flowdyn as fd
from flowdyn._tools import stubs

ROOT = Path(__file__).parents[1]
CALLS = Path(__file__).parent / "typing"


def test_stubs_follow_the_registries():
    assert [path.parent.name for path in stubs.stale()] == []  # python -m flowdyn._tools.stubs writes them


@pytest.mark.parametrize("name", ["flowdyn", *(f"flowdyn.{name}" for name in fd.MODULES)])
def test_dir_shows_public_names_only(name):
    module = importlib.import_module(name)
    assert dir(module) == sorted(module.__all__)
    shown = {public for public in dir(module) if inspect.ismodule(getattr(module, public))}
    assert shown == (set(fd.MODULES) if module is fd else set())


@pytest.mark.parametrize(("place", "module"), [("fd", fd), ("fd.problems", fd.problems), ("fd.solvers", fd.solvers)])
def test_an_editor_completes(place, module):
    found = {c.name for c in jedi.Script(f"import flowdyn as fd\n{place}.").complete(2, len(place) + 1)}
    assert set(module.__all__) <= found


def test_an_editor_shows_the_signature_of_solve():
    (found,) = jedi.Script("import flowdyn as fd\nfd.solve(").get_signatures(2, 9)
    assert [p.name for p in found.params] == list(inspect.signature(fd.solve).parameters)


def test_import_is_light():
    # beside numpy, which takes about 0.1 s: seconds alone would measure what else the machine does
    code = "import sys, time; a = time.perf_counter(); import numpy; b = time.perf_counter(); import flowdyn\n"
    code += (
        "print((time.perf_counter() - b) / (b - a), sorted({'jax', 'xarray', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    out = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)]
    assert all(line.strip().endswith("[]") for line in out)
    assert min(float(line.split()[0]) for line in out) < 0.5


# a thing can truly be anything: parameters as any pytree, a user's own data and functions' arguments
ANYTHING = {"w0", "w0_like", "data", "samples", "noise", "args", "at", "w", "options", "custom"}
ANYTHING |= {"t", "state", "increment"}  # of ODE and SDE, whose functions may be plain numpy


def signatures():
    """Public functions and constructors with their public methods."""
    for module in (fd, *(getattr(fd, name) for name in fd.MODULES)):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.ismodule(thing) or (inspect.isclass(thing) and issubclass(thing, BaseException)):
                continue
            yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                own = [n for n in vars(thing) if not n.startswith("_") and inspect.isfunction(vars(thing)[n])]
                yield from ((f"{module.__name__}.{name}.{n}", vars(thing)[n]) for n in own)


INTERNAL = {"step", "batch", "example", "task", "start_epoch", "run", "ensemble"}  # called by the drivers


@pytest.mark.parametrize(("name", "thing"), [pair for pair in signatures() if pair[0].split(".")[-1] not in INTERNAL])
def test_any_stands_only_where_a_thing_can_be_anything(name, thing):
    signature = inspect.signature(thing)
    loose = {p.name for p in signature.parameters.values() if p.annotation in (Any, p.empty) and p.name != "self"}
    assert loose - ANYTHING == set()
    if inspect.isfunction(thing) and name.count(".") == 1:
        assert signature.return_annotation not in (Any, inspect.Signature.empty)


CHECKERS = {
    "mypy": [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", ".mypy_cache"],
    "pyright": [sys.executable, "-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable],
}


def complaints(checker, name):
    """Lines of a file of calls that a checker complains about."""
    run = subprocess.run([*CHECKERS[checker], str(CALLS / name)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    return {int(line) for line in re.findall(rf"{name}:(\d+):[^\n]*error", run.stdout)}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_accept_good_calls_and_reject_bad_ones(checker):
    bad = (CALLS / "bad_calls.py").read_text().splitlines()
    marked = {number for number, line in enumerate(bad, 1) if "  #" in line}
    assert len(marked) == 21
    assert complaints(checker, "good_calls.py") == set()
    assert complaints(checker, "bad_calls.py") == marked
