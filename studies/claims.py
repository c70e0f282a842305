"""A claim is data: what, expected, measured, tolerance, where in the chapter; its verdict follows from them.

equal:  |measured - expected| <= tolerance,     at most:  measured <= expected,     at least:  measured >= expected
"""

from typing import Any, NamedTuple

from flowdyn.pages.sections import Claim as Claimed
from flowdyn.pages.sections import claim_row


class Claim(NamedTuple):
    """One line of a study's table."""

    what: str
    expected: float
    measured: float
    tolerance: float
    where: str
    kind: str  # "equal", "at most", "at least", "not applicable"
    why: str = ""  # of "not applicable"

    @property
    def applies(self) -> bool:
        """Whether the hypotheses are met: a bound outside its window neither holds nor fails."""
        return self.kind != "not applicable"

    @property
    def holds(self) -> bool:
        """Whether it applies and is true; a measurement that is not a number holds nothing."""
        if not self.applies:
            return False
        if self.kind == "equal":
            return bool(abs(self.measured - self.expected) <= self.tolerance)
        return bool(self.measured <= self.expected if self.kind == "at most" else self.measured >= self.expected)

    @property
    def verdict(self) -> str:
        """One word or two."""
        if not self.applies:
            return "not applicable"
        return "holds" if self.holds else "FAILS"

    def cells(self) -> list[str]:
        """The claim as text, for the terminal."""
        row = self.row
        return [row.what, row.expected, row.measured, row.where, row.verdict]

    @property
    def record(self) -> dict[str, Any]:
        """What is kept with the runs."""
        return self._asdict() | {"verdict": self.verdict}

    @property
    def row(self) -> Claimed:
        """A line of the page's table."""
        return claim_row(self.record)


class Findings(NamedTuple):
    """What a study gives back: what is asked, its claims, its figure, and the runs to keep."""

    question: str
    claims: list[Claim]
    figure: Any
    runs: dict[str, Any]


def equal(what: str, expected: float, measured: Any, tolerance: float, where: str) -> Claim:
    """Claim of a value."""
    return Claim(what, float(expected), float(measured), tolerance, where, "equal")


def at_most(what: str, bound: float, measured: Any, where: str) -> Claim:
    """Claim of an upper bound."""
    return Claim(what, float(bound), float(measured), 0.0, where, "at most")


def not_applicable(what: str, why: str, where: str) -> Claim:
    """A bound whose hypotheses are not met here, said with the reason."""
    return Claim(what, 0.0, 0.0, 0.0, where, "not applicable", why)


def at_least(what: str, bound: float, measured: Any, where: str) -> Claim:
    """Claim of a lower bound."""
    return Claim(what, float(bound), float(measured), 0.0, where, "at least")
