"""Formulas of a page: LaTeX -> MathML, which every browser sets without scripts or fonts of its own."""

import inspect
import re

from flowdyn import _check
from flowdyn.pages.sections import Markup

DISPLAYED = re.compile(r"^\.\. math::[ ]?(.*(?:\n(?:[ ]+.*|$))*)", re.MULTILINE)


def mathml(latex: str) -> Markup:
    """A displayed formula."""
    try:
        from latex2mathml.converter import convert
    except ImportError:
        raise needs("latex2mathml") from None
    return Markup(convert(latex, display="block"))


def needs(package: str) -> _check.ArgumentError:
    """The error for a package of the extra that is absent."""
    return _check.ArgumentError(f"`report` needs the package {package}, got none; pip install 'flowdyn[report]'")


def formulas_in(docstring: str) -> list[Markup]:
    """The equations that a docstring displays above its parameters."""
    text = inspect.cleandoc(docstring).partition("\nParameters\n")[0]
    return [mathml(" ".join(found.split())) for found in DISPLAYED.findall(text)]
