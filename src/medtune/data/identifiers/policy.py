"""What becomes of rows with identifiers on their way to the formatter: counted, masked or left out, as ``data.identifiers`` says."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from medtune.data.identifiers.counts import IdentifierCounts
from medtune.data.rows import Row
from medtune.data.shaping import METADATA, json_columns, reach
from medtune.errors import DataError
from medtune.specs import DataSpec, SourceSpec

if TYPE_CHECKING:
    from medtune.data.account import Account

__all__ = ["apply_policy"]

_MOST_IN_A_NAME = 6
"""Words of what names a source or a document."""


def apply_policy(rows: Iterator[Row], spec: DataSpec, member: SourceSpec, account: "Account | None") -> Iterator[Row]:
    """Yield the rows as the policy leaves them; what names source or document, and metadata, stays as it is.

    Args:
        rows: of one source, as read.
        spec: its ``identifiers`` is the policy.
        member: the source.
        account: takes down what was found; None where nobody asks.

    Raises:
        DataError: every row is left out.
    """
    if spec.identifiers == "off":
        return rows
    counts = IdentifierCounts() if account is None else account.identifiers
    counts.policy = spec.identifiers
    return _applied(rows, spec.identifiers, member, counts)


def _applied(rows: Iterator[Row], policy: str, member: SourceSpec, counts: IdentifierCounts) -> Iterator[Row]:
    from medtune.data.identifiers.row_values import (  # word lists and patterns, for who asks only
        Columns,
        find_in_row,
        masked_row,
    )

    skipped, as_json = _skipped(member), json_columns(member.columns)
    kept = before = 0
    for row in rows:
        before += 1
        if row.fault:
            kept += 1
            yield row
            continue
        columns = Columns(_names_in(row.values, skipped), as_json)
        if policy == "mask":
            values, found = masked_row(row.values, columns)
            row = row._replace(values=values) if found else row  # noqa: PLW2901 - the same row, masked
        else:
            found = find_in_row(row.values, columns)
        counts.note(_source_of(row, member), found)
        if policy != "drop" or not found:
            kept += 1
            yield row
    if before and not kept:
        raise DataError(
            f"data.identifiers=drop leaves no row of '{member.source}': each of its {before:,} rows holds an identifier of a person; "
            "set data.identifiers=mask, or declare columns that nothing shall read as data.columns.metadata"
        )


def _names_in(values: Mapping[str, Any], skipped: frozenset[str]) -> frozenset[str]:
    """Return those of the skipped columns that hold a name in this row: one that holds a text is read like any other."""
    return frozenset(path for path in skipped if not _is_text(reach(values, path)))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) > _MOST_IN_A_NAME


def _skipped(member: SourceSpec) -> frozenset[str]:
    """Return the columns that name a row, its source or its document, or that nothing reads."""
    source = member.columns.get("source", ("source",))
    return frozenset({"id", *source, *member.documents.values(), *member.columns.get(METADATA, ())})


def _source_of(row: Row, member: SourceSpec) -> str:
    values = [row.values.get(column) for column in member.columns.get("source", ("source",))]
    named: Any = next((value for value in values if isinstance(value, str)), "")
    return named or member.name or member.source
