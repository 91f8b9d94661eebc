"""``medtune init``: a commented spec for a user's own file, or of another program's configuration."""

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


Source = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="CONFIG", help="Take over a configuration of TRL, Axolotl, LLaMA-Factory, ms-swift, unsloth."
    ),
]
Program = Annotated[
    str | None,
    typer.Option("--program", metavar="NAME", help="Whose it is: trl, axolotl, llama-factory, ms-swift, unsloth."),
]
Accept = Annotated[
    bool, typer.Option("--accept", help="With --from, write the spec although it trains otherwise in what was listed.")
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", readable=False, help="File or folder of rows.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="SPEC", help="By default run.toml beside FILE, or here with --from.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="GPU", help="Size for this GPU: h200, rtx4090, ..., or 24GiB.")
    ] = None,
    base: Annotated[str | None, typer.Option("--base", help="Repository or folder of the base model.")] = None,
    source: Source = None,
    program: Program = None,
    accept: Accept = False,
    sets: Sets = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Look at a file and write a spec with which `medtune train` works as it is: mapping, split, length, size."""
    from medtune.errors import SpecError

    if (file is None) == (source is None):
        raise SpecError("give a FILE of rows, or --from CONFIG for the configuration of another program")
    if source is not None:
        if gpu is not None or base is not None:
            raise SpecError("--gpu and --base size a spec for rows; with --from, change it by --set")
        return _take_over(source, out or Path("run.toml"), program, sets or [], accept=accept, as_json=as_json)
    if program is not None or accept:
        raise SpecError("--program and --accept are for --from CONFIG")
    assert file is not None  # noqa: S101 - one of the two is there
    return _write_for(file, out, (gpu, base, sets), as_json=as_json)


def _write_for(
    file: Path, out: Path | None, wish: tuple[str | None, str | None, list[str] | None], *, as_json: bool
) -> None:
    from medtune.cli.console import print_json
    from medtune.tuner import DEFAULT_BUNDLE
    from medtune.workflow.new_spec import Wish, new_spec

    gpu, base, sets = wish
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


def _take_over(config: Path, out: Path, program: str | None, sets: list[str], *, accept: bool, as_json: bool) -> None:
    """Write a spec of another program's configuration; what trains otherwise has to be accepted."""
    from medtune.cli.console import print_json
    from medtune.errors import SpecError
    from medtune.workflow.taken_over.taking_over import take_over
    from medtune.workflow.taken_over.writing import lines_of, report, require_accepted, write_spec

    taken = take_over(config, program, sets)
    try:
        require_accepted(taken, accepted=accept)
    except SpecError as error:
        if as_json:
            failure = {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
            print_json({**report(taken, None), "error": failure})
        else:
            say("\n".join(lines_of(taken)))
        say(f"medtune: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    text = write_spec(taken, out)
    if as_json:
        print_json(report(taken, out))
    else:
        say(text)
        say(f"medtune check {out}", err=True)


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
