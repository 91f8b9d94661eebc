"""Counts answers that are sets of labels, one label among them: a row of counts for each answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtune.evaluation.icd import category_of, hierarchy_of
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.tally import Array, Tally, f1, precision, ratio
from medtune.evaluation.task_contracts import Contracts
from medtune.evaluation.tasks.label_sets import LabelSet, label_sets_of
from medtune.evaluation.tasks.labels import FAILURES
from medtune.plugins.contracts import Prediction

__all__ = ["INVALID", "tally_labels"]

INVALID = "(invalid)"
"""Column of the confusion matrix for answers that are no label."""
_MOST_CELLS = 4_000_000  # 32 MB of counts by label; where there are more, macro F1 has no interval
_MOST_SHOWN = 50  # labels of a confusion matrix
_COLUMNS = (
    "rows", "right", "mentioned", "invalid", "truncated", "empty", "correct", "predicted", "gold", "multi", "set_f1",
    "precision_sum", "precision_rows", "recall_sum", "recall_rows", "documents", "doc_correct", "doc_predicted", "doc_gold",
    "doc_precision_sum", "doc_precision_rows", "doc_recall_sum", "doc_recall_rows", "codes", "category", "hier_shared",
    "hier_predicted", "hier_gold",
)  # fmt: skip
_PLACE = {name: place for place, name in enumerate(_COLUMNS)}


@dataclass(frozen=True, slots=True)
class _LabelRow:
    """One answer against its gold answer.

    Attributes:
        gold: the right labels; None where the gold answer is none, so that no answer is right.
        found: those of the answer; None where it is invalid.
        mentioned: those that occur in it, read leniently; None likewise.
        of: the labels of its source.
        strays: texts in the place of labels in an invalid answer; each is a wrong one.
        document: the text that it belongs to, with its source; None where no document is named.
    """

    gold: frozenset[str] | None
    found: frozenset[str] | None
    mentioned: frozenset[str] | None
    of: LabelSet
    strays: int = 0
    document: tuple[str, str] | None = None


def tally_labels(task: str, predictions: Sequence[Prediction], contracts: Contracts, primary: str) -> Tally:
    """Count answers that are labels: micro figures over positives, macro over the labels that occur in gold answers.

    Args:
        task: "nli", "relation" or "classification".
        predictions: the answers.
        contracts: what is known of their sources.
        primary: figure that stands for the task; of "classification", for sources of several labels.
    """
    rows = _label_rows(predictions, label_sets_of(task, predictions, contracts))
    sets = list({id(row.of): row.of for row in rows}.values())
    labels = sorted({x for each in sets for x in each.inventory.labels if not (each.is_multi and x in each.negative)})
    positive = [any(label not in s.negative for s in sets if s.inventory.find(label)) for label in labels]
    sparse = _Sparse(rows, labels)
    is_dense = len(rows) * 3 * len(labels) <= _MOST_CELLS
    width = 3 * len(labels) if is_dense else 0
    counts = np.zeros((len(rows), width + len(_COLUMNS)))
    for i, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
        counts[i, width:] = _counted(row, prediction)
    if is_dense:
        sparse.fill(counts)
    _count_documents(rows, counts[:, width:])
    kinds = _Kinds.of(sets, has_documents=any(row.document and row.of.is_multi for row in rows))

    def figures(sums: Array) -> dict[str, Array]:
        by_label = [sums[..., i * len(labels) : (i + 1) * len(labels)] for i in range(3)] if is_dense else None
        return _figures({name: sums[..., width + i] for i, name in enumerate(_COLUMNS)}, by_label, positive, kinds)

    def points(chosen: Sequence[int]) -> Mapping[str, float]:
        return {} if is_dense else {k: float(v) for k, v in _macros(sparse.sums(chosen), positive, kinds).items()}

    def details(chosen: Sequence[int]) -> dict[str, Any]:
        level = {"level": "document" if kinds.has_documents else "sentence"} if task == "classification" else {}
        return level | sparse.details([*chosen], with_confusion=not kinds.is_multi)

    if task == "classification" and rows and not kinds.is_multi and not kinds.has_negative:
        primary = "accuracy"
    return Tally(primary, counts, figures, FAILURES, details, points)


def _label_rows(predictions: Sequence[Prediction], label_set: Callable[[Prediction], LabelSet]) -> list[_LabelRow]:
    """Read answers and gold answers with the labels of their source."""
    rows: list[_LabelRow] = []
    for prediction in predictions:
        of, example = label_set(prediction), prediction.example
        gold, found = of.read(answer_of(example)), of.read(prediction.text)
        mentioned = found if found is not None else of.mentioned(prediction.text)
        document = (example.source, example.document) if example.document else None
        strays = len(of.strays(prediction.text)) if found is None else 0
        if gold is None or not gold.issubset(of.inventory.labels):  # a gold answer with a part that is no label is none
            gold = None
        rows.append(_LabelRow(gold, found, mentioned, of, strays, document))
    return rows


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Which further figures the sources of a task have."""

    is_multi: bool
    has_negative: bool
    is_binary: bool
    has_codes: bool
    has_documents: bool

    @classmethod
    def of(cls, sets: Sequence[LabelSet], *, has_documents: bool) -> "_Kinds":
        single = [each for each in sets if not each.is_multi]
        pairs = [each for each in single if len(each.inventory.labels) == 2 and each.negative]  # noqa: PLR2004 - a pair
        return cls(
            is_multi=len(single) < len(sets),
            has_negative=any(each.negative for each in single),
            is_binary=0 < len(pairs) == len(sets),
            has_codes=any(each.are_codes for each in sets),
            has_documents=has_documents,
        )


