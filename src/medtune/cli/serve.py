"""``medtune serve``: runs on one base as an OpenAI-compatible endpoint."""

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files_for
from medtune.errors import SpecError
from medtune.workflow.terminal import say

__all__ = ["TOKEN_VARIABLE", "TokenFile", "add_to"]

TOKEN_VARIABLE = "MEDTUNE_SERVE_TOKEN"  # noqa: S105 - where a token stands
TokenFile = Annotated[Path | None, typer.Option("--token-file", help=f"File with the token; or set {TOKEN_VARIABLE}.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders on one base, or NAME=FOLDER.")]
Host = Annotated[str, typer.Option(help="Address to listen on; any other than loopback can be reached.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")]
Slots = Annotated[int, typer.Option(min=1, max=512, help="Answers that are decoded together.")]
MaxTokens = Annotated[int, typer.Option(min=16, help="Of a request, prompt and answer.")]
Queue = Annotated[int, typer.Option(min=1, help="Requests that may wait; one more is answered 429.")]
MaxBody = Annotated[int, typer.Option(min=1024, help="Bytes of a request; a larger one is answered 413.")]
Patience = Annotated[
    float,
    typer.Option(min=0.1, help="Seconds in which the head of a request must come; its body has three times that."),
]
Drain = Annotated[float, typer.Option(min=0.0, help="Seconds in which answers may end after SIGTERM.")]


def serve(
    runs: Runs,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    slots: Slots = 64,
    max_tokens: MaxTokens = 4096,
    queue: Queue = 256,
    max_body: MaxBody = 1 << 20,
    patience: Patience = 10.0,
    drain: Drain = 30.0,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Serve runs, and their base as `base`, as an OpenAI-compatible endpoint. Greedy answers, as they were scored."""
    _require_extra()
    from medtune.cli.console import print_json
    from medtune.serving import server
    from medtune.serving.limits import Limits
    from medtune.serving.token import new_token, read_token
    from medtune.workflow.served import ServedRuns

    given_plugins = _plugins_for((named := _named(runs)).values(), plugins)  # locks before anything listens
    given = read_token(token_file, os.environ.get(TOKEN_VARIABLE))
    token, address = given or new_token(), server.Address(_allowed(host), port)
    limits = Limits(slots, max_tokens, queue, max_body)
    limits = replace(limits, header_seconds=patience, body_seconds=3 * patience, drain_seconds=drain)

    def tell(running: server.Running) -> None:
        _say(f"serving {', '.join(running.models)} at {running.url}; stop with Ctrl-C")
        if given is None:
            _say(f"token for this time: {token}")
        if not address.is_local:
            _say("other machines can reach it, and token and texts travel unencrypted: put it behind TLS")
        if as_json:
            print_json({"url": running.url, "models": list(running.models)})
            sys.stdout.flush()

    server.serve(lambda: ServedRuns.open(named, slots, given_plugins), address, token, limits, tell)


def _require_extra() -> None:
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise SpecError(f"medtune serve needs {' and '.join(missing)}: pip install 'medtune[serve]'")


def _allowed(host: str) -> str:
    """Return an address to listen on, once a locked process may."""
    from medtune.machine.network import allow_server

    allow_server(host)
    return host


def _named(runs: Sequence[str]) -> dict[str, Path]:
    """Return name -> folder."""
    found: dict[str, Path] = {}
    for run in runs:
        name, is_named, folder = run.partition("=")
        path = Path(folder if is_named else run)
        name = name if is_named else path.resolve().name
        if name in found:
            raise SpecError(f"two runs are named '{name}'; name one of them: NAME={path}")
        found[name] = path
    return found


def _plugins_for(runs: Collection[Path], paths: list[Path] | None) -> list[object]:
    """Lock this process where one of the runs says so, then import the plugins of ``--plugin``, as far as the spec of each lets them."""
    from medtune.workflow.served import lock_for

    lock_for(runs)
    given: list[object] = []
    for run in runs:
        given = plugin_files_for(run, paths)  # the modules of the first time, once this run's list was asked
    return given


def _say(sentence: str) -> None:
    say(sentence, err=True)
