"""BigBio's schemas: kb (entities and relations) and qa, as JSON or JSON Lines."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.data.importers.documents import Document, Mention, Passage, Question, Relation, Told
from medtune.data.importers.json_items import json_items
from medtune.data.importers.reading import Input

__all__ = ["read_bigbio_kb", "read_bigbio_qa"]

_LETTERS = "ABCDEFGHIJ"
_DECISIONS = ("yes", "no", "maybe")


def read_bigbio_kb(source: Input, told: Told) -> Iterator[Document]:
    """Yield the documents of the kb schema; an entity belongs to the passage that its offsets lie in."""
    for number, row, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        if not isinstance(row, Mapping) or not isinstance(row.get("passages"), list):
            told.leave_out("values that are no document", place)
            continue
        told.leave_out("events", place, len(_list(row, "events")))
        told.leave_out("coreferences", place, len(_list(row, "coreferences")))
        relations = tuple(
            Relation(str(r.get("type", "")), str(r.get("arg1_id")), str(r.get("arg2_id")))
            for r in _list(row, "relations")
        )
        name = str(row.get("document_id") or row.get("id") or number)
        yield Document(name, place, tuple(_passages(row, told, place)), relations)


def read_bigbio_qa(source: Input, told: Told) -> Iterator[Question]:
    """Yield the questions of the qa schema; several answers to one question are one row each."""
    for number, row, _key in json_items(source, told):
        place = f"{source.path.name}:{number}"
        answers: Any = row.get("answer") if isinstance(row, Mapping) else None
        answers = [answers] if isinstance(answers, str) else answers
        if not isinstance(answers, list) or not answers:
            told.leave_out("questions without an answer", place)
            continue
        told.leave_out("further answers to a question", place, len(answers) - 1)
        found = _question(row, str(answers[0]), place)
        if found is None:
            told.leave_out("questions whose answer is not among their choices", place)
        else:
            yield found


def _passages(row: Mapping[str, Any], told: Told, place: str) -> Iterator[Passage]:
    """Yield the passages with their entities, offsets counted from the passage's beginning."""
    texts: list[tuple[int, str]] = []
    for passage in _list(row, "passages"):
        pieces: Any = passage.get("text")
        pieces = [pieces] if isinstance(pieces, str) else pieces
        starts = [_int(pair[0]) for pair in passage.get("offsets") or [[0, 0]]]
        texts += [(start, str(text)) for start, text in zip(starts, pieces or [], strict=False)]
    held: list[list[Mention]] = [[] for _ in texts]
    for entity in _list(row, "entities"):
        spans = [(_int(pair[0]), _int(pair[1])) for pair in entity.get("offsets") or []]
        before = [i for i, (start, _text) in enumerate(texts) if spans and start <= min(spans)[0]]
        if not before:
            told.leave_out("mentions that stand in no passage", place)
            continue
        at = max(before, key=lambda i: texts[i][0])
        base = texts[at][0]
        words: Any = entity.get("text")
        stated = " ".join(map(str, words)) if isinstance(words, list) else words
        concepts = tuple(str(n.get("db_id")) for n in _list(entity, "normalized"))
        moved = tuple((start - base, end - base) for start, end in spans)
        held[at].append(Mention(str(entity.get("id", "")), str(entity.get("type", "")), moved, stated, concepts))
    for (_start, text), mentions in zip(texts, held, strict=True):
        yield Passage(text, tuple(mentions))


def _question(row: Mapping[str, Any], answer: str, place: str) -> Question | None:
    """Return the question in the shape of the formatter that fits its choices, None when the answer is none of them."""
    choices = [str(choice) for choice in row.get("choices") or []]
    context, question = str(row.get("context") or ""), str(row.get("question") or "")
    document = str(row.get("document_id") or "")
    if {c.strip().lower() for c in choices} <= {*_DECISIONS} and answer.strip().lower() in _DECISIONS and context:
        values = {"question": question, "context": {"contexts": [context]}, "final_decision": answer}
        return Question(document, place, "pubmedqa", values)
    asked = f"{context}\n\n{question}" if context else question
    if not choices:
        return Question(document, place, "question_answer", {"question": asked, "answer": answer})
    letter = _letter(choices, answer)
    if letter is None:
        return None
    options = dict(zip(_LETTERS, choices, strict=False))
    return Question(document, place, "medqa_usmle", {"question": asked, "options": options, "answer_idx": letter})


def _letter(choices: list[str], answer: str) -> str | None:
    """Return the letter of the choice that an answer spells, or names by its letter."""
    if len(choices) > len(_LETTERS):
        return None
    if answer in choices:
        return _LETTERS[choices.index(answer)]
    named = answer.strip().upper()
    return named if len(named) == 1 and named in _LETTERS[: len(choices)] else None


def _list(of: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value: Any = of.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _int(value: Any) -> int:
    return value if isinstance(value, int) else -1
