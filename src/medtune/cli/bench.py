"""``medtune bench``: how fast a spec trains on this machine, and what memory it takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from medtune.cli.options import AsJson, BundleName, Plugins, Sets, SpecFile, Traceback, tuner_of
from medtune.workflow.terminal import terminal

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    spec: SpecFile = None,
    bundle: BundleName = None,
    sets: Sets = None,
    steps: Annotated[int, typer.Option(min=3, help="Updates; the first two are not timed.")] = 20,
    share: Annotated[
        Path | None,
        typer.Option(help="Write the figure to FILE, to send in: GPU, versions, shape, settings, speed; nothing else."),
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Measure speed and memory of a spec here, with random weights and generated rows; predicted beside measured."""
    from medtune.cli.console import print_json
    from medtune.workflow.bench import bench as measure
    from medtune.workflow.narration import Narrator

    tuner = tuner_of(spec, bundle, sets, None, plugins)
    with Narrator() as narrator:
        measured = measure(tuner.spec, tuner.host, steps, on_stage=narrator.stage)
    report = measured.to_json()
    if share is not None:
        from medtune.workflow.shared_figure import share_figure

        share_figure(measured, share)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: Mapping[str, Any]) -> None:
    from rich.table import Table

    settings = ", ".join(f"{name} {value}" for name, value in report["settings"].items())
    table = Table(title=f"{report['device']}: {settings}", title_justify="left")
    for column in ("", "predicted", "measured"):
        table.add_column(column, justify="right" if column else "left")
    predicted, measured = report["predicted"], report["measured"]
    peak, speed = predicted["peak_gib"], predicted["tokens_per_second"]
    table.add_row("peak memory, GiB", "unknown" if peak is None else f"{peak:.2f}", f"{measured['peak_gib']:.2f}")
    table.add_row("tokens/s", "unknown" if speed is None else f"{speed:,.0f}", f"{measured['tokens_per_second']:,.0f}")
    table.add_row("seconds per update", "", f"{measured['step_seconds']:.3f}")
    console = terminal()
    console.print(table)
    if report["path"]:
        console.print(report["path"], highlight=False)
    if report["proof"]:
        route, seconds = report["proof"]["route"], report["proof"]["seconds"]
        console.print(
            f"loss and gradients were proved on the first micro-batch in {seconds:.1f} s: {route}", highlight=False
        )
    if report["peak_error"] is None:
        console.print("the measured peak is that of the whole process, libraries included", highlight=False)
