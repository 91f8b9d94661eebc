"""The task of naming entities: one line per token of the input, ``token : label``."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medtune.evaluation.recognition import answer_of, question_of
from medtune.evaluation.spans import Label
from medtune.evaluation.tag_schemes import Scheme, scheme_of
from medtune.evaluation.tagging import (
    GoldTags,
    SpanCounts,
    TagCounts,
    TaggedAnswer,
    count_tags,
    dict_keyed_counts,
    read_lines,
    written_labels,
)
from medtune.evaluation.task_contracts import Contracts
from medtune.plugins.contracts import AnswerForm, Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Array, Tally

__all__ = ["NerTask"]

_TOKENS_PER_LABEL = 6
"""Separator, label and newline; bare labels take three tokens, typed ones up to ten but few words carry one."""
_SLACK = 16
_COLUMNS = (
    "rows", "exact", "truncated", "empty", "tokens", "unaligned", "lines", "surplus", "unreadable",
    "strict_correct", "strict_predicted", "strict_gold", "lenient_correct", "lenient_predicted", "lenient_gold",
    "overlapping", "exact_labels", "paper_correct", "paper_predicted", "paper_gold",
)  # fmt: skip
_FAILURES = frozenset({"unaligned_tokens", "surplus_lines", "invalid_labels", "truncated", "empty"})
_BARE = "unnamed"
_EXACT = "rows that give back the tokens asked for, all and in order, whatever their labels"
_NOTE = (
    "spans of the rows given; a data set's development rows are not its test rows, so these figures and published "
    "test scores are not comparable"
)


class NerTask:
    """Scores entities as spans: all tokens and the type must be right."""

    name = "ner"

    def __init__(self, contracts: Contracts | None = None) -> None:
        self.contracts = contracts or Contracts()

    def matches(self, example: Example) -> bool:
        """Match rows whose answer has a ``token : label`` line for each token of the input."""
        return self.contracts.task_of(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:
        """Return room for every word of the input with its label, from the words and the tokens they take."""
        question = question_of(example)
        sentence = question.rpartition("\n\n")[2]
        share = len(sentence) / max(len(question), 1)
        return math.ceil(1.2 * share * prompt_tokens) + _TOKENS_PER_LABEL * len(sentence.split()) + _SLACK

    def draft(self, example: Example) -> AnswerForm | None:
        """Return a line for each word of the input, with a label to be found."""
        words = question_of(example).rpartition("\n\n")[2].split()
        if not words:
            return None
        return AnswerForm([f"{words[0]} : ", *(f"\n{word} : " for word in words[1:]), ""], ["O"])

    def choices(self, examples: Sequence[Example]) -> list[str]:
        """Return the labels of rows of one source as their gold answers write them, the commonest first."""
        lines = (line.rpartition(" : ") for example in examples for line in answer_of(example).splitlines())
        return [label for label, _ in Counter(label.strip() for _, found, label in lines if found).most_common()]

    def parse(self, text: str, example: Example) -> TaggedAnswer:
        """Return the labels of ``text``, aligned with the tokens of the input."""
        gold = GoldTags.read(answer_of(example))
        return TaggedAnswer.read(text, gold.tokens, gold.scheme)

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score spans strictly, leniently and by overlap."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count spans, lines and failures per row."""
        import numpy as np

        from medtune.evaluation.tally import Tally

        rows: list[tuple[int, ...]] = []
        types: list[dict[str, SpanCounts]] = []
        unreadable_gold: list[int] = []
        schemes = _schemes(predictions)
        for prediction in predictions:
            gold = GoldTags.read(answer_of(prediction.example), schemes[prediction.example.source])
            answer = TaggedAnswer.read(prediction.text, gold.tokens, gold.scheme)
            counts = count_tags(answer, gold)
            rows.append(_row(prediction, gold, answer, counts))
            types.append(counts.types)
            unreadable_gold.append(gold.unreadable)

        def details(chosen: Sequence[int]) -> dict[str, Any]:
            found: dict[str, Any] = {"entity_types": _by_type([types[i] for i in chosen]), "note": _NOTE}
            found["exact_sequence"] = _EXACT
            if others := {predictions[i].example.source for i in chosen} & {s for s in schemes if schemes[s] == "IOB1"}:
                found["iob1_sources"] = sorted(others)
            if unreadable := sum(unreadable_gold[i] for i in chosen):
                found["unreadable_gold_lines"] = unreadable
            return found

        counted = np.array(rows, dtype=np.float64).reshape(len(rows), len(_COLUMNS))
        return Tally("span_f1_strict", counted, _figures, _FAILURES, details)


