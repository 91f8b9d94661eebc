"""Knows the words that tables write for a cell in which nothing stands."""

__all__ = ["is_missing"]

_EMPTY_CELLS = frozenset({"nan", "<na>", "nat", "#n/a", "#na", "#null!", "(null)", "<null>", "-nan", "1.#qnan"})
"""pandas, Excel and SQL; "none" and "null" are left out, since they are also labels."""


def is_missing(text: str) -> bool:
    """Whether a text stands for an empty cell.

    >>> is_missing("NaN "), is_missing("none")
    (True, False)
    """
    return len(text) < 12 and text.strip().casefold() in _EMPTY_CELLS  # noqa: PLR2004 - longer than any
