"""Says which answers a question allows, spelled as its gold answer is: labels, options, yes, no or maybe."""

import re
from collections.abc import Sequence

from medtune.evaluation.recognition import NLI_LABELS, RELATIONS, answer_of, question_of
from medtune.evaluation.task_contracts import Contracts
from medtune.evaluation.tasks.choices import options_in
from medtune.evaluation.tasks.labels import Inventory, bare_answer
from medtune.evaluation.tasks.qa import QaTask
from medtune.plugins.contracts import Example

__all__ = ["MOST_ALLOWED", "allowed_answers"]

MOST_ALLOWED = 100
"""Most answers that are asked for their probability, each with a pass of its own."""

_DECISIONS = ("yes", "no", "maybe")
_MARKED = re.compile(r"#{1,3}\s*Answer\s*:\s*", re.IGNORECASE)
_SENTENCE = re.compile(r"(option\s+\(?)([A-Za-z]|\d{1,2})(\)?\s+is\s+correct)", re.IGNORECASE)
_SPACED = re.compile(r"(?:^|\s)([A-J])\s?[.):]\s")
"""An option's letter as MedTuned's tokenised questions list it."""
_LETTERED = re.compile(r"(\(?)([A-Za-z]|\d{1,2})(\)?[.):]?\s+)(\S.*)", re.DOTALL)


def allowed_answers(example: Example, contracts: Contracts | None = None) -> tuple[str, ...]:
    """Return the answers that a question allows, spelled as in training; empty for an open one.

    The gold answer is only asked whether it is a label, an option, a decision or a text, and how such a one is written.

    Args:
        example: its ``task`` says which task it is.
        contracts: what the sources are; the labels of one of labels are those of its contract. Without a contract the
            labels are MedTuned's.
    """
    contract = contracts.of(example) if contracts is not None else None
    if contract is not None and contract.kind in ("classification", "relation", "inference"):
        return _spelled(answer_of(example), contract.labels, Inventory(contract.labels, contract.aliases, rows=None))
    if example.task == "nli":
        return NLI_LABELS
    if example.task == "relation":
        return RELATIONS if answer_of(example).strip() in RELATIONS else ()
    if example.task != "qa":
        return ()
    gold = QaTask(contracts).parse(answer_of(example), example)
    final = _final(answer_of(example))
    if gold.kind == "decision" and gold.value is not None:
        return _spelled(final, _DECISIONS, Inventory(_DECISIONS, rows=None))
    return tuple(dict.fromkeys(_options(final, question_of(example)))) if gold.kind == "choice" else ()


def _final(answer: str) -> str:
    """Return the last answer mark and what follows it; the whole answer without one."""
    marks = [*_MARKED.finditer(answer)]
    return answer[marks[-1].start() :] if marks else answer


def _spelled(gold: str, labels: Sequence[str], inventory: Inventory) -> tuple[str, ...]:
    """Return each label as the gold answer is written; empty where that is none of them, or there are too many."""
    bare = bare_answer(gold)
    own, place = inventory.find(bare), gold.find(bare)
    if own is None or place < 0 or not 1 < len(labels) <= MOST_ALLOWED:
        return ()
    before, after = gold[:place], gold[place + len(bare) :]
    like = [_in_case_of(bare, own, label) for label in labels]
    return tuple(
        f"{before}{bare if label == own else told}{after}".strip() for label, told in zip(labels, like, strict=True)
    )


def _in_case_of(written: str, own: str, label: str) -> str:
    """Return a label in the case in which the gold answer writes its own."""
    if written == own:
        return label
    for change in (str.lower, str.upper, str.capitalize):
        if written == change(own):
            return change(label)
    return label


def _options(gold: str, question: str) -> tuple[str, ...]:
    """Return each listed option as the gold answer names its own; empty where it is written otherwise."""
    options = options_in(question) or dict.fromkeys(_SPACED.findall(question.rpartition("###Options:")[2]), "")
    if not 1 < len(options) <= MOST_ALLOWED:
        return ()
    if found := _SENTENCE.search(gold):
        return tuple(f"{gold[: found.start(2)]}{mark}{gold[found.end(2) :]}".strip() for mark in options)
    bare = bare_answer(gold)
    before, _found, after = gold.partition(bare)
    if bare.upper() in options:
        return tuple(f"{before}{_cased(mark, bare)}{after}".strip() for mark in options)
    if (found := _LETTERED.fullmatch(bare)) and found[2].upper() in options:
        if _same(found[4], options[found[2].upper()]):
            told = (f"{found[1]}{_cased(mark, found[2])}{found[3]}{text}" for mark, text in options.items())
            return tuple(f"{before}{each}".strip() for each in told)
        return ()
    if any(text and _same(bare, text) for text in options.values()):
        return tuple(f"{before}{text}".strip() for text in options.values())
    return ()


def _cased(mark: str, like: str) -> str:
    return mark.lower() if like.islower() else mark


def _same(one: str, other: str) -> bool:
    return one.strip(" .").casefold() == other.strip(" .").casefold()
