"""Finds rows that share a text although no document is named: intervals that take them for independent are too narrow."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from medtune.evaluation.recognition import question_of
from medtune.plugins.contracts import Prediction

__all__ = ["correlation_warnings"]

_LEAST_TEXT = 60
"""Characters of a paragraph that is a text of its own."""
_INSTRUCTION = 0.05
_MOST_ROWS = 50
"""A paragraph in more than 5 % of a source's rows, and in more than 50, is an instruction."""
_SHARE = 0.2
_LEAST_ROWS = 10


def correlation_warnings(predictions: Sequence[Prediction]) -> list[str]:
    """Return a sentence for each source of which a fifth of the rows shares a text with another one, unnamed."""
    by_source: dict[str, list[list[int]]] = defaultdict(list)
    for prediction in predictions:
        example = prediction.example
        if not example.document:
            pieces = question_of(example).split("\n")
            by_source[example.source].append([hash(p) for p in pieces if len(p) >= _LEAST_TEXT])
    found: list[str] = []
    for source, rows in sorted(by_source.items()):
        shared = _sharing(rows)
        if len(rows) >= _LEAST_ROWS and shared >= _SHARE * len(rows):
            whose = f" of source '{source}'" if source else ""
            found.append(
                f"{shared:,} of {len(rows):,} rows{whose} share a text with another row and name no document, so the intervals "
                "take them for more than they are; name the document (key 'document', data.document in a spec)"
            )
    return found


def _sharing(rows: Sequence[Sequence[int]]) -> int:
    """Return how many rows have a paragraph that others have too, instructions left out."""
    counts = Counter(piece for pieces in rows for piece in {*pieces})
    most = max(_MOST_ROWS, _INSTRUCTION * len(rows))
    if len(rows) <= _MOST_ROWS:
        most = len(rows) / 2
    return sum(any(1 < counts[piece] <= most for piece in pieces) for pieces in rows)
