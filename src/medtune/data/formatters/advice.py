"""Names the mapping that would make rows readable, by what people call such columns and what stands in them."""

import re
from collections.abc import Iterable, Mapping
from shlex import quote
from typing import Any, cast

from medtune.data.formatters.answer_texts import without_answers
from medtune.data.formatters.marks import holds_marks
from medtune.data.sources.names import is_plain

__all__ = ["is_annotated", "mapping_advice", "preference_metadata", "suggested_columns"]

_ASKED = ("instruction", "question", "prompt", "query", "input", "problem", "source_text")
_ANSWERED = (
    "output", "response", "answer", "completion", "target", "reply", "label", "summary", "final_decision", "chosen",
)  # fmt: skip
_CHOSEN = ("answerkey", "answer_key", "answer_idx", "answer", "correct", "target", "label", "gold")
_GIVEN = ("context", "contexts", "passage", "abstract", "note", "text", "document", "report", "article")
_TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
_REFUSED = ("rejected", "rejected_response", "negative")
_TAG = re.compile(r"O|[BIESLUM][-_]\S+|[BIES]")
"""Labels of tokens as schemes write them."""
_LABEL_CHARACTERS, _LABEL_WORDS = 40, 3
"""A label is short and of few words; any other answer is text."""


_ANNOTATED = (
    ({"annotations", "data"}, "these look like annotations of Label Studio: medtune import reads them"),
    ({"documents"}, "these look like BioC: medtune import reads it"),
    ({"passages"}, "these look like BioC or BigBio: medtune import reads them"),
    ({"text", "entities"}, "these look like annotated spans: medtune import reads them"),
    ({"question", "contexts", "final_decision"}, "these look like PubMedQA's own release: medtune import reads it"),
    (
        {"resourcetype"},
        "FHIR resources hold neither question nor answer; write their text and what is to be learnt as rows",
    ),
)


def mapping_advice(columns: Iterable[str], row: Mapping[str, Any] | None = None) -> str:
    """Return how to map such columns to roles, without a guess where their names say nothing.

    Args:
        columns: of the rows.
        row: one of them, whose answer tells a label from text; columns inside its objects count too.
    """
    columns = list(columns)
    if told := _annotated(columns, row):
        return told
    found = suggested_columns(columns, row)
    if not found:
        return "say which column takes which role, as in data.columns.question=COLUMN data.columns.answer=COLUMN"
    named = [f"--set {quote(f'data.columns.{role}={column}')}" for role, column in found.items() if role != column]
    named += [
        f"--set data.columns.metadata={','.join(others)}" for others in [preference_metadata(found, columns)] if others
    ]
    return f"map them, perhaps with {' '.join(named)}" if named else "look at the rows"


def suggested_columns(columns: Iterable[str], row: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return role -> column for columns that are called as such often are; empty where names say too little."""
    if row and (labelled := _labelled_options(row)):
        return _of_options(columns, row, *labelled)
    by_name = {path.rpartition(".")[2].lower(): path for path in reversed(_paths(columns, row)) if is_plain(path)}
    if tagged := _tagged(row or {}):
        return tagged
    turns = _first(by_name, _TURNS)
    asked, answered, given = (_first(by_name, names) for names in (_ASKED, _ANSWERED, _GIVEN))
    given = given or (by_name.get("input", "") if asked != by_name.get("input") else "")
    if turns:
        return {"messages": turns}
    if not answered or not (asked or given):
        return {}
    if asked:
        found = {"instruction": asked, "output": answered, **({"input": given} if given else {})}
        return without_answers(found, [row] if row else [])
    if _is_label(_reach(row or {}, answered)):
        return {"text": given, "label": answered}
    return {"prompt": given, "completion": answered}


def preference_metadata(found: Mapping[str, str], columns: Iterable[str]) -> list[str]:
    """Return the columns of answers that were refused, which nothing shall read, beside the chosen one."""
    is_pair = any(column.lower() == "chosen" for column in found.values())
    return [column for column in columns if is_pair and column.lower() in _REFUSED]


def _labelled_options(row: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
    """Return the column whose objects hold texts of options beside their letters, as ARC has them, with the letters."""
    for column, value in row.items():
        held = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
        texts, labels = held.get("text"), held.get("label")
        if isinstance(texts, list) and isinstance(labels, list):
            return column, list(held["label"])
    return None


def _of_options(columns: Iterable[str], row: Mapping[str, Any], options: str, labels: list[Any]) -> dict[str, str]:
    """Return the roles of a question with such options; none where no column names one of their letters."""
    by_name = {column.lower(): column for column in columns if is_plain(column)}
    asked, answered = _first(by_name, _ASKED), _first(by_name, _CHOSEN)
    role = "options" if options == "options" else "choices"
    found = {"question": asked, role: options, "answer": answered}
    return found if all(map(is_plain, found.values())) and row.get(answered) in labels else {}


def _tagged(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the roles of words and their tags, whatever their names: two lists of a length, one of words, one of labels."""
    lists: dict[str, list[Any]] = {c: v for c, v in row.items() if is_plain(c) and isinstance(v, list) and len(v) > 1}
    for words, spelled in lists.items():
        if not all(isinstance(word, str) and word and not any(c.isspace() for c in word) for word in spelled):
            continue
        for tags, labels in lists.items():
            if tags != words and len(labels) == len(spelled) and _are_tags(labels) and not _are_tags(spelled):
                return {"tokens": words, "ner_tags": tags}
    return {}


def _are_tags(labels: list[Any]) -> bool:
    if all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        return 0 in labels
    return all(isinstance(label, str) and _TAG.fullmatch(label) for label in labels)


def is_annotated(columns: Iterable[str], row: Mapping[str, Any] | None = None) -> bool:
    """Whether columns are those of another kind of file, which a mapping does not make readable."""
    return bool(_annotated(columns, row))


def _annotated(columns: Iterable[str], row: Mapping[str, Any] | None = None) -> str:
    lowered = {column.lower() for column in columns}
    said = next((advice for names, advice in _ANNOTATED if names <= lowered), "")
    if any(map(holds_marks, (row or {}).values())):
        return "a column holds marks as JSON text, as annotation tools write tables: export them as JSON for medtune import"
    marks: Any = (row or {}).get("entities")
    is_marked = isinstance(marks, list) and (not marks or isinstance(marks[0], list | Mapping))
    return said if not row or not lowered >= {"text", "entities"} or is_marked else ""


def _paths(columns: Iterable[str], row: Mapping[str, Any] | None) -> list[str]:
    """Return the columns, then those inside the objects of a row."""
    held = row or {}
    inner = [
        f"{column}.{key}"
        for column, value in held.items()
        if isinstance(value, Mapping)
        for key in cast("Mapping[str, Any]", value)
    ]
    return [*columns, *inner]


def _is_label(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LABEL_CHARACTERS and len(value.split()) <= _LABEL_WORDS
    return value is None or isinstance(value, int | float | list)


def _reach(row: Mapping[str, Any], path: str) -> Any:
    head, dot, rest = path.partition(".")
    value = row.get(path, row.get(head))
    return (
        _reach(cast("Mapping[str, Any]", value), rest)
        if dot and path not in row and isinstance(value, Mapping)
        else value
    )


def _first(by_name: dict[str, str], names: Iterable[str]) -> str:
    return next((by_name[name] for name in names if name in by_name), "")
