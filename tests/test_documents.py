"""What the documents say runs: docstring examples, README's code."""

import doctest
import importlib
import pkgutil
import re
import shlex
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import flowdyn as fd

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODULES = sorted(m.name for m in pkgutil.walk_packages(fd.__path__, "flowdyn.") if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    plt.close("all")


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_readme_code_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], "README.md", "exec"), {})
    plt.close("all")


def test_readme_shell_lines_run_in_their_order(tmp_path, monkeypatch, capsys):
    from flowdyn.cli.commands import main

    monkeypatch.chdir(tmp_path)
    first, *lines = re.search(r"<!-- shell -->\n```bash\n(.*?)\n```", README, re.DOTALL)[1].splitlines()
    assert first == "source .venv/bin/activate" and all(line.startswith("flowdyn ") for line in lines)
    with warnings.catch_warnings():
        for line in lines:
            assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    block = re.search(r"<!-- shell report -->\n```bash\n(.*?)\n```", README, re.DOTALL)[1]
    line = block.splitlines()[-1]
    assert capsys.readouterr().out.endswith("recipe: the same\nnumbers: the same\n")
    assert main(shlex.split(line)[1:]) == 0 and (tmp_path / "page.html").is_file()


def test_public_names_are_documented():
    for name in fd.__all__:
        assert getattr(fd, name).__doc__, name
    for package in (fd.problems, fd.solvers, fd.methods):
        for name in package.__all__:
            text = getattr(package, name).__doc__
            assert ("Examples" in text and "Parameters" in text) or name in ("Exact", "Iteration"), name
