"""Tells the licence of every installed package by its own metadata, and which of them may not be depended on."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import metadata
from types import MappingProxyType
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

from supply.locks import ROOT, read_locks

__all__ = ["EXCEPTIONS", "PAGE", "UNKNOWN", "licence_of", "page", "refusals"]

PAGE = ROOT / "docs" / "licences.md"
UNKNOWN = "unknown"
_BY_CLASSIFIER = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_BY_TEXT = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0 License": "Apache-2.0",
    "MIT License": "MIT",
}
_ALLOWED = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC", "LLVM-exception"}
    | {"LGPL-2.1-only", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"}
)
"""Permissive ones, and those whose copyleft ends at their own files or library, which medtune neither changes nor copies."""

EXCEPTIONS: Mapping[str, str] = MappingProxyType(
    {"docutils": "several, part by part; it builds the documentation only, and nothing of it comes with medtune"}
)
"""Package -> what it is under, and why that will do, where its metadata names several without saying how they go together."""

_HEAD = """# Licences of what medtune is installed with

Every release of `requirements.lock` and `requirements-torch.lock`, with the licence that its own metadata states; the
libraries of CUDA (`requirements-cuda.lock`) come under NVIDIA's terms. `python -m supply.licences` writes this page from an
installed environment. A test refuses an unknown licence, and one whose copyleft would reach medtune.

| package | licence |
| --- | --- |
"""


def licence_of(name: str) -> str:
    """Return the SPDX expression of an installed package, ``UNKNOWN`` where its metadata states none that is known."""
    told = metadata(name)
    if name in EXCEPTIONS:
        return EXCEPTIONS[name]
    if expression := told.get_all("License-Expression"):
        return str(expression[0])
    classifiers = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License ::")
    ]
    named = [_BY_CLASSIFIER.get(line, UNKNOWN) for line in classifiers if line != "DFSG approved"]
    text = str((told.get_all("License") or [""])[0]).strip().partition("\n")[0]  # some give its whole text
    if not named and text:
        named = [_BY_TEXT.get(text, text)]
    return " AND ".join(named) if named and UNKNOWN not in named else UNKNOWN


def refusals(licences: Mapping[str, str]) -> list[str]:
    """Return a sentence for each package that may not be depended on."""
    return [
        f"{name} is under '{licence}'; leave it out, or say in EXCEPTIONS why that will do"
        for name, licence in licences.items()
        if name not in EXCEPTIONS and not _is_allowed(licence)
    ]


def page(names: Iterable[str]) -> str:
    """Return the page of these packages."""
    return _HEAD + "".join(f"| {name} | {licence_of(name)} |\n" for name in sorted(names))


def _is_allowed(licence: str) -> bool:
    """Whether one choice of an expression is allowed whole."""
    try:
        parsed = _spdx().parse(licence, validate=True)
    except ExpressionError:
        return False
    return parsed is not None and any(
        all(key in _ALLOWED for key in re.split(r" AND | WITH ", choice)) for choice in _choices(str(parsed))
    )


@cache
def _spdx() -> Any:
    return get_spdx_licensing()


def _choices(expression: str) -> list[str]:
    """Return what may be chosen of an expression; one with parentheses counts whole."""
    return [expression] if "(" in expression else expression.split(" OR ")


if __name__ == "__main__":
    PAGE.write_text(page(each.name for each in read_locks()), "utf-8")
