"""LaTeX -> MathML: browsers set it without a script, so that pages need no network when they are read either."""

from docutils import nodes
from sphinx.errors import SphinxError

from flowdyn.pages.formulas import converted


def formula(latex: str, display: str) -> str:
    """MathML of a formula, one that cannot be converted fails the build."""
    try:
        found = converted(" ".join(latex.split()), display)
    except Exception as error:
        raise SphinxError(f"no MathML for {latex!r}: {error!r}") from error
    if "\\" in found:
        raise SphinxError(f"no MathML for all of {latex!r}: {found}")
    return found


def visit_inline(translator, node) -> None:
    translator.body.append(formula(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_displayed(translator, node) -> None:
    translator.body.append(f'<div class="math">{formula(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app):
    """Add the renderer that ``html_math_renderer = "mathml"`` asks for."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
