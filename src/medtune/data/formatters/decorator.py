"""Makes a formatter of a function."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from medtune.plugins.contracts import Example, PromptFormatter

__all__ = ["formatter"]

_Function = Callable[[Mapping[str, Any]], Example]


def formatter(
    name: str, columns: Iterable[str] = (), *, version: str | None = None
) -> Callable[[_Function], PromptFormatter]:
    """Make a formatter of a function from row to example.

    Args:
        name: what ``data.formatter`` takes.
        columns: columns by which ``"auto"`` recognises it; empty to be chosen by name only.
        version: changed whenever the function gives other examples; without one, prepared rows are not kept on disk.

    >>> from medtune.data.formatters import conversation, text
    >>> @formatter("notes", columns=["note", "summary"])
    ... def notes(row):
    ...     return conversation(text(row, "note"), text(row, "summary"), row)
    >>> notes.format({"note": "Cough for a week.", "summary": "Cough."}).messages[-1]
    {'role': 'assistant', 'content': 'Cough.'}
    """
    wanted = frozenset(columns)
    return lambda function: _FunctionFormatter(name, function, wanted, version)


class _FunctionFormatter:
    def __init__(self, name: str, function: _Function, columns: frozenset[str], version: str | None) -> None:
        self.name, self.columns, self.version = name, columns, version
        self._function = function

    def format(self, row: Mapping[str, Any]) -> Example:
        """Call the function."""
        return self._function(row)
