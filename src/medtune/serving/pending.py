"""An answer that is waited for on the event loop while the engine's thread makes it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from medtune.serving.refusals import Refusal

__all__ = ["Pending"]


class Pending:
    """Satisfies ``engine.Sink``; keeps the newest ids only, so that a client that reads slowly takes no memory.

    Args:
        is_watching: whether unfinished answers are wanted.
    """

    def __init__(self, *, is_watching: bool) -> None:
        self.is_watching = is_watching
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        self._ids: Sequence[int] = ()
        self._is_whole = False
        self._refusal: Refusal | None = None

    def progress(self, ids: Sequence[int]) -> None:
        """Take the ids so far."""
        self._ids = ids
        self._wake()

    def finish(self, ids: Sequence[int]) -> None:
        """Take all ids."""
        self._ids, self._is_whole = ids, True
        self._wake()

    def fail(self, refusal: Refusal) -> None:
        """Take why there is no answer."""
        self._refusal = refusal
        self._wake()

    async def next(self) -> tuple[Sequence[int], bool]:
        """Return ids that are new, and whether they are all.

        Raises:
            Refusal: there is no answer.
        """
        await self._changed.wait()
        self._changed.clear()
        is_whole = self._is_whole  # read first: the ids are set before it
        if self._refusal is not None:
            raise self._refusal
        return self._ids, is_whole

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._changed.set)
