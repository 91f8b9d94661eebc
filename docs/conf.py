"""Sphinx settings: MyST pages, autodoc of the public API, strict about references."""

from medtune.version import __version__

project = "medtune"
author = "The medtune authors"
project_copyright = "2026, the medtune authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.doctest"]
html_theme = "furo"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures carry them; types of other packages have no inventory offline
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
myst_heading_anchors = 3
nitpick_ignore_regex = [
    (r"py:.*", r".*"),  # other packages' objects have no inventory offline; medtune's are checked by test_documents
]
