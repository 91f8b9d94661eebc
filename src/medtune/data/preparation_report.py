"""The account of a run's rows: how many are trained on, and what became of the others."""

from dataclasses import dataclass
from typing import Any

from medtune.data.lengths import require_tolerable
from medtune.specs import RunSpec

__all__ = ["PreparationReport"]


@dataclass(frozen=True, slots=True)
class PreparationReport:
    """What became of the rows.

    Attributes:
        rows: samples to train on.
        tokens: their tokens.
        supervised_tokens: those that carry loss.
        packed_rows: rows of ``max_length`` they were packed into.
        fill: share of the packed rows that is tokens.
        quarantined: malformed rows.
        reasons: reason -> malformed rows.
        sources: lengths and losses per source.
        needed: "95", "99" and "100" -> the ``max_length`` that keeps this percentage of all rows whole.
        lost_rows: rows dropped for their length.
        lost_supervised_tokens: their supervised tokens.
        overlap: source -> kind -> training rows that also stand in the validation rows.
        overlapping: ids of validation rows that have a counterpart in training; none when it was left out there.
        dropped_overlap: training rows left out for it.
        account: what was read of each source: files, formatter, columns (see ``account.MemberAccount.to_json``).
        answers_without_loss: answers before the last of their conversation, where only the last one carries loss.
        validation: what became of the rows to score on: rows to draw from, drawn, malformed, too long, duplicates, and
            training sources without any.
        from_cache: whether the arrays were found prepared.
    """

    rows: int
    tokens: int
    supervised_tokens: int
    packed_rows: int
    fill: float
    quarantined: int
    reasons: dict[str, int]
    sources: dict[str, Any]
    needed: dict[str, int]
    lost_rows: int
    lost_supervised_tokens: int
    overlap: dict[str, dict[str, int]]
    overlapping: list[str]
    dropped_overlap: int
    account: list[dict[str, Any]]
    answers_without_loss: int
    validation: dict[str, Any]
    from_cache: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def summary(self) -> dict[str, Any]:
        """Return what a plan tells: the counts, without histograms and row ids."""
        values = self.to_json()
        for name in ("reasons", "overlapping", "from_cache"):
            del values[name]
        sources = {name: {k: v for k, v in s.items() if k != "histogram"} for name, s in self.sources.items()}
        return {**values, "sources": sources}

    def require_tolerable(self, spec: RunSpec) -> None:
        """Raise DataError when a source loses more rows to ``max_length`` than ``spec`` accepts."""
        if not spec.data.accept_loss:
            require_tolerable(self.sources, spec.train.max_length)
            require_tolerable(self.validation["sources"], spec.train.max_length, "validation ")
