"""A text in the one form that the rules read: letters composed, one kind of space and of hyphen, no marks of HTML."""

import json
import re
import unicodedata
from html import unescape
from typing import NamedTuple

__all__ = ["PlainForm", "plain_form"]

_ODD = re.compile(
    "[\u00a0\u00ad\u0300-\u036f\u1680\u2000-\u200f\u2010-\u2013\u2028-\u202f\u205f-\u2064\u2212\u3000\ufb00-\ufb06\ufeff\uff01-\uff5e]"
    r"|&[#A-Za-z]|</?[A-Za-z]|\\[unrt]"
)
"""What makes a text worth going through."""
_PIECE = re.compile(
    r"(?P<run>[\n\t\x20-\x25\x27-\x3b\x3d-\x5b\x5d-\x7e\u00a1-\u00ac\u00ae-\u02ff]+(?![\u0300-\u036f]|\\u03[0-6]))|"
    r"(?P<entity>&(?:[A-Za-z]{2,8}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});)"
    r"|(?P<tag></?(?P<name>[A-Za-z][A-Za-z0-9]{0,12})(?:\s{1,9}[\w:-]{1,40}=(?:\"[^\"<>]{0,300}\"|'[^'<>]{0,300}'|[\w.#:/-]{1,300})){0,9}\s{0,9}/?>)"
    r"|(?P<escape>\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[nrt\"\\/])"
    r"(?:[\u0300-\u036f]|\\u03[0-6][0-9A-Fa-f])*|.(?:[\u0300-\u036f]|\\u03[0-6][0-9A-Fa-f])*",
    re.DOTALL,
)
_ESCAPED = re.compile(r"(?:\\u[0-9A-Fa-f]{4}){1,2}")
_JSON = re.compile(r"[\[{]\s{0,9}\"|\"\s{0,9}[}\]]|\"\s{0,9}:")
"""What JSON text has somewhere, whatever stands around it."""
_CONTROLS = {"n": "\n", "r": "\n", "t": " "}
_INLINE = frozenset({"a", "abbr", "b", "em", "font", "i", "mark", "small", "span", "strong", "sub", "sup", "u", "wbr"})
"""Tags that part no words; any other stands for a new line."""
_BLOCKS = frozenset(
    [
        "html",
        "head",
        "body",
        "title",
        "meta",
        "link",
        "style",
        "script",
        "p",
        "div",
        "br",
        "hr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "td",
        "th",
        "caption",
        "pre",
        "blockquote",
        "section",
        "article",
        "header",
        "footer",
        "nav",
        "main",
        "aside",
        "form",
        "label",
        "input",
        "select",
        "option",
        "button",
        "img",
        "figure",
        "figcaption",
        "center",
    ]
)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Where a name such as birthDate has a hump."""
_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212"), "-")
_COMPATIBLE = re.compile("[\ufb00-\ufb06\uff01-\uff5e]")
"""Ligatures and letters of full width."""


class PlainForm(NamedTuple):
    """A text in plain form.

    Attributes:
        text: as the rules read it.
        places: character of ``text`` -> first and last-but-one place in the original, None where the text was plain already.
    """

    text: str
    places: list[tuple[int, int]] | None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return where in the original the characters from ``start`` to ``end`` stand."""
        if self.places is None or start >= end:
            return start, end
        return self.places[start][0], self.places[end - 1][1]


def plain_form(text: str) -> PlainForm:
    """Return a text in plain form: what a reader does not see apart, the rules do not either.

    Letters with combining marks are composed, as in German text from PDF files; no-break and narrow spaces are spaces; hyphens of
    word processors are hyphens; soft hyphens and characters of no width are left out; HTML's entities and tags and JSON's escapes
    are read.

    >>> plain_form("M&uuml;ller\u00a0born 12.\u202f3.\u202f1950").text
    'Müller born 12. 3. 1950'
    """
    if not _ODD.search(text):
        return PlainForm(text, None)
    is_json = _JSON.search(text) is not None
    written: list[str] = []
    places: list[tuple[int, int]] = []
    for piece in _PIECE.finditer(text):
        if piece["run"]:
            written.append(piece[0])
            places += [(at, at + 1) for at in range(piece.start(), piece.end())]
            continue
        plain = _plain(piece, is_json=is_json)
        written.append(plain)
        places += [piece.span()] * len(plain)
    return PlainForm("".join(written), places)


def _of_tag(tag: str, name: str) -> str:
    """Return what stands for a tag: a line's end, and a label where it is none of HTML's: <birthDate> is "birth Date: "."""
    if name.lower() in _INLINE:
        return ""
    if name.lower() in _BLOCKS or tag.startswith("</") or tag.endswith("/>"):
        return "\n"
    return "\n" + _HUMP.sub(" ", name) + ": "


def _plain(piece: re.Match[str], *, is_json: bool) -> str:
    if piece["tag"]:
        return _of_tag(piece[0], piece["name"])
    if piece["escape"] and piece["escape"][1] != "u" and len(piece[0]) == len("\\n"):
        return _CONTROLS.get(piece["escape"][1], piece["escape"][1]) if is_json else piece[0]
    found = unescape(piece[0]) if piece["entity"] else unicodedata.normalize("NFC", _ESCAPED.sub(_character, piece[0]))
    if len(found) == 1 and unicodedata.category(found) == "Cf":
        return ""
    if len(found) == 1 and unicodedata.category(found) == "Zs":
        return " "
    if _COMPATIBLE.search(found):
        found = unicodedata.normalize("NFKC", found)
    return found.translate(_HYPHENS)


def _character(escape: re.Match[str]) -> str:
    """Return what an escape of JSON says; half a character stays as it is written."""
    found: str = json.loads(f'"{escape[0]}"')
    return escape[0] if any("\ud800" <= character <= "\udfff" for character in found) else found
