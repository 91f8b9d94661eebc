"""Turns BioC XML into the mappings of BioC JSON, document by document; entities are refused, nothing is fetched."""

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from medtune.data.importers.documents import Told
from medtune.data.importers.reading import Input
from medtune.data.sources.opening import open_bytes
from medtune.errors import DataError

__all__ = ["xml_documents"]

_CHUNK = 2**18
_DEEPEST = 12
_LONGEST_TAG = 2**22
"""Bytes of a tag with its attributes; the parser begins anew with one that is not whole yet."""
_LISTS = {
    "passage": "passages", "sentence": "sentences", "annotation": "annotations", "relation": "relations",
    "location": "locations", "node": "nodes",
}  # fmt: skip
_TEXTS = frozenset({"id", "text", "offset", "infon"})


def xml_documents(source: Input, told: Told) -> Iterator[dict[str, Any]]:
    """Yield the documents of a collection as mappings, one in memory at a time.

    expat reads the declared encoding, resolves no external entity and, here, takes no declaration of one at all: a file of
    a few lines could otherwise become gigabytes, or read other files.

    Raises:
        DataError: it is not whole XML, declares an entity, or is nested deeper than BioC.
    """
    builder = _Builder()
    parser = expat.ParserCreate(source.encoding)
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.EntityDeclHandler = builder.refuse
    parser.SkippedEntityHandler = builder.refuse
    parser.XmlDeclHandler = builder.declared
    told.encoding = source.encoding or "utf-8"
    try:
        with open_bytes(source.path) as stream:
            fed = 0
            while chunk := stream.read(_CHUNK):
                parser.Parse(chunk, False)
                fed += len(chunk)
                builder.require_short(fed - parser.CurrentByteIndex)
                yield from builder.finished()
            parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise DataError(
            f"'{source.path}' is not whole XML: it breaks off or is damaged at line {error.lineno}"
        ) from None
    except LookupError:
        raise DataError(f"'{source.path}' is XML in an encoding that is not known; write it as UTF-8") from None
    except _RefusedError as error:
        raise DataError(f"'{source.path}' {error}") from None
    told.encoding = builder.encoding or told.encoding
    yield from builder.finished()


class _RefusedError(ValueError):
    """What the file does that is not taken, in words."""


class _Builder:
    """Gathers elements; those that BioC does not have are passed over with what is in them."""

    def __init__(self) -> None:
        self.encoding = ""
        self._open: list[dict[str, Any] | None] = []
        self._names: list[str] = []
        self._done: list[dict[str, Any]] = []
        self._text: list[str] | None = None
        self._infon = ""

    def finished(self) -> list[dict[str, Any]]:
        done, self._done = self._done, []
        return done

    def require_short(self, unread: int) -> None:
        if unread > _LONGEST_TAG:
            raise _RefusedError("holds a tag longer than any of a BioC file")

    def declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self.encoding = (encoding or "utf-8").lower()

    def refuse(self, *_declared: object) -> None:
        raise _RefusedError(
            "declares or uses entities of its own, which can hide other files or gigabytes; remove them"
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._names.append(name)
        if len(self._names) > _DEEPEST:
            raise _RefusedError("is nested deeper than a BioC file ever is")
        if name in _TEXTS:
            self._text, self._infon = [], attributes.get("key", "")
            return
        if name == "document":
            self._open.append({})
        elif name in _LISTS and self._open and self._open[-1] is not None:
            element: dict[str, Any] = dict(attributes)
            self._open[-1].setdefault(_LISTS[name], []).append(element)
            self._open.append(element)
        else:
            self._open.append(None)

    def text(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        self._names.pop()
        if name in _TEXTS:
            self._keep(name, "".join(self._text or ()))
            self._text = None
            return
        element = self._open.pop()
        if name == "document" and element is not None:
            self._done.append(element)

    def _keep(self, name: str, text: str) -> None:
        element = self._open[-1] if self._open else None
        if element is None:
            return
        if name == "infon":
            element.setdefault("infons", {})[self._infon] = text
        else:
            element[name] = text if name == "text" else text.strip()
