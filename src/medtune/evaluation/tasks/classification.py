"""The task of assigning any number of labels to a text, such as hallmarks of cancer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medtune.evaluation.recognition import HALLMARKS, answer_of, recognise
from medtune.evaluation.tasks.labels import FAILURES, Inventory, bare_answer
from medtune.plugins.contracts import Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Array, Tally

__all__ = ["ClassificationTask"]

_NONE = "None"
_ANSWER_TOKENS = 96
_LEVEL = "sentence"
"""MedTuned's hallmark rows carry no document id, so document-level figures cannot be computed from them."""
_SHORT_NAMES = {label.rpartition(" (")[0]: label for label in HALLMARKS}
_ALIASES = _SHORT_NAMES | {name.replace("&", "and"): label for name, label in _SHORT_NAMES.items()}


class ClassificationTask:
    """Scores sets of labels; ``None`` is the empty set. Figures are at the level of the row (a sentence)."""

    name = "classification"

    def matches(self, example: Example) -> bool:
        """Match rows that are answered by hallmark labels or None."""
        return recognise(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:  # noqa: ARG002 - labels are short
        """Return room for several labels."""
        return _ANSWER_TOKENS

    def parse(self, text: str, example: Example) -> frozenset[str] | None:
        """Return the labels that ``text`` lists; None for an invalid answer: any part of it is no label."""
        return _read(text, _inventory([answer_of(example)]))

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score sets of labels."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count labels per row."""
        import numpy as np

        from medtune.evaluation.tally import Tally

        golds = [answer_of(prediction.example) for prediction in predictions]
        inventory = _inventory(golds)
        labels = [label for label in inventory.labels if label != _NONE]
        place = {label: i for i, label in enumerate(labels)}
        size = len(labels)
        counts = np.zeros((len(predictions), 3 * size + 7))
        for row, (prediction, gold_text) in enumerate(zip(predictions, golds, strict=True)):
            gold = _read(gold_text, inventory) or frozenset()
            found = _read(prediction.text, inventory)
            mentioned = found if found is not None else _mentioned(prediction.text, inventory)
            kept = found or frozenset()
            for offset, chosen in ((0, gold & kept), (size, gold), (2 * size, kept)):
                counts[row, [offset + place[label] for label in chosen]] = 1
            counts[row, 3 * size :] = (
                1,
                found == gold,
                mentioned == gold,
                _set_f1(gold, found),
                found is None,
                prediction.truncated,
                not prediction.text.strip(),
            )

        def figures(sums: "Array") -> dict[str, "Array"]:
            return _figures(sums, size)

        def details(chosen: Sequence[int]) -> dict[str, Any]:
            return {"level": _LEVEL, "labels": _per_label(counts[np.asarray(chosen, dtype=np.intp)], labels)}

        return Tally("micro_f1", counts, figures, FAILURES, details)


def _inventory(golds: Sequence[str]) -> Inventory:
    """Return the hallmarks and what the gold answers hold besides; a hallmark may be written without abbreviation."""
    found = [part.strip() for text in golds for part in text.split(",")]
    return Inventory([_NONE, *HALLMARKS, *(part for part in dict.fromkeys(found) if part)], _ALIASES)


def _read(text: str, inventory: Inventory) -> frozenset[str] | None:
    whole = inventory.find(text) or inventory.find(bare_answer(text))
    parts = [whole] if whole else [inventory.find(bare_answer(part)) for part in bare_answer(text).split(",")]
    labels = {part for part in parts if part is not None}
    if None in parts or (_NONE in labels and len(labels) > 1):
        return None
    return frozenset(labels - {_NONE})


def _mentioned(text: str, inventory: Inventory) -> frozenset[str] | None:
    labels = frozenset(inventory.mentioned(text))
    if not labels or (_NONE in labels and len(labels) > 1):
        return None
    return labels - {_NONE}


def _set_f1(gold: frozenset[str], found: frozenset[str] | None) -> float:
    if found is None:
        return 0.0
    return 2 * len(gold & found) / (len(gold) + len(found)) if gold or found else 1.0


def _figures(sums: "Array", size: int) -> dict[str, "Array"]:
    from medtune.evaluation.tally import f1, ratio

    correct, gold, predicted = (sums[..., i * size : (i + 1) * size] for i in range(3))
    rows, exact, mentioned, set_f1, invalid, truncated, empty = (sums[..., 3 * size + i] for i in range(7))
    return {
        "accuracy": ratio(exact, rows),
        "macro_f1": ratio(f1(correct, predicted, gold).sum(axis=-1), (gold > 0).sum(axis=-1)),
        "micro_f1": f1(correct.sum(axis=-1), predicted.sum(axis=-1), gold.sum(axis=-1)),
        "set_f1": ratio(set_f1, rows),
        "accuracy_lenient": ratio(mentioned, rows),
        "invalid_answer": ratio(invalid, rows),
        "truncated": ratio(truncated, rows),
        "empty": ratio(empty, rows),
    }


def _per_label(counts: Any, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and support of each label that occurs."""
    size = len(labels)
    correct, gold, predicted = (counts[:, i * size : (i + 1) * size].sum(axis=0) for i in range(3))
    return {
        label: {
            "precision": float(correct[i] / predicted[i]) if predicted[i] else 0.0,
            "recall": float(correct[i] / gold[i]) if gold[i] else 0.0,
            "f1": float(2 * correct[i] / (gold[i] + predicted[i])),
            "support": int(gold[i]),
        }
        for i, label in enumerate(labels)
        if gold[i] or predicted[i]
    }
