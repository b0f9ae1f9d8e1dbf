"""The documentation: ``python -m sphinx -W docs docs/_build``. Nothing is fetched while it builds."""

from __future__ import annotations

import os

import fisherkit

project = "fisherkit"
author = copyright = "The fisherkit developers"
version = release = fisherkit.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "matplotlib.sphinxext.plot_directive"]
exclude_patterns = ["_build"]
default_role = "py:obj"

plot_include_source = True
plot_html_show_source_link = plot_html_show_formats = False
plot_formats = [("png", 110)]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
suppress_warnings = ["myst.header"]  # a question may be a heading of its own

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more: shapes and units
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"fisherkit {version}"
# Pages with formulas load MathJax when they are read. For reading without a network, point to a copy of it.
if local := os.environ.get("MATHJAX_PATH"):
    mathjax_path = local
