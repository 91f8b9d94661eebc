"""How the account of rows and columns looks in a terminal: what is read, what is not, and what is worth a look."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["MOST_NAMED", "print_account"]

MOST_NAMED = 50
"""Sources up to which their names are printed: with more, the column may hold something else than sources."""
_HEADER = ("source", "column", "is", "rows", "of the text", "unread", "missing")


def print_account(console: "Console", report: Mapping[str, Any]) -> None:
    """Print a table of the columns of each source, and a line for whatever else was found.

    Args:
        console: where to.
        report: a preparation report (or a plan's ``data``) in its JSON form.
    """
    from rich.table import Table

    table = Table(title="Columns", title_justify="left")
    for name in _HEADER:
        table.add_column(name, justify="left" if name in _HEADER[:3] else "right", overflow="fold")
    for member in report["account"]:
        for number, column in enumerate(member["columns"]):
            source = f"{member['source']} ({member['formatter']})" if number == 0 else ""
            shares = (f"{column[share]:.1%}" for share in ("share", "unread_share"))
            figures = (f"{column['rows']:,}", *shares, f"{column['missing']:,}")
            table.add_row(source, column["column"], column["state"], *figures)
    console.print(table)
    for sentence in _sentences(report):
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)


def _sentences(report: Mapping[str, Any]) -> Iterator[str]:
    for member in report["account"]:
        for file, how in member["read_as"].items():
            yield f"{file}: {', '.join(how)}"
        for file, why in member["files_left_out"].items():
            yield f"left out: {file} ({why})"
        if member["more_files_left_out"]:
            yield f"left out: {member['more_files_left_out']:,} more files of {member['source']}"
        for path, rows in member["fields_left_out"].items():
            yield f"left out: {rows:,} rows or values at '{path}' of {member['source']}, beside data.field"
        yield from member["advice"]
    if report["answers_without_loss"]:
        yield (
            f"{report['answers_without_loss']:,} answers before the last of their conversation carry no loss; "
            "data.supervise=all has them carry it"
        )
    yield from _of_validation(report["validation"])


def _of_validation(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["drawn"]:
        return
    counts = [
        f"{found['quarantined']:,} malformed" if found.get("quarantined") else "",
        f"{found['over_max_length']:,} longer than max_length" if found["over_max_length"] else "",
    ]
    told = "".join(f"; {count}" for count in counts if count)
    yield f"validation: {found['drawn']:,} rows drawn of {found['rows']:,}{told}"
    if found["capped"]:
        yield f"validation: capped to what {MOST_NAMED} sources would give, of {len(found['sources']):,}"
    unscored = found["unscored_sources"]
    if unscored:
        named = (
            ", ".join(repr(name) for name in unscored) if len(unscored) <= MOST_NAMED else f"{len(unscored):,} sources"
        )
        yield f"validation: no row is scored of {named}"
