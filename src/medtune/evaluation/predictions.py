"""Keeps predictions as JSON lines, and reads those of any system."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.final_answer import final_answer
from medtune.data.shaping import document_name
from medtune.data.sources.json_text import ROW_LIMIT
from medtune.data.sources.opening import lines_of, open_bytes
from medtune.errors import DataError, StorageError
from medtune.evaluation.recognition import answer_of, question_of
from medtune.machine.owner_only import open_text
from medtune.plugins.contracts import Example, Message, Prediction, Task

__all__ = ["read_predictions", "with_final_gold", "write_predictions"]

_REQUIRED = ("input", "gold", "prediction")
_OPTIONAL = ("task", "source", "row_id")
_READ = frozenset({*_REQUIRED, *_OPTIONAL, "document", "truncated", "confidence", "messages"})


class _UnusableLineError(Exception):
    """A line cannot be scored; the message says why, without its text."""


def write_predictions(path: str | Path, predictions: Iterable[Prediction]) -> None:
    """Write a JSON object a line: task, source, row_id, input, gold, prediction, truncated, and confidence where known.

    A conversation of more than one question keeps its turns under ``messages`` besides, so that reading the file gives
    the same predictions back.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        with open_text(Path(path)) as file:
            file.writelines(json.dumps(_record(p), ensure_ascii=False) + "\n" for p in predictions)
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written: {error.strerror}") from error


def read_predictions(
    path: str | Path,
    tasks: Sequence[Task] | None = None,
    *,
    document_keys: Mapping[str, str] | None = None,
    unread: Counter[str] | None = None,
) -> list[Prediction]:
    """Read predictions that medtune or any other system wrote.

    Of a prediction, and of a gold answer, what follows a block of reasoning or stands in the final channel is the answer;
    a prediction that ends within its reasoning is truncated.

    Args:
        path: lines of ``{"task", "source", "input", "gold", "prediction"}``; task and source may be missing: the tasks
            then decide. ``row_id``, ``document``, ``truncated`` and ``confidence`` are used where they are given.
        tasks: what a line's ``task`` may name; None accepts any name.
        document_keys: source, or "*", -> key of its lines that names the document instead of ``document``.
        unread: counts the lines with each key that nothing reads.

    Raises:
        StorageError: the file cannot be read.
        DataError: a line cannot be used; the error names the line and never repeats its text.
    """
    names = None if tasks is None else {task.name for task in tasks}
    keys, passed_over = document_keys or {}, Counter[str]() if unread is None else unread
    found: list[Prediction] = []
    try:
        with open_bytes(Path(path)) as file:
            for number, line in enumerate(lines_of(file, ROW_LIMIT), 1):
                if line.strip():
                    try:
                        record = _with_document(_parsed(line), keys, passed_over)
                        found.append(_prediction(record, names))
                    except _UnusableLineError as error:
                        raise DataError(f"'{path}' line {number} cannot be scored: {error}") from None
    except OSError as error:
        raise StorageError(f"'{path}' cannot be read: {error.strerror}") from error
    if not found:
        raise DataError(f"'{path}' holds no predictions; write a JSON object with {', '.join(_REQUIRED)} on each line")
    return found


def with_final_gold(example: Example) -> Example:
    """Return the example with its gold answer alone where that begins with reasoning; as it is otherwise."""
    gold = answer_of(example)
    final = final_answer(gold, gold)
    if final.unfinished or final.text == gold:
        return example
    answer: Message = {"role": "assistant", "content": final.text}
    return replace(example, messages=(*example.messages[:-1], answer))


def _record(prediction: Prediction) -> dict[str, Any]:
    example = prediction.example
    record: dict[str, Any] = {
        "task": example.task,
        "source": example.source,
        "row_id": example.row_id,
        "input": question_of(example),
        "gold": answer_of(example),
        "prediction": prediction.text,
        "truncated": prediction.truncated,
    }
    if example.document:
        record["document"] = example.document
    if prediction.confidence is not None:
        record["confidence"] = prediction.confidence
    asked = example.messages[:-1]
    if [message["role"] for message in asked] != ["user"]:
        record["messages"] = list(asked)
    return record


def _prediction(record: Mapping[str, Any], names: set[str] | None) -> Prediction:
    """Read the object of one line; _UnusableLineError says what is wrong with it."""
    for key in _REQUIRED:
        if not isinstance(record.get(key), str):
            raise _UnusableLineError(f"'{key}' is missing" if key not in record else f"'{key}' is not text")
    for key in _OPTIONAL:
        if not isinstance(record.get(key), str | None):
            raise _UnusableLineError(f"'{key}' is not text")
    if not record["gold"].strip():
        raise _UnusableLineError("'gold' is empty")
    if not isinstance(record.get("truncated", False), bool):
        raise _UnusableLineError("'truncated' is neither true nor false")
    sure = record.get("confidence")
    if sure is not None and (isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1):
        raise _UnusableLineError("'confidence' is no number between 0 and 1")
    task = record.get("task") or None
    if task is not None and names is not None and task not in names:
        known = ", ".join(f"'{name}'" for name in sorted(names))
        raise _UnusableLineError(f"its task is none of {known}")
    example = Example(
        messages=(*_asked(record), {"role": "assistant", "content": record["gold"]}),
        source=_source_of(record),
        task=task,
        row_id=record.get("row_id") or "",
        document=document_name(record.get("document")),
    )
    example = with_final_gold(example)
    found = final_answer(record["prediction"], answer_of(example))
    return Prediction(example, found.text, record.get("truncated", False) or found.unfinished, sure)


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except UnicodeDecodeError:
        raise _UnusableLineError("it is not UTF-8") from None
    except (ValueError, RecursionError):
        raise _UnusableLineError("it is not JSON") from None
    if not isinstance(record, dict):
        raise _UnusableLineError("it is no JSON object")
    return record


def _with_document(record: Mapping[str, Any], keys: Mapping[str, str], unread: Counter[str]) -> Mapping[str, Any]:
    """Return the record with the document that its source names under another key, and count the keys that nothing reads."""
    key = keys.get(_source_of(record), keys.get("*", ""))
    if key and key not in record:
        raise _UnusableLineError(f"'{key}', which tasks.document names, is missing")
    found = record.get(key or "document")
    if isinstance(found, bool) or not isinstance(found, str | int | float | None):
        raise _UnusableLineError(f"'{key or 'document'}' is neither text nor a number")
    unread.update(record.keys() - _READ - {key})
    return {**record, "document": found}


def _source_of(record: Mapping[str, Any]) -> str:
    """Return the name of a line's source; one name has one spelling, whichever way its accents are composed."""
    found = record.get("source") or ""
    return unicodedata.normalize("NFC", found) if isinstance(found, str) else ""


def _asked(record: Mapping[str, Any]) -> list[Message]:
    if "messages" not in record:
        return [{"role": "user", "content": record["input"]}]
    turns = record["messages"]
    if not isinstance(turns, list) or not turns or not all(_is_turn(turn) for turn in turns):
        raise _UnusableLineError("'messages' is no list of turns with role and content")
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _is_turn(turn: object) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
