"""Finds out whether a tokenizer changes the characters of a text before it cuts it into tokens."""

import string
from collections.abc import Callable
from typing import Any

__all__ = ["rewriting_of"]

_SPACE = "\u2581"
_PROBES = (string.printable.strip(), "e\u0301 \ufb01 \uff21 \u2460 \u00b5 \u1e9b\u0323 \u00c5 \u212b")
"""ASCII; and forms that NFC, NFD or NFKC would replace."""


def rewriting_of(tokenizer: Any) -> Callable[[str], bool] | None:
    """Return what says of a text whether the tokenizer changes it beyond white space; None when it never does.

    What counts is what the tokenizer's normaliser makes of probes, not how it is called.

    Args:
        tokenizer: from ``load_tokenizer``.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is None:
        return None

    def changes(text: str) -> bool:
        return _plain(normalizer.normalize_str(text)) != _plain(text)

    of_ascii, of_others = map(changes, _PROBES)
    if of_ascii:
        return changes
    return (lambda text: not text.isascii() and changes(text)) if of_others else None


def _plain(text: str) -> str:
    return "".join(text.replace(_SPACE, " ").split())
