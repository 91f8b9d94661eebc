"""Holds what the user says of sources against their gold answers: sources and labels that no row has, and the reverse."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from medtune.evaluation.lint_findings import Finding
from medtune.evaluation.task_contracts import TaskContract
from medtune.evaluation.tasks.label_sets import label_set_of

__all__ = ["label_findings", "more_labels", "source_findings"]

_SHOWN_IN = 5  # rows that share a label, from which it is no row's text
_MOST_NAMED = 5
_WITH_LABELS = frozenset({"classification", "multi-label", "relation", "inference"})


def source_findings(declared: Sequence[str], seen: Sequence[str]) -> Iterator[Finding]:
    """Yield the sources that the tables of tasks name and no row is of."""
    for source in declared:
        if source not in {*seen, "*"}:
            near = get_close_matches(source, seen, n=1) or sorted(seen)[:_MOST_NAMED]
            told = ", ".join(f"'{name}'" if name else "rows without a source" for name in near)
            sentence = f"tasks names this source, and no row is of it; there are {told}"
            yield Finding("declared_source", source, "both", 0, 0, sentence)


def label_findings(declared: TaskContract, golds: Mapping[str, int]) -> Iterator[Finding]:
    """Yield what is unlike in the labels that the user names and those of gold answers.

    Args:
        declared: what the user says of a source, its labels, negative ones and aliases alone.
        golds: gold answer -> rows.
    """
    if declared.kind not in _WITH_LABELS:
        return
    found, of = label_set_of(declared.task, [*golds], declared), sum(golds.values())
    if more := more_labels(declared, [*golds]):
        held: Counter[str] = Counter()
        rows = 0
        for answer, times in golds.items():
            strange = more & (found.read(answer) or frozenset())
            held.update(dict.fromkeys(strange, times))
            rows += times if strange else 0
        named = [label for label in sorted(more) if held[label] >= _SHOWN_IN][:_MOST_NAMED]
        told = f" ({', '.join(map(repr, named))})" if named else ""
        sentence = (
            f"{rows:,} of {of:,} gold answers have a label{told} that tasks.labels does not name, and are scored as if it did: "
            "name it there, say in tasks.aliases what it stands for, or mend the answers"
        )
        yield Finding("undeclared_label", declared.source, "both", rows, of, sentence)
    for name, given in (("negative", declared.negative), ("aliases", declared.aliases.values())):
        missing = sorted({label for label in given if not declared.labels and found.inventory.find(label) is None})
        if missing:
            told = ", ".join(map(repr, missing[:_MOST_NAMED]))
            sentence = f"tasks.{name} names {told}, which none of {of:,} gold answers is"
            yield Finding("declared_label", declared.source, "both", 0, of, sentence)


def more_labels(declared: TaskContract, golds: Sequence[str]) -> frozenset[str]:
    """Return the labels of gold answers that the user does not name where some are named."""
    if declared.kind not in _WITH_LABELS or not declared.labels:
        return frozenset()
    whole, named = (label_set_of(declared.task, of, declared).inventory for of in (golds, ()))
    return frozenset(whole.labels) - frozenset(named.labels)
