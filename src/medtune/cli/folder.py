"""``medtune report``: look at a finished run again."""

from pathlib import Path
from typing import Annotated

import typer

from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files_for
from medtune.workflow.terminal import say

__all__ = ["add_to"]

RunFolderArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    run: RunFolderArgument,
    show_texts: Annotated[
        bool | None,
        typer.Option(
            "--show-texts/--hide-texts",
            help="Sampled inputs and answers, which may be patients' texts; by default as the spec's eval.show_texts.",
        ),
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Write report.html anew from what the run folder holds; without texts unless they are asked for."""
    from medtune.cli.console import print_json
    from medtune.workflow.run import Run

    opened = Run.open(run, plugins=plugin_files_for(run, plugins))
    path = opened.report(show_texts=show_texts)
    if as_json:
        shown = opened.spec.eval.show_texts if show_texts is None else show_texts
        print_json({"report": str(path), "shows_texts": shown, "state": opened.state})
    else:
        say(path)
    if opened.state != "finished":
        say(f"medtune: run '{run}' is {opened.state}; the report shows what it holds so far", err=True)