class _Sparse:
    """Labels of rows as numbers: what every sum by label comes from."""

    def __init__(self, rows: Sequence[_LabelRow], labels: Sequence[str]) -> None:
        place = {label: i for i, label in enumerate(labels)}
        self._labels = labels
        self._gold = [[place[x] for x in sorted(row.gold or ())] for row in rows]
        self._found = [[place[x] for x in sorted(row.found or ()) if x in place] for row in rows]
        self._invalid = [row.found is None for row in rows]

    def fill(self, counts: Array) -> None:
        """Write correct, gold and predicted of each label into the first columns."""
        size = len(self._labels)
        for i, (gold, found) in enumerate(zip(self._gold, self._found, strict=True)):
            counts[i, [x for x in found if x in gold]] = 1
            counts[i, [size + x for x in gold]] = 1
            counts[i, [2 * size + x for x in found]] = 1

    def sums(self, chosen: Sequence[int]) -> list[Array]:
        """Return correct, gold and predicted of each label over some rows."""
        sums = np.zeros((3, len(self._labels)))
        for i in chosen:
            sums[0, [x for x in self._found[i] if x in self._gold[i]]] += 1
            sums[1, self._gold[i]] += 1
            sums[2, self._found[i]] += 1
        return [sums[0], sums[1], sums[2]]

    def details(self, chosen: Sequence[int], *, with_confusion: bool) -> dict[str, Any]:
        """Return precision, recall, F1 and support of each label that occurs, and the confusion matrix of single labels."""
        correct, gold, predicted = self.sums(chosen)
        occurs = [i for i in range(len(self._labels)) if gold[i] or predicted[i]]
        per_label = {
            self._labels[i]: {
                "precision": float(correct[i] / predicted[i]) if predicted[i] else 0.0,
                "recall": float(correct[i] / gold[i]) if gold[i] else 0.0,
                "f1": float(2 * correct[i] / (gold[i] + predicted[i])),
                "support": int(gold[i]),
            }
            for i in occurs
        }
        found: dict[str, Any] = {"labels": per_label}
        if with_confusion and len(occurs) <= _MOST_SHOWN:
            found["confusion"] = self._confusion(chosen, occurs)
        return found

    def _confusion(self, chosen: Sequence[int], occurs: Sequence[int]) -> dict[str, Any]:
        """Return gold by answer over the labels that occur; the last column are invalid answers."""
        place = {label: i for i, label in enumerate(occurs)}
        matrix = np.zeros((len(occurs), len(occurs) + 1), dtype=np.int64)
        for i in chosen:
            for gold in self._gold[i]:
                answer = place[self._found[i][0]] if self._found[i] else len(occurs)
                matrix[place[gold], answer] += 1
        names = [self._labels[i] for i in occurs]
        return {"gold": names, "answer": [*names, INVALID], "rows": matrix.tolist()}


def _counted(row: _LabelRow, prediction: Prediction) -> list[float]:
    found, positive = row.found or frozenset[str](), row.of.negative
    gold, kept = (row.gold or frozenset[str]()) - positive, found - positive
    fits = row.gold is not None
    return [
        1,
        fits and row.found == row.gold,
        fits and row.mentioned == row.gold,
        row.found is None,
        prediction.truncated,
        not prediction.text.strip(),
        len(gold & kept),
        len(kept) + row.strays,
        len(gold),
        row.of.is_multi,
        _set_f1(row.gold, row.found) if row.of.is_multi else 0.0,
        *(_example(gold, kept) if row.of.is_multi else (0.0, 0.0, 0.0, 0.0)),
        *((0.0,) * 8),
        *_coded(row),
    ]


