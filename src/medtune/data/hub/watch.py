"""Work on the hub under a watch: threads do it, and the one that waits for them ends when they fall silent."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from medtune.data.hub.refusals import asked_to_wait, explained, may_pass
from medtune.data.hub.repository import Repository

__all__ = ["Patience", "Tell", "Watch", "insist", "watched"]

T = TypeVar("T")
Tell = Callable[[str], None]
"""Takes a sentence for whoever waits."""

_TICK = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the hub is waited for.

    Attributes:
        silence: seconds without a byte after which it is given up.
        answer: seconds that one request may stay without an answer.
        attempts: requests for the same thing, without a byte between.
        pause: seconds before the second request; doubled before each further one.
        longest_wait: longest wait, in seconds, that the hub may ask for.
    """

    silence: float = 60.0
    answer: float = 15.0
    attempts: int = 5
    pause: float = 1.0
    longest_wait: float = 300.0


class _GivenUpError(Exception):
    """Ends a thread whose work nobody waits for any longer."""


@dataclass(slots=True)
class Watch:
    """What the working threads and the waiting one tell each other.

    Attributes:
        patience: how long silence is borne.
        tell: takes sentences on waits and new attempts.
        received: bytes since the beginning.
    """

    patience: Patience
    tell: Tell
    received: int = 0
    _heard: float = field(default_factory=time.monotonic)
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, count: int = 0) -> None:
        """Note a sign of life, and how many bytes came with it.

        Raises:
            _GivenUpError: nobody waits for the work any longer.
        """
        if self._ended.is_set():
            raise _GivenUpError
        with self._lock:
            self.received += count
            self._heard = max(self._heard, time.monotonic())

    def sleep(self, seconds: float, *, agreed: bool) -> None:
        """Wait; what the hub itself asked for is no silence, a pause of one's own is."""
        if agreed:
            with self._lock:
                self._heard = max(self._heard, time.monotonic() + seconds)
        if self._ended.wait(seconds):
            raise _GivenUpError

    def end(self) -> None:
        """Let every thread stop."""
        self._ended.set()

    @property
    def silent(self) -> float:
        """Seconds since the last sign of life."""
        return time.monotonic() - self._heard


def insist(watch: Watch, repository: Repository, doing: str, request: Callable[[], T]) -> T:
    """Return ``request()``, made again while that can help: after the pause that the hub asks for, or growing ones.

    Raises:
        HubError: the last answer, explained.
    """
    patience, tried, pause = watch.patience, 0, watch.patience.pause
    while True:
        before = watch.received
        try:
            return request()
        except Exception as error:
            tried = 1 if watch.received > before else tried + 1  # what brings bytes gets on
            wanted = asked_to_wait(error)
            wait = pause * 2 ** (tried - 1) if wanted is None else wanted
            if not may_pass(error) or tried >= patience.attempts or wait > patience.longest_wait:
                raise explained(error, repository, doing) from error
            asks = "asks to wait" if wanted is not None else "is asked again in"
            watch.tell(f"{doing} of '{repository.name}' failed ({type(error).__name__}); the hub {asks} {wait:.0f} s")
        watch.sleep(wait, agreed=wanted is not None)


def watched(
    watch: Watch,
    repository: Repository,
    jobs: Sequence[Callable[[], T]],
    threads: int = 1,
    tick: Callable[[], None] = lambda: None,
) -> list[T]:
    """Return what the jobs return, in order; the first error of one ends them all, and so does an interruption.

    Args:
        watch: what the jobs report to.
        repository: what they are about.
        jobs: done in order, ``threads`` at a time.
        threads: at most so many.
        tick: called ten times a second while they run.

    Raises:
        HubError: no byte came for ``patience.silence`` seconds.
    """
    crew = _Crew(jobs)
    # As daemons: a thread that hangs in the operating system must not keep the process alive.
    members = [threading.Thread(target=crew.work, daemon=True) for _ in range(min(threads, len(jobs)))]
    watch.hear()
    try:
        for member in members:
            member.start()
        while not crew.errors and (busy := [member for member in members if member.is_alive()]):
            busy[0].join(_TICK)
            tick()
            if watch.silent > watch.patience.silence:
                raise repository.error(
                    f"could not be had: the hub sent nothing for {watch.patience.silence:.0f} s",
                    "run the same command again later; what was fetched is kept",
                )
    finally:
        watch.end()
    if crew.errors:
        raise crew.errors[0]
    return [crew.results[number] for number in range(len(jobs))]


class _Crew(Generic[T]):
    """Jobs that several threads take one after the other, until one fails."""

    def __init__(self, jobs: Sequence[Callable[[], T]]) -> None:
        self.results: dict[int, T] = {}
        self.errors: list[BaseException] = []
        self._waiting = list(enumerate(jobs))[::-1]

    def work(self) -> None:
        """Do jobs as long as there are any."""
        while self._waiting and not self.errors:
            try:
                number, job = self._waiting.pop()
            except IndexError:  # another thread was faster
                return
            try:
                self.results[number] = job()
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                self.errors.append(error)
