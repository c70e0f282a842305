"""What the documents say runs: docstring examples, README's code, every block of the pages of docs/."""

import doctest
import importlib
import importlib.util
import pkgutil
import re
import shlex
import sys
import unicodedata
import warnings
from pathlib import Path

import pytest

import flowdyn as fd

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODULES = sorted(m.name for m in pkgutil.walk_packages(fd.__path__, "flowdyn.") if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_readme_code_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], "README.md", "exec"), {})


def test_readme_shell_lines_run_in_their_order(tmp_path, monkeypatch, capsys):
    from flowdyn.cli.commands import main

    monkeypatch.chdir(tmp_path)
    first, *lines = re.search(r"<!-- shell -->\n```bash\n(.*?)\n```", README, re.DOTALL)[1].splitlines()
    assert first == "source .venv/bin/activate" and all(line.startswith("flowdyn ") for line in lines)
    for name in (kept := re.findall(r'fd\.save\(.*, "(\S+)"', "".join(BLOCKS))):  # what the blocks above have left
        (tmp_path / name).touch()
    assert "limit.nc" in kept
    with warnings.catch_warnings():
        for line in lines:
            assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    block = re.search(r"<!-- shell report -->\n```bash\n(.*?)\n```", README, re.DOTALL)[1]
    line = block.splitlines()[-1]
    assert capsys.readouterr().out.endswith("recipe: the same\nnumbers: the same\n")
    assert main(shlex.split(line)[1:]) == 0 and (tmp_path / "page.html").is_file()


DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts
}
NOT_RUN = {"console", "text", "py"}  # what a shell says, what code prints, what needs a package that is not here


def blocks_of_pages():
    """The module of docs/ that runs a page, as the build of the site does for its pictures."""
    spec = importlib.util.spec_from_file_location("flowdyn_docs_blocks", DOCS / "_extension" / "blocks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


BLOCKS_OF_PAGES = blocks_of_pages()


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if list(BLOCKS_OF_PAGES.blocks(text))])
def test_a_page_runs_and_prints_what_it_says(page, tmp_path):
    BLOCKS_OF_PAGES.run(PAGES[page], page, tmp_path)


def test_few_blocks_of_pages_do_not_run():
    fences = [
        re.match(r"```(\S*)", line)[1] for text in PAGES.values() for line in text.splitlines() if line[:3] == "```"
    ]
    languages = [language for language in fences if language and not language.startswith("{")]
    assert set(languages) <= {"python", "bash", *NOT_RUN}
    assert languages.count("py") <= 1 < languages.count("python")


def test_a_page_that_prints_something_else_fails(tmp_path):
    page = "# A page\n\n```python\nprint(1)\n```\n\n```text\n2\n```\n\n```bash\nflowdyn info\n```\n"
    with pytest.raises(AssertionError, match=r"page.md, line 4: says '2\\n', prints '1\\n'"):
        BLOCKS_OF_PAGES.run(page.partition("```bash")[0], "page.md", tmp_path)
    with pytest.raises((AssertionError, SystemExit)):
        BLOCKS_OF_PAGES.run(page.replace("print(1)", "print(2)"), "page.md", tmp_path)


CITED = re.compile(r"\b([A-Z][\w-]+)(?:, [A-Z][\w-]+)*(?:,? (?:and [A-Z][\w-]+|et al\.))?,? \((\d{4})")


def test_every_paper_that_is_cited_stands_on_the_page_of_papers():
    papers = [line for line in PAGES["papers.md"].splitlines() if line.startswith("- ")]
    source = "\n".join(" ".join(path.read_text().split()) for path in sorted((ROOT / "flowdyn").rglob("*.py")))
    missing = {
        f"{name} ({year})"
        for name, year in CITED.findall(source)
        if not any(f"({year})" in paper and plain(name) in plain(paper) for paper in papers)
    }
    assert missing == set()


def plain(name):
    """A name without accents and ligatures, as code writes some of them."""
    spelt = name.replace("ø", "o").replace("æ", "ae")
    return unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode()


def test_every_study_has_its_place_on_the_page_of_theory():
    from studies import NAMES

    assert sorted(re.findall(r"^<!-- study: (\w+) -->$", PAGES["theory.md"], re.MULTILINE)) == sorted(NAMES)


def test_public_names_are_documented():
    for name in fd.__all__:
        assert getattr(fd, name).__doc__, name
    for package in (fd.problems, fd.solvers, fd.methods):
        for name in package.__all__:
            text = getattr(package, name).__doc__
            assert ("Examples" in text and "Parameters" in text) or name in ("Exact", "Iteration"), name
