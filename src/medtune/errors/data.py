"""Data that cannot be used as asked."""

from medtune.errors.root import MedtuneError

__all__ = ["DataError", "UnusableRowError"]


class DataError(MedtuneError):
    """The data set cannot be read, formatted or encoded as asked."""

    exit_code = 3


class UnusableRowError(DataError):
    """A row cannot be encoded; others of its set can."""

    def __init__(self, row_id: str, reason: str) -> None:
        self.row_id, self.reason = row_id, reason
        super().__init__(f"row '{row_id}': {reason}")
