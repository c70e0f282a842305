"""Formulas of a page: LaTeX -> MathML, which every browser sets without scripts or fonts of its own."""

import inspect
import re
from collections.abc import Mapping

from flowdyn import _check
from flowdyn.pages.sections import Markup

DISPLAYED = re.compile(r"^\.\. math::[ ]?(.*(?:\n(?:[ ]+.*|$))*)", re.MULTILINE)

OR = r"\quad\text{or}\quad"  # between what holds without an argument and what holds with it
SETTLING = ("data", "rate", "X")  # such arguments
SPACE = '<mspace width="0.167em" />'
NAMED = "<mi>(?:cos|cosh|det|dim|exp|ln|log|sin|sinh|tan|tanh)</mi>"
BEFORE = re.compile(rf"(</m(?:i|n|sub|sup|subsup|frac|row)>)(?={NAMED})")
BEHIND = re.compile(rf"({NAMED})(?=<m(?:i|n|sub|sup|subsup|frac|row)>)")


def mathml(latex: str) -> Markup:
    """A displayed formula."""
    return Markup(converted(latex, "block"))


def converted(latex: str, display: str) -> str:
    """The same as text, `inline` too; with what latex2mathml writes as it stands, or sets without TeX's spaces."""
    try:
        from latex2mathml.converter import convert
    except ImportError:
        raise needs("latex2mathml") from None
    text = convert(latex.replace(r"\arg", r"\operatorname{arg}"), display=display).replace(r">\|<", ">&#x02016;<")
    return BEHIND.sub(rf"\1{SPACE}", BEFORE.sub(rf"\1{SPACE}", text))


def needs(package: str) -> _check.ArgumentError:
    """The error for a package of the extra that is absent."""
    return _check.ArgumentError(f"`report` needs the package {package}, got none; pip install 'flowdyn[report]'")


def formulas_in(docstring: str, args: Mapping[str, object] | None = None) -> list[Markup]:
    """The equations that a docstring displays above its parameters, as they read for arguments in a recipe."""
    text = inspect.cleandoc(docstring).partition("\nParameters\n")[0]
    return [mathml(_of(" ".join(found.split()), args)) for found in DISPLAYED.findall(text)]


def _of(latex: str, args: Mapping[str, object] | None) -> str:
    """A formula without what the arguments have settled: with `data` or without, steps that change or do not."""
    if args is None:
        return latex
    settled = next((name for name in SETTLING if name in args), None)
    if settled is not None and OR in latex:
        first, second = (part.strip() for part in latex.split(OR, 1))
        whole = second if "=" in second else f"{first.partition('=')[0]}= {second}"
        latex = first if args[settled] is None else whole
    return latex if isinstance(args.get("eta"), Mapping) else latex.replace(r"\eta_k", r"\eta")
