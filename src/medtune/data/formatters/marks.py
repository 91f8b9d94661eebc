"""Knows the marks that annotation tools leave in a cell of a table, as JSON text."""

from typing import Any

__all__ = ["holds_marks"]


def holds_marks(value: Any) -> bool:
    """Whether a cell holds a list of marked places."""
    return isinstance(value, str) and value.startswith("[{") and '"start"' in value and '"end"' in value