def _set_f1(gold: frozenset[str] | None, found: frozenset[str] | None) -> float:
    if found is None or gold is None:
        return 0.0
    return 2 * len(gold & found) / (len(gold) + len(found)) if gold or found else 1.0


def _example(gold: frozenset[str], found: frozenset[str]) -> tuple[float, float, float, float]:
    """Return precision and recall of one example, each with 1 where it is defined: something is predicted, or gold."""
    shared = len(gold & found)
    return (
        shared / len(found) if found else 0.0,
        float(bool(found)),
        shared / len(gold) if gold else 0.0,
        float(bool(gold)),
    )


def _coded(row: _LabelRow) -> tuple[float, float, float, float, float]:
    """Return what codes share with each other: 1 for a row of codes, the same categories, and what lies above them."""
    if not row.of.are_codes:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    found, gold = row.found or frozenset[str](), row.gold or frozenset[str]()
    above, claimed = (frozenset(x for c in codes - row.of.negative for x in hierarchy_of(c)) for codes in (gold, found))
    is_read = row.found is not None and row.gold is not None
    same = is_read and {category_of(c) for c in found} == {category_of(c) for c in gold}
    return 1.0, float(same), float(len(above & claimed)), float(len(claimed)), float(len(above))


def _count_documents(rows: Sequence[_LabelRow], counts: Array) -> None:
    """Count the union of each document's labels on its first row, for labels of several each."""
    first: dict[tuple[str, str], int] = {}
    union: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for i, row in enumerate(rows):
        if row.document is not None and row.of.is_multi:
            first.setdefault(row.document, i)
            gold, found = union.setdefault(row.document, (set(), set()))
            gold |= row.gold or set()
            found |= row.found or set()
    start = _PLACE["documents"]
    for document, i in first.items():
        every, claimed = (frozenset(labels) for labels in union[document])
        counts[i, start : start + 8] = (1, len(every & claimed), len(claimed), len(every), *_example(every, claimed))


def _figures(
    of: Mapping[str, Array], by_label: Sequence[Array] | None, is_positive: Sequence[bool], kinds: _Kinds
) -> dict[str, Array]:
    found = {"accuracy": ratio(of["right"], of["rows"])}
    if by_label is not None:
        found |= _macros(by_label, is_positive, kinds)
    micro = (of["correct"], of["predicted"], of["gold"])
    found["micro_f1"] = f1(*micro)
    found["accuracy_lenient"] = ratio(of["mentioned"], of["rows"])
    if kinds.has_negative or kinds.is_multi:
        found |= {"micro_precision": precision(*micro), "micro_recall": ratio(of["correct"], of["gold"])}
    if kinds.is_binary:
        found["positive_f1"] = found["micro_f1"]
    if kinds.is_multi:
        found |= _of_several(of, with_documents=kinds.has_documents)
    if kinds.has_codes:
        found["accuracy_category"] = ratio(of["category"], of["codes"])
        found["hierarchy_f1"] = f1(of["hier_shared"], of["hier_predicted"], of["hier_gold"])
    for name, column in (("invalid_answer", "invalid"), ("truncated", "truncated"), ("empty", "empty")):
        found[name] = ratio(of[column], of["rows"])
    return found


def _macros(by_label: Sequence[Array], is_positive: Sequence[bool], kinds: _Kinds) -> dict[str, Array]:
    """Return means of F1 over the labels that occur in gold answers."""
    correct, gold, predicted = by_label
    each, occurs = np.nan_to_num(f1(correct, predicted, gold)), gold > 0
    found = {"macro_f1": ratio((each * occurs).sum(axis=-1), occurs.sum(axis=-1))}
    if kinds.has_negative:
        occurs = occurs & np.asarray(is_positive, dtype=bool)
        found["macro_f1_positive"] = ratio((each * occurs).sum(axis=-1), occurs.sum(axis=-1))
    return found


def _of_several(of: Mapping[str, Array], *, with_documents: bool) -> dict[str, Array]:
    """Return example-based figures; the F1 is that of mean precision and mean recall, as for the HoC set of BLUE."""
    found = {"set_f1": ratio(of["set_f1"], of["multi"])}
    for name, prefix in (("example", ""), ("document_example", "doc_"))[: 1 + with_documents]:
        means = [ratio(of[f"{prefix}{part}_sum"], of[f"{prefix}{part}_rows"]) for part in ("precision", "recall")]
        found |= {f"{name}_precision": means[0], f"{name}_recall": means[1]}
        found[f"{name}_f1"] = np.where(
            means[0] + means[1] > 0, ratio(2 * means[0] * means[1], means[0] + means[1]), means[0]
        )
    if with_documents:
        found["document_micro_f1"] = f1(of["doc_correct"], of["doc_predicted"], of["doc_gold"])
    return found
