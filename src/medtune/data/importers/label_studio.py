"""Label Studio: the JSON export with tasks and annotations, and its short form JSON-MIN."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medtune.data.importers.documents import Document, Mention, Passage, Question, Relation, Told
from medtune.data.importers.json_items import json_items
from medtune.data.importers.offsets import place_passage
from medtune.data.importers.reading import Input

__all__ = ["is_classified", "marked_columns", "read_label_studio", "read_label_studio_choices", "read_label_studio_min"]

_LABELS = ("labels", "hypertextlabels", "label", "type", "entity_group", "tag")
"""Where a span's labels stand: Label Studio's lists, or the one name that other tools write."""
_FEW_WORDS = 4
"""Words from which a column beside the marked one is a text rather than a name."""


def read_label_studio(source: Input, told: Told) -> Iterator[Document]:
    """Yield a document per task, marked as in its first annotation that was not cancelled; others are counted."""
    for number, task, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        data: Any = task.get("data") if isinstance(task, Mapping) else None
        if not isinstance(data, Mapping):
            told.leave_out("tasks without data", place)
            continue
        done = _annotations(task, told, place)
        if done is None:
            told.leave_out("tasks without an annotation", place)
            continue
        found = _document(str(task.get("id", number)), data, done, told, place)
        if found is not None:
            yield found


def read_label_studio_min(source: Input, told: Told) -> Iterator[Document]:
    """Yield a document per row of JSON-MIN; its spans stand in the columns that hold such."""
    for number, row, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        columns = marked_columns(row)
        spans = [{"type": "labels", "to_name": column, "value": span} for column in columns for span in row[column]]
        texts = {k: v for k, v in row.items() if k not in columns} if isinstance(row, Mapping) else {}
        name = str(row.get("id", number)) if isinstance(row, Mapping) else str(number)
        found = _document(name, texts, spans, told, place)
        if found is not None:
            yield found


def marked_columns(row: Any) -> list[str]:
    """Return the columns of a row that hold a list of spans: mappings with start, end and labels."""
    if not isinstance(row, Mapping):
        return []
    return [name for name, value in row.items() if isinstance(value, list) and value and all(map(_is_span, value))]


def is_classified(task: Mapping[str, Any]) -> bool:
    """Whether a task's annotation names classes of its text, and marks no span of it."""
    return bool(_choices(task)) and not any(_is_span(r.get("value")) for r in _results(task))


def read_label_studio_choices(source: Input, told: Told) -> Iterator[Question]:
    """Yield text and classes of each task, from its first annotation that was not cancelled; others are counted."""
    for number, task, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        data: Any = task.get("data") if isinstance(task, Mapping) else None
        texts = [text for text in data.values() if isinstance(text, str)] if isinstance(data, Mapping) else []
        if not texts or _annotations(task, told, place) is None or not (chosen := _choices(task)):
            told.leave_out("tasks without a text or a class", place)
            continue
        told.leave_out("texts beside the longest one", place, sum(len(t.split()) >= _FEW_WORDS for t in texts) - 1)
        yield Question(str(task.get("id", number)), place, "text_label", {"text": max(texts, key=len), "label": chosen})


def _results(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [r for r in _annotations(task, Told(), "") or () if isinstance(r, Mapping)]


def _choices(task: Mapping[str, Any]) -> list[str]:
    values: list[Any] = [result.get("value") for result in _results(task)]
    named = [v["choices"] for v in values if isinstance(v, Mapping) and isinstance(v.get("choices"), list)]
    return [str(choice) for choices in named for choice in choices]


def _is_span(value: Any) -> bool:
    return isinstance(value, Mapping) and {"start", "end"} <= value.keys() and bool(value.keys() & {*_LABELS, "text"})


def _annotations(task: Mapping[str, Any], told: Told, place: str) -> Sequence[Any] | None:
    """Return the results of the first annotation that counts, None where there is none."""
    given: Any = task.get("annotations", task.get("completions"))
    every = [a for a in given if isinstance(a, Mapping)] if isinstance(given, list) else []
    kept = [a for a in every if not (a.get("was_cancelled") or a.get("skipped"))]
    told.leave_out("annotations that were cancelled", place, len(every) - len(kept))
    told.leave_out("annotations of further annotators", place, max(0, len(kept) - 1))
    if not kept and task.get("predictions"):
        told.leave_out("tasks with predictions of a model only", place)
    results: Any = kept[0].get("result") if kept else None
    return results if isinstance(results, list) else None


def _document(name: str, data: Mapping[str, Any], results: Sequence[Any], told: Told, place: str) -> Document | None:
    marked: dict[str, list[Mention]] = {}
    relations: list[Relation] = []
    for result in results:
        if not isinstance(result, Mapping):
            continue
        value: Any = result.get("value")
        if result.get("type") == "relation":
            relations.append(_relation(result))
        elif isinstance(value, Mapping) and _is_span(value):
            mentions = marked.setdefault(str(result.get("to_name", "")), [])
            mentions.extend(_mentions(str(result.get("id", len(mentions))), value, told, place))
        else:
            told.leave_out("results that mark no span of the text", place)
    passages = _passages(data, marked or {"": []}, told, place)
    if not passages:
        told.leave_out("tasks without a text", place)
        return None
    return Document(name, place, passages, tuple(relations))


def _relation(result: Mapping[str, Any]) -> Relation:
    kinds = result.get("labels") or ["related"]
    ends = (str(result.get("from_id")), str(result.get("to_id")))
    first, second = ends[::-1] if result.get("direction") == "left" else ends
    return Relation(str(kinds[0]), first, second)


def _mentions(name: str, value: Mapping[str, Any], told: Told, place: str) -> Iterator[Mention]:
    kinds: Any = next((value[key] for key in _LABELS if value.get(key)), None)
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(value["start"], int) or not isinstance(value["end"], int) or not isinstance(kinds, list):
        told.leave_out("spans without a label, or with offsets that are no numbers", place)
        return
    text: Any = value.get("text")
    stated = text.replace("\\n", "\n") if isinstance(text, str) else None
    for kind in kinds:
        yield Mention(name, str(kind), ((value["start"], value["end"]),), stated)


def _passages(
    data: Mapping[str, Any], marked: Mapping[str, Sequence[Mention]], told: Told, place: str
) -> tuple[Passage, ...]:
    """Return each text that was marked, with its marks; other texts of several words are counted."""
    held: dict[str, list[Mention]] = {}
    for name, mentions in marked.items():
        column = _column(data, name, mentions)
        if column is not None:
            held.setdefault(column, []).extend(mentions)
    others = [
        c for c, text in data.items() if isinstance(text, str) and c not in held and len(text.split()) >= _FEW_WORDS
    ]
    told.leave_out("texts beside the one that was marked", place, len(others) if held else 0)
    return tuple(Passage(data[column], tuple(mentions)) for column, mentions in held.items())


def _column(data: Mapping[str, Any], name: str, mentions: Sequence[Mention]) -> str | None:
    """Return the column that was marked under a name: the one in which most mentions are what they say.

    Of equals it is the one of that name, which the marks of a labelling interface often have, else the longest.
    """
    texts = {column: text for column, text in data.items() if isinstance(text, str)}
    ranked = (
        (-place_passage(Passage(text, tuple(mentions))).refused, column == name, len(text), column)
        for column, text in texts.items()
    )
    return max(ranked, default=(0, False, 0, None))[3]
