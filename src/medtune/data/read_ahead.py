"""Reads chunks of examples before their turn, without anything being counted before it."""

from collections import deque
from collections.abc import Callable, Iterator

from medtune.data.quarantine import Quarantine
from medtune.plugins.contracts import Example

__all__ = ["ReadAhead"]


class ReadAhead:
    """Chunks that are read before their turn: what reading counts, and an error that it ends in, wait for it.

    So a preparation counts, refuses and stops in the order of the rows, however far it reads ahead.

    Args:
        chunks: of examples.
        quarantine: that reading them counts in.
    """

    def __init__(self, chunks: Iterator[list[Example]], quarantine: Quarantine) -> None:
        self._chunks, self._quarantine = chunks, quarantine
        self._counts: deque[list[Callable[[], None]]] = deque()
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[list[Example]]:
        while True:
            error: Exception | None = None
            chunk: list[Example] | None = None
            with self._quarantine.put_off() as counts:
                try:
                    chunk = next(self._chunks, None)
                except Exception as reached:  # noqa: BLE001 - raised below, once it is its turn
                    error = reached
            self._counts.append(counts)
            if error is not None:
                self._error = error
            if chunk is None:
                return
            yield chunk

    def count(self) -> None:
        """Count what reading the next chunk counts; once for each chunk, before it is looked at."""
        for act in self._counts.popleft():
            act()

    def finish(self) -> None:
        """Count what was read after the last chunk, and raise the error that reading ended in."""
        while self._counts:
            self.count()
        if self._error is not None:
            raise self._error
