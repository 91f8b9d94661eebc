"""``medtune adopt``: an adapter that was trained elsewhere becomes a run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from medtune.cli.options import AsJson, Plugins, Sets, Traceback, plugin_files
from medtune.workflow.terminal import say

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(adopt)


def adopt(
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", readable=False, help="Folder of a LoRA adapter in peft's form.")
    ],
    base: Annotated[
        str, typer.Option("--base", metavar="B", help="The base it was trained on: a folder or a repository.")
    ],
    data: Annotated[str, typer.Option("--data", metavar="D", help="Rows to score on: a file, or a data set's name.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder to make.")],
    sets: Sets = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Make a run of an adapter that was trained elsewhere: checked, and scored beside its base on the same rows.

    All rows of a file are scored on, up to eval.rows_per_source of each source; of a data set its validation split.
    """
    from medtune.cli.console import print_json, print_scores
    from medtune.specfile import apply_overrides, validate_spec
    from medtune.workflow.adoption import adopt as take

    model = {"name": base, "path": base} if Path(base).is_dir() else {"name": base}
    validation = data if Path(data).exists() else "validation"
    values: dict[str, Any] = {
        "model": model,
        "data": {"source": data, "validation": validation},
        "quant": {"scheme": "auto"},
        "output_dir": str(out),
    }
    spec = validate_spec(apply_overrides(values, sets or ()))
    run = take(adapter, spec, plugins=plugin_files(plugins), on_stage=lambda said: say(f"medtune {said}", err=True))
    (print_json if as_json else print_scores)(run.metrics)
