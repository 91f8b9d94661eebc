"""The simple systems that a run has to beat: a dictionary, the commonest answer, drawn answers, the input copied."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medtune.evaluation.baselines.closed_rows import (
    ClosedRows,
    Split,
    closed_rows,
    readable_labels,
)
from medtune.evaluation.baselines.dictionary import Dictionary
from medtune.evaluation.recognition import answer_of, question_of
from medtune.plugins.contracts import EncoderKind

__all__ = ["SIMPLE", "Answers", "simple_answers"]

SIMPLE: Mapping[str, str] = {
    "dictionary": "tags the entities of the training rows wherever they occur, the longest first",
    "majority": "always gives the commonest answer of the training rows",
    "prior": "draws its labels as often as the training rows have them",
    "copy": "gives back the last paragraph of what it is asked",
}
"""Name of a system -> what it does."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a system answers.

    Attributes:
        texts: place of an asked row -> answer.
        left_out: reason -> rows that it cannot answer.
    """

    texts: dict[int, str] = field(default_factory=dict[int, str])
    left_out: Counter[str] = field(default_factory=Counter[str])


def simple_answers(splits: Sequence[Split], seed: int) -> dict[str, Answers]:
    """Return what each simple system answers; those that can answer no row are left out.

    Args:
        splits: rows to learn from and rows that are asked.
        seed: of the draws.
    """
    found = {name: Answers() for name in SIMPLE}
    for split in splits:
        closed = closed_rows(split)
        given = _of_text(split) if isinstance(closed, str) else _of_labels(closed, seed)
        for name, answers in found.items():
            if name in given:
                answers.texts.update(zip(split.places, given[name], strict=True))
            else:
                answers.left_out[f"that the {name} system has no answer for"] += len(split.places)
    return {name: answers for name, answers in found.items() if answers.texts}


def _of_labels(closed: ClosedRows, seed: int) -> dict[str, list[str]]:
    if closed.kind is EncoderKind.TAGS:
        sentences = [(row.text, readable_labels(closed.labels[n] for n in row.labels)) for row in closed.rows]
        dictionary = Dictionary(sentences)
        return {"dictionary": [closed.tagged(row, dictionary.tag(row.text)) for row in closed.asked]}
    counts = Counter(tuple(row.labels) for row in closed.rows)
    answers = sorted(counts, key=lambda found: (-counts[found], found))
    draw = random.Random(f"{seed} {closed.source} {closed.task}")
    drawn = draw.choices(answers, [counts[found] for found in answers], k=len(closed.asked))
    return {
        "majority": [closed.answer(row, answers[0]) for row in closed.asked],
        "prior": [closed.answer(row, found) for row, found in zip(closed.asked, drawn, strict=True)],
    }


def _of_text(split: Split) -> dict[str, list[str]]:
    if split.form != "text" or not split.rows:
        return {}
    counts = Counter(answer_of(example).strip() for example in split.rows)
    commonest = min(counts, key=lambda text: (-counts[text], text))
    given = {"majority": [commonest] * len(split.asked)}
    if split.task is not None and split.task.name == "qa":
        given["copy"] = [question_of(example).rpartition("\n\n")[2] for example in split.asked]
    return given
