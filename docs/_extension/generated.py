"""What pages take from the package itself: tables and the reference from the registries, pictures from what ran.

A line of a page that is a comment ``<!-- table: clocks -->`` (or ``reference: solvers``, ``study: max_margin``,
``picture: run.png | what it shows``) is replaced before the page is parsed, so that the sources read well elsewhere.
"""

import ast
import os
import re
import shutil
from pathlib import Path

from sphinx.errors import SphinxError

from _extension import blocks, reference, tables

MARKS = re.compile(r"^<!-- (\w+): (.*?) -->$", re.MULTILINE)
STUDIES = "FLOWDYN_STUDIES"
REPOSITORY = Path(__file__).parents[2]
STUDIES_IN_ORDER = re.compile(r"^<!-- study: (\w+) -->$", re.MULTILINE)
CAPTIONS = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)


def fill_in(app, docname: str, source: list[str]) -> None:
    """Replace the marks of a page."""
    text = source[0]
    path = Path(app.env.doc2path(docname))
    makers = {
        "table": lambda name: tables.TABLES[name](),
        "reference": reference.reference,
        "study": lambda name: study(path, name),
        "picture": lambda what: picture(app, path, text, what),
        "gallery": lambda where: gallery(path, where),
    }
    source[0] = MARKS.sub(lambda mark: makers[mark[1]](mark[2]), text)


def picture(app, path: Path, text: str, what: str) -> str:
    """A figure that the page's own code saves: the page runs once, in a folder beside Sphinx's own records."""
    name, alt = (part.strip() for part in what.split("|"))
    folder = Path(app.doctreedir) / "pictures" / app.env.path2doc(str(path)).replace("/", "-")
    if not (folder / "done").exists():
        blocks.run_in(text, path.name, folder)
        (folder / "done").touch()
    if not (folder / name).exists():
        raise SphinxError(f"{path.name} shows {name!r}, which its code does not save")
    return f":::{{figure}} {os.path.relpath(folder / name, path.parent)}\n:alt: {alt}\n:::"


def about(name: str) -> tuple[str, list[tuple[str, str]]]:
    """The first line of a study's docstring, and the captions of its panels."""
    docstring = ast.get_docstring(ast.parse((REPOSITORY / "studies" / f"{name}.py").read_text())) or ""
    return docstring.partition("\n")[0], CAPTIONS.findall(docstring)


def figure_of(name: str) -> Path | None:
    """The figure that ``python -m studies --out`` left, None where no folder is named."""
    folder = os.environ.get(STUDIES)
    if not folder:
        return None
    figure = Path(folder).resolve() / f"{name}.png"
    if not figure.is_file():
        raise SphinxError(f"{STUDIES} names {folder!r}, which has no {name}.png; run python -m studies --out {folder}")
    return figure


def study(path: Path, name: str) -> str:
    """Where a study is, its panels, and its figure."""
    title, captions = about(name)
    figure = figure_of(name)
    words = " ".join(f"({number}) {caption}" for number, caption in captions)
    if figure is None:
        return f"*Study* `{name}`: {title} Its panels: {words}"
    return (
        f":::{{figure}} {os.path.relpath(figure, path.parent)}\n:name: study-{name}\n:alt: {title} {words}\n\n"
        f"Study `{name}`. {words}\n:::"
    )


def gallery(path: Path, where: str) -> str:
    """A card a study, with its figure, that leads to its place on the page `where`."""
    cards = []
    for name in STUDIES_IN_ORDER.findall((path.parent / f"{where}.md").read_text()):
        figure, title = figure_of(name), about(name)[0]
        options = ""
        if figure:
            picture = os.path.relpath(figure, path.parent)
            options = f":link: study-{name}\n:link-type: ref\n:img-top: {picture}\n:img-alt: {title}\n"
        cards.append(f":::{{grid-item-card}} {name.replace('_', ' ')}\n{options}\n{title}\n:::")
    return "::::{grid} 1 2 2 3\n:gutter: 3\n\n" + "\n\n".join(cards) + "\n::::"


def add_studies(app, exception) -> None:
    """Put the page of the studies, and the files that it links to, beside the site."""
    folder = os.environ.get(STUDIES)
    if exception is None and folder and app.builder.format == "html":
        target = Path(app.outdir) / "studies"
        target.mkdir(exist_ok=True)
        for file in (*Path(folder).glob("*.html"), *Path(folder).glob("*.nc")):
            shutil.copy(file, target / file.name)


def setup(app):
    """Fill pages in as they are read."""
    app.connect("source-read", fill_in)
    app.connect("build-finished", add_studies)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
