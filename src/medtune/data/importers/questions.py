"""Questions as their makers publish them: PubMedQA by id, MedQA's lines, MedMCQA with its options counted from 1."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from medtune.data.formatters.columns import MalformedRowError
from medtune.data.formatters.options import option_letters
from medtune.data.importers.documents import Question, Told
from medtune.data.importers.json_items import json_items
from medtune.data.importers.reading import Input
from medtune.data.sources.names import is_plain

__all__ = ["read_medmcqa", "read_medqa", "read_pubmedqa", "read_squad"]


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
        read = {"QUESTION", "CONTEXTS", "LONG_ANSWER", "final_decision", "pubid", "PMID"}
        _leave_out_others(row, read, told, place)
        yield Question(document, place, "pubmedqa", values)


def read_medqa(source: Input, told: Told) -> Iterator[Question]:
    """Yield the questions of MedQA's lines: options by letter, the answer by letter (or several), or in full."""
    for number, row, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        options: Any = row.get("options") if isinstance(row, Mapping) else None
        if isinstance(options, list):  # of letter and text
            options = {o.get("key"): o.get("value") for o in options if isinstance(o, Mapping)}
        if not isinstance(options, Mapping) or not (row.get("answer_idx") or row.get("answer")):
            told.leave_out("questions without options or an answer", place)
            continue
        letters = _letters(row, options)
        if not letters:
            told.leave_out("questions whose answer names none of their options", place)
            continue
        values = {"question": row.get("question"), "options": options, "answer_idx": letters}
        values |= {name: row[name] for name in ("exp", "explanation") if isinstance(row.get(name), str)}
        _leave_out_others(row, {*values, "answer"}, told, place)
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
        _leave_out_others(row, {*values, "cop", "answer"}, told, place)
        yield Question("", place, "medmcqa", {**values, "cop": cop})


def read_squad(source: Input, told: Told) -> Iterator[Question]:
    """Yield the questions of SQuAD's articles with their paragraph; those without an answer are counted."""
    for number, article, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        for paragraph in _mappings(article, "paragraphs"):
            for asked in _mappings(paragraph, "qas"):
                answers = list(dict.fromkeys(a.get("text") for a in _mappings(asked, "answers")))
                if not answers:
                    told.leave_out("questions without an answer", place)
                    continue
                told.leave_out("answers beside the first one", place, len(answers) - 1)
                values = {"question": asked.get("question"), "context": paragraph.get("context"), "answer": answers[0]}
                yield Question(str(article.get("title", number)), place, "question_answer", values)


def _mappings(holder: Any, key: str) -> list[Mapping[str, Any]]:
    value: Any = holder.get(key) if isinstance(holder, Mapping) else None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _letters(row: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return the letters of the right options, empty for none; the answer in full names one where no letter does."""
    texts = {key: text for key, text in options.items() if isinstance(text, str)}
    for column in ("answer_idx", "answer"):
        with suppress(MalformedRowError):
            return option_letters(row.get(column), texts, column)
    return ""


def _leave_out_others(row: Mapping[str, Any], read: Collection[str], told: Told, place: str) -> None:
    """Count the columns of a row that nothing is made of."""
    for name, value in row.items():
        if name not in read and value not in (None, "", [], {}):
            told.leave_out(f"values of '{name if is_plain(name) else 'a column whose name looks like text'}'", place)


def _number(value: Any) -> int | None:
    try:
        return None if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        return None
