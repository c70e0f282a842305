"""Every equation and theorem of the chapter that flowdyn cites is named by the test that checks it."""

import ast
import functools
import io
import re
import tokenize
from pathlib import Path

import pytest

import flowdyn as fd

TESTS = Path(__file__).parent
SOURCE = Path(fd.__file__).parent
LAST_EQUATION = 179
# the chapter numbers all its statements in one row
STATEMENTS = {
    "Lemma": (1, 10, 11, 16, 17),
    "Corollary": (2, 12),
    "Theorem": (3, 4, 13, 14, 18, 25),
    "Remark": (5, 6, 7, 8, 9, 15, 19, 20, 21),
    "Definition": (22, 23, 24),
}
PLURALS = {"Lemmas": "Lemma", "Corollaries": "Corollary", "Theorems": "Theorem", "Remarks": "Remark"}
PLURALS |= {"Definitions": "Definition"} | {kind: kind for kind in STATEMENTS}
EQUATIONS = re.compile(r"\(9\.(\d+)\)(?:\s?[-–]\s?\(9\.(\d+)\))?")
LISTED = re.compile(rf"\b({'|'.join(PLURALS)})\s+(9\.\d+(?:(?:,| and|, and| or|-|–)\s?9\.\d+)*)")
OTHERS = re.compile(r"\((\d{4})\),\s+(equation\s+\(\d+(?:\.\d+)*\)|Theorem\s+\d+)")
SECTIONS = re.compile(r"\bsections?\s+9\.\d+(?:\.\d+)?(?:(?:,| and|, and|-|–)\s?9\.\d+(?:\.\d+)?)*", re.IGNORECASE)


def equations(text):
    """Numbers of the equations named in a text, ranges written out."""
    found = set()
    for first, last in EQUATIONS.findall(text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def statements(text):
    """Pairs of kind and number of the statements named in a text; "Lemmas 9.10-9.12" names three numbers."""
    found = set()
    for word, rest in LISTED.findall(text):
        for first, last in re.findall(r"9\.(\d+)(?:[-–]9\.(\d+))?", rest):
            found |= {(PLURALS[word], number) for number in range(int(first), int(last or first) + 1)}
    return found


def others(text):
    """Years and numbers of the results of papers: "Polyak (1964), equation (9)"."""
    return {(year, " ".join(what.split())) for year, what in OTHERS.findall(text)}


def read(folder, but=""):
    return {path: path.read_text() for path in sorted(folder.rglob("*.py")) if path.name != but}


def said(source):
    """Docstrings, comments and names of functions of a test file: "test_lemma_9_11" names Lemma 9.11."""
    tree = ast.parse(source)
    documented = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)]
    names = [node.name.replace("_9_", " 9.").replace("_", " ").title() for node in documented if hasattr(node, "name")]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join([*(ast.get_docstring(node) or "" for node in documented), *names, *comments])


CODE = read(SOURCE)
CITED_EQUATIONS = sorted(set().union(*map(equations, CODE.values())))
CITED_STATEMENTS = sorted(set().union(*map(statements, CODE.values())))
CITED_OTHERS = sorted(set().union(*map(others, CODE.values())))


@functools.cache
def named(forms):
    """What the tests name in one of the forms; read once, and by the worker that asks."""
    return forms("\n".join(map(said, read(TESTS, but=Path(__file__).name).values())))


@pytest.mark.parametrize("number", CITED_EQUATIONS)
def test_an_equation_is_named_by_a_test(number):
    assert number in named(equations), f"(9.{number}) is cited and no test names it"


@pytest.mark.parametrize(("kind", "number"), CITED_STATEMENTS)
def test_a_statement_is_named_by_a_test(kind, number):
    assert (kind, number) in named(statements), f"{kind} 9.{number} is cited and no test names it"


@pytest.mark.parametrize(("year", "what"), CITED_OTHERS)
def test_a_result_of_a_paper_is_named_by_a_test(year, what):
    assert (year, what) in named(others), f"{what} of {year} is cited and no test names it"


def test_what_is_cited_exists():
    assert {n for n in CITED_EQUATIONS if not 1 <= n <= LAST_EQUATION} == set()
    assert {(kind, n) for kind, n in CITED_STATEMENTS if n not in STATEMENTS[kind]} == set()


def test_nothing_is_cited_in_another_form():
    """Each "9.x" of a docstring or comment is an equation, a statement or a section: "Thm 9.3" would go unseen."""
    unseen = []
    for path, text in CODE.items():
        rest = SECTIONS.sub("", LISTED.sub("", EQUATIONS.sub("", text)))
        unseen += [
            f"{path.name}: {line.strip()}"
            for line in rest.splitlines()
            if re.search(r"(?<![\d.-])9\.[1-9](?!\d{3})", line)
        ]
    assert unseen == []


def test_the_forms_are_read():
    text = "see (9.45)-(9.47), (9.114); Lemmas 9.16 and 9.17, Corollary 9.2, Theorem 9.25, sections 9.2 and 9.3"
    assert equations(text) == {45, 46, 47, 114}
    assert statements(text) == {("Lemma", 16), ("Lemma", 17), ("Corollary", 2), ("Theorem", 25)}
    assert SECTIONS.search(text)[0] == "sections 9.2 and 9.3"
    assert others("Su et al. (2016),\n equation (3)") == {("2016", "equation (3)")}
    source = "def test_lemma_9_11_holds():\n    (9.7)  # (9.8)\n"
    assert statements(said(source)) == {("Lemma", 11)} and equations(said(source)) == {8}
