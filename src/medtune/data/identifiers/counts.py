"""Counts what was found in rows: by source, column and kind, never the text."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from medtune.data.sources.names import is_plain

if TYPE_CHECKING:
    from medtune.data.identifiers.row_values import FoundInRow

__all__ = ["IdentifierCounts", "counts_in_words", "shown_column"]


class IdentifierCounts:
    """What was found, of each source by column and kind.

    Attributes:
        policy: what was done with it: "count", "mask" or "drop"; empty while nobody looked.
        rows: looked at.
        rows_found: those that held something.
    """

    def __init__(self) -> None:
        self.policy = ""
        self.rows = self.rows_found = 0
        self._by_source: dict[str, Counter[tuple[str, str]]] = {}

    def note(self, source: str, found: "Iterable[FoundInRow]") -> None:
        """Count one row."""
        self.rows += 1
        counts = Counter((shown_column(each.column), finding.kind.value) for each in found for finding in each.findings)
        if counts:
            self.rows_found += 1
            self._by_source.setdefault(source, Counter()).update(counts)

    def kinds(self) -> dict[str, int]:
        """Return kind -> how often it was found, the most frequent first."""
        total: Counter[str] = Counter()
        for counts in self._by_source.values():
            for (_column, kind), count in counts.items():
                total[kind] += count
        return dict(total.most_common())

    def to_json(self) -> dict[str, Any]:
        """Return all counts; empty where nobody looked."""
        if not self.policy:
            return {}
        sources = {
            source: {
                column: {k: n for (c, k), n in counts.items() if c == column}
                for column in sorted({c for c, _k in counts})
            }
            for source, counts in sorted(self._by_source.items())
        }
        return {
            "policy": self.policy,
            "rows": self.rows,
            "rows_found": self.rows_found,
            "kinds": self.kinds(),
            "sources": sources,
        }


def shown_column(column: str) -> str:
    """Return a column as it may be told: keys of objects can be data."""
    return column if all(is_plain(part) for part in column.replace("[]", "").split(".")) else "(name looks like text)"


_DONE = {"count": "were counted only", "mask": "were masked", "drop": "were left out"}


def counts_in_words(found: Mapping[str, Any]) -> str:
    """Return a sentence on counts (their JSON form); empty where nobody looked."""
    if not found:
        return ""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in found["kinds"].items()) or "none"
    return (
        f"identifiers of people (data.identifiers={found['policy']}): {found['rows_found']:,} of {found['rows']:,} rows hold some and "
        f"{_DONE[found['policy']]} ({kinds}); rules find most of them, which is no guarantee"
    )
