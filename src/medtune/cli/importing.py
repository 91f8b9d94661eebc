"""``medtune import``: annotation formats to rows."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medtune.cli.options import AsJson, Traceback
from medtune.data.importers.options import Discontinuous, ImportOptions, Overlapping, Task, Tokens
from medtune.errors import SpecError
from medtune.workflow.terminal import say, terminal

if TYPE_CHECKING:
    from medtune.data.importers.importing import ImportReport
    from medtune.data.importers.reading import Input
    from medtune.workflow.packs import PackCheck

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_annotations)


def import_annotations(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", readable=False, help="Annotated file, or a folder of BRAT's; none shows a --pack."
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="OUT.jsonl", help="Where the rows go; written over.")
    ] = None,
    pack: Annotated[
        str | None, typer.Option(help="Recipe of a benchmark set, such as ncbi-disease; sizes are compared.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Official split of the --pack that FILE is.")] = None,
    format_name: Annotated[str | None, typer.Option("--format", help="Instead of what the content says.")] = None,
    task: Annotated[Task | None, typer.Option(help="What the rows ask; by default what the file holds.")] = None,
    source: Annotated[str | None, typer.Option(help="Source of the rows; by default the file's name.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Such as cp1252; by default by its mark, else UTF-8.")] = None,
    tokens: Annotated[Tokens, typer.Option(help="How texts are cut into tokens.")] = Tokens.AUTO,
    overlapping: Annotated[Overlapping, typer.Option(help="Which of overlapping mentions.")] = Overlapping.LONGEST,
    discontinuous: Annotated[
        Discontinuous, typer.Option(help="Mentions in pieces: label from first to last character, or leave out.")
    ] = Discontinuous.COVER,
    token_column: Annotated[int | None, typer.Option(min=1, help="Column of the tokens, from 1.")] = None,
    tag_column: Annotated[int | None, typer.Option(min=1, help="Column of the tags, from 1.")] = None,
    first_option: Annotated[int | None, typer.Option(min=0, max=1, help="Number of MedMCQA's first option.")] = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Turn an annotation format into rows, offsets checked against the text; say what was left out and why."""
    from medtune.data.importers.reading import Input

    if pack is not None and file is None and to is None:
        _show(pack, as_json=as_json)
        return
    if file is None or to is None:
        raise SpecError("give FILE and --to OUT.jsonl; or --pack NAME alone, to see where a benchmark set is")
    if pack is None and split is not None:
        raise SpecError("--split needs --pack")
    options = ImportOptions(
        format=format_name,
        task=task,
        source=source,
        tokens=tokens,
        overlapping=overlapping,
        discontinuous=discontinuous,
        first_option=first_option,
    )
    _import(Input(file, encoding, token_column, tag_column), to, options, (pack, split), as_json=as_json)


def _import(
    origin: "Input", to: Path, options: ImportOptions, pack: tuple[str | None, str | None], *, as_json: bool
) -> None:
    """Write the rows, and tell what was found; ``pack`` is a recipe and its split."""
    from medtune.cli.console import print_json
    from medtune.data.importers.importing import import_file
    from medtune.workflow.packs import import_pack

    name, split = pack
    check = None
    if name is None:
        report = import_file(origin, to, options)
    else:
        report, check = import_pack(name, split, origin, to, options)
    if as_json:
        found = {} if check is None else {"pack": check.to_json()}
        print_json({"file": str(origin.path), "to": str(to), **asdict(report), **found})
    else:
        _print(report, to)
    if check is not None:
        _tell(check)


def _show(name: str, *, as_json: bool) -> None:
    """Print a recipe."""
    from rich.table import Table

    from medtune.cli.console import print_json
    from medtune.workflow.packs import find_pack

    pack = find_pack(name)
    if as_json:
        print_json(pack.to_json())
        return
    table = Table(title=pack.title, show_header=False, title_justify="left")
    for what in ("home", "licence", "citation", "task", "format", "note", "sources"):
        table.add_row(what, str(getattr(pack, what)) or "none of `medtune import`")
    for split in pack.splits:
        counts = [f"{split.documents:,} documents"] if split.documents else []
        counts += [" or ".join(f"{rows:,}" for rows in split.rows) + " rows"] if split.rows else []
        table.add_row(split.name, "; ".join([*split.files, *counts]) or "no size could be verified")
    for one in pack.published:
        table.add_row("published", f"{one.system}: {one.metric} {one.value:.4f} on {one.split} ({one.citation})")
    terminal().print(table)


def _tell(check: "PackCheck") -> None:
    """Say on stderr how what was read compares with the official split."""
    where = f"{check.pack.title}, {check.split.name}"
    say(f"{where}: {check.pack.licence}", err=True)
    if not check.compared:
        say(f"{where}: no official size can be compared", err=True)
    elif not check.differences:
        say(f"{where}: {' and '.join(check.compared)} as published", err=True)
    for difference in check.differences:
        say(f"{where}: NOT the official split: {difference}", err=True)


def _print(report: "ImportReport", to: Path) -> None:
    from rich.table import Table

    table = Table(title="Import", show_header=False, title_justify="left")
    table.add_row("read as", ", ".join(filter(None, (report.format, report.encoding, report.scheme))))
    if report.tokens:
        table.add_row("tokens", report.tokens)
    if report.first_option is not None:
        table.add_row("options", f"counted from {report.first_option}")
    found = {"documents": report.documents, "mentions": report.mentions, "relations": report.relations}
    table.add_row("in the file", ", ".join(f"{count:,} {what}" for what, count in found.items() if count))
    if report.types:
        table.add_row("types", ", ".join(f"{kind or '(none)'} {count:,}" for kind, count in report.types.items()))
    labelled = {Task.NER: f", {report.labelled:,} mentions", Task.RELATION: f", {report.labelled:,} with a relation"}
    table.add_row("written", f"{report.rows:,} rows of {report.task}{labelled.get(report.task, '')}")
    for title, counted in (("left out", report.left_out), ("changed", report.noted)):
        for line in _lines(counted, report.places):
            table.add_row(title, line)
    console = terminal()
    console.print(table)
    console.print(str(to), highlight=False, soft_wrap=True)


def _lines(counted: Mapping[str, int], places: Mapping[str, Any]) -> list[str]:
    return [f"{count:,} {reason} (first in {places[reason]})" for reason, count in counted.items()]
