"""``medtune sweep``: several settings on one loaded base, and one of them chosen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medtune.cli.options import AsJson, BundleName, Plugins, Sets, SpecFile, Traceback, tuner_of
from medtune.workflow.terminal import terminal

if TYPE_CHECKING:
    from medtune.workflow.sweep.sweep import Sweep

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sweep)


def sweep(
    spec: SpecFile = None,
    bundle: BundleName = None,
    sets: Sets = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=A,B", help="Try these values of a field; with --random also a range, as 1e-5..1e-3."),
    ] = None,
    draws: Annotated[
        int | None, typer.Option("--random", min=2, metavar="N", help="Draw N settings instead of trying all.")
    ] = None,
    halving: Annotated[
        bool, typer.Option("--halving", help="Give the worse half up after 1/8, 1/4 and 1/2 of the updates (of eight).")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(metavar="FIGURE", help="Choose by macro, loss or a task; loss with --halving, else macro."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the sweep.")] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Try settings of a spec on one loaded base, and choose one by half of the validation rows."""
    from medtune.cli.console import print_json
    from medtune.workflow.sweep.settings import read_grid

    tuner = tuner_of(spec, bundle, sets, None, plugins)
    found = tuner.sweep(read_grid(grid or ()), out=out, random=draws, halving=halving, by=by, progress="bar")
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _print(found: "Sweep") -> None:
    from medtune.cli.console import print_tables

    print_tables(found.tables)
    console = terminal()
    console.print(found.record["sentence"], highlight=False, soft_wrap=True)
    console.print(
        f"chosen   {found.winner.path}\nreport   {found.path / 'sweep.html'}", highlight=False, soft_wrap=True
    )
