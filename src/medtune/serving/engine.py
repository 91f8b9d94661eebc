"""The one thread that asks the models: what waits for a model joins those that it is answering, models take turns."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from medtune.serving.limits import Limits
from medtune.serving.refusals import Refusal, told_of
from medtune.workflow.served import ServedModel, ServedRuns

__all__ = ["Engine", "Sink", "Work"]

_LOG = logging.getLogger(__name__)
_GATHERED_SECONDS = 0.005
"""After the first request in a while, so many later ones are still read together with it."""
_FEW_SHARE, _MOST_LOOKS_HELD = 16, 2
"""Reading a prompt costs about a step of all answers: fewer prompts than one a so many slots wait for so many looks."""


class Sink(Protocol):
    """Where a request's ids go; called from the engine's thread."""

    @property
    def is_watching(self) -> bool:
        """Whether unfinished answers are wanted."""
        ...

    def progress(self, ids: Sequence[int]) -> None:
        """Take the ids so far."""
        ...

    def finish(self, ids: Sequence[int]) -> None:
        """Take all ids."""
        ...

    def fail(self, refusal: Refusal) -> None:
        """Take why there is no answer."""
        ...


@dataclass(eq=False, slots=True)
class Work:
    """A request on its way.

    Attributes:
        model: which model is asked.
        request: prompt ids and the most new tokens, as a generator takes them.
        sink: where its answer goes.
        is_left: whether nobody waits for it any more.
    """

    model: ServedModel
    request: Any
    sink: Sink
    is_left: bool = False
    since: float = field(default_factory=time.monotonic)


class Engine:
    """Asks models on a thread of its own.

    Args:
        runs: the models; from ``start`` on touched by the thread only.
        limits: of the server.
    """

    def __init__(self, runs: ServedRuns, limits: Limits) -> None:
        self.runs, self._limits = runs, limits
        self.longest = min(limits.tokens, runs.context or limits.tokens)
        self._waiting: dict[str, deque[Work]] = {}
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._turn: _Turn | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="medtune-engine", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, works: Sequence[Work]) -> None:
        """Let requests wait, all or none.

        Raises:
            Refusal: too many wait, or the engine stops.
        """
        with self._changed:
            if self._is_closed:
                raise Refusal(503, "the server is stopping", code="stopping", retry_after=5)
            if self.waiting + len(works) > self._limits.queue + self._free():
                raise Refusal(429, "too many requests wait; try again later", code="queue_full", retry_after=1)
            if any(self.runs.models.get(work.model.name) is not work.model for work in works):
                raise Refusal(404, "the model was taken out of the server", param="model", code="model_not_found")
            for work in works:
                self._waiting.setdefault(work.model.name, deque()).append(work)
            self._changed.notify_all()

    def leave(self, work: Work) -> None:
        """Answer a request no further."""
        with self._changed:
            work.is_left = True
            queue = self._waiting.get(work.model.name)
            if queue and work in queue:
                queue.remove(work)

    def call(self, function: Callable[[], Any]) -> "Future[Any]":
        """Run something on the thread once no request is being answered."""
        future: Future[Any] = Future()
        with self._changed:
            if self._is_closed:
                raise Refusal(503, "the server is stopping", code="stopping", retry_after=5)
            self._calls.append((function, future))
            self._changed.notify_all()
        return future

    def add(self, path: Path, name: str) -> "Future[Any]":
        """Open another run."""
        return self.call(lambda: self.runs.add(path, name))

    def remove(self, name: str) -> "Future[Any]":
        """Let a run no longer be asked; requests that wait for it are refused."""

        def work() -> None:
            self.runs.remove(name)
            with self._changed:
                left = self._waiting.pop(name, deque())
            for each in left:
                each.sink.fail(Refusal(404, "the model was taken out of the server", code="model_not_found"))

        return self.call(work)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        turn = self._turn
        return len(turn.inside) if turn is not None else 0

    def close(self, seconds: float) -> None:
        """Stop once no request waits; after ``seconds`` those that still run are left."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(seconds)
        with self._changed:
            left = [work for queue in self._waiting.values() for work in queue]
            self._waiting.clear()
            running = list(self._turn.inside.values()) if self._turn is not None else []
            for work in running:
                work.is_left = True
        for work in (*left, *running):
            work.sink.fail(Refusal(503, "the server stopped before the answer was whole", code="stopping"))

    def _free(self) -> int:
        return max(0, self._limits.slots - self.running)

    def _work(self) -> None:
        while self._next():
            pass

    def _next(self) -> bool:
        """Run one call, or give a model its turn; False once there is no more."""
        with self._changed:
            while not self._calls and not self.waiting and not self._is_closed:
                self._changed.wait()
            call = self._calls.popleft() if self._calls else None
            waiting = [queue[0] for queue in self._waiting.values() if queue]
            others = [work for work in waiting if self._turn is not None and work.model is not self._turn.model]
            self._turn = None
            if call is None and not waiting:
                return False
            if call is None:
                self._turn = _Turn(self, min(others or waiting, key=lambda work: work.since).model)
        if call is not None:
            _run(*call)
        elif self._turn is not None:
            self._answer(self._turn)
        return True

    def _answer(self, turn: "_Turn") -> None:
        try:
            with self.runs.active(turn.model):
                turn.model.answering.answer_from(turn, self.longest)
        except Exception as error:  # noqa: BLE001 - one turn fails, the server goes on; the text of an error may hold a prompt
            _LOG.error("answering failed: %s", told_of(error))
            self._give_up(turn)

    def _give_up(self, turn: "_Turn") -> None:
        lost = list(turn.inside.values())
        if not lost:  # it failed before it took any: the next ones would fail alike, for ever
            with self._changed:
                lost = list(self._waiting.pop(turn.model.name, ()))
        for work in lost:
            work.sink.fail(Refusal(500, "the answer failed; the server's log says in which part", code="failed"))

    def next_of(self, turn: "_Turn", most: int, *, wait: bool) -> list[Work]:
        """Return what waits for the model whose turn it is; waits for it as long as nobody else wants one."""
        with self._changed:
            while True:
                queue = self._waiting.get(turn.model.name)
                if self._has_to_end(turn, is_idle=not queue):
                    return []
                if not queue and wait:
                    self._changed.wait()
                    turn.gathers_until = time.monotonic() + _GATHERED_SECONDS
                elif wait and (left := turn.gathers_until - time.monotonic()) > 0:
                    self._changed.wait(left)
                elif not queue or not most or not (wait or self._are_worth_reading(turn, min(most, len(queue)))):
                    return []
                else:
                    turn.looks_held = 0
                    return [queue.popleft() for _ in range(min(most, len(queue)))]

    def _are_worth_reading(self, turn: "_Turn", count: int) -> bool:
        """Whether prompts are read now that others are being answered; a few wait for more for a moment."""
        turn.looks_held += 1
        return count >= self._limits.slots // _FEW_SHARE or turn.looks_held > _MOST_LOOKS_HELD

    def _has_to_end(self, turn: "_Turn", *, is_idle: bool) -> bool:
        others = [queue[0].since for name, queue in self._waiting.items() if queue and name != turn.model.name]
        if self._calls or (is_idle and (others or self._is_closed)):
            return True
        return (
            turn.has_taken
            and bool(others)
            and time.monotonic() - max(min(others), turn.began) > self._limits.turn_seconds
        )


