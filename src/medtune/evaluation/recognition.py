"""Says which of medtune's own tasks an example belongs to, by its source or else by its shape."""

from collections.abc import Mapping

from medtune.evaluation.gold_shapes import Shape, shape_of
from medtune.evaluation.medtuned import HALLMARKS, NLI_LABELS, NO_RELATION, RELATIONS, SOURCES
from medtune.plugins.contracts import Example

__all__ = ["HALLMARKS", "NLI_LABELS", "NO_RELATION", "RELATIONS", "answer_of", "question_of", "recognise"]

_TASKS: Mapping[Shape, str] = {
    "tagging": "ner",
    "relation": "relation",
    "inference": "nli",
    "hallmarks": "classification",
    "json": "extraction",
    "rest": "qa",
}


def question_of(example: Example) -> str:
    """Return what was asked: every message but the last, joined by blank lines."""
    return "\n\n".join(message["content"] for message in example.messages[:-1])


def answer_of(example: Example) -> str:
    """Return the gold answer."""
    return example.messages[-1]["content"]


def recognise(example: Example) -> str | None:
    """Return the one task of medtune's own that fits ``example`` by itself, None when it has no gold answer.

    A known source decides. Otherwise the shape does, the most specific one first; anything else that was answered is a
    question with its answer. What all rows of a source tell together goes before: see ``task_contracts``.
    """
    if known := SOURCES.get(example.source.lower()):
        return known
    if len(example.messages) < 2:  # noqa: PLR2004 - a question and an answer
        return None
    answer = answer_of(example).strip()
    if not answer:
        return None
    return "nli" if answer in NLI_LABELS else _TASKS[shape_of(question_of(example), answer_of(example))]
