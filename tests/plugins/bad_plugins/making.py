"""How a plugin with one fault is made."""

from dataclasses import dataclass
from typing import Any

from medtune import hookimpl
from medtune.plugins.host import KINDS


@dataclass(frozen=True)
class Bad:
    """A plugin with one fault."""

    fault: str
    kind: str
    check: str
    plugin: Any
    """A plugin, or the source of its file."""
    seconds: float = 60.0


def providing(kind: str, *things: Any) -> Any:
    """Return a plugin that provides these."""
    return with_hooks(**{KINDS[kind][0]: lambda _self: list(things)})


def with_hooks(**functions: Any) -> Any:
    """Return a plugin with these hooks; each takes the plugin and what the hook takes."""
    return type("Plugin", (), {name: hookimpl(function) for name, function in functions.items()})()
