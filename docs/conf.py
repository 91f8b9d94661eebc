"""Sphinx settings: MyST pages, autodoc of the public API with its types, strict about references."""

import re
from typing import Any, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx

from medtune import specs
from medtune.version import __version__

project = "medtune"
author = "The medtune authors"
project_copyright = "2026, the medtune authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.doctest"]
napoleon_numpy_docstring = False
html_theme = "furo"
html_title = f"medtune {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "exclude-members": "model_config, former_names"}
maximum_signature_line_length = 100
python_use_unqualified_type_names = True
myst_heading_anchors = 3
nitpick_ignore_regex = [
    (r"py:.*", r".*"),  # other packages' objects have no inventory offline; medtune's are checked by test_documents
]


def keep_texts_whole(_app: Sphinx, what: str, name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Say that texts of attributes and of what is returned begin with no type, and add a field's default.

    Napoleon takes what stands before their first colon for a type; types are in the signatures.
    """
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f": {lines[0]}"
        lines.extend(default_of(name))
    for number, line in enumerate(lines[:-1]):
        if line == "Returns:":
            lines[number + 1] = f"    : {lines[number + 1].lstrip()}"


def default_of(name: str) -> list[str]:
    """Return the lines that say the default of a spec's field; none where it has none, or a whole spec."""
    owner, field = name.split(".")[-2:]
    found: FieldInfo | None = getattr(getattr(specs, owner, None), "model_fields", {}).get(field)
    if found is None or found.is_required() or isinstance(found.default, BaseModel):
        return []
    return ["", f"Default: ``{found.default!r}``."]


def show_signature(_app: Sphinx, what: str, _name: str, obj: Any, *rest: Any) -> tuple[str, str] | None:
    """Leave out the signatures of specs, whose fields stand below, and of protocols, which nobody calls."""
    _options, signature, returned = rest
    if what == "class" and (issubclass(obj, BaseModel) or getattr(obj, "_is_protocol", False)):
        return "", ""
    if not signature:
        return None
    return re.sub(r"= <.*?>+(?=[,)])", "= ...", signature), returned  # defaults that Python cannot spell


def setup(app: Sphinx) -> None:
    """Take part in autodoc, before napoleon does."""
    for name in specs.__all__:
        spec = getattr(specs, name)
        spec.__annotations__.update(get_type_hints(spec))  # without pydantic's bounds, which `medtune schema` shows
    app.connect("autodoc-process-docstring", keep_texts_whole, priority=100)
    app.connect("autodoc-process-signature", show_signature)
