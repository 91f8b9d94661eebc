"""Lengths of samples per source, what ``max_length`` costs, and what it would have to be."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from medtune.errors import DataError

__all__ = [
    "MOST_NAMED",
    "LengthLedger",
    "SourceLengths",
    "named_sources",
    "names_rows",
    "require_sources",
    "require_tolerable",
]

_TOLERATED = 0.02
_SHARES = (95, 99, 100)
_BUCKETS = 24
MOST_NAMED = 50
"""Sources up to which their names are shown: with more, the column may hold something else than sources."""
_LEAST_PER_SOURCE = 2


@dataclass
class SourceLengths:
    """Counts of one source; tokens are template and content together.

    Attributes:
        lengths: tokens of a sample -> number of samples, before anything was dropped or shortened.
        supervised: supervised tokens of all samples.
        lost_rows: samples dropped for their length.
        lost_supervised: supervised tokens of the dropped samples.
        shortened: samples whose input was cut.
    """

    lengths: Counter[int] = field(default_factory=Counter[int])
    supervised: int = 0
    lost_rows: int = 0
    lost_supervised: int = 0
    shortened: int = 0

    @property
    def rows(self) -> int:
        """Samples, the lost ones included."""
        return self.lengths.total()

    def needed(self, percent: int) -> int:
        """Return the smallest ``max_length`` that keeps ``percent`` of the samples whole."""
        wanted, seen = percent / 100 * self.rows, 0
        for length in sorted(self.lengths):
            seen += self.lengths[length]
            if seen >= wanted:
                return length
        return 0

    def all_needed(self) -> dict[str, int]:
        """Return what 95, 99 and 100 % need, by percentage."""
        return {str(percent): self.needed(percent) for percent in _SHARES}

    def brief(self) -> dict[str, Any]:
        """Return rows, those lost, and what 95, 99 and 100 % need."""
        return {"rows": self.rows, "lost_rows": self.lost_rows, "needed": self.all_needed()}

    def to_json(self) -> dict[str, Any]:
        """Return the counts, what 95, 99 and 100 % need, and a histogram of equal buckets."""
        longest = max(self.lengths, default=0)
        width = max(1, -(-longest // _BUCKETS))
        buckets = [0] * _BUCKETS
        for length, times in self.lengths.items():
            buckets[min(_BUCKETS - 1, (length - 1) // width)] += times
        return {
            "rows": self.rows,
            "tokens": sum(length * times for length, times in self.lengths.items()),
            "supervised_tokens": self.supervised,
            "longest": longest,
            "needed": self.all_needed(),
            "lost_rows": self.lost_rows,
            "lost_supervised_tokens": self.lost_supervised,
            "shortened_rows": self.shortened,
            "histogram": {"bucket_width": width, "rows": buckets},
        }


class LengthLedger:
    """Keeps the lengths of every source."""

    def __init__(self) -> None:
        self.sources: dict[str, SourceLengths] = defaultdict(SourceLengths)

    def note(self, source: str, length: int, supervised: int) -> None:
        """Count a sample as it was encoded."""
        kept = self.sources[source]
        kept.lengths[length] += 1
        kept.supervised += supervised

    def lose(self, source: str, supervised: int) -> None:
        """Count a sample as dropped for its length."""
        self.sources[source].lost_rows += 1
        self.sources[source].lost_supervised += supervised

    def needed(self) -> dict[str, int]:
        """Return what 95, 99 and 100 % of all rows need, whatever their source."""
        together = sum((source.lengths for source in self.sources.values()), start=Counter[int]())
        return SourceLengths(together).all_needed()

    def to_json(self) -> Mapping[str, Any]:
        """Return the counts per source."""
        return {name: self.sources[name].to_json() for name in sorted(self.sources)}


def named_sources(sources: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return source -> counts as they are shown: one sum where there are so many that names may be something else."""
    if len(sources) <= MOST_NAMED:
        return sources
    summed = ("rows", "tokens", "supervised_tokens", "lost_rows", "lost_supervised_tokens", "shortened_rows")
    together: dict[str, Any] = {key: sum(s[key] for s in sources.values()) for key in summed}
    together["longest"] = max(s["longest"] for s in sources.values())
    together["needed"] = {p: max(s["needed"][p] for s in sources.values()) for p in ("95", "99", "100")}
    return {f"{len(sources):,} sources": together}


def names_rows(sources: int, rows: int) -> bool:
    """Whether a column has so many values for its rows that it names rows, and no sources."""
    return sources > MOST_NAMED and rows < _LEAST_PER_SOURCE * sources


def require_sources(ledger: LengthLedger) -> None:
    """Raise DataError when rows have so many sources, about one each, that it names the rows instead."""
    sources, rows = len(ledger.sources), sum(source.rows for source in ledger.sources.values())
    if names_rows(sources, rows):
        raise DataError(
            f"column 'source' has {sources:,} values in {rows:,} rows, about one each, so it names rows and no sources; leave "
            "it unread with --set data.columns.metadata=source"
        )


def require_tolerable(
    splits: Mapping[str, Mapping[str, Mapping[str, Any]]], max_length: int, positions: Callable[[], int | None]
) -> None:
    """Raise DataError when a source loses more than 2 % of its rows, with the length that all such sources need.

    Args:
        splits: "" for training rows and "validation " for those to score on -> source -> counts, as
            ``LengthLedger.to_json`` gives them.
        max_length: that was too short.
        positions: asks for the longest row that the base takes; None where that is not known.
    """
    lost = [
        (kind, name, source)
        for kind, sources in splits.items()
        for name, source in sorted(sources.items())
        if source["lost_rows"] > _TOLERATED * source["rows"]
    ]
    if not lost:
        return
    kind, name, source = lost[0]
    count = len(splits[kind])
    named = (
        ""
        if count == 1 and not name
        else f" of source '{name}'"
        if count <= MOST_NAMED
        else f" of one of {count} sources"
    )
    needed, known = max(source["needed"]["99"] for _kind, _name, source in lost), positions()
    if known is None or needed <= known:
        way = f"99 % of them need train.max_length={needed}: raise it, or set data.accept_loss=true"
    else:
        way = f"99 % of them need {needed:,} tokens and the base takes {known:,}: shorten or split them, or set data.accept_loss=true"
    raise DataError(
        f"max_length {max_length} {'is less than the length of' if kind else 'would lose'} {source['lost_rows']} of "
        f"{source['rows']} {kind}rows ({source['lost_rows'] / source['rows']:.1%}){named}; {way}"
    )
