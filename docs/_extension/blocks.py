"""The code of a page: its blocks run from top to bottom in one namespace and one folder, as a reader would run them.

A ```python block runs; a ```text block right after it is what it prints. Lines of a ```bash block are commands of
flowdyn's own. Blocks of other languages are for reading.
"""

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """Code between two fences, and what stands in a ```text block right after it."""

    language: str
    code: str
    line: int
    printed: str | None


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page that run, in their order."""
    found = list(FENCED.finditer(text))
    for match, after in zip(found, [*found[1:], None][: len(found)], strict=True):
        language, code = match.groups()
        if language in ("python", "bash"):
            follows = after is not None and after[1] == "text" and not text[match.end() : after.start()].strip()
            printed = after[2] if follows and after is not None else None
            yield Block(language, code, text[: match.start()].count("\n") + 2, printed)


def run(text: str, name: str, folder: Path) -> None:
    """Run a page in a folder; what it prints must be what it says."""
    space: dict[str, object] = {"__name__": "__main__"}
    wrong = []
    with contextlib.chdir(folder):
        for block in blocks(text):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                if block.language == "python":
                    # the line numbers of a traceback are the page's
                    exec(compile("\n" * (block.line - 1) + block.code, name, "exec"), space)
                else:
                    _run_lines(block, name)
            said = printed.getvalue().split()
            if block.printed is not None and said != block.printed.split():
                wrong.append(f"{name}, line {block.line}: says {block.printed!r}, prints {printed.getvalue()!r}")
    if wrong:
        raise AssertionError("\n".join(wrong))


def _run_lines(block: Block, name: str) -> None:
    from flowdyn.cli.commands import main

    for line in block.code.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program != "flowdyn" or main(arguments) != 0:
            raise AssertionError(f"{name}, line {block.line}: {line!r} does not run")


def run_in(text: str, name: str, folder: Path) -> None:
    """Run a page in a folder of its own, without a display; warnings of the run are part of the page."""
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")
    os.environ["FLOWDYN_NO_CACHE"] = "1"
    run(text, name, folder)
