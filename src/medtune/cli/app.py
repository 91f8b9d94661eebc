"""Assembles the commands and turns every error into one sentence and an exit code."""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from socket import gaierror

import typer

from medtune.cli import (
    adopt,
    audit,
    baseline,
    bench,
    cache,
    compare,
    demo,
    evaluate,
    export,
    folder,
    importing,
    init,
    inspect,
    launch,
    locked,
    machine,
    plugins,
    scan,
    serve,
    sweep,
    train,
    verify,
)
from medtune.cli.masked_stderr import masked_stderr
from medtune.cli.result_stream import ResultStream, print_result
from medtune.errors import MedtuneError, StorageError
from medtune.errors.masking import masked
from medtune.workflow.terminal import VisibleFormatter, say

__all__ = ["app", "run"]

_USAGE, _CTRL_C, _UNEXPECTED = 2, 130, 1
_LONGEST_NAME = 200
"""Characters of a file's name that a sentence shows."""
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[
    2
]  # click's base, which newer typer carries inside itself

app = typer.Typer(
    name="medtune",
    help="Fine-tune an open language model on medical instruction data, and prove what that bought.",
    epilog="medtune is a research tool: nothing it trains or reports is medical advice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    demo,
    train,
    sweep,
    inspect,
    launch,
    bench,
    evaluate,
    baseline,
    audit,
    compare,
    adopt,
    export,
    folder,
    verify,
    machine,
    importing,
    init,
    scan,
    serve,
):
    module.add_to(app)
app.add_typer(plugins.app, name="plugins")
app.add_typer(cache.app, name="cache")
locked.add_to_all(app)


def run(arguments: list[str], *, ends_process: bool = False) -> int:
    """Run one command and return its exit code; errors go to stderr, with ``--json`` also to stdout as an object.

    With ``--json`` nothing else reaches stdout, whatever is printed meanwhile; and where the command ``ends_process``,
    nothing that is printed on the way out.
    """
    wants_object = "--json" in arguments and "--help" not in arguments
    if wants_object and sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - closed by who started it
        said = "stdout is closed, and --json writes its result there; lead it to a file, or do without --json"
        say(f"medtune: {said}", err=True)
        return StorageError.exit_code
    with masked_stderr(), ResultStream(ends_process=ends_process) if wants_object else nullcontext():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        with _warnings_on_stderr():
            outcome = app(arguments, standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        outcome = _CTRL_C  # newer typer returns it
    except _CommandLineError as error:
        return _fail(arguments, "UsageError", _usage(error), _USAGE)
    except MedtuneError as error:
        return _fail(arguments, type(error).__name__, str(error), error.exit_code, error.docs)
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError | TimeoutError | gaierror):
            return _fail_unexpected(arguments, error)
        refused = StorageError(_refused_by_the_system(error))
        return _fail(arguments, StorageError.__name__, str(refused), refused.exit_code, refused.docs)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one sentence, the rest with --traceback
        return _fail_unexpected(arguments, error)
    if outcome == _CTRL_C:
        return _fail(arguments, "KeyboardInterrupt", "stopped by Ctrl-C", _CTRL_C)
    return outcome if isinstance(outcome, int) else 0


def _fail_unexpected(arguments: list[str], error: Exception) -> int:
    from medtune.plugins.guards import place_of

    where = f"unexpected {type(error).__name__} at {place_of(error)}"
    sentence = f"{where}, whose text is withheld since it may quote a row; see --traceback"
    return _fail(arguments, type(error).__name__, sentence, _UNEXPECTED)


def _refused_by_the_system(error: OSError) -> str:
    """Return what the operating system refused, with the name of the file."""
    name = str(error.filename or "")
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
    place = f" '{shown}'" if shown else " a file"
    return f"cannot use{place}: {(error.strerror or '').lower()}; give another name, or see to its rights and its disk"


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Write what medtune's log warns of; the library itself leaves that to its caller."""
    tree, handler = logging.getLogger("medtune"), logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(VisibleFormatter())
    tree.addHandler(handler)
    try:
        yield
    finally:
        tree.removeHandler(handler)


def _fail(arguments: list[str], kind: str, message: str, exit_code: int, docs: str | None = None) -> int:
    message = masked(message)
    if "--traceback" in arguments:
        say(traceback.format_exc(), err=True, end="")
    if "--json" in arguments:
        told = {"type": kind, "message": message, "exit_code": exit_code}
        print_result(json.dumps({"error": {**told, "docs": docs} if docs else told}))
    say(f"medtune: {message}".replace("\n", "\\n"), err=True)  # a name cannot write a sentence of its own
    return exit_code


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "medtune"
    return f"{error.format_message().rstrip('.')}; see `{command} --help`"  # type: ignore[attr-defined]  # click's
