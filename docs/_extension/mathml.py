"""LaTeX -> MathML: browsers set it without a script, so that pages need no network when they are read either."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.errors import SphinxError


def formula(latex: str, display: str) -> str:
    """MathML of a formula, one that cannot be converted fails the build."""
    try:
        return convert(" ".join(latex.split()), display=display)
    except Exception as error:
        raise SphinxError(f"no MathML for {latex!r}: {error!r}") from error


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
