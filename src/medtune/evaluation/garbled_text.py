"""Knows text that went through the wrong encoding: UTF-8 that was read as Windows-1252 or Latin-1, and characters lost."""

import re

__all__ = ["is_garbled"]

_RUN = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{1,3}"
)
"""A character that may be the first byte of several, and those that may be the others."""
_CERTAIN = frozenset("\u00c2\u00c3\u00e2")
"""First bytes of the accents, signs and quotation marks of European languages: hardly ever before such a character."""
_SEVERAL = 3
_LOST = "\ufffd"


def is_garbled(text: str) -> bool:
    """Whether a text holds characters that were UTF-8 and read as another encoding, or the mark of a lost one.

    >>> is_garbled("M\u00c3\u00bcller"), is_garbled("Müller, \u201eMENÜ\u201c, São Tomé")
    (True, False)
    """
    if text.isascii():
        return False
    if _LOST in text:
        return True
    runs = [run for run in _RUN.findall(text) if _was_utf8(run)]
    return len(runs) >= _SEVERAL or any(run[0] in _CERTAIN for run in runs)


def _was_utf8(run: str) -> bool:
    """Whether the characters are, as bytes, the beginning of UTF-8 text."""
    for length in range(2, len(run) + 1):
        try:
            b"".join(_as_byte(character) for character in run[:length]).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


def _as_byte(character: str) -> bytes:
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")  # five bytes that Windows-1252 leaves out
