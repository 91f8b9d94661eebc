"""Everything that is told on a terminal goes through here: what data, files and plugins are called cannot steer it."""

import logging
import sys
from typing import TYPE_CHECKING, Any

from medtune.errors.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["VisibleFormatter", "say", "terminal"]


def terminal(*, err: bool = False) -> "Console":
    """Return a console of rich that takes text as text: neither markup nor emoji codes nor control characters in it act."""
    from rich.console import Console
    from rich.text import Text

    class Terminal(Console):  # rich asks for a subclass: every str that it shows, in a table too, passes here
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options)

    return Terminal(file=sys.stderr if err else None, markup=False, emoji=False)


def say(text: object, *, err: bool = False, end: str = "\n") -> None:
    """Print a text on stdout, or on stderr."""
    print(visible(str(text)), end=end, file=sys.stderr if err else sys.stdout, flush=True)


class VisibleFormatter(logging.Formatter):
    """Formats records of the log so that names in them cannot steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return visible(super().format(record))
