"""Which labels the gold answers of a source hold: one each or several, what parts them, which says "nothing of it"."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from medtune.evaluation.icd import are_codes, are_of_the_ninth, as_code
from medtune.evaluation.list_marks import CERTAIN_MARKS, LABEL_MARKS
from medtune.evaluation.medtuned import HALLMARKS, NLI_LABELS, RELATIONS
from medtune.evaluation.missing_text import is_missing
from medtune.evaluation.negative_labels import NO, NOTHING, negative_of, says_something
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.task_contracts import Contracts, TaskContract
from medtune.evaluation.tasks.labels import Inventory, bare_answer
from medtune.plugins.contracts import Prediction

__all__ = [
    "LabelSet",
    "label_separator",
    "label_set_of",
    "label_sets_of",
    "perhaps_separator",
]

_NONE = "None"
_MARK = re.compile(f"[{''.join(map(re.escape, LABEL_MARKS))}]")
_LONGEST = 60
_REPEATED = 3
_MOST_SOUGHT = 200  # labels that are looked for in a sentence
_RECOMBINED = 0.8
_FEW_WORDS = 3
_UNKNOWN = re.compile(
    r"\b(?:unknown|unclear|unsure|uncertain|idea|sorry|cannot|can't|not\s+sure|know|undetermined|unable|insufficient|invalid)\b",
    re.IGNORECASE,
)
_PERHAPS = 0.5
_SHORT_NAMES = {label.rpartition(" (")[0]: label for label in HALLMARKS}
_ALIASES = _SHORT_NAMES | {name.replace("&", "and"): label for name, label in _SHORT_NAMES.items()}


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of a source, and how its answers are read.

    Attributes:
        inventory: finds labels again.
        negative: labels that say "nothing of it".
        is_multi: whether an answer may hold several; a negative label is then the empty set.
        are_codes: whether the labels are codes of the ICD.
        codes: code without its point -> label.
        ninth: whether they are of the ninth revision.
    """

    inventory: Inventory
    negative: frozenset[str] = frozenset()
    is_multi: bool = False
    are_codes: bool = False
    codes: Mapping[str, str] = field(default_factory=dict[str, str])
    ninth: bool = False

    def read(self, text: str) -> frozenset[str] | None:
        """Return the labels that ``text`` is; None for an invalid answer, one without any label or with prose.

        Where an answer may hold several, a short part that is no label counts as one that is never right.
        """
        whole = self._find(text) or self._find(bare_answer(text)) or self._nothing(bare_answer(text))
        if whole is not None or not self.is_multi:
            return None if whole is None else self._as_set({whole})
        found, strays = self._parted(bare_answer(text))
        if not found or (len(found) + len(strays) > 1 and found & self.negative):
            return None
        return self._as_set(found | strays)

    def strays(self, text: str) -> frozenset[str]:
        """Return the short texts that an invalid answer gives in the place of labels: wrong ones, not none.

        What says that nothing is known, or nothing there, claims no label.
        """
        bare = bare_answer(text)
        if self.is_multi:
            return self._parted(bare)[1]
        return frozenset({bare.casefold()}) if self._looks_like_a_label(bare) else frozenset()

    def _parted(self, bare: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the labels among the parts of an answer, and the other parts; none of either where one is prose."""
        best: tuple[frozenset[str], frozenset[str]] = frozenset(), frozenset()
        for separator in LABEL_MARKS:
            parts = [bare_answer(part) for part in bare.split(separator)]
            known = {part: label for part in parts if (label := self._find(part)) is not None}
            others = [part for part in parts if part and part not in known]
            found = frozenset(known.values()), frozenset(part.casefold() for part in others)
            if known and not others and all(parts):
                return found
            is_best = len(found[0]) > len(best[0]) or (not best[0] and len(found[1]) > len(best[1]))
            if is_best and all(map(self._looks_like_a_label, others)):
                best = found
        return best

    def _looks_like_a_label(self, bare: str) -> bool:
        if len(bare) > _LONGEST or "\n" in bare or not any(map(str.isalnum, bare)):
            return False
        is_short = len(bare.split()) <= max(_FEW_WORDS, self.inventory.most_words)
        return is_short and bare.casefold() not in NOTHING | NO and not _UNKNOWN.search(bare)

    def mentioned(self, text: str) -> frozenset[str] | None:
        """Return the labels that occur in ``text`` as whole words; None where it holds none, or none beside others."""
        if len(self.inventory.labels) > _MOST_SOUGHT:
            return None
        labels = self.inventory.mentioned(text)
        if not labels or (self.is_multi and len(labels) > 1 and labels & self.negative):
            return None
        return self._as_set(labels)

    def _find(self, text: str) -> str | None:
        found = self.inventory.find(text)
        if found is None and self.are_codes and (code := as_code(text, ninth=self.ninth)) is not None:
            return self.codes.get(_pointless(code), code)
        return found

    def _nothing(self, bare: str) -> str | None:
        """Return the one label that says "nothing of it" for an answer that says so in other words."""
        label = min(self.negative, default="")
        says_so = len(self.negative) == 1 and {bare.casefold(), label.casefold()} <= NOTHING
        return label if says_so and not self.is_multi else None

    def _as_set(self, labels: Iterable[str]) -> frozenset[str]:
        return frozenset(labels) - self.negative if self.is_multi else frozenset(labels)


def label_set_of(task: str, golds: Sequence[str], contract: TaskContract | None = None) -> LabelSet:
    """Return the label set of some rows of one source.

    Args:
        task: "nli", "relation" or "classification".
        golds: their gold answers.
        contract: what is declared or known of the source; None tells all from the answers.

    Raises:
        DataError: there are too many different answers to be labels.
    """
    given = contract or TaskContract("", "inference", "")
    bare = [bare_answer(gold) for gold in golds if not is_missing(gold)]
    rows = max(len(golds), given.rows)
    if task != "classification":
        known = given.labels or _usual(NLI_LABELS if task == "nli" else RELATIONS, bare, is_source=contract is not None)
        inventory = Inventory([*known, *bare], given.aliases, rows=rows)
        inferred = negative_of(inventory.labels, of_relations=True) if task == "relation" else ()
        negative = () if given.without_negative else given.negative or inferred
        return LabelSet(inventory, _present(inventory, negative))
    split = [part for gold in bare for raw in _MARK.split(gold) if (part := raw.strip())]
    is_hallmarks = not given.labels and {*split} <= {_NONE, *HALLMARKS}
    is_hallmarks = is_hallmarks and (contract is None or bool({*split} & {*HALLMARKS}))
    separator = given.separator or (label_separator(Counter(golds)) if contract is None else "")
    is_multi = given.kind == "multi-label" or (contract is None and (is_hallmarks or bool(separator)))
    parts = (split if is_hallmarks else _parts(bare, separator)) if is_multi else bare
    if are_codes(says_something([*given.labels, *parts])):
        return _coded(parts, given, is_multi=is_multi)
    is_medtuned = is_hallmarks or bool({*HALLMARKS} & {*parts})
    known = given.labels or ((_NONE, *HALLMARKS) if is_medtuned else ((_NONE,) if is_multi else ()))
    aliases = {**_ALIASES, **given.aliases} if is_medtuned else given.aliases
    inventory = Inventory([*known, *parts], aliases, rows=rows)
    inferred = (_NONE,) if is_medtuned else negative_of(inventory.labels)
    negative = () if given.without_negative else given.negative or inferred
    return LabelSet(inventory, _present(inventory, negative), is_multi)


def _usual(labels: Sequence[str], golds: Sequence[str], *, is_source: bool) -> Sequence[str]:
    """Return MedTuned's labels where gold answers show that they are it; "No Relations" and its like stand in other sets too.

    Args:
        labels: of a task.
        golds: gold answers.
        is_source: whether these are all of a source; a row by itself may have any of the labels.
    """
    if not is_source:
        return labels if not golds or {*labels} & {*golds} else ()
    telling = {*says_something(golds)}
    return labels if 2 * len(telling & {*labels}) > len(telling) else ()


def label_sets_of(
    task: str, predictions: Sequence[Prediction], contracts: Contracts
) -> Callable[[Prediction], LabelSet]:
    """Return what finds the label set of a prediction: that of its contract, else of all rows without one together."""
    found: dict[TaskContract | None, list[str]] = {}
    by_id: dict[int, TaskContract | None] = {}
    for prediction in predictions:
        contract = contracts.of(prediction.example)
        contract = contract if contract is not None and contract.task == task else None
        by_id[id(prediction)] = contract
        found.setdefault(contract, []).append(answer_of(prediction.example))
    sets = {contract: label_set_of(task, golds, contract) for contract, golds in found.items()}
    return lambda prediction: sets[by_id[id(prediction)]]


def label_separator(answers: Mapping[str, int]) -> str:
    """Return what parts the labels of answers that hold several; empty where each answer is one label.

    Parts count as labels when each is given three times on average, and most occur alone or beside different others.

    Args:
        answers: answer -> rows that have it.
    """
    for separator in LABEL_MARKS:
        held = _wholes(answers, separator)
        apart = sum(len(wholes) > 1 or part in wholes for part, wholes in held.items())
        if held and apart >= _RECOMBINED * len(held):
            return separator
    return ""


def perhaps_separator(answers: Mapping[str, int]) -> str:
    """Return what may part the labels of answers, where too many of them never come in other company to tell; else empty.

    Of the parts of answers that hold several, more than half come again alone or beside others, or half where some are an
    answer alone: so do sets of labels in few combinations, and labels with a comma in their names mostly do not. No name
    has the other marks, so that one part that comes again is enough.

    Args:
        answers: answer -> rows that have it.
    """
    for separator in LABEL_MARKS:
        held = _wholes(answers, separator)
        shared, apart, is_alone = 0, 0, False
        for answer, times in answers.items():
            parts = _parts([answer], separator)
            if held and len(parts) > 1:
                shared += times * len(parts)
                apart += times * sum(len(held[part]) > 1 for part in parts)
                is_alone = is_alone or not answers.keys().isdisjoint(parts)
        if apart > (0 if separator in CERTAIN_MARKS else _PERHAPS * shared) or (
            is_alone and apart >= _PERHAPS * shared
        ):
            return separator
    return ""


def _wholes(answers: Mapping[str, int], separator: str) -> dict[str, set[str]]:
    """Return part -> the answers that hold it; empty where the parts are no labels, each given three times on average."""
    held: dict[str, set[str]] = {}
    total = rows = 0
    for answer, times in answers.items():
        parts = _parts([answer], separator)
        rows, total = rows + times, total + times * len(parts)
        for part in parts:
            held.setdefault(part, set()).add(answer)
    several = total > rows and len(held) > 1 and total >= _REPEATED * len(held)
    return held if several and all(len(part) <= _LONGEST for part in held) else {}


def _coded(parts: Iterable[str], given: TaskContract, *, is_multi: bool) -> LabelSet:
    """Return the set of codes of the ICD, each with its point, and of what else stands among them."""
    labels = [*([_NONE] if is_multi else []), *given.labels, *parts]
    ninth = are_of_the_ninth(labels)
    written = [as_code(label, ninth=ninth) or label for label in labels]
    inventory = Inventory(written, given.aliases, rows=None)
    negative = given.negative or tuple(label for label in inventory.labels if label.casefold() in NOTHING)
    codes = {_pointless(label): label for label in inventory.labels if as_code(label)}
    return LabelSet(inventory, _present(inventory, negative), is_multi, are_codes=True, codes=codes, ninth=ninth)


def _pointless(code: str) -> str:
    return code.replace(".", "")


def _parts(texts: Iterable[str], separator: str) -> list[str]:
    if not separator:
        return [*texts]
    return [part for text in texts for raw in text.split(separator) if (part := raw.strip())]


def _present(inventory: Inventory, labels: Iterable[str]) -> frozenset[str]:
    """Return the labels as the inventory spells them."""
    return frozenset(inventory.find(label) or label for label in labels)
