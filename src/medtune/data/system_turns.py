"""The constant system turn that a spec gives to conversations, for all of them or by source."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from medtune.errors import DataError
from medtune.plugins.contracts import Example, Message

__all__ = ["SystemTurns", "with_system"]


class SystemTurns:
    """Puts system turns before conversations that have none.

    Args:
        system: a text, or source -> text; None puts none.
    """

    def __init__(self, system: str | Mapping[str, str] | None) -> None:
        self._system = system
        self._missing = set(system) if isinstance(system, Mapping) else set[str]()
        self._seen: set[str] = set()

    def put(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Yield the examples with their system turns."""
        if not self._system:
            yield from examples
            return
        for example in examples:
            self._missing.discard(example.source)
            self._seen.add(example.source)
            text = self._system if isinstance(self._system, str) else self._system.get(example.source, "")
            messages = with_system(example.messages, text)
            yield example if messages is example.messages else replace(example, messages=messages)

    def require_used(self) -> None:
        """Raise DataError when a source was named that no row has."""
        if self._missing:
            named, there = (
                ", ".join(f"'{name}'" for name in sorted(names)[:10]) for names in (self._missing, self._seen)
            )
            raise DataError(f"data.system names {named}, which no row has as its source; sources: {there}")


def with_system(messages: Sequence[Message], text: str) -> Sequence[Message]:
    """Return the conversation with a system turn first; as it is where it has one, or the text is blank."""
    if not text.strip() or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": text}, *messages]
