"""What stands on a page: sections, each of one result, made of plain text, formulas, figures and a view of its data."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: object) -> str:
    """Text without characters that are not to be seen; a file's attributes must not reorder a page."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


@dataclasses.dataclass(frozen=True)
class Markup:
    """HTML that is trusted: made by flowdyn, xarray or latex2mathml from text that they escape."""

    text: str

    def __html__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure as a data URI, the words that stand for it, and a caption for each panel."""

    uri: str
    alt: str
    captions: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Claim:
    """One line of a table of claims; `tone` is good, bad or neutral."""

    what: str
    expected: str
    measured: str
    where: str
    verdict: str
    tone: str


def claim_row(claim: Mapping[str, object]) -> Claim:
    """A claim as text, from its record: what, expected, measured, tolerance, kind, where, verdict, why."""
    expected, measured = _number(claim.get("expected")), _number(claim.get("measured"))
    kind, verdict = claim.get("kind"), str(claim.get("verdict", ""))
    if kind == "not applicable":
        expected, measured = "", str(claim.get("why", ""))
    elif kind == "equal":
        expected = f"{expected} ± {_number(claim.get('tolerance'), 2)}"
    else:
        expected = f"{kind} {_number(claim.get('expected'), 4)}"
    tone = {"holds": "good", "FAILS": "bad"}.get(verdict, "neutral")
    what, where = plain(claim.get("what", "")), plain(claim.get("where", ""))
    return Claim(what, plain(expected), plain(measured), where, plain(verdict), tone)


def _number(value: object, digits: int = 10) -> str:
    return f"{value:.{digits}g}" if isinstance(value, int | float) else str(value)


@dataclasses.dataclass(frozen=True)
class Section:
    """One result: a title, its words and formulas, figures, claims, facts for the table of runs, details to unfold."""

    name: str
    title: str
    words: Sequence[str] = ()
    formulas: Sequence[Markup] = ()
    pictures: Sequence[Picture] = ()
    claims: Sequence[Claim] = ()
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    details: Mapping[str, str | Markup] = dataclasses.field(default_factory=dict)
    file: str = ""
    warns: Sequence[str] = ()  # the facts that are marked as bad

    @property
    def link(self) -> str:
        """Address of the file, relative to the page."""
        return quote(self.file)


def anchors(sections: Sequence[Section]) -> list[str]:
    """An identifier for each section, different for each: what a link within the page names."""
    names = [re.sub("[^a-z0-9]+", "-", section.name.lower()).strip("-") for section in sections]
    return [f"{name or 'result'}-{i}" for i, name in enumerate(names, 1)]
