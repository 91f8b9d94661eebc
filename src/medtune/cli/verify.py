"""``medtune verify``, ``sign`` and ``reproduce``: prove that a run is what was saved, who says so, and that it comes out again."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from medtune.cli.evaluate import BasePath, RunFolderArgument
from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files_for
from medtune.workflow.terminal import say

__all__ = ["add_to"]

_SHOWN_FILES = 5


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (verify, sign, reproduce):
        app.command()(command)


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", readable=False, help="Run folder, or folder of an export.")],
    key: Annotated[
        Path | None, typer.Option("--key", metavar="PUB", help="Public key; the run must be as its owner signed it.")
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Hold every file against manifests and record; exit code 4 when one differs, 75 when a command was cut short."""
    from medtune.cli.console import print_json
    from medtune.workflow.exporting.verification import is_export, verify_export
    from medtune.workflow.run import Run

    opened = None if is_export(run) else Run.open(run, plugins=plugin_files_for(run, plugins))
    found = verify_export(run, key) if opened is None else opened.verify(key)
    state = {} if opened is None else {"run_state": opened.state}
    if as_json:
        kind = {4: "DamagedArtifactError", 75: "RunInterruptedError"}.get(found.exit_code, "")
        error = {"type": kind, "message": found.sentence, "exit_code": found.exit_code}
        print_json(found.to_json() | state | ({"error": error} if found.exit_code else {}))
    else:
        _print(found.to_json() | state)
    if found.exit_code:
        say(f"medtune: {found.sentence}", err=True)
        raise typer.Exit(found.exit_code)


def sign(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", readable=False, help="Run folder; none with --generate.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="KEY", help="Private ed25519 key, as PEM.")] = None,
    generate: Annotated[
        Path | None, typer.Option("--generate", metavar="KEY", help="Write a new key, and KEY.pub beside it.")
    ] = None,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="With --generate: ask for a passphrase, unless the environment has it.")
    ] = False,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Sign a run as it is now, offline; a passphrase is asked for, or read from MEDTUNE_SIGN_PASSPHRASE."""
    from medtune.cli.console import print_json
    from medtune.errors import SpecError
    from medtune.workflow.run import Run
    from medtune.workflow.signing_keys import new_key

    if generate is not None:
        if run is not None or key is not None:
            raise SpecError("--generate makes a key and signs nothing; leave RUN and --key out")
        public = new_key(generate, (lambda: _ask(twice=True)) if passphrase else None)
        made = {"key": str(generate), "public_key": str(public)}
        if as_json:
            print_json(made)
        else:
            say(f"{generate} (keep it secret)\n{public} (give it to whoever verifies)")
        return
    if run is None or key is None:
        raise SpecError("give a RUN and --key, or --generate KEY to make one")
    signed = Run.open(run, plugins=plugin_files_for(run, plugins)).sign(key, _ask)
    for sentence in signed["unchecked"]:
        say(f"medtune: signed all the same: {sentence}", err=True)
    if as_json:
        print_json({"run": str(run), **signed})
    else:
        say(f"signed line {signed['number'] + 1} of the record, root {signed['root']}, by key {signed['key'][:16]}")


def reproduce(
    run: RunFolderArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the second run; by default RUN-again.")
    ] = None,
    base: BasePath = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Do a run once more in a new folder and say what is equal; exit code 9 when anything is not."""
    from medtune.cli.console import print_json
    from medtune.errors import NotReproducedError
    from medtune.workflow.narration import Narrator
    from medtune.workflow.run import Run

    opened = Run.open(run, base=base, plugins=plugin_files_for(run, plugins))
    with Narrator() as told:
        found = opened.reproduce(out, on_stage=told.stage)
    error = None if found["equal"] else NotReproducedError(str(run), found["differs"])
    if as_json:
        failed = (
            {} if error is None else {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        )
        print_json(found | ({"error": failed} if failed else {}))
    else:
        _print_again(found)
    if error is not None:
        say(f"medtune: {error}", err=True)
        raise typer.Exit(error.exit_code)


def _ask(*, twice: bool = False) -> str:
    return (
        str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True))
        if sys.stdin.isatty()
        else ""
    )


def _print(found: Mapping[str, Any]) -> None:
    for sealed in found["checked"]:
        say(f"{sealed['path']:<28} {sealed['problem'] or _whole(sealed)}")
    record: Mapping[str, Any] | None = found["record"]
    if record is not None:
        say(f"{'record':<28} {record['files']} files, {record['lines']} lines, root {record['root']}")
        for name in record["newer"][:_SHOWN_FILES]:
            say(f"{'newer than the record':<28} '{name}'")
    for problem in found["problems"]:
        say(f"{problem['kind']:<28} '{problem['file']}' {problem['detail']}")
    signature: Mapping[str, Any] | None = found["signature"]
    if signature is not None and signature["valid"]:
        say(f"{'signature':<28} good, by key {signature['key'][:16]} at {signature['signed']['time']}")
    if of := found.get("of"):
        say(f"{'of':<28} run {of['run_id']}, line {of['line']} of its record, root {of['root']}")
    for sentence in found["unchecked"]:
        say(f"{'not checked':<28} {sentence}")
    if (state := found.get("run_state", "finished")) != "finished":
        say(f"{'state':<28} {state}")
    if not found["checked"] and record is None:
        say("nothing is saved yet")


def _print_again(found: Mapping[str, Any]) -> None:
    for sentence in found["sentences"]:
        say(sentence)


def _whole(sealed: Mapping[str, Any]) -> str:
    return f"whole, {sealed['files']} files"
