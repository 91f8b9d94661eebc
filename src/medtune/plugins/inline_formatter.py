"""A formatter that was given as an object, registered as a plugin's would be."""

from collections.abc import Sequence

from medtune.plugins.contracts import PromptFormatter
from medtune.plugins.hookspecs import hookimpl

__all__ = ["InlineFormatter"]


class InlineFormatter:
    """Registers a formatter object that was passed to the tuner."""

    __hash__ = object.__hash__

    def __init__(self, formatter: PromptFormatter) -> None:
        self._formatter = formatter
        self.__name__ = f"formatter {formatter.name!r} passed to MedTuner"

    @hookimpl
    def provide_formatters(self) -> Sequence[PromptFormatter]:
        """Return the formatter."""
        return [self._formatter]
