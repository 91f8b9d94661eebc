"""Names what is wrong with an answer, for counting and for choosing samples to look at."""

from collections.abc import Callable, Mapping
from functools import lru_cache

from medtune.evaluation.overlap import rouge_l
from medtune.evaluation.recognition import HALLMARKS, NLI_LABELS, RELATIONS, answer_of
from medtune.evaluation.spans import Span, spans_of
from medtune.evaluation.tagging import GoldTags, TaggedAnswer
from medtune.evaluation.task_contracts import Contracts, TaskContract
from medtune.evaluation.tasks.extraction import ExtractionTask
from medtune.evaluation.tasks.label_sets import LabelSet, label_set_of
from medtune.evaluation.tasks.qa import QaTask
from medtune.plugins.contracts import Prediction

__all__ = ["RIGHT", "mistakes_in"]

RIGHT = "right"
"""What an answer without a mistake is called."""
_LITTLE_OVERLAP = 0.2
_NO_LABEL, _OTHER = "not one of the labels", "differs from the gold answer"


def mistakes_in(prediction: Prediction, contracts: Contracts | None = None) -> list[str]:
    """Return the kinds of mistake in an answer, the gravest first; ``[RIGHT]`` when there is none.

    Answers to tasks of other packages are right or "differs from the gold answer".

    Args:
        prediction: the answer.
        contracts: what the sources are, so that an answer is read as it is scored; None tells it from the row alone.
    """
    if not prediction.text.strip() and not prediction.truncated:
        return ["empty answer"]
    found = ["cut off at the token limit"] if prediction.truncated else []
    found += _BY_TASK.get(prediction.example.task or "", _in_any)(prediction, contracts or Contracts())
    return found or [RIGHT]


def _in_tags(prediction: Prediction, _contracts: Contracts) -> list[str]:
    gold = GoldTags.read(answer_of(prediction.example))
    answer = TaggedAnswer.read(prediction.text, gold.tokens, gold.scheme)
    wanted, claimed = spans_of(gold.labels, strict=True), spans_of(answer.labels, strict=True)
    invented = any(spans_of([label for _token, label in run], strict=True) for run in answer.surplus)
    kinds = {_wrong_span(span, wanted) for span in claimed} | {_missed_span(span, claimed) for span in wanted}
    found = {
        "entity missed": "missed" in kinds,
        "entity made up": "made up" in kinds or invented,
        "wrong boundary": "boundary" in kinds,
        "wrong type": "type" in kinds,
        "label that cannot be read": answer.unreadable > 0,
        "tokens without a line": answer.unaligned > 0,
        "lines beyond the input": bool(answer.surplus),
    }
    return [kind for kind, is_found in found.items() if is_found]


def _wrong_span(span: Span, wanted: list[Span]) -> str:
    """Say how a claimed span fails: "made up", "type", "boundary", or "" when it is right."""
    touched = [other for other in wanted if other.start < span.end and span.start < other.end]
    if span in touched:
        return ""
    if not touched:
        return "made up"
    return "boundary" if any(other.type == span.type for other in touched) else "type"


def _missed_span(span: Span, claimed: list[Span]) -> str:
    return "" if any(other.start < span.end and span.start < other.end for other in claimed) else "missed"


def _in_label(prediction: Prediction, contracts: Contracts) -> list[str]:
    labels, is_known = _labels_of(prediction, contracts)
    found, gold = labels.read(prediction.text), labels.read(answer_of(prediction.example))
    if found is None:
        return [_NO_LABEL if is_known or answer_of(prediction.example).strip() in {*NLI_LABELS, *RELATIONS} else _OTHER]
    return [] if found == gold else ["wrong label"]


def _labels_of(prediction: Prediction, contracts: Contracts) -> tuple[LabelSet, bool]:
    """Return the labels that an answer is read with, and whether they are those of its source or of its row alone."""
    task, contract = prediction.example.task or "", contracts.of(prediction.example)
    if contract is None or contract.task != task:
        return label_set_of(task, [answer_of(prediction.example)]), False
    return _labels_of_source(task, contract), True


@lru_cache(maxsize=64)
def _labels_of_source(task: str, contract: TaskContract) -> LabelSet:
    return label_set_of(task, [], contract)


def _in_labels(prediction: Prediction, contracts: Contracts) -> list[str]:
    labels, is_known = _labels_of(prediction, contracts)
    found, gold = labels.read(prediction.text), labels.read(answer_of(prediction.example)) or frozenset()
    if found is None:
        return [_NO_LABEL if is_known or gold <= {*HALLMARKS} else _OTHER]
    if len(gold) == len(found) == 1:
        return [] if gold == found else ["wrong label"]
    return ["label missed"] * bool(gold - found) + ["label too many"] * bool(found - gold)


def _in_answer(prediction: Prediction, contracts: Contracts) -> list[str]:
    task = QaTask(contracts)
    found = task.parse(prediction.text, prediction.example)
    gold = task.parse(answer_of(prediction.example), prediction.example)
    if found.value is None:
        return ["no answer"]
    if gold.kind == "text":
        overlap = rouge_l(found.value, gold.value or "")
        return [f"ROUGE-L below {_LITTLE_OVERLAP}"] if overlap < _LITTLE_OVERLAP else []
    return [] if found.value == gold.value else ["wrong option or decision"]


def _in_items(prediction: Prediction, contracts: Contracts) -> list[str]:
    task = ExtractionTask(contracts)
    found = task.parse(prediction.text, prediction.example)
    gold = task.parse(answer_of(prediction.example), prediction.example)
    if found is None or gold is None:
        return ["no JSON"]
    kinds = {"item missed": gold.plain - found.plain, "item too many": found.plain - gold.plain}
    wrong = [kind for kind, items in kinds.items() if items]
    return wrong or ["wrong offsets"] * (gold.has_offsets and gold.placed != found.placed)


def _in_any(prediction: Prediction, _contracts: Contracts) -> list[str]:
    same = prediction.text.split() == answer_of(prediction.example).split()
    return [] if same else [_OTHER]


_BY_TASK: Mapping[str, Callable[[Prediction, Contracts], list[str]]] = {
    "ner": _in_tags,
    "relation": _in_label,
    "nli": _in_label,
    "classification": _in_labels,
    "qa": _in_answer,
    "extraction": _in_items,
}
