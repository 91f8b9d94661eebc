"""Opens the text of an annotation file and says in which encoding it is."""

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from medtune.data.importers.documents import Told
from medtune.data.sources.opening import open_bytes
from medtune.errors import DataError, SpecError

__all__ = ["HEAD", "Input", "head_of", "lines_of", "open_text", "whole_text"]

HEAD = 2**16
"""Bytes by which a file's format is recognised."""
_LONGEST = 64 * 2**20
"""Characters of a line, and of a text that is one document."""
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip

_WIDE_XML = ((b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be"))
"""How a declaration begins in UTF-16 without a mark."""
_DECLARED = re.compile(rb"\s*<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([A-Za-z][\w.-]*)[\"']")
_DECLARATION_BYTES = 256


@dataclass(frozen=True, slots=True)
class Input:
    """What is imported: a file or folder, and the encoding that the user names (None: by its mark, else UTF-8).

    Attributes:
        path: file or folder.
        encoding: by Python's name.
        token_column: column of the tokens from 1, None to find it; for columns only.
        tag_column: column of the tags from 1, None to find it; for columns only.
    """

    path: Path
    encoding: str | None = None
    token_column: int | None = None
    tag_column: int | None = None


@contextmanager
def open_text(file: Path, encoding: str | None, told: Told) -> Iterator[IO[str]]:
    """Open a file, perhaps compressed, as text whose line ends stay as they are; ``told`` learns the encoding.

    Raises:
        DataError: it is not text of that encoding.
        SpecError: no such encoding.
        StorageError: it cannot be read.
    """
    name = encoding or _marked(file)
    try:
        codecs.lookup(name)
    except LookupError:
        raise SpecError(f"there is no encoding '{name}'; such as utf-8, utf-16, cp1252 or latin-1") from None
    told.encoding = name.removesuffix("-sig")
    try:
        with open_bytes(file) as stream, io.TextIOWrapper(stream, name, newline="") as text:
            yield text
    except UnicodeError:  # not chained: it quotes the bytes
        raise DataError(
            f"'{file}' is not {name.removesuffix('-sig').upper()} text; name its encoding with --encoding, such as "
            "cp1252, latin-1 or utf-16"
        ) from None


def lines_of(text: IO[str]) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text of each line, without its end."""
    for number, line in enumerate(_physical(text), start=1):
        yield number, line.rstrip("\r\n")


def whole_text(file: Path, encoding: str | None, told: Told) -> str:
    """Return the whole text, line ends as they are: offsets count them."""
    with open_text(file, encoding, told) as text:
        found = text.read(_LONGEST + 1)
    _require_short(found, "text")
    return found


def head_of(source: Input) -> str:
    """Return the beginning of a file's text; a character cut in two at its end is left out."""
    name = source.encoding or _marked(source.path)
    with open_bytes(source.path) as stream:
        head = stream.read(HEAD)
    try:
        decoder = codecs.getincrementaldecoder(name)()
        return decoder.decode(head)
    except LookupError:
        raise SpecError(f"there is no encoding '{name}'; such as utf-8, utf-16, cp1252 or latin-1") from None
    except UnicodeError:
        raise DataError(
            f"'{source.path}' is not {name.removesuffix('-sig').upper()} text; name its encoding with --encoding, such "
            "as cp1252, latin-1 or utf-16"
        ) from None


def _marked(file: Path) -> str:
    """Return the encoding that a byte order mark or an XML declaration names, else UTF-8."""
    with open_bytes(file) as stream:
        head = stream.read(_DECLARATION_BYTES)
    if marked := next((name for mark, name in _MARKS if head.startswith(mark)), ""):
        return marked
    if wide := next((name for mark, name in _WIDE_XML if head.startswith(mark)), ""):
        return wide
    declared = _DECLARED.match(head)
    name = declared[1].decode() if declared else "utf-8"
    with suppress(LookupError):
        return codecs.lookup(name).name
    return "utf-8"


def _physical(text: IO[str]) -> Iterator[str]:
    """Yield lines as ``newline=""`` cuts them, at CR, LF and CRLF."""
    while line := text.readline(_LONGEST + 1):
        _require_short(line, "line")
        yield line


def _require_short(text: str, what: str) -> None:
    """Refuse what would be in memory as a whole, and is no text that anybody annotated."""
    if len(text) > _LONGEST:
        raise DataError(
            f"the file has a {what} of more than {_LONGEST >> 20} Mi characters, which no annotated text has"
        )
