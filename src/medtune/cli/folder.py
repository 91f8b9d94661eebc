"""``medtune report`` and ``verify``: look at a finished run again, and prove that it is what was saved."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files
from medtune.workflow.terminal import say

__all__ = ["add_to"]

RunFolderArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (report, verify):
        app.command()(command)


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

    opened = Run.open(run, plugins=plugin_files(plugins))
    path = opened.report(show_texts=show_texts)
    if as_json:
        shown = opened.spec.eval.show_texts if show_texts is None else show_texts
        print_json({"report": str(path), "shows_texts": shown})
    else:
        say(path)


def verify(
    run: RunFolderArgument,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Hold adapter and checkpoints against their manifests, byte for byte; exit code 4 when anything differs."""
    from medtune.cli.console import print_json
    from medtune.errors import UnsafeArtifactError
    from medtune.workflow.run import Run

    checked = Run.open(run, plugins=plugin_files(plugins)).verify()
    damaged = [found for found in checked if found.problem]
    sentence = f"run '{run}' is damaged: " + "; ".join(f"'{found.path}': {found.problem}" for found in damaged)
    result = {"run": str(run), "whole": not damaged, "checked": [asdict(found) for found in checked]}
    code = UnsafeArtifactError.exit_code
    if as_json:
        error = {"type": "DamagedArtifactError", "message": sentence, "exit_code": code}
        print_json(result | ({"error": error} if damaged else {}))
    else:
        for found in checked:
            say(f"{found.path:<28} {found.problem or f'whole, {found.files} files'}")
        if not checked:
            say("nothing is saved yet")
    if damaged:
        say(f"medtune: {sentence}", err=True)
        raise typer.Exit(code)
