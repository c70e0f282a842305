"""``report(results, "page.html")``: one page that needs no network, no script and no flowdyn to be read."""

import importlib.resources
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import xarray as xr

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn._tools.files import replacing, writable
from flowdyn.pages.descriptions import section_of
from flowdyn.pages.formulas import needs
from flowdyn.pages.pictures import picture
from flowdyn.pages.sections import Section, anchors, plain
from flowdyn.plotting.figures import plot
from flowdyn.results.schema import refuse_empty
from flowdyn.results.storage import load

Result = xr.Dataset | xr.DataTree | str | os.PathLike[str]
# nothing is fetched and nothing runs, whatever the attributes of a file say
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@told
def report(
    results: Result | Sequence[Result] | Mapping[str, Result],
    path: str | os.PathLike[str],
    *,
    title: str = "Training dynamics",
    overwrite: bool = False,
) -> Path:
    """Write a self-contained HTML page about results, and return its path.

    Each result has a section: what ran, in words and formulas; its picture; how it ended; the order of a ladder with
    its verdict; the claims of a study; its recipe and a view of its data to unfold. A table of all runs stands first.

    Parameters
    ----------
    results : xarray.Dataset, xarray.DataTree, path-like, or a sequence or mapping of them
        Made by :func:`flowdyn.solve`, :func:`flowdyn.eta_limit`, or the files that they were saved to. The keys of a
        mapping name the sections. A file is linked to, relative to the page.
    path : path-like
        Where the page is written; ends in .html.
    title : str
        Heading of the page.
    overwrite : bool
        Replace an existing page.

    Returns
    -------
    pathlib.Path
        The absolute path of the page.

    Raises
    ------
    ArgumentError
        If there is no result, one is no result of flowdyn, or the packages of ``flowdyn[report]`` are absent.
    FileError
        If a file cannot be read, or the page not be written.

    Notes
    -----
    The page holds no script and loads nothing; its content security policy forbids both. Text of files is escaped.
    Formulas are MathML, pictures data URIs. Source: of our own; the policy is that of W3C, Content Security Policy
    Level 3 (2026).

    Examples
    --------
    >>> import flowdyn as fd, tempfile, pathlib
    >>> run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    >>> path = fd.report({"a quadratic": run}, pathlib.Path(tempfile.mkdtemp()) / "page.html")
    >>> "a quadratic" in path.read_text(encoding="utf-8")
    True
    """
    if not isinstance(title, str):
        raise _check.fail("title", "must be text", title)
    target = writable(path, ".html", overwrite)
    sections = [section for name, result in _named(results) for section in _sections(name, result, target.parent)]
    return write_page(sections, target, title=title, overwrite=overwrite)


def write_page(
    sections: Sequence[Section], path: str | os.PathLike[str], *, title: str, lead: str = "", overwrite: bool = False
) -> Path:
    """Write a page of sections, atomically."""
    try:
        import jinja2
    except ImportError:
        raise needs("jinja2") from None
    target = writable(path, ".html", overwrite)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = importlib.resources.files("flowdyn.pages").joinpath("page.html.jinja").read_text(encoding="utf-8")
    text = environment.from_string(source).render(
        title=plain(title), lead=plain(lead), parts=list(zip(anchors(sections), sections, strict=True)), policy=POLICY
    )
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def _named(results: Result | Sequence[Result] | Mapping[str, Result]) -> list[tuple[str, Result]]:
    """Every result with its name."""
    if isinstance(results, xr.Dataset | xr.DataTree | str | os.PathLike):
        results = [results]
    if isinstance(results, Mapping):
        named = [(str(name), result) for name, result in results.items()]
    elif isinstance(results, Sequence):
        named = [(_own_name(result), result) for result in results]
    else:
        raise _check.fail("results", "must be a result, a file, or a list or dict of them", results)
    if not named:
        raise _check.fail("results", "must hold a result or more", results)
    return named


def _own_name(result: Result) -> str:
    if isinstance(result, str | os.PathLike):
        return Path(result).stem
    return str(getattr(result, "attrs", {}).get("title", "result"))


def _sections(name: str, result: Result, folder: Path) -> Iterator[Section]:
    """The sections of one result: one of a Dataset, one of each Dataset of a tree."""
    if not isinstance(result, str | os.PathLike):
        yield from _of_loaded(name, result)
        return
    with load(result) as loaded:
        yield from _of_loaded(name, loaded, os.path.relpath(os.path.realpath(result), os.path.realpath(folder)))


def _of_loaded(name: str, result: xr.Dataset | xr.DataTree, file: str = "") -> Iterator[Section]:
    if isinstance(result, xr.DataTree):
        for node in result.subtree:
            if node.has_data or "claims" in node.attrs:
                place = node.path.strip("/")
                yield from _of_loaded(f"{name}: {place}" if place else name, node.to_dataset(), file)
        return
    if not isinstance(result, xr.Dataset) or "flowdyn_kind" not in result.attrs:
        found = _check.Words(f"a {type(result).__name__} that flowdyn did not make")
        raise _check.fail("results", "must be made by flowdyn", found, "e.g. fd.solve(...), or fd.load(path)")
    refuse_empty("results", result, "shown")
    pictures, why = _pictures(result)
    yield section_of(result, name, pictures, file, why)


def _pictures(ds: xr.Dataset) -> tuple[list, str]:
    """The picture of a result, or why it cannot be drawn, such as a run at a single time."""
    try:
        figure = plot(ds)
    except _check.ArgumentError as error:
        return [], str(error)
    from matplotlib import pyplot

    try:
        return [picture(figure)], ""
    finally:
        pyplot.close(figure)
