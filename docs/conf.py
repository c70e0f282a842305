"""Sphinx's settings: ``sphinx-build -W docs docs/_build/html``, with the extra `docs` installed. No network is needed.

FLOWDYN_STUDIES names a folder that ``python -m studies --out`` wrote; without it the pages build without its figures.
"""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "flowdyn"
author = "The flowdyn developers"
copyright = "The flowdyn developers, BSD-3-Clause"  # noqa: A001 - Sphinx calls it so
release = version = importlib.metadata.version("flowdyn")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_design",
    "_extension.mathml",
    "_extension.generated",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_extension"]
nitpicky = False
suppress_warnings: list[str] = []

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

html_math_renderer = "mathml"
autodoc_member_order = "bysource"
autosummary_generate = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "flowdyn"
html_static_path = ["_static"]
html_css_files = ["flowdyn.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 8,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
}
# pages that have no pages below them
ALONE = (
    "index",
    "tutorial",
    "theory",
    "gallery",
    "tables",
    "choosing",
    "papers",
    "architecture",
    "cost",
    "scale",
    "results",
)
html_sidebars: dict[str, list[str]] = {page: [] for page in ALONE}
