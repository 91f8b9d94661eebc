"""Answers out of a closed set of labels: reading them and counting them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medtune.errors import DataError
from medtune.plugins.contracts import Prediction

if TYPE_CHECKING:
    from medtune.evaluation.tally import Array, Tally

__all__ = ["INVALID", "Inventory", "bare_answer", "tally_labels"]

INVALID = "(invalid)"
"""Column of the confusion matrix for answers that are no label."""
FAILURES = frozenset({"invalid_answer", "truncated", "empty"})

_MOST_LABELS = 1000
"""Counts take a column per label; more different answers than this are free text under a wrong task name."""

_FENCE = re.compile(r"^```\w*$")
_LEAD_IN = re.compile(
    r"^(?:###\s*)?(?:the\s+)?(?:correct\s+|final\s+)?(?:answer|label|class|relation|output)(?:\s+is)?\s*[:=]?\s+",
    re.IGNORECASE,
)
_WRAPPING = " \t\r\n\"'`*_.,;:!"
_BRACKETED = re.compile(r"[(\[]([^()\[\]]*)[)\]]")


class Inventory:
    """The labels that an answer may be, found again whatever their case.

    Args:
        labels: labels as the gold answers spell them; the first spelling of a label is kept.
        aliases: other spelling -> label.

    Raises:
        DataError: there are too many to be labels.
    """

    def __init__(self, labels: Sequence[str], aliases: Mapping[str, str] | None = None) -> None:
        self._by_key: dict[str, str] = {}
        for label in labels:
            self._by_key.setdefault(_key(label), label)
        if len(self._by_key) > _MOST_LABELS:
            raise DataError(
                f"the gold answers hold {len(self._by_key):,} different texts, so they are no labels; score these rows as "
                "another task, such as 'qa'"
            )
        self.labels = sorted(self._by_key.values())
        for alias, label in (aliases or {}).items():
            self._by_key.setdefault(_key(alias), label)

    def find(self, text: str) -> str | None:
        """Return the label that ``text`` is, None when it is none."""
        return self._by_key.get(_key(text))

    def mentioned(self, text: str) -> set[str]:
        """Return the labels that occur in ``text`` as whole words."""
        lowered = _key(text)
        return {label for key, label in self._by_key.items() if _holds_word(lowered, key)}


def bare_answer(text: str) -> str:
    """Return an answer without what only wraps it: code fences, blank lines, "Answer:", quotes, emphasis, a full stop.

    An answer of several lines stays as it is, so that a label with an essay behind it is no label.
    """
    lines = [line for raw in text.split("\n") if (line := raw.strip()) and not _FENCE.match(line)]
    joined = "\n".join(lines).strip(_WRAPPING)
    answer = _LEAD_IN.sub("", joined, count=1).strip(_WRAPPING)
    bracketed = _BRACKETED.fullmatch(answer)
    return bracketed[1].strip(_WRAPPING) if bracketed else answer


def tally_labels(
    predictions: Sequence[Prediction],
    known: Sequence[str],
    gold_of: Callable[[Prediction], str],
    primary: str,
    negative: str | None = None,
) -> "Tally":
    """Count answers that are one label each.

    Args:
        predictions: the answers.
        known: labels of the task; labels that only gold answers hold are added.
        gold_of: returns the gold label of a prediction.
        primary: figure that stands for the task.
        negative: label that says "none of them", left out of the micro F1.
    """
    import numpy as np

    from medtune.evaluation.tally import Tally

    golds = [gold_of(prediction) for prediction in predictions]
    inventory = Inventory([*known, *golds])
    size = len(inventory.labels)
    cells = np.zeros((len(predictions), 2), dtype=np.intp)
    counts = np.zeros((len(predictions), 3 * size + 6))
    for row, (prediction, gold) in enumerate(zip(predictions, golds, strict=True)):
        cells[row] = _count(prediction, inventory.find(gold) or gold, inventory, counts[row])
    positive = [i for i, label in enumerate(inventory.labels) if label != negative]

    def figures(sums: "Array") -> dict[str, "Array"]:
        return _figures(sums, size, positive)

    def details(chosen: Sequence[int]) -> dict[str, Any]:
        return _confusion(cells[np.asarray(chosen, dtype=np.intp)], inventory.labels)

    return Tally(primary, counts, figures, FAILURES, details)


def _count(prediction: Prediction, right: str, inventory: Inventory, counts: "Array") -> tuple[int, int]:
    """Fill the row's counts; return its cell of the confusion matrix: gold label and answer, the last place invalid."""
    size = len(inventory.labels)
    found = inventory.find(bare_answer(prediction.text))
    mentioned = {found} if found else inventory.mentioned(prediction.text)
    gold = inventory.labels.index(right)
    answer = size if found is None else inventory.labels.index(found)
    counts[size + gold] = 1
    if found is not None:
        counts[answer] = answer == gold
        counts[2 * size + answer] = 1
    counts[3 * size :] = (
        1,
        found == right,
        mentioned == {right},
        found is None,
        prediction.truncated,
        not prediction.text.strip(),
    )
    return gold, answer


def _figures(sums: "Array", size: int, positive: Sequence[int]) -> dict[str, "Array"]:
    from medtune.evaluation.tally import f1, ratio

    correct, gold, predicted = (sums[..., i * size : (i + 1) * size] for i in range(3))
    rows, right, mentioned, invalid, truncated, empty = (sums[..., 3 * size + i] for i in range(6))
    chosen = list(positive)
    return {
        "accuracy": ratio(right, rows),
        "macro_f1": ratio(f1(correct, predicted, gold).sum(axis=-1), (gold > 0).sum(axis=-1)),
        "micro_f1": f1(correct[..., chosen].sum(-1), predicted[..., chosen].sum(-1), gold[..., chosen].sum(-1)),
        "accuracy_lenient": ratio(mentioned, rows),
        "invalid_answer": ratio(invalid, rows),
        "truncated": ratio(truncated, rows),
        "empty": ratio(empty, rows),
    }


def _confusion(cells: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Return the matrix (gold by answer, the last column invalid answers) over the labels that occur, and per label."""
    import numpy as np

    matrix = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    np.add.at(matrix, (cells[:, 0], cells[:, 1]), 1)
    occurs = [i for i in range(len(labels)) if matrix[i].any() or matrix[:, i].any()]
    per_label = {
        labels[i]: {
            "f1": float(2 * matrix[i, i] / (matrix[i].sum() + matrix[:, i].sum())),
            "support": int(matrix[i].sum()),
        }
        for i in occurs
    }
    shown = [*occurs, len(labels)]
    return {
        "labels": per_label,
        "confusion": {
            "gold": [labels[i] for i in occurs],
            "answer": [*(labels[i] for i in occurs), INVALID],
            "rows": matrix[np.ix_(occurs, shown)].tolist(),
        },
    }


def _key(text: str) -> str:
    return " ".join(text.split()).casefold()


def _holds_word(text: str, word: str) -> bool:
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before.isalnum() or after.isalnum()):
            return True
        start = text.find(word, start + 1)
    return False