class _Turn:
    """The requests to one model while it is answering: what a generator takes them from."""

    def __init__(self, engine: Engine, model: ServedModel) -> None:
        self._engine, self.model, self.began = engine, model, time.monotonic()
        self.inside: dict[int, Work] = {}
        self.gathers_until, self.looks_held = 0.0, 0
        self._count = 0

    @property
    def has_taken(self) -> bool:
        """Whether it has answered anything yet: no turn passes in vain."""
        return self._count > 0

    def take(self, most: int, *, wait: bool) -> dict[int, Any]:
        """See ``RequestFeed``."""
        new: dict[int, Any] = {}
        for work in self._engine.next_of(self, most, wait=wait):
            self.inside[self._count] = work
            new[self._count] = work.request
            self._count += 1
        return new

    def watches(self, key: int) -> bool:
        """See ``RequestFeed``."""
        work = self.inside[key]
        return work.is_left or work.sink.is_watching

    def progress(self, key: int, ids: Sequence[int]) -> bool:
        """See ``RequestFeed``."""
        work = self.inside[key]
        if not work.is_left:
            work.sink.progress(ids)
            return True
        del self.inside[key]
        return False

    def finish(self, key: int, ids: Sequence[int]) -> None:
        """See ``RequestFeed``."""
        self.inside.pop(key).sink.finish(ids)


def _run(function: Callable[[], Any], future: "Future[Any]") -> None:
    try:
        future.set_result(function())
    except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
        future.set_exception(error)
