"""``medtune compare``: runs side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files
from medtune.workflow.terminal import terminal

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", readable=False, help="Run folders; each is tested against the first."),
    ],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the comparison as a page.")] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Put runs side by side: what differs in their specs, their figures and scores, and paired tests against the first."""
    from medtune.cli.console import print_json
    from medtune.plugins.host import create_host
    from medtune.workflow.compare_runs import compare_runs, write_page

    result = compare_runs(runs, create_host(_plugins_for(runs, plugins)))
    if html is not None:
        write_page(result, html)
    (print_json if as_json else _print)(result)


def _plugins_for(runs: list[Path], plugins: list[Path] | None) -> list[object]:
    """Import the plugins as far as every run lets them; one run that locks goes before all that is imported."""
    from medtune.workflow.locked import lock_as

    allowed = [lock_as(run) for run in runs] if plugins else []
    given: list[object] = []
    for each in allowed:
        given = plugin_files(plugins, each)  # the same modules, held to another list
    return given


def _print(result: Mapping[str, Any]) -> None:
    from medtune.cli.console import print_tables
    from medtune.workflow.compare_runs import sentences, tables

    console = terminal()
    for run in result["runs"]:
        console.print(f"{run['name']}  {run['run']}", highlight=False, soft_wrap=True)
    print_tables(tables(result))
    for sentence in sentences(result):
        console.print(sentence, highlight=False, soft_wrap=True)
