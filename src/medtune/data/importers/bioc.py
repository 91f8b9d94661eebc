"""BioC: collections of documents with passages, in XML and in JSON."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medtune.data.importers.bioc_xml import xml_documents
from medtune.data.importers.documents import Document, Mention, Passage, Relation, Told
from medtune.data.importers.json_items import json_items
from medtune.data.importers.reading import Input

__all__ = ["read_bioc_json", "read_bioc_xml"]

_TYPES = ("type", "label", "class", "category", "relation")
"""Infons that name a type, best first."""


def read_bioc_xml(source: Input, told: Told) -> Iterator[Document]:
    """Yield the documents of a BioC XML collection, one in memory at a time.

    Raises:
        DataError: it is not XML, or declares entities.
    """
    for number, document in enumerate(xml_documents(source, told), start=1):
        yield _document(document, f"{source.path.name}#{number}", told)


def read_bioc_json(source: Input, told: Told) -> Iterator[Document]:
    """Yield the documents of a BioC JSON collection, of a file with a document a line, or of PubTator 3."""
    for number, document, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        if isinstance(document, Mapping) and isinstance(document.get("passages"), list):
            yield _document(document, place, told)
        elif isinstance(document, Mapping) and isinstance(document.get("documents"), list):  # a collection a line
            for inner in document["documents"]:
                yield _document(inner, place, told)
        else:
            told.leave_out("values that are no document", place)


def _document(document: Mapping[str, Any], place: str, told: Told) -> Document:
    passages: list[Passage] = []
    relations = [*_list(document, "relations")]
    if document.get("annotations"):
        told.leave_out("mentions that stand in no passage", place, len(_list(document, "annotations")))
    for passage in _list(document, "passages"):
        sentences = _list(passage, "sentences")
        relations += [*_list(passage, "relations"), *(r for s in sentences for r in _list(s, "relations"))]
        if passage.get("text"):
            marked = [*_list(passage, "annotations"), *(a for s in sentences for a in _list(s, "annotations"))]
            passages.append(_passage(passage, marked, told, place))
        else:
            passages += [_passage(s, _list(s, "annotations"), told, place) for s in sentences if s.get("text")]
    return Document(
        str(document.get("id", "")),
        place,
        tuple(passages),
        tuple(made for r in relations if (made := _relation(r, told, place))),
    )


def _passage(passage: Mapping[str, Any], marked: Sequence[Mapping[str, Any]], told: Told, place: str) -> Passage:
    base = _number(passage.get("offset")) or 0
    mentions: list[Mention] = []
    for annotation in marked:
        infons = _infons(annotation)
        ends = [(_number(at.get("offset")), _number(at.get("length"))) for at in _list(annotation, "locations")]
        spans = tuple((start - base, start - base + length) for start, length in ends if start is not None and length)
        if not spans:
            told.leave_out("mentions without a place in the text", place)
            continue
        values = [str(value) for key, value in infons.items() if key not in _TYPES and value is not None]
        concepts = tuple(c.strip() for value in values for c in re.split(r"[|,;]", value) if c.strip())
        text: Any = annotation.get("text")
        stated = text if isinstance(text, str) and text else None
        mentions.append(Mention(str(annotation.get("id", "")), _type(infons), spans, stated, concepts))
    return Passage(str(passage["text"]), tuple(mentions))


def _relation(relation: Mapping[str, Any], told: Told, place: str) -> Relation | None:
    """Return a relation between two nodes, or between the two concepts that its infons name where it has no nodes."""
    infons = _infons(relation)
    nodes = [str(node.get("refid")) for node in _list(relation, "nodes")]
    if len(nodes) == 2:  # noqa: PLR2004 - the ends of a relation
        return Relation(_type(infons), nodes[0], nodes[1])
    concepts = [str(value) for key, value in infons.items() if key not in _TYPES]
    if not nodes and len(concepts) == 2:  # noqa: PLR2004 - as above
        kind = str(infons.get("relation", _type(infons)))
        return Relation(kind, concepts[0], concepts[1], "concept")
    told.leave_out("relations that are not between two mentions", place)
    return None


def _type(infons: Mapping[str, Any]) -> str:
    return next((str(infons[key]) for key in _TYPES if infons.get(key)), "")


def _infons(of: Mapping[str, Any]) -> Mapping[str, Any]:
    infons: Any = of.get("infons")
    return infons if isinstance(infons, Mapping) else {}


def _list(of: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value: Any = of.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
