"""Sphinx set-up."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))  # of models/, which is not installed

project = "mmfld-ppl"
author = "The mmfld-ppl developers"
copyright = author
version = release = installed_version("mmfld-ppl")

extensions = [
    "docstrings",
    "mathml",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: name for name in ("ArrayLike", "DTypeLike", "Event", "PRNGKeyArray", "PyTree", "Scalar")
}
python_maximum_signature_line_length = 120

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "mmfld-ppl"
