"""Questions as their makers publish them: PubMedQA by id, MedQA's lines, MedMCQA with its options counted from 1."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.data.importers.documents import Question, Told
from medtune.data.importers.json_items import json_items
from medtune.data.importers.reading import Input

__all__ = ["read_medmcqa", "read_medqa", "read_pubmedqa"]


def read_pubmedqa(source: Input, told: Told) -> Iterator[Question]:
    """Yield the questions of PubMedQA's own JSON; the key is the id of the abstract.

    Sets without a decision (the unlabelled part) leave all rows out, counted.
    """
    for number, row, key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        if not isinstance(row, Mapping) or not row.get("final_decision"):
            told.leave_out("questions without an answer", place)
            continue
        document = key or str(row.get("pubid", row.get("PMID", "")))
        values = {
            "question": row.get("QUESTION"),
            "context": {"contexts": row.get("CONTEXTS")},
            "long_answer": row.get("LONG_ANSWER"),
            "final_decision": row.get("final_decision"),
        }
        yield Question(document, place, "pubmedqa", values)


def read_medqa(source: Input, told: Told) -> Iterator[Question]:
    """Yield the questions of MedQA's lines: options by letter, the answer by letter or in full."""
    for number, row, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        options: Any = row.get("options") if isinstance(row, Mapping) else None
        if isinstance(options, list):  # of letter and text
            options = {o.get("key"): o.get("value") for o in options if isinstance(o, Mapping)}
        letter = _letter(row, options) if isinstance(options, Mapping) else None
        if letter is None:
            told.leave_out("questions without an answer", place)
            continue
        values = {"question": row.get("question"), "options": options, "answer_idx": letter}
        yield Question("", place, "medqa_usmle", values)


def read_medmcqa(source: Input, told: Told) -> Iterator[Question]:
    """Yield the questions of MedMCQA; the number of the option in ``cop`` is left as it is, its base is seen later."""
    for number, row, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        cop = _number(row.get("cop")) if isinstance(row, Mapping) else None
        if cop is None or cop < 0:
            told.leave_out("questions without an answer", place)
            continue
        values = {name: row.get(name) for name in ("question", "opa", "opb", "opc", "opd", "exp")}
        yield Question("", place, "medmcqa", {**values, "cop": cop})


def _letter(row: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    """Return the letter of the right option; the answer in full names it where no letter does."""
    letter = row.get("answer_idx")
    if isinstance(letter, str) and letter.strip() in options:
        return letter.strip()
    answer = row.get("answer")
    return next((key for key, text in options.items() if isinstance(answer, str) and answer in (text, key)), None)


def _number(value: Any) -> int | None:
    try:
        return None if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        return None
