"""One self-contained HTML page of all studies: question, figure, claims, provenance, a link to the data."""

import base64
import html
import io
from pathlib import Path
from typing import Any

from studies.claims import Findings

STYLE = """
body { font-family: Georgia, serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; line-height: 1.5; }
h1, h2 { font-weight: 600; } img { max-width: 100%; } code { font-size: 0.9em; }
table { border-collapse: collapse; font: 0.85rem/1.4 system-ui, sans-serif; width: 100%; margin: 0.8rem 0; }
th, td { text-align: left; padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
.holds { color: #00684c; } .not-applicable { color: #666; }
.FAILS { color: #b00020; font-weight: bold; } .small { font-size: 0.8rem; color: #555; }
"""


def write_page(
    path: Path, outcomes: dict[str, Findings], seconds: dict[str, float], provenance: dict[str, Any]
) -> None:
    """Write the page; everything in it is escaped."""
    total = [claim for outcome in outcomes.values() for claim in outcome.claims if claim.applies]
    held = sum(claim.holds for claim in total)
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>flowdyn studies</title>",
        f"<style>{STYLE}</style></head><body><h1>Implicit regularisation, theorem by theorem</h1>",
        f"<p>{held} of {len(total)} claims hold.</p>",
    ]
    for name, outcome in outcomes.items():
        parts += [
            f"<h2 id='{name}'>{html.escape(name.replace('_', ' '))}</h2><p>{html.escape(outcome.question)}</p>",
            f"<img alt='{name}' src='data:image/png;base64,{_png(outcome.figure)}'>",
            "<table><tr><th>claim<th>expected<th>measured<th>where<th>verdict</tr>",
        ]
        for claim in outcome.claims:
            cells = claim.cells()
            row = "".join(f"<td>{html.escape(cell)}" for cell in cells[:-1])
            parts.append(f"<tr>{row}<td class='{cells[-1].replace(' ', '-')}'>{cells[-1]}</tr>")
        parts.append(f"</table><p class='small'>{seconds[name]:.1f} s; data: <a href='{name}.nc'>{name}.nc</a></p>")
    made = ", ".join(f"{key} {value}" for key, value in provenance.items())
    parts.append(f"<p class='small'>{html.escape(made)}</p></body></html>")
    path.write_text("\n".join(parts), encoding="utf-8")


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