def _schemes(predictions: Sequence[Prediction]) -> dict[str, Scheme]:
    """Return source -> the scheme that all of its gold answers together show."""
    written: dict[str, list[list[Label]]] = {}
    for prediction in predictions:
        lines = read_lines(answer_of(prediction.example))
        written.setdefault(prediction.example.source, []).append(written_labels(lines))
    return {source: scheme_of(sentences) for source, sentences in written.items()}


def _row(prediction: Prediction, gold: GoldTags, answer: TaggedAnswer, counts: TagCounts) -> tuple[int, ...]:
    is_exact = answer.is_exact and gold.unreadable < len(gold.tokens)  # a gold answer without a label is none
    return (
        1,
        is_exact,
        prediction.truncated,
        answer.lines == 0,
        len(gold.tokens),
        answer.unaligned,
        answer.lines,
        sum(map(len, answer.surplus)),
        answer.unreadable,
        *counts.strict,
        *counts.lenient,
        counts.overlapping,
        is_exact and answer.labels == gold.labels and not answer.unreadable,
        *dict_keyed_counts(prediction.text, gold),
    )


def _figures(sums: "Array") -> dict[str, "Array"]:
    from medtune.evaluation.tally import f1, precision, ratio

    of = {name: sums[..., i] for i, name in enumerate(_COLUMNS)}
    found: dict[str, Array] = {}
    for scheme in ("strict", "lenient"):
        counts = (of[f"{scheme}_correct"], of[f"{scheme}_predicted"], of[f"{scheme}_gold"])
        found[f"span_f1_{scheme}"] = f1(*counts)
        found[f"span_precision_{scheme}"] = precision(*counts)
        found[f"span_recall_{scheme}"] = ratio(counts[0], counts[2])
    found["span_f1_partial"] = f1(of["overlapping"], of["lenient_predicted"], of["lenient_gold"])
    found["span_precision_partial"] = precision(of["overlapping"], of["lenient_predicted"], of["lenient_gold"])
    found["span_recall_partial"] = ratio(of["overlapping"], of["lenient_gold"])
    found["exact_sequence"] = ratio(of["exact"], of["rows"])
    found["exact_labels"] = ratio(of["exact_labels"], of["rows"])
    found["paper_compatible"] = f1(of["paper_correct"], of["paper_predicted"], of["paper_gold"])
    found["unaligned_tokens"] = ratio(of["unaligned"], of["tokens"], 0.0)
    found["surplus_lines"] = ratio(of["surplus"], of["lines"], 0.0)
    found["invalid_labels"] = ratio(of["unreadable"], of["lines"], 0.0)
    found["truncated"] = ratio(of["truncated"], of["rows"], 0.0)
    found["empty"] = ratio(of["empty"], of["rows"], 0.0)
    return found


def _by_type(rows: Sequence[Mapping[str, SpanCounts]]) -> dict[str, dict[str, float]]:
    """Return strict precision, recall, F1 and the number of gold spans of each entity type."""
    totals: dict[str, Counter[str]] = {}
    for row in rows:
        for kind, counts in row.items():
            totals.setdefault(kind, Counter()).update(counts._asdict())
    return {
        kind or _BARE: {
            "precision": total["correct"] / total["predicted"] if total["predicted"] else 0.0,
            "recall": total["correct"] / total["gold"] if total["gold"] else 0.0,
            "f1": 2 * total["correct"] / (total["predicted"] + total["gold"]),
            "support": total["gold"],
        }
        for kind, total in sorted(totals.items())
    }
