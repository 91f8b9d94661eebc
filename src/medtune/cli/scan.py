"""``medtune scan``: identifiers of people in a file of rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medtune.cli.options import AsJson, Traceback
from medtune.errors import SpecError
from medtune.workflow.terminal import say, terminal

if TYPE_CHECKING:
    from medtune.data.identifiers.scanning import ScanReport

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(scan)


def scan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Rows: a file, folder or glob, as data.source.")],
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="OUT.jsonl", help="Write the rows, each identifier masked by its kind."),
    ] = None,
    drop: Annotated[
        Path | None, typer.Option("--drop", metavar="OUT.jsonl", help="Write only the rows in which nothing was found.")
    ] = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Look for identifiers of people by rules: counts and places, never the text. No guarantee that none is missed."""
    from dataclasses import asdict

    from medtune.cli.console import print_json
    from medtune.data.identifiers.scanning import scan_file

    if mask is not None and drop is not None:
        raise SpecError("give --mask or --drop, not both")
    report = scan_file(file, "mask" if mask else "drop" if drop else "count", mask or drop)
    if as_json:
        print_json({"file": file, **asdict(report)})
    else:
        _print(report, mask or drop)


def _print(report: "ScanReport", target: Path | None) -> None:
    from rich.table import Table

    table = Table(title="Identifiers", title_justify="left")
    for name in ("source", "column", "kind", "found"):
        table.add_column(name, justify="right" if name == "found" else "left", overflow="fold")
    for source, columns in report.sources.items():
        for column, kinds in columns.items():
            for kind, count in kinds.items():
                table.add_row(source, column, kind, f"{count:,}")
    console = terminal()
    if report.sources:
        console.print(table)
    unread = f"; {report.unreadable:,} rows could not be read and were not looked at" if report.unreadable else ""
    say(f"{report.rows_found:,} of {report.rows:,} rows hold something that looks like an identifier{unread}")
    if target is not None:
        say(f"{report.written:,} rows written to {target}")
    say("rules find most identifiers, not all: this is not a guarantee", err=True)
