"""``medtune audit``: what the adapter of a run remembers of the rows that it was trained on."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from medtune.cli.evaluate import BasePath, RunFolderArgument
from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files_for

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


def audit(
    run: RunFolderArgument,
    rows: Annotated[
        int, typer.Option(min=1, help="Rows of each source to compare, trained on and held out, at most.")
    ] = 200,
    candidates: Annotated[
        int, typer.Option(min=32, max=100_000, help="Other secrets to hold each canary against.")
    ] = 256,
    base: BasePath = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Say what an adapter remembers: canaries, training answers word for word, and which rows it was trained on."""
    from medtune.cli.console import print_json
    from medtune.workflow.narration import Narrator
    from medtune.workflow.run import Run

    opened = Run.open(run, base=base, plugins=plugin_files_for(run, plugins))
    with Narrator() as told:
        found = opened.audit(rows_per_source=rows, candidates=candidates, on_stage=told.stage)
    if (run / "report.html").is_file():
        opened.report()
    (print_json if as_json else _print)(found)


def _print(found: Mapping[str, Any]) -> None:
    from medtune.workflow.terminal import terminal

    console = terminal()
    told = [f"{count:,} {reason}" for reason, count in found["left_out"].items()]
    left_out = [f"Left out: {'; '.join(told)}."] if told else []
    for sentence in (found["tried"], *found["findings"], *left_out, found["limits"]):
        console.print(sentence, highlight=False, soft_wrap=True)
