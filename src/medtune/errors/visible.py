"""Makes characters visible that would steer a terminal, or turn the order of a text around, wherever text of others is shown."""

import html
import re

__all__ = ["html_text", "visible"]

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but the tab and the end of a line
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of direction
    "\u2028\u2029\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"  # ends of lines, annotations, tags, halves of characters
)


def visible(text: str) -> str:
    r"""Return a text in which each such character stands as its escape, such as ``\x1b``; all others stay.

    >>> visible("caf\u00e9 \x1b[31m")
    'caf\u00e9 \\x1b[31m'
    """
    return _STEERING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    place = ord(found[0])
    return f"\\x{place:02x}" if place < 2**8 else f"\\u{place:04x}" if place < 2**16 else f"\\U{place:08x}"


def html_text(text: str) -> str:
    """Return a text for a place in HTML, element or attribute, where nothing in it is markup or turns its order around."""
    return html.escape(visible(text))
