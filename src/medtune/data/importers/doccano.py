"""doccano: a text a line, with spans as triples or as entities and relations."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.data.importers.documents import Document, Mention, Passage, Relation, Told
from medtune.data.importers.json_items import json_items
from medtune.data.importers.reading import Input

__all__ = ["read_doccano"]


def read_doccano(source: Input, told: Told) -> Iterator[Document]:
    """Yield a document per line; its id is the line's ``id``, else its number."""
    for number, row, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        text = _text(row)
        if text is None:
            told.leave_out("rows without a text", place)
            continue
        name = row.get("id", row.get("_id", number))
        mentions = [*_triples(row, told, place), *_entities(row, told, place)]
        relations = tuple(
            Relation(str(r.get("type", r.get("label", ""))), str(r.get("from_id")), str(r.get("to_id")))
            for r in _mappings(row.get("relations"))
        )
        if row.get("Comments") or row.get("comments"):
            told.leave_out("notes of annotators", place)
        yield Document(str(name), place, (Passage(text, tuple(mentions)),), relations)


def _text(row: Any) -> str | None:
    if not isinstance(row, Mapping):
        return None
    text: Any = row.get("text", row.get("data"))
    return text if isinstance(text, str) else None


def _triples(row: Mapping[str, Any], told: Told, place: str) -> Iterator[Mention]:
    """Yield the spans of ``label``, ``labels`` or ``annotations``: triples of start, end and type."""
    given: list[Any] = next(
        (row[key] for key in ("label", "labels", "annotations") if isinstance(row.get(key), list)), []
    )
    for number, span in enumerate(given):
        if isinstance(span, Mapping) and isinstance(span.get("start_offset"), int):
            yield _entity(span, number)
        elif isinstance(span, list) and len(span) == 3 and all(isinstance(n, int) for n in span[:2]):  # noqa: PLR2004
            yield Mention(str(number), str(span[2]), ((span[0], span[1]),))
        else:
            told.leave_out("labels that are no span of start, end and type", place)


def _entities(row: Mapping[str, Any], told: Told, place: str) -> Iterator[Mention]:
    for number, entity in enumerate(_mappings(row.get("entities"))):
        if isinstance(entity.get("start_offset"), int) and isinstance(entity.get("end_offset"), int):
            yield _entity(entity, number)
        else:
            told.leave_out("labels that are no span of start, end and type", place)


def _entity(entity: Mapping[str, Any], number: int) -> Mention:
    at = (int(entity["start_offset"]), int(entity["end_offset"]))
    return Mention(str(entity.get("id", number)), str(entity.get("label", "")), (at,))


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
