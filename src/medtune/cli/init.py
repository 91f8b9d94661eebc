"""``medtune init``: a commented spec for a user's own file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medtune.cli.options import AsJson, Sets, Traceback
from medtune.workflow.terminal import say

if TYPE_CHECKING:
    from medtune.workflow.new_spec import NewSpec

__all__ = ["add_to"]

_MOST_NAMES = 50
"""Sources beyond which their values are no names, and are not printed."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="File or folder of rows.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="SPEC", help="By default run.toml beside FILE.")] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="GPU", help="Size for this GPU: h200, rtx4090, ..., or 24GiB.")
    ] = None,
    base: Annotated[str | None, typer.Option("--base", help="Repository or folder of the base model.")] = None,
    sets: Sets = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Look at a file and write a spec with which `medtune train` works as it is: mapping, split, length, size."""
    from medtune.cli.console import print_json
    from medtune.tuner import DEFAULT_BUNDLE
    from medtune.workflow.new_spec import Wish, new_spec

    target = out if out is not None else (file if file.is_dir() else file.parent) / "run.toml"
    written = new_spec(file, target, Wish(gpu, base, DEFAULT_BUNDLE, tuple(sets or ())))
    if as_json:
        print_json(_report(written))
    else:
        say(written.path.read_text("utf-8"))
    for line in written.found.not_read():
        say(line, err=True)
    if not as_json:
        say(f"medtune train {written.path}", err=True)


def _report(written: "NewSpec") -> dict[str, Any]:
    """Return what was found and written, in its JSON form."""
    found = written.found
    return {
        "spec": str(written.path),
        "data": found.data,
        "rows": found.rows,
        "malformed": found.malformed,
        "sources": dict(found.sources) if len(found.sources) <= _MOST_NAMES else {},
        "distinct_sources": len(found.sources),
        "tasks": dict(found.tasks),
        "max_length": written.max_length,
        "length_is_measured": written.measured,
        "device": written.plan.device,
        "notes": found.notes,
        "left_out": found.left_out,
        "unread_columns": found.unread,
    }
