"""What a look at gold answers tells: a kind, where, how many rows, and a sentence without their text."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Finding", "asked_again", "merged"]

_MOST_NAMED = 10
"""Findings of one kind that are told by source."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd about the gold answers of one source.

    Attributes:
        kind: such as "label_priors".
        source: whose rows; empty for rows without a name, or for several sources.
        split: "training", "validation" or "both".
        rows: rows that show it.
        of: rows that were looked at.
        sentence: what it is, without any row's text.
    """

    kind: str
    source: str
    split: str
    rows: int
    of: int
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def merged(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings, those of a kind by their rows; what goes beyond ten sources of a kind is told as one."""
    kept: list[Finding] = []
    for kind in dict.fromkeys(one.kind for one in found):
        ranked = sorted((one for one in found if one.kind == kind), key=lambda one: (-one.rows, one.source))
        kept += ranked[:_MOST_NAMED]
        if rest := ranked[_MOST_NAMED:]:
            rows, of = sum(one.rows for one in rest), sum(one.of for one in rest)
            sentence = f"{rows:,} of {of:,} rows of {len(rest)} further sources have the same fault ({kind})"
            kept.append(Finding(kind, "", "both", rows, of, sentence))
    return kept


def asked_again(asked: Iterable[tuple[str, str]]) -> list[Finding]:
    """Return the sources that ask a question more than once, from the source and the question of every scored row.

    Rows without a question are left out.
    """
    questions: dict[str, Counter[str]] = defaultdict(Counter[str])
    for source, question in asked:
        if question.strip():
            questions[source][question] += 1
    found: list[Finding] = []
    for source, times in questions.items():
        rows, of = times.total() - len(times), times.total()
        sentence = (
            f"{rows:,} of {of:,} scored rows ask what an earlier row asked: each counts as a row of its own, so intervals are "
            "too narrow; leave them out, or give the rows of a question one document"
        )
        found += [Finding("asked_again", source, "validation", rows, of, sentence)] * (rows > 0)
    return merged(found)
