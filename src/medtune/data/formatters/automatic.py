"""Chooses a formatter by the columns of a data set's rows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medtune.data.formatters.advice import is_annotated, mapping_advice
from medtune.data.sources.json_objects import field_advice
from medtune.data.sources.names import listed
from medtune.errors import DataError
from medtune.plugins.contracts import PromptFormatter

__all__ = ["FormatterChoice", "choose_formatter"]


class FormatterChoice:
    """Says of each row which formatter its columns fit, and of many rows which one fits them all.

    A column counts where something stands in it: rows of a table have all columns.

    Args:
        formatters: the candidates.
    """

    def __init__(self, formatters: Sequence[PromptFormatter]) -> None:
        self._formatters = formatters
        self._fitting: dict[tuple[str, ...], PromptFormatter | None] = {}

    def of(self, row: Mapping[str, Any]) -> PromptFormatter | None:
        """Return the formatter that a row's filled columns fit, else the one that its columns fit; None for none.

        Raises:
            DataError: several fit, and none of them stands before the others.
        """
        filled = tuple([column for column, value in row.items() if value or value == 0])
        if filled not in self._fitting:
            self._fitting[filled] = _best(filled, self._formatters)
        return self._fitting[filled] or (None if len(filled) == len(row) else _best(row.keys(), self._formatters))

    def among(self, rows: Sequence[Mapping[str, Any]], tolerated: float) -> PromptFormatter:
        """Return the formatter that rows fit, the most frequent one where up to a share of them fit another.

        Raises:
            DataError: none fits, several fit the same row, or more than the share ``tolerated`` fit another.
        """
        found = [(row, formatter) for row in rows if (formatter := self.of(row)) is not None]
        if not found:
            return choose_formatter(rows[0].keys(), self._formatters, rows[0], is_only=len(rows) == 1)
        votes = Counter(formatter.name for _row, formatter in found)
        name = votes.most_common(1)[0][0]
        chosen = next(formatter for _row, formatter in found if formatter.name == name)
        others = Counter(formatter.name for row, formatter in found if not self.agrees(row, chosen))
        if others.total() > tolerated * len(rows):
            counts = ", ".join(f"'{other}' {times}" for other, times in others.most_common())
            kept = len(found) - others.total()
            raise DataError(
                f"the columns of {len(rows)} rows fit different formatters ('{name}' {kept}, {counts}); put each kind in a "
                "file of its own and mix them with data.mix, or name one as data.formatter"
            )
        return chosen

    def agrees(self, row: Mapping[str, Any], chosen: PromptFormatter) -> bool:
        """Whether a row is of the kind that ``chosen`` formats, or lacks something that others have."""
        own = self.of(row)
        if own is None or own is chosen:
            return True
        return _needed(chosen) <= row.keys() and _needed(own) <= _known(chosen)


def choose_formatter(
    columns: Iterable[str],
    formatters: Sequence[PromptFormatter],
    row: Mapping[str, Any] | None = None,
    *,
    is_only: bool = False,
) -> PromptFormatter:
    """Choose the one formatter whose ``columns`` are all there.

    Where several are, one that reads all that another asks for, and more, stands before it: rows with ``question``,
    ``options``, ``answer_idx`` and ``answer`` are MedQA's rather than a mere question and answer.

    Args:
        columns: names in the data set.
        formatters: candidates. ``columns`` are what one needs, ``optional_columns`` what it reads or stands above where
            they are there; one without ``columns`` is chosen by name only, one that ``gives_way`` where no other fits.
        row: a row of it.
        is_only: whether there is no other, so that rows may be wrapped in it.

    Raises:
        DataError: none fits, or several do and none of them stands before the others.
    """
    there = frozenset(columns)
    found = _best(there, formatters)
    if found is not None:
        return found
    advice = mapping_advice(there, row)
    if row and is_only and any(_is_wrapper(value) for value in row.values()) and not is_annotated(there, row):
        advice = field_advice(row)
    raise DataError(
        f"no formatter fits the columns {listed(there)}; {advice}, or name one as data.formatter ({_names(formatters)})"
    )


def _best(columns: Iterable[str], formatters: Sequence[PromptFormatter]) -> PromptFormatter | None:
    there = frozenset(columns)
    fitting = [f for f in formatters if _needed(f) and _needed(f) <= there]
    fitting = [f for f in fitting if not getattr(f, "gives_way", False)] or fitting
    best = [f for f in fitting if not any(_stands_before(other, f) for other in fitting)]
    if len(best) > 1:
        raise DataError(
            f"the columns {listed(there)} fit several formatters: {_names(best)}; name one as data.formatter"
        )
    return best[0] if best else None


def _is_wrapper(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _stands_before(one: PromptFormatter, other: PromptFormatter) -> bool:
    return _needed(other) <= _known(one) and not _needed(one) <= _known(other)


def _known(candidate: PromptFormatter) -> frozenset[str]:
    return _needed(candidate) | _declared(candidate, "optional_columns")


def _needed(candidate: PromptFormatter) -> frozenset[str]:
    return _declared(candidate, "columns")


def _declared(candidate: Any, attribute: str) -> frozenset[str]:
    return frozenset(getattr(candidate, attribute, ()))


def _names(formatters: Iterable[PromptFormatter]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(f.name for f in formatters))
