"""Every public name says what it takes, gives, refuses and where it comes from, with an example that runs."""

import ast
import importlib
import inspect
import pydoc
import re
from pathlib import Path

import pytest

import flowdyn as fd
from flowdyn import comparison, methods, observables, problems, schedules, solvers, theory

SECTIONS = ("Parameters", "Returns", "Raises", "Warns", "Notes", "Examples")


def public_names():
    """Every public class and function by its full name: the registries, and what the single modules define."""
    found = {}
    for package in (fd, problems, methods, solvers, theory, observables):
        for name in package.REGISTRY:
            thing = getattr(package, name)
            found[f"{thing.__module__}.{name}"] = thing
    for module in (schedules, comparison):
        for name, thing in vars(module).items():
            is_own = getattr(thing, "__module__", None) == module.__name__
            if is_own and callable(thing) and not name.startswith("_"):
                found[f"{module.__name__}.{name}"] = thing
    return found


NAMES = public_names()
ERRORS = {name for name, thing in NAMES.items() if inspect.isclass(thing) and issubclass(thing, Exception)}
DOCUMENTED = sorted(set(NAMES) - ERRORS)
# names that raise nothing of their own, and why
RAISES_NOTHING = {
    "flowdyn.theory.linear_moments.LinearResiduals": "a record of arrays, checked where it is used",
    "flowdyn.theory.linear_moments.LinearNoise": "a record of arrays, checked where it is used",
}

# names of what is done with a system or a result, where there is no equation to show
NO_EQUATION = {
    "flowdyn.observables.base.Observable",
    "flowdyn.pages.writing.report",
    "flowdyn.plotting.figures.plot",
    "flowdyn.problems.examples.example_table",
    "flowdyn.sweeps.joining.concat",
    "flowdyn.results.storage.load",
    "flowdyn.results.storage.save",
    "flowdyn.running.integration.solve",
    "flowdyn.sweeps.sweeping.sweep",
    "flowdyn.convergence.rebuilding.rebuild",
    "flowdyn.convergence.rebuilding.rerun",
    "flowdyn.schedules.as_schedule",
}


def sections_of(thing):
    """The text before the first section under "", and each section under its title."""
    text = inspect.cleandoc(thing.__doc__ or "")
    parts = re.split(rf"^({'|'.join(SECTIONS)})\n-+$", text, flags=re.MULTILINE)
    named = {title: body.strip("\n") for title, body in zip(parts[1::2], parts[2::2], strict=True)}
    return {"": parts[0].strip()} | named


def documented_parameters(section):
    """Names in front of the colons of a Parameters section, in their order."""
    lines = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return [name.lstrip("*") for line in lines for name in re.split(r",\s*", line.split(" : ")[0])]


def parameters_of(thing):
    return [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_public_name_is_documented(name):
    thing, sections = NAMES[name], sections_of(NAMES[name])
    first = sections[""].split("\n\n")[0]
    assert first.endswith(".") and len(first.split()) >= 4, first
    assert list(sections)[1:] == [title for title in SECTIONS if title in sections], "sections out of order"
    assert (".. math::" in sections[""]) != (name in NO_EQUATION)
    assert "Parameters" in sections or not parameters_of(thing)
    assert "Returns" in sections or inspect.isclass(thing)
    assert ("Raises" in sections) != (name in RAISES_NOTHING)
    source = re.search(r"Source: (.+)", sections.get("Notes", ""), re.DOTALL)
    assert source, "no source"
    assert re.search(r"section 9\.\d|\b(18|19|20)\d\d\b|definition|of our own", source[1]), source[1]
    assert ">>> " in sections.get("Examples", "")


@pytest.mark.parametrize("name", DOCUMENTED)
def test_parameters_are_those_of_the_signature(name):
    section = sections_of(NAMES[name]).get("Parameters", "")
    assert sorted(documented_parameters(section)) == sorted(parameters_of(NAMES[name]))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_parameter_says_its_type(name):
    section = sections_of(NAMES[name]).get("Parameters", "")
    heads = [line for line in section.splitlines() if line and not line.startswith(" ")]
    assert [head for head in heads if " : " not in head and not head.startswith("*")] == []
    arrays = [head for head in heads if re.search(r"array_like|ndarray", head)]
    assert [head for head in arrays if not re.search(r"(array_like|ndarray) of (float|int), shape \(", head)] == []


@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_array_that_is_returned_says_its_type(name):
    heads = [line for line in sections_of(NAMES[name]).get("Returns", "").splitlines() if not line.startswith(" ")]
    assert [head for head in heads if "ndarray" in head and "ndarray of float" not in head] == []


@pytest.mark.parametrize("name", DOCUMENTED)
def test_errors_named_are_errors_of_the_package(name):
    section = sections_of(NAMES[name]).get("Raises", "")
    heads = [line for line in section.splitlines() if line and not line.startswith(" ")]
    assert all(head in {error.rsplit(".", 1)[1] for error in ERRORS} for head in heads), heads


CLASSES = [getattr(package, name) for package in (problems, methods, solvers) for name in package.REGISTRY]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_help_lists_what_a_user_calls(cls):
    """No machinery of dataclasses, Equinox and abstract classes, no array types of numpy's own."""
    text = pydoc.plain(pydoc.render_doc(cls))
    head, _, listed = text.partition("Method resolution order:")
    assert not re.search(r"^ \|  _", listed, re.MULTILINE) and "Data and other attributes" not in listed
    assert "numpy._typing" not in head and "jax.jaxlib" not in head
    assert len(listed.splitlines()) < 120


def test_what_help_leaves_out_is_still_there():
    assert "from_file" in dir(fd.problems.LinearRegression) and "with_eta" in dir(fd.GradientDescent)
    method = fd.GradientDescent.example()[0]
    assert {"slope", "step_at", "config", "eta", "problem"} <= set(dir(method))
    assert "closed_form" in dir(methods.systems.System)


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_an_error_says_when_it_is_raised(name):
    text = inspect.cleandoc(NAMES[name].__doc__)
    assert text.split("\n")[0].endswith(".")
    assert re.search(r"[Rr]aised|[Ww]arned", text), text


def docstrings():
    """Every docstring of the package with its place."""
    root = Path(fd.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                yield f"{path.relative_to(root)}:{node.name}", node.name, ast.get_docstring(node)


def test_a_line_says_more_than_its_name():
    """At least two words, and some word that is not of the name itself."""
    empty = []
    for place, name, text in docstrings():
        words = re.findall(r"[^\W_]+", text.lower())
        own = set(re.findall(r"[^\W_]+", name.lower().replace("_", " "))) | {"the", "a", "of", "an", "as", "is"}
        if len(words) < 2 or set(words) <= own or re.match(r"(Of|As) the \w+\.$", text):
            empty.append(f"{place}: {text}")
    assert empty == []


def test_a_symbol_keeps_its_case():
    """Vectors, times and counts are lower case in the field, also where a sentence begins: w, t, d, n, nu."""
    wrong = [f"{place}: {text}" for place, _, text in docstrings() if re.match(r"(W|T|D|N|K|Nu|Eta|2n)\b", text)]
    assert wrong == []


def test_the_registries_are_looked_through():
    assert len(DOCUMENTED) > 80
    assert set(RAISES_NOTHING) | NO_EQUATION <= set(DOCUMENTED)
    assert all(importlib.import_module(thing.__module__) for thing in NAMES.values())
