"""From rows to examples: the chosen formatter, the wanted sources, and the quarantine for what cannot be used."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from medtune.data.formatters import choose_formatter
from medtune.data.quarantine import Quarantine
from medtune.data.rows import Row, is_local, read_rows
from medtune.errors import DataError
from medtune.plugins.contracts import Example, PromptFormatter
from medtune.plugins.host import PluginHost
from medtune.specs import DataSpec

__all__ = ["Rows", "read_examples", "training_rows", "validation_rows"]

Rows = Iterable[Mapping[str, Any]]


def training_rows(spec: DataSpec, rows: Rows | None = None) -> Iterator[Row]:
    """Return the training rows: those given, else those of ``spec.source``."""
    if rows is not None:
        return read_rows(rows)
    return read_rows(spec.source, revision=spec.revision, split=spec.split)


def validation_rows(spec: DataSpec, rows: Rows | None = None) -> Iterator[Row] | None:
    """Return the validation rows, or None when they are to be held out of the training rows."""
    if rows is not None:
        return read_rows(rows)
    if spec.validation is None:
        return None
    if is_local(spec.source) or is_local(spec.validation):
        return read_rows(spec.validation, split="validation")
    return read_rows(spec.source, revision=spec.revision, split=spec.validation)


def read_examples(rows: Iterable[Row], spec: DataSpec, host: PluginHost, quarantine: Quarantine) -> Iterator[Example]:
    """Format rows; malformed ones go to the quarantine with their place and the reason.

    Args:
        rows: as read.
        spec: formatter and sources.
        host: finds the formatter; "auto" chooses by the columns of the first good row.
        quarantine: counts and keeps the malformed rows.

    Raises:
        DataError: no formatter fits, there is no row at all, or too many are malformed.
    """
    iterator = iter(rows)
    formatter: PromptFormatter | None = None
    wanted, unwanted = set(spec.include_sources), set(spec.exclude_sources)
    seen = False
    for row in iterator:
        seen = True
        if row.fault:
            quarantine.refuse(row.row_id, row.place, row.fault)
            continue
        if formatter is None:
            formatter = _formatter(spec.formatter, row.values, host)
        example = _formatted(formatter, row, quarantine)
        if example is None or (wanted and example.source not in wanted) or example.source in unwanted:
            continue
        yield example
    if not seen:
        raise DataError("the data set is empty; check data.source and data.split")
    quarantine.check()


def _formatter(name: str, values: Mapping[str, Any], host: PluginHost) -> PromptFormatter:
    if name != "auto":
        chosen: PromptFormatter = host.find("formatter", name)
        return chosen
    return choose_formatter(values.keys(), host.all("formatter"))


def _formatted(formatter: PromptFormatter, row: Row, quarantine: Quarantine) -> Example | None:
    """Return the example, or None after the quarantine took the row."""
    example: Example | None = None
    try:
        example = formatter.format(row.values)
        reason = _fault(example)
    except ValueError as error:
        reason = str(error) if type(formatter).__module__.startswith("medtune.") else "the formatter refused the row"
    except Exception as error:  # noqa: BLE001 - a formatter of a user may raise anything; its text may be the row's
        reason = f"the formatter raised {type(error).__name__}"
    if reason or example is None:
        quarantine.refuse(row.row_id, row.place, reason)
        return None
    quarantine.accept()
    return example if example.row_id else replace(example, row_id=row.row_id)


def _fault(example: Example) -> str:
    """Say what makes an example unusable, without its text; empty when nothing does."""
    if not example.messages:
        return "the example has no messages"
    for message in example.messages:
        content = message["content"]
        if not content.isascii() and any("\ud800" <= c <= "\udfff" for c in content):
            return "a text holds half a character (a lone surrogate)"
    return "" if example.messages[-1]["content"].strip() else "the answer is empty"
