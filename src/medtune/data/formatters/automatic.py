"""Chooses a formatter by the columns of a data set."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from medtune.errors import DataError
from medtune.plugins.contracts import PromptFormatter

__all__ = ["choose_formatter"]

_PLAIN_NAME = re.compile(r"[^\W\d][\w.-]{0,39}")
"""A column name as people give them. Anything else may be a row: a CSV file without a header has its first one there."""


def choose_formatter(columns: Iterable[str], formatters: Sequence[PromptFormatter]) -> PromptFormatter:
    """Choose the one formatter whose ``columns`` are all there.

    Where several are, one that reads all that another asks for, and more, stands before it: rows with ``question``,
    ``options``, ``answer_idx`` and ``answer`` are MedQA's rather than a mere question and answer.

    Args:
        columns: names in the data set.
        formatters: candidates. ``columns`` are what one needs, ``optional_columns`` what it reads or stands above where
            they are there; one without ``columns`` is chosen by name only.

    Raises:
        DataError: none fits, or several do and none of them stands before the others.
    """
    there = frozenset(columns)
    fitting = [f for f in formatters if _needed(f) and _needed(f) <= there]
    best = [f for f in fitting if not any(_stands_before(other, f) for other in fitting)]
    if len(best) == 1:
        return best[0]
    if best:
        raise DataError(
            f"the columns {_listed(there)} fit several formatters: {_names(best)}; name one as data.formatter"
        )
    raise DataError(
        f"no formatter fits the columns {_listed(there)}; name one as data.formatter ({_names(formatters)}), rename the "
        "columns, or write a formatter"
    )


def _stands_before(one: PromptFormatter, other: PromptFormatter) -> bool:
    known = _needed(one) | _declared(one, "optional_columns")
    return _needed(other) <= known and not _needed(one) <= _needed(other) | _declared(other, "optional_columns")


def _needed(candidate: PromptFormatter) -> frozenset[str]:
    return _declared(candidate, "columns")


def _declared(candidate: Any, attribute: str) -> frozenset[str]:
    return frozenset(getattr(candidate, attribute, ()))


def _listed(columns: Iterable[object]) -> str:
    plain = sorted(c for c in columns if isinstance(c, str) and _PLAIN_NAME.fullmatch(c))
    others = len(list(columns)) - len(plain)
    shown = ", ".join(f"'{c}'" for c in plain)
    if not others:
        return shown or "(there are none)"
    hidden = f"{others} whose names look like text (is there a header line?)"
    return f"{shown} and {hidden}" if shown else hidden


def _names(formatters: Iterable[PromptFormatter]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(f.name for f in formatters))
