"""What preparation asks of a check of encoded rows, which other rooms write."""

from collections.abc import Sequence
from typing import Any, Protocol

from medtune.data.encode import Encoder
from medtune.data.samples import Sample

__all__ = ["RowChecker"]


class RowChecker(Protocol):
    """Says which encoded rows must not be trained on or scored; used for one preparation."""

    @property
    def identity(self) -> str:
        """What its verdicts depend on besides the rows; prepared rows are found again under the same only."""
        ...

    def faults(self, samples: Sequence[Sample], encoder: Encoder, *, every: bool) -> list[str]:
        """Return what is wrong with each row, in words without its text; empty for a good row or one not looked at.

        Args:
            samples: encoded rows.
            encoder: that encoded them.
            every: whether all are looked at, or as many as tell.
        """
        ...

    def require_few(self, limit: float) -> None:
        """Raise DataError when a larger share than ``limit`` of the rows looked at has a fault."""
        ...

    def found(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        ...
