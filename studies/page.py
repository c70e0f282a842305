"""The page of all studies: question, formula, figure with a caption for each panel, expected beside measured, data."""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path

from flowdyn.pages.formulas import formulas_in
from flowdyn.pages.pictures import picture
from flowdyn.pages.sections import Section
from flowdyn.pages.writing import write_page
from studies.claims import Findings

CAPTION = re.compile(r"^\d+\. (.*)$", re.MULTILINE)


def write_studies(path: Path, outcomes: Mapping[str, Findings], seconds: Mapping[str, float], made: str) -> None:
    """Write the page; `made` says by which versions."""
    total = [claim for outcome in outcomes.values() for claim in outcome.claims if claim.applies]
    lead = f"{sum(claim.holds for claim in total)} of {len(total)} claims hold. {made}."
    sections = [section_of(name, outcome, seconds[name]) for name, outcome in outcomes.items()]
    write_page(sections, path, title="Implicit regularisation, theorem by theorem", lead=lead, overwrite=True)


def section_of(name: str, outcome: Findings, seconds: float) -> Section:
    """One study; its formula and captions stand in its own docstring."""
    text = importlib.import_module(f"studies.{name}").__doc__ or ""
    applied = [claim for claim in outcome.claims if claim.applies]
    held = sum(claim.holds for claim in applied)
    return Section(
        name=name.replace("_", " "),
        title=text.partition("\n")[0],
        words=[outcome.question],
        formulas=formulas_in(text),
        pictures=[picture(outcome.figure, CAPTION.findall(text))],
        claims=[claim.row for claim in outcome.claims],
        facts={
            "question": outcome.question,
            "claims": f"{held} of {len(applied)} hold",
            "time": f"{seconds:.1f}\u00a0s",
        },
        file=f"{name}.nc",
        warns=[] if held == len(applied) else ["claims"],
    )
