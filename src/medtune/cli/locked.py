"""``--locked``: an option of every command, which locks the process before the command does anything."""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Annotated, Any

import typer

__all__ = ["add_to_all"]

_LOCKED = typer.Option("--locked", help="Refuse the network, and open local paths only; as MEDTUNE_LOCKED=1 does.")


def add_to_all(app: typer.Typer) -> None:
    """Give every command of an application, and of those below it, the option."""
    for command in _commands(app):
        if command.callback is not None:
            command.callback = _lockable(command.callback)


def _commands(app: typer.Typer) -> Iterable[Any]:
    yield from app.registered_commands
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _commands(group.typer_instance)


def _lockable(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the option, which it does not see."""

    @wraps(command)
    def called(*args: Any, locked: bool = False, **kwargs: Any) -> Any:
        if locked:
            from medtune.machine.network import lock

            lock()
        return command(*args, **kwargs)

    known = inspect.signature(command, eval_str=True)
    option = inspect.Parameter(
        "locked", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, _LOCKED]
    )
    called.__signature__ = known.replace(parameters=[*known.parameters.values(), option])  # type: ignore[attr-defined]
    called.__annotations__ = {name: each.annotation for name, each in called.__signature__.parameters.items()}  # type: ignore[attr-defined]
    return called
